"""The verdicts of contract v2 as JSON objects, a type a stage, and what they mean as values.

What is left out of an object has the default of its type. Unknown names are not allowed.
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal

import msgspec

from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import (
    DEFAULT_TEXTS,
    Accept,
    Changes,
    Discard,
    InvalidVerdict,
    Refuse,
    Verdict,
    checked_fields,
    clean_text,
)

MAX_TAGS = 32
"""Of one verdict."""
MAX_ADDRESSES = 1000
_MAX_TAG = 64  # octets

_CODES = {
    Stage.CONNECT: (421, 554),
    Stage.AUTH: (454, 535),
    Stage.EHLO: (451, 550),
    Stage.MAIL: (451, 550),
    Stage.RCPT: (451, 550),
}
_OTHER_CODES = (451, 554)


def refusal(stage: Stage, *, is_permanent: bool, text: str = "") -> Refuse:
    """What a stage answers when nothing more is said."""
    kind = 5 if is_permanent else 4
    code = _CODES.get(stage, _OTHER_CODES)[is_permanent]
    return Refuse(code, f"{kind}.7.1", clean_text(text) or DEFAULT_TEXTS[kind])


class HeaderField(msgspec.Struct, forbid_unknown_fields=True):
    """A header field; the value is UTF-8 without line ends."""

    name: str
    value: str

    def whole(self) -> bytes:
        """The field with its CRLF. Raises InvalidVerdict."""
        if not self.name or "\n" in self.name + self.value or "\r" in self.name + self.value:
            raise InvalidVerdict(f"header field {self.name!r} is empty or has a line end")
        return checked_fields(f"{self.name}: {self.value}".encode())


class SessionVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at connect, ehlo and auth."""

    verdict: Literal["accept", "reject", "tempfail"] = "accept"
    code: int = 0  # 0: that of the stage
    enhanced: str = ""  # "": 5.7.1 or 4.7.1
    text: str = ""
    tags: list[str] = []

    def value(self, stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict == "accept":
            return Accept(Changes(tags=_tags(self.tags)))
        return _refused(stage, self.verdict, self.code, self.enhanced, self.text)


class MailVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at mail. `sender` replaces the reverse-path, `""` by the null one.

    With `discard` the whole message is accepted and dropped when it has come.
    """

    verdict: Literal["accept", "reject", "tempfail", "discard"] = "accept"
    code: int = 0
    enhanced: str = ""
    text: str = ""
    sender: str | None = None
    add_headers: list[HeaderField] = []
    tags: list[str] = []

    def value(self, stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict == "accept":
            _addresses(self.sender or "")
            add, tags = _fields(self.add_headers), _tags(self.tags)
            return Accept(Changes(add=add, reverse_path=self.sender, tags=tags))
        if self.verdict == "discard":
            return Discard(clean_text(self.text))
        return _refused(stage, self.verdict, self.code, self.enhanced, self.text)


class RcptVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at rcpt. `redirect`: addresses that the forward-path stands for, if any.

    With `discard` the whole message is accepted and dropped when it has come.
    """

    verdict: Literal["accept", "reject", "tempfail", "discard"] = "accept"
    code: int = 0
    enhanced: str = ""
    text: str = ""
    redirect: list[str] = []
    add_headers: list[HeaderField] = []
    tags: list[str] = []

    def value(self, stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict == "accept":
            redirect = _addresses(*self.redirect)
            add, tags = _fields(self.add_headers), _tags(self.tags)
            return Accept(Changes(add=add, redirect=redirect, tags=tags))
        if self.verdict == "discard":
            return Discard(clean_text(self.text))
        return _refused(stage, self.verdict, self.code, self.enhanced, self.text)


class PostDataVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at post-data; what is left out has the default shown."""

    verdict: Literal["accept", "reject", "tempfail", "discard", "quarantine"] = "accept"
    code: int = 0  # 0: 554 or 451
    enhanced: str = ""  # "": 5.7.1 or 4.7.1
    text: str = ""
    add_headers: list[HeaderField] = []
    remove_headers: list[str] = []
    replace_headers: list[HeaderField] = []
    add_recipients: list[str] = []
    remove_recipients: list[str] = []
    redirect: list[str] = []
    sender: str | None = None
    body: str | None = None
    body_b64: str = ""
    tags: list[str] = []

    def value(self, stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict in {"accept", "quarantine"}:
            return Accept(self._changes())
        if self.verdict == "discard":
            return Discard(clean_text(self.text))
        return _refused(stage, self.verdict, self.code, self.enhanced, self.text)

    def _changes(self) -> Changes:
        _addresses(self.sender or "")
        return Changes(
            add=_fields(self.add_headers),
            remove=tuple(self.remove_headers),
            replace=tuple((field.name, field.whole()) for field in self.replace_headers),
            add_recipients=_addresses(*self.add_recipients),
            remove_recipients=_addresses(*self.remove_recipients),
            redirect=_addresses(*self.redirect),
            reverse_path=self.sender,
            body=self._body(),
            hold=self._hold(),
            tags=_tags(self.tags),
        )

    def _hold(self) -> str:
        if self.verdict == "accept":
            return ""
        return clean_text(self.text) or "held by policy"

    def _body(self) -> bytes | None:
        """With CRLF line ends, whichever it came with; None: as it was."""
        if self.body is not None and self.body_b64:
            raise InvalidVerdict("body and body_b64 are both given")
        try:
            octets = base64.b64decode(self.body_b64, validate=True)
        except binascii.Error as error:
            raise InvalidVerdict(f"body_b64 is no base64: {error}") from error
        if self.body is not None:
            octets = self.body.encode()
        elif not octets:
            return None
        lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
        return lines.replace(b"\n", b"\r\n") + b"\r\n" if lines else b""


class AliasResolveVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at alias-resolve: targets as an aliases file writes them, one an item."""

    targets: list[str] = []


class AliasExistsVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at alias-exists."""

    exists: bool = False


class RouteVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at route. `route`: `mx:DOMAIN` or `via:SERVER,SERVER`; "": as it was."""

    verdict: Literal["accept", "reject", "tempfail"] = "accept"
    enhanced: str = ""
    text: str = ""
    route: str = ""
    tags: list[str] = []

    def value(self, stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict == "accept":
            if self.route and (
                not self.route.startswith(("mx:", "via:"))
                or not self.route.isprintable()
                or self.route.endswith(":")
            ):
                raise InvalidVerdict(f"route {self.route!r} is none of mx:DOMAIN and via:SERVER")
            return Accept(Changes(route=self.route, tags=_tags(self.tags)))
        return _refused(stage, self.verdict, 0, self.enhanced, self.text)


class AttemptVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at before-attempt: reject gives the recipients up, tempfail tries them later."""

    verdict: Literal["accept", "reject", "tempfail"] = "accept"
    enhanced: str = ""
    text: str = ""
    tags: list[str] = []

    def value(self, stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict == "accept":
            return Accept(Changes(tags=_tags(self.tags)))
        return _refused(stage, self.verdict, 0, self.enhanced, self.text)


class OutcomeVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at delivered, deferred and failed, where nothing can be changed any more."""

    tags: list[str] = []

    def value(self, _stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        return Accept(Changes(tags=_tags(self.tags)))


class DsnVerdict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The answer at dsn: whether the notification is queued."""

    verdict: Literal["accept", "drop"] = "accept"
    text: str = ""
    tags: list[str] = []

    def value(self, _stage: Stage) -> Verdict:
        """Raises InvalidVerdict."""
        if self.verdict == "drop":
            return Discard(clean_text(self.text))
        return Accept(Changes(tags=_tags(self.tags)))


StageVerdict = (
    SessionVerdict
    | MailVerdict
    | RcptVerdict
    | PostDataVerdict
    | RouteVerdict
    | AttemptVerdict
    | OutcomeVerdict
    | DsnVerdict
)


def _refused(stage: Stage, verdict: str, code: int, enhanced: str, text: str) -> Refuse:
    usual = refusal(stage, is_permanent=verdict == "reject", text=text)
    code = code or usual.code
    if code // 100 != usual.code // 100:
        raise InvalidVerdict(f"code {code} does not go with {verdict}")
    return Refuse(code, enhanced or usual.enhanced, usual.text)


def _fields(fields: list[HeaderField]) -> bytes:
    return b"".join([field.whole() for field in fields])


def _tags(texts: list[str]) -> tuple[str, ...]:
    if len(texts) > MAX_TAGS:
        raise InvalidVerdict(f"{len(texts)} tags, at most {MAX_TAGS} are allowed")
    cleaned = (clean_text(text, _MAX_TAG) for text in texts)
    return tuple(dict.fromkeys(filter(None, cleaned)))


def _addresses(*texts: str) -> tuple[str, ...]:
    if len(texts) > MAX_ADDRESSES:
        raise InvalidVerdict(f"{len(texts)} addresses, at most {MAX_ADDRESSES} are allowed")
    for text in texts:
        if not text.isprintable():
            raise InvalidVerdict(f"address {text!r} has a control character")
    return texts
