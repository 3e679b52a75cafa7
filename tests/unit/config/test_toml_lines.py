"""Lines of TOML keys: written documents with known lines, and tomllib as oracle for the paths."""

from __future__ import annotations

import tomllib
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.config.toml_lines import Path, key_lines


def paths(tree: dict[str, Any], at: Path = ()) -> set[Path]:
    """Every key of a parsed tree, items of arrays that hold tables included."""
    found: set[Path] = set()
    for name, value in tree.items():
        found |= {(*at, name)} | value_paths(value, (*at, name))
    return found


def value_paths(value: Any, at: Path) -> set[Path]:
    if isinstance(value, dict):
        return paths(value, at)
    found: set[Path] = set()
    if isinstance(value, list):
        for index, item in enumerate(value):
            found |= {(*at, index)} if isinstance(item, dict) else set()
            found |= value_paths(item, (*at, index))
    return found


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param("", {}, id="empty"),
        pytest.param("# a = 1\n\na = 1 # b = 2\nc=2", {("a",): 3, ("c",): 4}, id="comments"),
        pytest.param(
            "[a]\nb = 1\n[ c . \"d e\" ]\n'f.g' = 2",
            {("a",): 1, ("a", "b"): 2, ("c",): 3, ("c", "d e"): 3, ("c", "d e", "f.g"): 4},
            id="tables",
        ),
        pytest.param(
            "a . b = 1\na.c = 2", {("a",): 1, ("a", "b"): 1, ("a", "c"): 2}, id="dotted-keys"
        ),
        pytest.param(
            'a = """x\nb = 1\n\\""" ""\n"""\nc = \'\'\'\n[d]\n\'\'\'\'\ne = 1',
            {("a",): 1, ("c",): 5, ("e",): 8},
            id="strings-over-lines",
        ),
        pytest.param(
            'a = [\n "]", # ]\n [1, 2],\n]\nb = 1\r\nc = 2',
            {("a",): 1, ("b",): 5, ("c",): 6},
            id="arrays-over-lines",
        ),
        pytest.param(
            'a = { b = "}", c = [ {d = 1} ] }\ne = 1979-05-27 07:32:00\nf = 1',
            {
                ("a",): 1,
                ("a", "b"): 1,
                ("a", "c"): 1,
                ("a", "c", 0): 1,
                ("a", "c", 0, "d"): 1,
                ("e",): 2,
                ("f",): 3,
            },
            id="inline-tables",
        ),
        pytest.param(
            "[[h]]\na = 1\n[[h]]\na = 2\n[h.t]\nb = 1",
            {
                ("h",): 1,
                ("h", 0): 1,
                ("h", 0, "a"): 2,
                ("h", 1): 3,
                ("h", 1, "a"): 4,
                ("h", 1, "t"): 5,
                ("h", 1, "t", "b"): 6,
            },
            id="arrays-of-tables",
        ),
    ],
)
def test_each_key_is_found_on_its_line(document: str, expected: dict[Path, int]) -> None:
    assert paths(tomllib.loads(document)) == set(expected)
    assert key_lines(document) == expected


NAME = st.text("abc", min_size=1, max_size=3)
STRING = st.sampled_from(
    [
        '"x"',
        '"a = 1 # \\" ]}"',
        "'[b]'",
        "''",
        '""',
        '"""x\n[c]\na = 1\n"""',
        '"""q\\""""',
        '"""q"""""',
        "'''y\n# '' \n'''",
        "'''''y'''",
    ]
)
PLAIN = st.sampled_from(["1", "-1.5e3", "true", "0x1f", "1979-05-27T07:32:00Z", "07:32:00", "inf"])
SPACE = st.sampled_from(["", " ", "\t"])
BREAK = st.sampled_from(["", " ", "\n", " # ], }\n", "\n\n"])
END = st.sampled_from(["\n", " # x = 1\n", "\n\n", "\r\n", "\n# [a]\n"])


@st.composite
def value(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.integers(0, 3 if depth < 3 else 1))
    match kind:
        case 0:
            return draw(STRING)
        case 1:
            return draw(PLAIN)
        case 2:
            items = draw(st.lists(value(depth + 1), max_size=3))
            comma = draw(st.sampled_from(["", ","])) if items else ""
            parts = [draw(BREAK) + item + draw(BREAK) for item in items]
            return "[" + ",".join(parts) + comma + draw(BREAK) + "]"
        case _:
            names = draw(st.lists(NAME, max_size=3, unique=True))
            pairs = [f"{draw(SPACE)}{n}{draw(SPACE)}={draw(value(depth + 1))}" for n in names]
            return "{" + ", ".join(pairs) + draw(SPACE) + "}"


@st.composite
def written(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    """A document and the lines of the keys that its headers and its pairs name."""
    text = draw(st.sampled_from(["", "# top\n", "\n"]))
    lines: dict[Path, int] = {}
    items = 0
    for number in range(draw(st.integers(0, 4))):
        table: Path = ()
        if number:
            line = text.count("\n") + 1
            if draw(st.booleans()):
                table = ("list", items)
                items += 1
                lines.setdefault(("list",), line)
                text += f"[[{draw(SPACE)}list{draw(SPACE)}]]" + draw(END)
            else:
                table = (f"t{number}", "sub.x")
                lines[table[:1]] = line
                text += f'[{draw(SPACE)}t{number} . "sub.x"]' + draw(END)
            lines[table] = line
        for name in draw(st.lists(NAME, max_size=3, unique=True)):
            lines[*table, name] = text.count("\n") + 1
            text += f"{draw(SPACE)}{name}{draw(SPACE)}={draw(SPACE)}{draw(value())}{draw(END)}"
    return text, lines


@given(written())
def test_paths_are_tomllibs_and_lines_are_as_written(case: tuple[str, dict[Path, int]]) -> None:
    document, lines = case
    found = key_lines(document)
    assert set(found) == paths(tomllib.loads(document))
    assert {path: found[path] for path in lines} == lines


def test_the_projects_own_file_is_read() -> None:
    document = (FilePath(__file__).parents[3] / "pyproject.toml").read_text()
    found = key_lines(document)
    assert set(found) == paths(tomllib.loads(document))
    for path, line in found.items():
        if isinstance(path[-1], str):
            assert path[-1] in document.splitlines()[line - 1]
