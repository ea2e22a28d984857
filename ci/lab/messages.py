"""DNS messages octet by octet: written as wrong as a check wants them, and read strictly.

Deliberately without a DNS library: a ruler of its own, which can also write what no library would.
"""

import struct
from collections import namedtuple

A, NS, CNAME, SOA, TXT, AAAA, SRV, OPT, RRSIG, IXFR, AXFR, ANY = 1, 2, 5, 6, 16, 28, 33, 41, 46, 251, 252, 255
IN, CH = 1, 3
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS, BADCOOKIE = 0, 1, 2, 3, 4, 5, 16, 23
QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
DO = 0x8000
ECS, COOKIE, KEEPALIVE, PADDING, EDE, REPORT = 8, 10, 11, 12, 15, 18
NSID = 3

Record = namedtuple("Record", "section owner rtype rclass ttl rdata")


def wire(name):
    """The wire form of a name written with dots; octets are taken to be the wire form already."""
    if isinstance(name, bytes):
        return name
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def header(identifier, flags, questions=0, answers=0, authorities=0, additionals=0):
    return struct.pack("!6H", identifier, flags, questions, answers, authorities, additionals)


def question(name, qtype=A, qclass=IN):
    return wire(name) + struct.pack("!HH", qtype, qclass)


def record(owner, rtype, rdata, ttl=60, rclass=IN):
    return wire(owner) + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata)) + rdata


def option(code, data=b""):
    return struct.pack("!HH", code, len(data)) + data


def opt(size=1232, version=0, flags=0, options=b"", rcode_high=0, owner=b"\0"):
    """An OPT record; `options` are octets, however wrong."""
    return owner + struct.pack("!HHBBHH", OPT, size, rcode_high, version, flags, len(options)) + options


def query(name, qtype=A, qclass=IN, edns=None, flags=RD, identifier=0x1234):
    """A query with one question, and with the OPT record given."""
    head = header(identifier, flags, 1, 0, 0, 1 if edns is not None else 0)
    return head + question(name, qtype, qclass) + (edns or b"")


def skip_name(octets, at):
    while True:
        length = octets[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length >= 0x40:
            raise ValueError(f"label type at {at}")
        at += 1 + length


def read_name(octets, at):
    """The uncompressed wire form of the name at `at`; pointers must go backwards."""
    labels, bound = [], len(octets)
    while True:
        length = octets[at]
        if length >= 0xC0:
            target = ((length & 0x3F) << 8) | octets[at + 1]
            if target >= min(bound, at):
                raise ValueError(f"pointer at {at} does not go backwards")
            at = bound = target
        elif length >= 0x40:
            raise ValueError(f"label type at {at}")
        else:
            labels.append(octets[at : at + 1 + length])
            if length == 0:
                return b"".join(labels)
            at += 1 + length


class Message:
    """A message read strictly: every count and length must hold, and nothing may follow the last record."""

    def __init__(self, octets):
        self.octets = octets
        try:
            self._read()
        except (IndexError, struct.error) as error:
            raise ValueError(f"cut short: {error}") from None

    def _read(self):
        octets = self.octets
        self.id, self.flags, questions, *counts = struct.unpack("!6H", octets[:12])
        at, self.questions, self.records = 12, [], []
        for _ in range(questions):
            end = skip_name(octets, at) + 4
            if end > len(octets):
                raise ValueError("question cut short")
            self.questions.append(octets[at:end])
            at = end
        self.records_at = at
        for section, count in enumerate(counts):
            for _ in range(count):
                owner = read_name(octets, at)
                at = skip_name(octets, at)
                rtype, rclass, ttl, length = struct.unpack("!HHIH", octets[at : at + 10])
                at += 10
                if at + length > len(octets):
                    raise ValueError("record runs past the message")
                self.records.append(Record(section, owner, rtype, rclass, ttl, octets[at : at + length]))
                at += length
        if at != len(octets):
            raise ValueError(f"{len(octets) - at} octets follow the last record")

    def section(self, number):
        return [found for found in self.records if found.section == number]

    @property
    def answers(self):
        return [found for found in self.section(0)]

    @property
    def opt(self):
        found = [found for found in self.records if found.rtype == OPT]
        if len(found) > 1:
            raise ValueError(f"{len(found)} OPT records")
        return found[0] if found else None

    @property
    def rcode(self):
        high = self.opt.ttl >> 24 if self.opt else 0
        return high << 4 | self.flags & 0x0F

    @property
    def options(self):
        """The options of the OPT record in order: (code, data)."""
        found, rest = [], self.opt.rdata if self.opt else b""
        while rest:
            code, length = struct.unpack("!HH", rest[:4])
            if len(rest) < 4 + length:
                raise ValueError("option runs past its record")
            found.append((code, rest[4 : 4 + length]))
            rest = rest[4 + length :]
        return found

    def option(self, code):
        return next((data for found, data in self.options if found == code), None)

    @property
    def ede(self):
        """The code of the extended error, or None."""
        data = self.option(EDE)
        return None if data is None else struct.unpack("!H", data[:2])[0]

    @property
    def name(self):
        return self.questions[0][:-4]

    @property
    def qtype(self):
        return struct.unpack("!H", self.questions[0][-4:-2])[0]


def frame(message):
    return struct.pack("!H", len(message)) + message
