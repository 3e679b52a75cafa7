"""The text format: a table of what is taken and refused, and protobuf's own parser as oracle."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from hypothesis import given
from hypothesis import strategies as st

from relevo.config.textproto import (
    MAX_DEPTH,
    Bare,
    Field,
    Message,
    Quoted,
    TextProtoError,
    Value,
    parse,
    quote,
)


def only(text: str | bytes) -> Value:
    """The one value of the one field of a text."""
    data = text.encode() if isinstance(text, str) else text
    (field,) = parse(data, "f").fields
    (value,) = field.values
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('a: "x"', b"x", id="double-quotes"),
        pytest.param("a: 'x\"y'", b'x"y', id="single-quotes"),
        pytest.param('a:"x"', b"x", id="no-blank"),
        pytest.param('a  :\n\t "x"', b"x", id="any-blank"),
        pytest.param('a: "x" \'y\' # z\n "z"', b"xyz", id="adjacent"),
        pytest.param(
            r'a: "\n\r\t\"\\\' \a\b\f\v\?"', b"\n\r\t\"\\' \a\b\f\v?", id="simple-escapes"
        ),
        pytest.param(r'a: "\x41\xff\x4g"', b"A\xff\x04g", id="hexadecimal"),
        pytest.param(r'a: "\101\0\3771"', b"A\0\xff1", id="octal"),
        pytest.param(r'a: "\u00e9\U0001f600"', "é😀".encode(), id="unicode-escapes"),
        pytest.param('a: "é"', "é".encode(), id="utf-8-stays-octets"),
        pytest.param(b'a: "\xff"', b"\xff", id="other-octets-stay"),
        pytest.param('a: "#no comment"', b"#no comment", id="hash-inside"),
        pytest.param('# c\na: "x"; # d', b"x", id="comments"),
        pytest.param('a: "x",', b"x", id="comma-after-field"),
    ],
)
def test_strings_are_unescaped_octets(text: str | bytes, expected: bytes) -> None:
    value = only(text)
    assert isinstance(value, Quoted)
    assert value.data == expected


@pytest.mark.parametrize(
    ("text", "integer", "boolean"),
    [
        pytest.param("12", 12, None, id="decimal"),
        pytest.param("-12", -12, None, id="negative"),
        pytest.param("0x1F", 31, None, id="hexadecimal"),
        pytest.param("-0x10", -16, None, id="negative-hexadecimal"),
        pytest.param("010", 8, None, id="octal"),
        pytest.param("08", None, None, id="no-octal"),
        pytest.param("1", 1, True, id="one"),
        pytest.param("0", 0, False, id="zero"),
        pytest.param("0x1", 1, True, id="hexadecimal-one"),
        pytest.param("00", 0, False, id="octal-zero"),
        pytest.param("-1", -1, None, id="minus-one"),
        pytest.param("2", 2, None, id="two"),
        pytest.param("t", None, True, id="t"),
        pytest.param("False", None, False, id="False"),
        pytest.param("yes", None, None, id="yes"),
        pytest.param("1.5", None, None, id="fraction"),
        pytest.param("1" * 1000, None, None, id="endless"),
    ],
)
def test_bare_words_read_as_numbers_and_booleans(
    text: str, integer: int | None, boolean: bool | None
) -> None:
    value = only(f"a: {text}")
    assert isinstance(value, Bare)
    assert value.text == text
    assert value.integer() == integer
    assert value.boolean() is boolean


def test_a_tree_keeps_order_lists_and_places() -> None:
    tree = parse(b"a: [1, 'x']\nb {\n  c: < d: 2 >\n}\nl: []", "f")
    a, b, empty = tree.fields
    assert a == Field("a", (Bare("1", 1, 5), Quoted(b"x", 1, 8)), is_list=True, line=1, column=1)
    inner = Message((Field("d", (Bare("2", 3, 11),), False, 3, 8),), 3, 6)
    assert b.values == (Message((Field("c", (inner,), False, 3, 3),), 2, 3),)
    assert (empty.name, empty.values, empty.is_list, empty.line) == ("l", (), True, 5)


def test_an_empty_file_has_no_fields() -> None:
    assert parse(b"", "f").fields == ()
    assert parse(b" \n# only a comment", "f").fields == ()


@pytest.mark.parametrize(
    ("data", "place", "part"),
    [
        pytest.param(b"a", (1, 2), "colon", id="no-colon"),
        pytest.param(b"\n\na:", (3, 3), "end of the file", id="no-value"),
        pytest.param(b'a: "x', (1, 4), "not closed", id="open-string"),
        pytest.param(b'a: "x\ny"', (1, 4), "not closed", id="line-end-in-string"),
        pytest.param(b'a: "\\q"', (1, 5), "escape", id="unknown-escape"),
        pytest.param(b'a: "\\400"', (1, 5), "escape", id="octal-over-255"),
        pytest.param(b'a: "\\ud800"', (1, 5), "escape", id="surrogate"),
        pytest.param(b'a: "\\U00110000"', (1, 5), "escape", id="beyond-unicode"),
        pytest.param(b"a { b: 1", (1, 9), "} is missing", id="open-message"),
        pytest.param(b"a < b: 1 }", (1, 10), "field name", id="wrong-bracket"),
        pytest.param(b"a: [1,]", (1, 7), "value", id="comma-before-bracket"),
        pytest.param(b"a: [1 2]", (1, 7), "comma", id="no-comma"),
        pytest.param(b'a "x"', (1, 3), "colon", id="string-without-colon"),
        pytest.param(b'a ["x"]', (1, 1), "colon", id="list-without-colon"),
        pytest.param(b"a: \xe2\x80\x83", (1, 4), "value", id="unicode-blank"),
        pytest.param(b"a: 1\0", (1, 5), "field name", id="nul"),
        pytest.param(b"[x.y]: 1", (1, 1), "field name", id="extension"),
        pytest.param(b"a:1,,b:2", (1, 5), "field name", id="two-commas"),
        pytest.param(b"a{" * (MAX_DEPTH + 1), (1, 2 * MAX_DEPTH + 2), "deep", id="too-deep"),
    ],
)
def test_errors_name_the_place(data: bytes, place: tuple[int, int], part: str) -> None:
    with pytest.raises(TextProtoError) as caught:
        parse(data, "dir/file")
    assert (caught.value.line, caught.value.column) == place
    assert part in caught.value.text
    assert str(caught.value).startswith(f"dir/file:{place[0]}:{place[1]}: ")


@given(st.binary() | st.text("a:{}<>[]\"'\\x0,;#\n -é").map(str.encode))
def test_any_octets_end_in_a_tree_or_in_the_one_error(data: bytes) -> None:
    try:
        parse(data, "f")
        line, column = 1, 1
    except TextProtoError as error:
        line, column = error.line, error.column
    lines = data.split(b"\n")
    assert 1 <= line <= len(lines)
    assert 1 <= column <= len(lines[line - 1]) + 1


@given(st.binary())
def test_quoted_octets_are_read_back(data: bytes) -> None:
    value = only(f"a: {quote(data)}")
    assert isinstance(value, Quoted)
    assert value.data == data


def test_quoting_leaves_text_readable() -> None:
    assert quote('é"\\\n\t\x01'.encode() + b"\xff\x7f") == '"é\\"\\\\\\n\\t\\x01\\xff\\x7f"'


# --- protobuf as oracle: M { bytes b; repeated bytes rb; repeated int64 rn; bool f; repeated M rm }


def _message_class() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="t", syntax="proto2")
    message = file.message_type.add(name="M")
    field = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind, label) in enumerate(
        [
            ("b", field.TYPE_BYTES, field.LABEL_OPTIONAL),
            ("rb", field.TYPE_BYTES, field.LABEL_REPEATED),
            ("rn", field.TYPE_INT64, field.LABEL_REPEATED),
            ("f", field.TYPE_BOOL, field.LABEL_OPTIONAL),
            ("rm", field.TYPE_MESSAGE, field.LABEL_REPEATED),
        ],
        start=1,
    ):
        added = message.field.add(name=name, number=number, type=kind, label=label)
        if kind == field.TYPE_MESSAGE:
            added.type_name = ".t.M"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made: type = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.M"))
    return made


ORACLE = _message_class()

BLANK = st.sampled_from(["", " ", "  ", "\n", "\t", " # c 'd\" {\n", "\r\n"])
GAP = st.sampled_from([" ", "\n", " #x\n", "\t "])
SIMPLE = {7: "a", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t", 11: "v", 92: "\\", 39: "'", 34: '"'}


@st.composite
def written_octet(draw: st.DrawFn, quote_mark: str) -> str:
    octet = draw(st.integers(0, 255))
    ways = [f"\\x{octet:02x}", f"\\{octet:03o}"]
    if octet in SIMPLE:
        ways.append("\\" + SIMPLE[octet])
    if 32 <= octet < 127 and chr(octet) not in {"\\", quote_mark}:
        ways.append(chr(octet))
    return draw(st.sampled_from(ways))


@st.composite
def written_string(draw: st.DrawFn) -> str:
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        mark = draw(st.sampled_from(["'", '"']))
        pieces += [mark, *draw(st.lists(written_octet(mark), max_size=5)), mark, draw(BLANK)]
    return "".join(pieces)


@st.composite
def written_number(draw: st.DrawFn) -> str:
    number = draw(st.integers(0, 2**63 - 1) | st.integers(0, 20))
    sign = draw(st.sampled_from(["", "-"]))
    return sign + draw(st.sampled_from([str(number), hex(number), f"0{number:o}"]))


def written_list(items: st.SearchStrategy[str], name: str) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(items, max_size=3), BLANK).map(
        lambda drawn: f"{name}:{drawn[1]}[{drawn[1]}" + f",{drawn[1]}".join(drawn[0]) + "]"
    )


@st.composite
def written_message(draw: st.DrawFn, depth: int = 0) -> str:
    number = written_number()
    string = written_string()
    choices = [
        string.map(lambda text: f"rb: {text}"),
        number.map(lambda text: f"rn :{text}"),
        written_list(string, "rb"),
        written_list(number, "rn"),
    ]
    if depth < 3:
        inner = written_message(depth + 1)
        choices += [
            inner.map(lambda text: f"rm {{{text}}}"),
            inner.map(lambda text: f"rm: <{text}>"),
            written_list(inner.map(lambda text: f"{{{text}}}"), "rm"),
        ]
    fields = draw(st.lists(st.one_of(choices), max_size=4))
    if draw(st.booleans()):
        fields.append(f"b: {draw(string)}")
    if draw(st.booleans()):
        fields.append(f"f: {draw(st.sampled_from(['true', 'True', 't', '1', 'false', 'f', '0']))}")
    separators = [draw(GAP | st.sampled_from([",", ";", " , "])) for _ in fields]
    body = "".join(f + s for f, s in zip(fields, separators, strict=True))
    return draw(BLANK) + body + draw(BLANK)


def as_oracle(tree: Message) -> object:
    """Our tree, read by the oracle's schema."""
    message = ORACLE()
    for field in tree.fields:
        for value in field.values:
            match value:
                case Quoted(data=data) if field.name == "rb":
                    message.rb.append(data)
                case Quoted(data=data):
                    message.b = data
                case Bare() if field.name == "rn":
                    message.rn.append(value.integer())
                case Bare():
                    message.f = value.boolean()
                case Message():
                    message.rm.append(as_oracle(value))
                case _:
                    raise AssertionError(value)
    return message


@given(written_message())
def test_the_tree_is_what_protobuf_reads(text: str) -> None:
    assert as_oracle(parse(text.encode(), "f")) == text_format.Parse(text, ORACLE())


@given(st.binary())
def test_protobuf_reads_what_quote_writes(data: bytes) -> None:
    text = f"b: {quote(data)}"
    assert text_format.Parse(text, ORACLE()).b == data
