"""Just enough DNS to ask one question and to judge the reply to it, quickly: thousands a second go through here.

What the right answer is, dotward-faults computes from the asked name; `expected_a` is the same function.
"""

import struct

A, TXT, OPT = 1, 16, 41
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
EXTENDED_ERROR = 15

# An OPT record: 1232 octets over UDP, no flags, no options.
_OPT = b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0)
_TAIL = {qtype: struct.pack("!HH", qtype, 1) for qtype in (A, TXT)}


class Bad(Exception):
    """Octets that are no reply to the question."""


def wire_name(name):
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def query(number, name, qtype=A):
    """(message, the octets of its question)."""
    question = wire_name(name) + _TAIL[qtype]
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1) + question + _OPT, question


def expected_a(name):
    """The 4 octets that encode the name: 240.0.0.0/4 with 28 bits of FNV-1a of its lower-case form."""
    total = 0xCBF29CE484222325
    for octet in (*name.lower().encode(), 0):
        total = ((total ^ octet) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return struct.pack("!I", 0xF0000000 | ((total ^ (total >> 32)) & 0x0FFFFFFF))


class Reply:
    """What a message says as far as it matters here."""

    __slots__ = ("rcode", "truncated", "question", "addresses", "ede", "ede_text", "octets")

    def __init__(self, octets):
        self.octets = len(octets)
        try:
            self._read(octets)
        except (struct.error, IndexError):
            raise Bad("a message that ends early") from None

    def _read(self, octets):
        _, flags, questions, answers, authorities, additionals = struct.unpack_from("!HHHHHH", octets)
        if not flags & 0x8000:
            raise Bad("a query in place of a response")
        if questions != 1:
            raise Bad(f"{questions} questions")
        self.rcode, self.truncated = flags & 15, bool(flags & 0x0200)
        at = _skip_name(octets, 12) + 4
        self.question = octets[12:at]
        self.addresses, self.ede, self.ede_text = [], [], []
        for place in range(answers + authorities + additionals):
            at = _skip_name(octets, at)
            rtype, _, _, length = struct.unpack_from("!HHIH", octets, at)
            data = octets[at + 10 : at + 10 + length]
            at += 10 + length
            if rtype == A and place < answers:
                self.addresses.append(data)
            elif rtype == OPT:
                self._read_options(data)
        if at != len(octets):
            raise Bad("octets behind the last record")

    def _read_options(self, data):
        at = 0
        while at + 4 <= len(data):
            code, length = struct.unpack_from("!HH", data, at)
            if code == EXTENDED_ERROR and length >= 2:
                self.ede.append(struct.unpack_from("!H", data, at + 4)[0])
                self.ede_text.append(data[at + 6 : at + 4 + length].decode(errors="replace"))
            at += 4 + length


def _skip_name(octets, at):
    while True:
        length = octets[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if length == 0:
            return at
