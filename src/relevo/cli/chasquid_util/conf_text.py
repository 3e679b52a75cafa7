"""The configuration in force as `chasquid.conf` would say it.

What chasquid has no key for is left out; `relevo config show` prints everything. Empty values and
`false` are left out as chasquid does, but for the two keys where "" has a meaning.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from relevo.config import Config
from relevo.config.chasquid_conf import RELEVO_NAMES
from relevo.config.schema import KEYS
from relevo.config.textproto import quote

_MIB = 1024 * 1024
_MAIL_LOGS = {
    "syslog": "<syslog>",
    "stdout": "<stdout>",
    "stderr": "<stderr>",
    "off": "/dev/null",
}
_KEPT_EMPTY = {"suffix_separators", "drop_characters"}


def render_chasquid_conf(config: Config) -> str:
    """Text format, a line a value, in chasquid's order of keys."""
    lines = []
    for name, target in RELEVO_NAMES.items():
        value = _of_chasquid(name, KEYS[target].value_in(config))
        values = value if isinstance(value, tuple) else (value,)
        is_kept = name in _KEPT_EMPTY
        lines += [f"{name}: {_text(one)}\n" for one in values if one or is_kept]
    return "".join(lines)


def _of_chasquid(name: str, value: Any) -> Any:
    """The value in chasquid's unit."""
    match name:
        case "max_data_size_mb":
            return -(-value // _MIB)
        case "mail_log_path":
            return _MAIL_LOGS.get(value, value)
        case "give_up_send_after":
            return _go_duration(value)
        case _:
            return value


def _go_duration(value: timedelta) -> str:
    """As Go writes it: `20h0m0s`; fractions of seconds as microseconds behind."""
    seconds, rest = divmod(value // timedelta(microseconds=1), 1_000_000)
    text = f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"
    return f"{text}{rest}us" if rest else text


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return quote(str(value).encode("utf-8", "surrogateescape"))
