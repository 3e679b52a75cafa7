"""Contract v2 on the wire: contexts and verdicts as JSON, with their schema.

A verdict is decoded strictly: an unknown name or a wrong type is an `InvalidVerdict`, so that a
misspelt answer is a failure of the hook that somebody sees, and never silently "accept".
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from relevo.hooks.contract.contexts import AliasContext, PostDataContext
from relevo.hooks.contract.verdicts import (
    Accept,
    Changes,
    InvalidVerdict,
    Refuse,
    Verdict,
    checked_fields,
    clean_text,
)

encode_context = msgspec.json.Encoder().encode
DEFAULT_TEXTS = {
    4: "Temporary policy failure, try again later",
    5: "Message rejected by policy",
}


class HeaderField(msgspec.Struct, forbid_unknown_fields=True):
    """A header field; the value is UTF-8 without line ends."""

    name: str
    value: str

    def whole(self) -> bytes:
        """The field with its CRLF. Raises InvalidVerdict."""
        if not self.name or "\n" in self.name + self.value or "\r" in self.name + self.value:
            raise InvalidVerdict(f"header field {self.name!r} is empty or has a line end")
        return checked_fields(f"{self.name}: {self.value}".encode())


class PostDataVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at post-data; what is left out has the default shown."""

    verdict: Literal["accept", "reject", "tempfail"] = "accept"
    code: int = 0  # 0: 554 or 451
    enhanced: str = ""  # "": 5.7.1 or 4.7.1
    text: str = ""
    add_headers: list[HeaderField] = []
    remove_headers: list[str] = []
    replace_headers: list[HeaderField] = []
    add_recipients: list[str] = []
    remove_recipients: list[str] = []
    sender: str | None = None
    tags: list[str] = []


class AliasResolveVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at alias-resolve: targets as an aliases file writes them, one an item."""

    targets: list[str] = []


class AliasExistsVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at alias-exists."""

    exists: bool = False


_post_data = msgspec.json.Decoder(PostDataVerdict)
_resolve = msgspec.json.Decoder(AliasResolveVerdict)
_exists = msgspec.json.Decoder(AliasExistsVerdict)
Answer = TypeVar("Answer")


def _decode(decoder: msgspec.json.Decoder[Answer], data: bytes) -> Answer:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidVerdict(f"not a verdict: {error}") from error


def post_data_verdict(data: bytes) -> Verdict:
    """The verdict that a hook wrote; nothing at all is accept. Raises InvalidVerdict."""
    if not data.strip():
        return Accept()
    answer = _decode(_post_data, data)
    match answer.verdict:
        case "accept":
            return Accept(_changes(answer))
        case "reject":
            return _refusal(answer, 5)
        case "tempfail":
            return _refusal(answer, 4)


def alias_resolve_verdict(data: bytes) -> tuple[str, ...]:
    """Targets as texts. Raises InvalidVerdict."""
    if not data.strip():
        return ()
    return tuple(_decode(_resolve, data).targets)


def alias_exists_verdict(data: bytes) -> bool:
    """Raises InvalidVerdict."""
    if not data.strip():
        return False
    return _decode(_exists, data).exists


def _refusal(answer: PostDataVerdict, kind: int) -> Refuse:
    code = answer.code or (554 if kind == 5 else 451)
    if code // 100 != kind:
        raise InvalidVerdict(f"code {code} does not go with {answer.verdict}")
    text = clean_text(answer.text) or DEFAULT_TEXTS[kind]
    return Refuse(code, answer.enhanced or f"{kind}.7.1", text)


def _changes(answer: PostDataVerdict) -> Changes:
    for text in (*answer.add_recipients, *answer.remove_recipients, answer.sender or ""):
        if not text.isprintable():
            raise InvalidVerdict(f"address {text!r} has a control character")
    return Changes(
        add=b"".join(field.whole() for field in answer.add_headers),
        remove=tuple(answer.remove_headers),
        replace=tuple((field.name, field.whole()) for field in answer.replace_headers),
        add_recipients=tuple(answer.add_recipients),
        remove_recipients=tuple(answer.remove_recipients),
        reverse_path=answer.sender,
        tags=tuple(clean_text(tag, 64) for tag in answer.tags),
    )


def schemas() -> dict[str, Any]:
    """JSON schema (2020-12) of every context and verdict, by name."""
    types = (
        PostDataContext,
        PostDataVerdict,
        AliasContext,
        AliasResolveVerdict,
        AliasExistsVerdict,
    )
    _, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for schema in components.values():
        schema["description"] = " ".join(schema["description"].split())
    return dict(components)
