"""Patterns of the command grammar, each beside its rule, and the parsers of its small parts.

Text arrives decoded from UTF-8; non-ASCII characters stand where RFC 6531 §3.3 lets them stand.
Every pattern is linear: no nested or adjacent repetitions that can match the same text.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
import unicodedata
from typing import Final

from relevo.smtp.events import Path

MAX_ADDRESS_OCTETS: Final = 256  # RFC 5321 §4.5.3.1.3, without the brackets
MAX_DOMAIN_OCTETS: Final = 253  # RFC 1035 §2.3.4, as text
MAX_HELLO_OCTETS: Final = 255  # RFC 5321 §4.5.3.1.2

# Control characters, which no part of a command line may hold: C0 without TAB, DEL, C1; and what
# some readers take for a line end.
CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

# atext = ALPHA / DIGIT / specials / UTF8-non-ascii (RFC 5322 §3.2.3, RFC 6531 §3.3)
_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\u2027\u202a-\U0010ffff-]"
# Dot-string = Atom *("." Atom) (RFC 5321 §4.1.2)
DOT_STRING: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
# QcontentSMTP = qtextSMTP / quoted-pairSMTP; the first is %d32-33 / %d35-91 / %d93-126 / UTF-8
_QCONTENT: Final = r'(?:[^"\\\x00-\x1f\x7f-\x9f\u2028\u2029]|\\[\x20-\x7e])'
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE (RFC 5321 §4.1.2)
QUOTED_STRING: Final = re.compile(rf'"({_QCONTENT}*)"')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
# Path = "<" ... ">" with quoted strings skipped whole, so that a ">" in quotes ends nothing
_UNQUOTED: Final = r'[^"<>\x00-\x20\x7f-\x9f\u2028\u2029]'
BRACKETED: Final = re.compile(rf'<((?:"{_QCONTENT}*"|{_UNQUOTED})*)>(?=[ \t]|\Z)')
BARE: Final = re.compile(rf'((?:"{_QCONTENT}*"|{_UNQUOTED})+)(?=[ \t]|\Z)')
# The commonest form of a path, to answer for in one match: ASCII Dot-string, hostname, both short
PLAIN_PATH: Final = re.compile(
    rb"[ ]*<((?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    rb"@((?=[^>]{1,63}>)[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*)>(?=[ ]|\Z)"
)

# sub-domain = Let-dig [Ldh-str] (RFC 5321 §4.1.2); 63 octets (RFC 1035 §2.3.4)
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# What a U-label may hold besides letters, marks and digits (RFC 5892 app. A: CONTEXTJ, CONTEXTO)
_IN_CONTEXT: Final = frozenset("-\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb")

# esmtp-param = esmtp-keyword ["=" esmtp-value] (RFC 5321 §4.1.2, RFC 6531 §3.3)
PARAMETER: Final = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^=\s\x00-\x1f\x7f-\x9f][^\s\x00-\x1f\x7f-\x9f]*))?"
)
# size-value = 1*20DIGIT (RFC 1870 §3)
SIZE: Final = re.compile(r"[0-9]{1,20}")
# bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] (RFC 3030 §2); 18 digits are an exabyte
BDAT: Final = re.compile(rb"([0-9]{1,18})(?:[ ]+(LAST))?[ ]*", re.IGNORECASE)
# auth-command = "AUTH" SP sasl-mech [SP initial-response] (RFC 4954 §4, RFC 4422 §3.1)
AUTH: Final = re.compile(rb"([A-Za-z0-9_-]{1,20})(?:[ ]+([A-Za-z0-9+/=]+))?[ ]*")
# xtext = *( xchar / hexchar ) (RFC 3461 §4); hexchar = "+" 2(%x30-39 / %x41-46)
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR: Final = re.compile(rb"\+([0-9A-F]{2})")
# utf-8-addr-xtext, utf-8-addr-unitext: EmbeddedUnicodeChar = "\x{" HEXPOINT "}" (RFC 6533 §3)
_UTF8_ADDRESS: Final = re.compile(r"(?:[!-*,-<>-\[\]-~]|\\x\{[0-9A-F]{2,6}\}|[\u00a0-\U0010ffff])+")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def mailbox(text: str) -> Path | None:
    """`Local-part@Domain` split at the last "@" outside quotes, or None when malformed.

    The domain is not looked at; see `is_domain`.
    """
    quoted = QUOTED_STRING.match(text)
    if quoted:
        local, rest = unquote(quoted[1]), text[quoted.end() :]
        if not rest.startswith("@") or not local:
            return None
        domain = rest[1:]
    else:
        local, at, domain = text.rpartition("@")
        if not at or not DOT_STRING.fullmatch(local):
            return None
    return Path(local, domain) if domain else None


def unquote(content: str) -> str:
    """What stands between the quotes of a quoted string, without its backslashes."""
    return _QUOTED_PAIR.sub(r"\1", content) if "\\" in content else content


def is_domain(text: str) -> bool:
    """A hostname in ASCII or U-labels, or an address literal (RFC 5321 §4.1.2, §4.1.3).

    Stricter than dot-atom on purpose: names of files, look-ups and rules are made from domains.
    Whether IDNA can convert the U-labels is decided by the room above.
    """
    if text.startswith("["):
        return text.endswith("]") and is_address_literal(text[1:-1])
    if len(text.encode()) > MAX_DOMAIN_OCTETS:
        return False
    return all(map(_is_label, text.split(".")))


def _is_label(label: str) -> bool:
    if label.isascii():
        return _LABEL.fullmatch(label) is not None
    if len(label) > 63 or label[0] == "-" or label[-1] == "-":
        return False
    return all(char in _IN_CONTEXT or unicodedata.category(char)[0] in "LMN" for char in label)


def is_address_literal(text: str) -> bool:
    """IPv4 or IPv6 in the form that stands between brackets (RFC 5321 §4.1.3)."""
    try:
        if text[:5].upper() == "IPV6:":
            return "%" not in text and bool(ipaddress.IPv6Address(text[5:]))
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def xtext(text: str) -> str | None:
    """Decoded xtext, or None when malformed or when the octets are not printable UTF-8."""
    if not _XTEXT.fullmatch(text):
        return None
    octets = _HEXCHAR.sub(lambda match: bytes([int(match[1], 16)]), text.encode())
    try:
        decoded = octets.decode()
    except UnicodeDecodeError:
        return None
    return None if "\t" in decoded or CONTROL.search(decoded) else decoded


def utf8_address(text: str) -> str | None:
    """Decoded utf-8-addr-xtext or -unitext (RFC 6533 §3), or None when malformed."""
    if not _UTF8_ADDRESS.fullmatch(text):
        return None
    try:
        decoded = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), text)
        decoded.encode()
    except (ValueError, OverflowError):  # beyond Unicode, or half of a surrogate pair
        return None
    return None if "\t" in decoded or CONTROL.search(decoded) else decoded


def base64(octets: bytes) -> bytes | None:
    """Strictly decoded base64 with its padding (RFC 4648 §4), or None."""
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        return None
