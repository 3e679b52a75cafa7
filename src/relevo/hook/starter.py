"""The starter of a hook in Python, and of its test: what `relevo hook new` writes."""

from __future__ import annotations

import textwrap

from relevo.hooks.contract.json_form import TYPES
from relevo.hooks.contract.stages import Stage

_HOOK = '''"""{meaning}

Try it with `relevo hook test {stage}`. In relevo.toml:

[[hook]]
stage = "{stage}"
form = "python"
target = "{file}"
timeout = "5s"
"""

from relevo.hook import {names}


async def {function}({parameters}) -> {verdict} | None:
{known}
    #
    # Return {verdict}(…), or None to accept.{refusing}
    return None
'''

_TEST = '''"""Run with pytest, in the folder of the hook; no server is needed.

`run_hook` is a fixture of relevo. Its keywords change what the hook is told: for example
`run_hook({function}, tags=("list",))`.
"""

from relevo.hook import {verdict}
from relevo.hook.testing import RunHook
from {module} import {function}


def test_it_accepts(run_hook: RunHook) -> None:
    assert run_hook({function}{message}) == {verdict}()
'''
_REFUSING = frozenset(
    {
        Stage.CONNECT, Stage.EHLO, Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.POST_DATA,
        Stage.ROUTE, Stage.BEFORE_ATTEMPT,
    }
)  # fmt: skip


def starter(stage: Stage, file: str) -> str:
    """The hook, for a file of this name."""
    context, verdict = TYPES[stage]
    has_message = stage is Stage.POST_DATA
    refuses = stage in _REFUSING
    names = [context.__name__, verdict.__name__]
    names += ["Message"] * has_message + ["Reject"] * refuses
    names_known = ", ".join(name for name in context.__annotations__ if name != "stage")
    known = textwrap.fill(
        f"The context has: {names_known}.",
        88,
        initial_indent="    # ",
        subsequent_indent="    # ",
    )
    return _HOOK.format(
        meaning=stage.meaning.partition(". ")[0].rstrip(".") + ".",
        stage=stage.value,
        names=", ".join(sorted(names)),
        function=_function(stage),
        parameters="message: Message, " * has_message + f"context: {context.__name__}",
        verdict=verdict.__name__,
        known=known,
        refusing=' To refuse: raise Reject("why").' if refuses else "",
        file=file,
    )


def starter_test(stage: Stage, module: str) -> str:
    """The test of a hook in `module`."""
    return _TEST.format(
        verdict=TYPES[stage][1].__name__,
        module=module,
        function=_function(stage),
        message=', "Subject: hello\\n\\nHello.\\n"' if stage is Stage.POST_DATA else "",
    )


def _function(stage: Stage) -> str:
    return stage.value.replace("-", "_")
