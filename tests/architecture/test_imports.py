"""The shape of the house, read from the sources: arrows point downwards, rooms keep their duty."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = SOURCE / "relevo"

# lowest first; a room imports only rooms that stand before it
ROOMS = (
    "value",  # one module, for all
    "answer_cache",  # one module, for those who ask programs or other servers
    "tls_layer",  # one module, for servers and clients
    "smtp",
    "mail",
    "journal",
    "dns",
    "hooks.contract",
    "hook",  # what authors of hooks import
    "config",
    "directory",
    "authn",
    "mailauth",
    "queue",
    "hooks",
    "delivery",
    "outbound",
    "reception",
    "web",
    "service",
    "cli",
)
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager"}
LONGEST_MODULE = 500

# what would give the protocol a clock, chance, files, sockets or a loop
OUTSIDE_WORLD = {
    "asyncio", "concurrent", "datetime", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "time", "uuid", "uvloop", "apsw",
}  # fmt: skip
# rooms of values: they compute, others read and write
NO_NETWORK = {"asyncio", "socket", "ssl", "selectors", "subprocess", "uvloop"}
ROOMS_WITHOUT_NETWORK = ("mail", "hooks.contract", "directory")


def module_name(path: Path) -> str:
    """`relevo.smtp.server` for src/relevo/smtp/server.py."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(name: str) -> str | None:
    """The room that a module belongs to; None for `relevo` itself and what is outside."""
    parts = name.split(".")
    if parts[0] != "relevo" or len(parts) == 1:
        return None
    if parts[1:3] == ["hooks", "contract"]:
        return "hooks.contract"
    return parts[1]


def imports(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """Modules that a module imports anywhere in its text, with the line."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = package.split(".") if level else []
                origin = ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])
                for alias in names:
                    whole = f"{origin}.{alias.name}"
                    yield (whole if whole in MODULES else origin), node.lineno


IMPORTS = {name: list(imports(name, path)) for name, path in MODULES.items()}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= {room.partition(".")[0] for room in ROOMS}


def test_imports_point_downwards(module: str) -> None:
    room = room_of(module)
    if room in {None, "__main__"}:
        room = ROOMS[-1]
    assert room in ROOMS
    wrong = []
    for target, line in IMPORTS[module]:
        other = room_of(target)
        if other in {None, room}:
            continue
        if other not in ROOMS or ROOMS.index(other) > ROOMS.index(room):
            wrong.append(f"{MODULES[module].relative_to(SOURCE)}:{line}: {room} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_the_package_itself_imports_no_room() -> None:
    assert [target for target, _ in IMPORTS["relevo"] if target.startswith("relevo.")] == []


def test_modules_are_named_for_what_they_hold(module: str) -> None:
    assert not NAMES_THAT_SAY_NOTHING & set(module.split("."))


def test_modules_stay_readable(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= LONGEST_MODULE, f"{lines} lines: split it"


def test_the_protocol_touches_nothing_outside(module: str) -> None:
    if room_of(module) != "smtp":
        return
    found = {target.partition(".")[0] for target, _ in IMPORTS[module]} & OUTSIDE_WORLD
    assert not found


def test_rooms_of_values_open_no_connections(module: str) -> None:
    if room_of(module) not in ROOMS_WITHOUT_NETWORK:
        return
    found = {target.partition(".")[0] for target, _ in IMPORTS[module]} & NO_NETWORK
    assert not found


def test_rooms_say_what_they_are_for_and_what_they_give() -> None:
    wrong = []
    for folder in sorted(PACKAGE.iterdir()):
        path = folder / "__init__.py"
        if not path.exists():
            continue
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            wrong.append(f"{folder.name} has no docstring")
    assert not wrong


def test_modules_say_what_they_are_for(module: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[module].read_text()))


def test_these_checks_see_an_arrow_that_points_up(tmp_path: Path) -> None:
    path = tmp_path / "upward.py"
    path.write_text(
        "def f():\n    from relevo.queue import store\n    from ..delivery.maildir import x\n"
    )
    found = {room_of(target) for target, _ in imports("relevo.smtp.upward", path)}
    assert found == {"queue", "delivery"}
