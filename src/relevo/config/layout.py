"""Where things stand in a config directory; the same for both profiles.

    certs/<any>/fullchain.pem, privkey.pem    one certificate a folder, as certbot's live/ has them
    domains/<domain>/users                    one folder a local domain
    domains/<domain>/aliases
    domains/<domain>/dkim:<selector>.pem
    hooks/

Folders may be symbolic links. Plain files directly in certs/ and domains/ are ignored, and so is
what starts with a dot. Functions read names only, never the content of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relevo.config.problems import Problem, Severity
from relevo.mail import InvalidAddress, normalize_domain

RELEVO_TOML = "relevo.toml"
CHASQUID_CONF = "chasquid.conf"

_DKIM_PREFIX = "dkim:"
_DKIM_SUFFIX = ".pem"


@dataclass(frozen=True, slots=True)
class CertificateFolder:
    """A certificate with its chain and its private key, both existing files."""

    name: str
    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class DkimKeyFile:
    """A signing key of a domain."""

    selector: str
    path: Path


@dataclass(frozen=True, slots=True)
class DomainFolder:
    """A local domain; `name` is normalized. `users` and `aliases` need not exist."""

    name: str
    path: Path

    @property
    def users(self) -> Path:
        return self.path / "users"

    @property
    def aliases(self) -> Path:
        return self.path / "aliases"

    def dkim_keys(self) -> tuple[DkimKeyFile, ...]:
        """The signing keys, by selector; raises OSError."""
        return tuple(
            DkimKeyFile(path.name[len(_DKIM_PREFIX) : -len(_DKIM_SUFFIX)], path)
            for path in sorted(self.path.iterdir())
            if path.name.startswith(_DKIM_PREFIX)
            and path.name.endswith(_DKIM_SUFFIX)
            and len(path.name) > len(_DKIM_PREFIX + _DKIM_SUFFIX)
        )


def certs_dir(config_dir: Path) -> Path:
    return config_dir / "certs"


def domains_dir(config_dir: Path) -> Path:
    return config_dir / "domains"


def hooks_dir(config_dir: Path) -> Path:
    return config_dir / "hooks"


def find_certificates(
    config_dir: Path,
) -> tuple[tuple[CertificateFolder, ...], tuple[Problem, ...]]:
    """The complete folders of certs/, by name, and what is wrong there.

    An incomplete folder is left out with a warning; no complete folder at all is an error.
    """
    directory = certs_dir(config_dir)
    folders, problems = _folders(directory, "certificates")
    found = []
    for folder in folders:
        pair = CertificateFolder(folder.name, folder / "fullchain.pem", folder / "privkey.pem")
        missing = [path.name for path in (pair.chain, pair.key) if not path.is_file()]
        if missing:
            text = f"the folder is skipped: it has no {' and no '.join(missing)}"
            problems.append(Problem(str(folder), 0, "", text, severity=Severity.WARNING))
        else:
            found.append(pair)
    if folders and not found:
        problems.append(
            Problem(
                str(directory),
                0,
                "",
                "no folder holds both fullchain.pem and privkey.pem",
                "the server needs at least one certificate",
            )
        )
    return tuple(found), tuple(problems)


def find_domains(config_dir: Path) -> tuple[tuple[DomainFolder, ...], tuple[Problem, ...]]:
    """The local domains, by folder name, and what is wrong with domains/."""
    folders, problems = _folders(domains_dir(config_dir), "local domains")
    found: dict[str, DomainFolder] = {}
    for folder in folders:
        try:
            name = normalize_domain(folder.name)
        except InvalidAddress as error:
            text = f"the folder's name is no domain: {error}"
            problems.append(Problem(str(folder), 0, "", text, "rename or remove the folder"))
            continue
        if name in found:
            text = f"the folder is the same domain as {found[name].path.name}"
            problems.append(Problem(str(folder), 0, "", text, "keep one of them"))
        else:
            found[name] = DomainFolder(name, folder)
    return tuple(found.values()), tuple(problems)


def _folders(directory: Path, what: str) -> tuple[list[Path], list[Problem]]:
    """The folders in `directory` by name; a missing or empty directory is a problem."""
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        text = f"the folder of the {what} cannot be read: {error.strerror}"
        return [], [Problem(str(directory), 0, "", text, "create it, with one folder each")]
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if folders:
        return folders, []
    text = f"the folder of the {what} has no folder in it"
    return [], [Problem(str(directory), 0, "", text, "create one folder each")]
