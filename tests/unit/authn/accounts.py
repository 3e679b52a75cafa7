"""Users of d1.test and a directory that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.authn.passwords import make_credential
from relevo.directory.directory import Directory, DomainFiles
from relevo.directory.local_part import LocalPartRules
from relevo.directory.users import Denied, Plain

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.directory.users import Credential

SECRET = make_credential(b"secret")
USERS: dict[str, Credential] = {"user": SECRET, "plain": Plain(b"secret"), "rx": Denied()}


def directory_of(folder: Path, users: dict[str, Credential]) -> Directory:
    return Directory({"d1.test": DomainFiles(folder, users, {})}, rules=LocalPartRules())
