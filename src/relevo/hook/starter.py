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

_TEST = '''"""Run with pytest, in the folder of the hook; no server is needed."""

import asyncio

from relevo.hook import {imports}
from {module} import {function}


def test_it_accepts() -> None:
    assert asyncio.run({function}({arguments})) is None
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
    has_message = stage is Stage.POST_DATA
    example = f'example("{stage.value}")'
    return _TEST.format(
        imports="Message, example" if has_message else "example",
        module=module,
        function=_function(stage),
        arguments='Message(b"Subject: s\\n\\nx\\n"), ' * has_message + example,
    )


def _function(stage: Stage) -> str:
    return stage.value.replace("-", "_")
