"""What signed records say of names and types that are not there: NSEC (RFC 4034 §4, RFC 4035 §5.4)
and NSEC3 (RFC 5155 §8).

Pure; the records have been verified with the keys of the zone `apex`. Names compare in the
canonical order of DNSSEC, as dnspython's do.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum, auto

import dns.dnssec
import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from relevo.dns.signatures import MAX_ITERATIONS, Bogus, Work

_OPT_OUT = 0x01


class Denied(Enum):
    """What the records prove of a name."""

    NO_NAME = auto()  # it does not exist
    NO_TYPE = auto()  # it exists without that type, and begins no other zone
    DELEGATION = auto()  # it begins a zone without DS records
    NOT_SIGNED = auto()  # it may be there in a zone without DS records (opt-out)


class TooManyRounds(Exception):
    """The zone hashes names more often than we do: it counts as one without signatures."""


@dataclass(frozen=True, slots=True)
class Denials:
    """The records of one answer."""

    apex: dns.name.Name
    nsec: tuple[tuple[dns.name.Name, NSEC], ...]
    nsec3: tuple[tuple[dns.name.Name, NSEC3], ...]
    work: Work
    hashes: dict[tuple[dns.name.Name, bytes, int], dns.name.Name] = field(default_factory=dict)

    def of_type(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Denied | None:
        """Of a name that the answer says is there without this type; None: nothing is proved."""
        if self.nsec:
            return self._nsec_type(name, rdtype)
        return self._nsec3_type(name, rdtype)

    def of_name(self, name: dns.name.Name) -> Denied | None:
        """Of a name that the answer says is not there: NO_NAME, NOT_SIGNED, or None."""
        if self.nsec:
            encloser = self._nsec_encloser(name)
            if encloser is None or not self._nsec_covering(_wildcard(encloser)):
                return None
            return Denied.NO_NAME
        found = self._nsec3_encloser(name)
        if found is None:
            return None
        encloser, is_opt_out = found
        if self._covering3(_wildcard(encloser)) is None:
            return None
        return Denied.NOT_SIGNED if is_opt_out else Denied.NO_NAME

    def of_next_closer(self, name: dns.name.Name, wildcard: dns.name.Name) -> Denied | None:
        """That `name`, which was made of a wildcard, is not there itself (RFC 4035 §5.3.4)."""
        if self.nsec:
            return Denied.NO_NAME if self._nsec_covering(name) else None
        _, next_closer = name.split(len(wildcard))
        covering = self._covering3(next_closer)
        if covering is None:
            return None
        return Denied.NOT_SIGNED if covering.flags & _OPT_OUT else Denied.NO_NAME

    # NSEC

    def _nsec_type(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Denied | None:
        for owner, record in self.nsec:
            if owner == name:
                return _without(record, rdtype)
            if owner < name and record.next.is_subdomain(name) and record.next != name:
                return Denied.NO_TYPE  # only names below it have records
        encloser = self._nsec_encloser(name)
        if encloser is None:
            return None
        wildcard = _wildcard(encloser)
        for owner, record in self.nsec:
            if owner == wildcard:
                return _without(record, rdtype)
        if rdtype == dns.rdatatype.DS and self._nsec_covering(wildcard):
            return Denied.NO_NAME
        return None

    def _nsec_covering(self, name: dns.name.Name) -> tuple[dns.name.Name, NSEC] | None:
        """The record that shows a gap where the name would be."""
        for owner, record in self.nsec:
            is_last = record.next == self.apex
            if not (owner < name and (is_last or name < record.next)):
                continue
            if name.is_subdomain(owner) and _leads_away(record):
                continue  # a zone of its own begins there: its parent knows nothing of it
            return owner, record
        return None

    def _nsec_encloser(self, name: dns.name.Name) -> dns.name.Name | None:
        """The nearest name above one that is not there."""
        covering = self._nsec_covering(name)
        if covering is None:
            return None
        owner, record = covering
        shared = max(_shared(name, owner), _shared(name, record.next))
        _, encloser = name.split(shared)
        return encloser if encloser.is_subdomain(self.apex) else None

    # NSEC3

    def _nsec3_type(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Denied | None:
        matching = self._matching3(name)
        if matching is not None:
            return _without(matching, rdtype)
        found = self._nsec3_encloser(name)
        if found is None:
            return None
        encloser, is_opt_out = found
        if is_opt_out:
            return Denied.NOT_SIGNED
        at_wildcard = self._matching3(_wildcard(encloser))
        if at_wildcard is not None:
            return _without(at_wildcard, rdtype)
        if rdtype == dns.rdatatype.DS and self._covering3(_wildcard(encloser)) is not None:
            return Denied.NO_NAME
        return None

    def _nsec3_encloser(self, name: dns.name.Name) -> tuple[dns.name.Name, bool] | None:
        """The nearest name above one that is not there, and whether the gap is one of opt-out."""
        next_closer = name
        while len(next_closer) > len(self.apex):
            encloser = next_closer.parent()
            matching = self._matching3(encloser)
            if matching is not None:
                covering = self._covering3(next_closer)
                if covering is None or _leads_away(matching):
                    return None
                return encloser, bool(covering.flags & _OPT_OUT)
            next_closer = encloser
        return None

    def _matching3(self, name: dns.name.Name) -> NSEC3 | None:
        for owner, record in self.nsec3:
            if owner == self._hashed(name, record):
                return record
        return None

    def _covering3(self, name: dns.name.Name) -> NSEC3 | None:
        for owner, record in self.nsec3:
            hashed = self._hashed(name, record).labels[0]
            low = owner.labels[0].upper()
            high = base64.b32encode(record.next).translate(_TO_HEX)
            if (low < hashed < high) or (high <= low and (hashed > low or hashed < high)):
                return record
        return None

    def _hashed(self, name: dns.name.Name, record: NSEC3) -> dns.name.Name:
        if record.algorithm != 1 or record.iterations > MAX_ITERATIONS:
            raise TooManyRounds
        key = (name, record.salt, record.iterations)
        found = self.hashes.get(key)
        if found is None:
            self.work.hash()
            digest = dns.dnssec.nsec3_hash(name, record.salt, record.iterations, 1)
            found = self.hashes[key] = dns.name.Name([digest.encode(), *self.apex.labels])
        return found


_TO_HEX = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHIJKLMNOPQRSTUV")


def has_type(record: NSEC | NSEC3, rdtype: dns.rdatatype.RdataType) -> bool:
    """Is the type in the record's bit map?"""
    window, rest = divmod(int(rdtype), 256)
    for number, bits in record.windows:
        if number == window and rest // 8 < len(bits):
            return bool(bits[rest // 8] & (0x80 >> rest % 8))
    return False


def _without(record: NSEC | NSEC3, rdtype: dns.rdatatype.RdataType) -> Denied | None:
    """What the record at the very name says of a type that the answer lacks."""
    if has_type(record, rdtype) or has_type(record, dns.rdatatype.CNAME):
        return None
    is_apex = has_type(record, dns.rdatatype.SOA)
    is_cut = has_type(record, dns.rdatatype.NS) and not is_apex
    if rdtype == dns.rdatatype.DS:
        if is_apex:
            return None  # the child's word where the parent's is asked for
        return Denied.DELEGATION if is_cut else Denied.NO_TYPE
    return None if is_cut else Denied.NO_TYPE


def _leads_away(record: NSEC | NSEC3) -> bool:
    """Does what is below the record's name belong to another zone, or is it elsewhere?"""
    is_cut = has_type(record, dns.rdatatype.NS) and not has_type(record, dns.rdatatype.SOA)
    return is_cut or has_type(record, dns.rdatatype.DNAME)


def _wildcard(encloser: dns.name.Name) -> dns.name.Name:
    try:
        return dns.name.Name([b"*", *encloser.labels])
    except dns.name.NameTooLong as error:
        raise Bogus("a name that is too long") from error


def _shared(one: dns.name.Name, other: dns.name.Name) -> int:
    """How many labels two names have in common, from the root on."""
    return one.fullcompare(other)[2]
