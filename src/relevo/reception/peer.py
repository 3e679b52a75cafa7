"""Who a connection is with: the client's address, and its place in the count of connections.

The address is that of the connection, until a proxy names its client: by the header in front of
everything (PROXY protocol), or by XCLIENT. Counted is always the address that is known best; a
connection whose header is still to come counts in the total alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.reception.admission import Admission
from relevo.reception.proxy_header import BadProxyHeader, parse_proxy_header

if TYPE_CHECKING:
    from relevo.reception.admission import Gate
    from relevo.reception.conduct import Conduct


class NoClientNamed(Exception):
    """What came in place of a PROXY header; the text says why it is none."""


class Peer:
    """The other end of one connection. Call `leave` when it is closed."""

    __slots__ = ("_gate", "_header", "_is_counted", "conduct", "ip", "is_proxy", "name", "port")

    def __init__(self, gate: Gate, conduct: Conduct) -> None:
        self._gate = gate
        self.conduct = conduct  # of the client that is known best
        self.is_proxy = False  # the address is that of a proxy that has named nobody (yet)
        self._header: bytes | None = None  # what has come of a PROXY header; None: none awaited
        self._is_counted = False
        self.move_to("0.0.0.0", 0)

    def move_to(self, ip: str, port: int) -> None:
        """Take this address from now on, without counting it."""
        self.ip = ip
        self.port = port
        self.name = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

    @property
    def is_header_awaited(self) -> bool:
        return self._header is not None

    def enter(self) -> Admission:
        """Count the connection by its address, and look at what came from there before."""
        if not self.is_proxy:
            self.conduct.begin(self.ip)
            if self.conduct.is_refused:
                return Admission.PENALIZED
        admission = self._gate.enter(self.ip)
        self._is_counted = admission is Admission.ADMITTED
        return admission

    def leave(self) -> None:
        """Count it no more."""
        self.conduct.end()
        if self._header is not None:
            self._header = None
            self._gate.leave_unnamed()
        if self._is_counted:
            self._is_counted = False
            self._gate.leave(self.ip)

    def await_header(self) -> Admission:
        """The peer is a proxy: its header comes first. To be followed by `read_header`."""
        admission = self._gate.enter_unnamed()
        if admission is Admission.ADMITTED:
            self._header = b""
        return admission

    def read_header(self, data: bytes) -> bytes | None:
        """Octets of the header; None: more are needed, else those behind it, then call `enter`.

        Raises NoClientNamed.
        """
        octets = (self._header or b"") + data
        header = parse_proxy_header(octets)
        if header is None:
            self._header = octets
            return None
        self.leave()
        if isinstance(header, BadProxyHeader):
            raise NoClientNamed(header.reason)
        if header.source is None:
            self.is_proxy = True
        else:
            self.move_to(header.source.ip, header.source.port)
        return octets[header.length :]

    def become(self, ip: str | None, port: int | None) -> Admission:
        """Take the address that XCLIENT names, and count that one. None: what was known stays."""
        if ip is None:
            self.move_to(self.ip, self.port if port is None else port)
            return Admission.ADMITTED
        self.leave()
        self.is_proxy = False
        self.move_to(ip, port or 0)
        return self.enter()
