"""The ValiMail test suite for ARC: its scenarios as cases.

The files are as their authors published them (`arc_test_suite`); the licence stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.key_records import KeyRecords

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ValidationCase:
    """A message and the state of its chain: None, Pass or Fail; "" allows any but a crash."""

    name: str
    message: bytes
    expected: str
    keys: KeyRecords


@dataclass(frozen=True, slots=True)
class SealingCase:
    """A message, what seals it, and the three fields as the suite's reference makes them."""

    name: str
    message: bytes
    time: int
    names: tuple[str, ...]
    authserv_id: str
    domain: str
    selector: str
    private_key: bytes
    seal: str
    message_signature: str
    results: str
    keys: KeyRecords


@cache
def validation_cases() -> tuple[ValidationCase, ...]:
    return tuple(
        ValidationCase(name, _message(test), str(test["cv"] or ""), _keys(scenario))
        for scenario, name, test in _tests("arc-draft-validation-tests.yml")
    )


@cache
def sealing_cases() -> tuple[SealingCase, ...]:
    return tuple(
        SealingCase(
            name,
            _message(test),
            int(test["t"]),
            tuple(test["sig-headers"].split(":")),
            test["srv-id"],
            scenario["domain"],
            scenario["sel"],
            scenario["privatekey"].encode(),
            test["AS"],
            test["AMS"],
            test["AAR"],
            _keys(scenario),
        )
        for scenario, name, test in _tests("arc-draft-sign-tests.yml")
    )


def _tests(file: str) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    with (FOLDER / file).open(encoding="utf-8") as stream:
        for scenario in filter(None, yaml.safe_load_all(stream)):
            for name, test in scenario["tests"].items():
                yield scenario, name, test


def _message(test: dict[str, Any]) -> bytes:
    """With the line ends that it has on the wire."""
    return str(test["message"]).replace("\n", "\r\n").encode()


def _keys(scenario: dict[str, Any]) -> KeyRecords:
    return KeyRecords({name: text.encode() for name, text in scenario["txt-records"].items()})
