"""Aggregate reports of others (RFC 9990, and RFC 7489 before it): XML, as it is, in gzip or in zip.

What comes in was made by anybody: sizes, depth and numbers are bounded, and a document type (with
it every entity) is refused. Elements that are not known are passed over. Raises BadReport, nothing
else.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from ipaddress import ip_address
from xml.parsers import expat

from relevo.value import dataclass

MAX_PACKED = 16 * 1024 * 1024
MAX_UNPACKED = 64 * 1024 * 1024
MAX_DEPTH = 16
MAX_ROWS = 100_000
MAX_TEXT = 300  # characters of a value that are kept
MAX_RESULTS = 20  # of DKIM, a row
# as reporters pack; others need memory as their makers choose, and fail in ways of their own
_PACKINGS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class BadReport(Exception):
    """Not a report that can be read; the text is printable ASCII."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """Messages that were alike. `dkim_results` and `spf_results` are `domain=result`."""

    source_ip: str
    count: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str
    dkim_results: tuple[str, ...]
    spf_results: tuple[str, ...]

    @property
    def is_aligned(self) -> bool:
        """Whether DMARC passed."""
        return "pass" in {self.dkim, self.spf}


@dataclass(frozen=True, slots=True)
class AggregateReport:
    """One report; times in seconds since the epoch."""

    organization: str
    contact: str
    report_id: str
    begin: int
    end: int
    domain: str
    policy: str
    rows: tuple[ReportRow, ...]


def read_report(octets: bytes) -> AggregateReport:
    """The report of a file or an attachment. Raises BadReport."""
    if len(octets) > MAX_PACKED:
        raise BadReport(f"larger than {MAX_PACKED} octets")
    return _parse(_unpacked(octets))


def _unpacked(octets: bytes) -> bytes:
    if octets.startswith(b"\x1f\x8b"):
        return _from_gzip(octets)
    if octets.startswith(b"PK\x03\x04"):
        return _from_zip(octets)
    return octets


def _from_gzip(octets: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(octets, MAX_UNPACKED)
    except zlib.error as error:
        raise BadReport("the gzip data are damaged") from error
    if unpacker.unconsumed_tail:
        raise BadReport(f"larger than {MAX_UNPACKED} octets when unpacked")
    if not unpacker.eof:
        raise BadReport("the gzip data are not complete")
    return text


def _from_zip(octets: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".xml")]
            if len(names) != 1:
                raise BadReport("the zip archive has not one XML file")
            if archive.getinfo(names[0]).compress_type not in _PACKINGS:
                raise BadReport("the zip archive is packed in a way that is not known")
            with archive.open(names[0]) as file:
                text = file.read(MAX_UNPACKED + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise BadReport("the zip archive cannot be read") from error
    except (NotImplementedError, ValueError) as error:
        raise BadReport("the zip archive is packed in a way that is not known") from error
    if len(text) > MAX_UNPACKED:
        raise BadReport(f"larger than {MAX_UNPACKED} octets when unpacked")
    return text


def _parse(text: bytes) -> AggregateReport:
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.on_doctype
    parser.StartElementHandler = reader.on_start
    parser.EndElementHandler = reader.on_end
    parser.CharacterDataHandler = reader.on_text
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # encodings: the last two
        raise BadReport("it is no well-formed XML") from error
    return reader.report()


class _Reader:
    """Collects what expat finds, by the path of its element below the root."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text = ""
        self._values: dict[str, list[str]] = {}  # of the row that is open, or outside of rows
        self._outside: dict[str, list[str]] = {}
        self._rows: list[ReportRow] = []

    def on_doctype(self, *_: object) -> None:
        raise BadReport("it has a document type")

    def on_start(self, name: str, _attributes: object) -> None:
        if len(self._path) >= MAX_DEPTH:
            raise BadReport("its elements are too deep")
        self._path.append(name.rpartition(":")[2][:40])
        self._text = ""
        if len(self._path) == 1 and self._path[0] != "feedback":
            raise BadReport("it is no aggregate report: its root is not 'feedback'")
        if self._path[1:] == ["record"]:
            self._values = {}

    def on_text(self, text: str) -> None:
        if len(self._text) < MAX_TEXT:
            self._text += text

    def on_end(self, _name: str) -> None:
        path = "/".join(self._path[1:])
        values = self._values if path.startswith("record/") else self._outside
        known = values.setdefault(path, []) if len(values) < 100 else []
        if len(known) < MAX_RESULTS:
            known.append(_printable(self._text))
        self._text = ""
        self._path.pop()
        if path == "record":
            if len(self._rows) >= MAX_ROWS:
                raise BadReport(f"it has more than {MAX_ROWS} rows")
            self._rows.append(self._row())

    def _row(self) -> ReportRow:
        values = self._values
        try:
            source = str(ip_address(_first(values, "record/row/source_ip")))
        except ValueError as error:
            raise BadReport("a row has no address of a source") from error
        evaluated = "record/row/policy_evaluated/"
        return ReportRow(
            source,
            _number(_first(values, "record/row/count"), "count"),
            _first(values, evaluated + "disposition"),
            _first(values, evaluated + "dkim"),
            _first(values, evaluated + "spf"),
            _first(values, "record/identifiers/header_from"),
            _first(values, "record/identifiers/envelope_from"),
            _results(values, "record/auth_results/dkim/"),
            _results(values, "record/auth_results/spf/"),
        )

    def report(self) -> AggregateReport:
        values = self._outside
        policy = ", ".join(
            f"{tag}={text}"
            for tag in ("p", "sp", "np", "testing")
            if (text := _first(values, f"policy_published/{tag}"))
        )
        domain = _first(values, "policy_published/domain")
        if not domain:
            raise BadReport("it does not say which domain it is about")
        return AggregateReport(
            _first(values, "report_metadata/org_name"),
            _first(values, "report_metadata/email"),
            _first(values, "report_metadata/report_id"),
            _number(_first(values, "report_metadata/date_range/begin"), "begin"),
            _number(_first(values, "report_metadata/date_range/end"), "end"),
            domain.lower(),
            policy,
            tuple(self._rows),
        )


def _first(values: dict[str, list[str]], path: str) -> str:
    return values.get(path, [""])[0]


def _results(values: dict[str, list[str]], start: str) -> tuple[str, ...]:
    domains, results = values.get(start + "domain", []), values.get(start + "result", [])
    return tuple(f"{domain}={result}" for domain, result in zip(domains, results, strict=False))


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise BadReport(f"its {what} is no number")
    return int(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text.strip()[:MAX_TEXT])
