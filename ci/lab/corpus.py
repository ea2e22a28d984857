"""Odd and broken DNS messages, the same ones in every run: made from a seed, so that no blob has to be kept."""

import random

from lab import messages
from lab.messages import DO, QR, RD, header, opt, option, query, question, record

SEED = 20_350
OPTIONS = (3, 5, 8, 9, 10, 11, 12, 13, 15, 18, 100, 65001)


def corpus(count):
    """`count` messages: whole ones of many kinds, and mutations of them. About one in eight is due no reply."""
    rng = random.Random(SEED)
    for number in range(count):
        octets = whole(rng, number)
        for _ in range(rng.choice((0, 0, 1, 1, 2, 6))):
            octets = mutate(rng, octets)
        if octets[2:3] and octets[2] & 0x80 and rng.random() < 0.5:
            octets = octets[:2] + bytes([octets[2] & 0x7F]) + octets[3:]  # or half of the random ones would be responses
        yield octets[:4000]


def whole(rng, number):
    identifier = rng.getrandbits(16)
    flags = rng.choice((RD, RD, RD, 0, RD | rng.getrandbits(11), rng.getrandbits(16)))
    if rng.random() < 0.06:
        flags |= QR
    if rng.random() < 0.04:
        return bytes(rng.getrandbits(8) for _ in range(rng.randrange(80)))
    qtype = rng.choice((1, 1, 1, 2, 6, 16, 28, 33, 41, 65, 250, 251, 252, 255, rng.getrandbits(16)))
    qclass = rng.choice((1, 1, 1, 1, 3, 254, 255, rng.getrandbits(16)))
    edns = make_opt(rng) if rng.random() < 0.6 else None
    octets = query(make_name(rng, number), qtype, qclass, edns, flags, identifier)
    shape = rng.random()
    if shape < 0.05:
        return header(identifier, flags, 2) + question("a.test") + question("b.test")
    if shape < 0.1:
        extra = record(make_name(rng, number), rng.getrandbits(16), bytes(rng.randrange(20)))
        counts = [1, 0, 0, 0]
        counts[rng.randrange(1, 4)] += 1
        return header(identifier, flags, *counts) + octets[12:][: len(octets) - 12 - len(edns or b"")] + extra
    return octets


def make_name(rng, number):
    kind = rng.random()
    if kind < 0.1:
        return messages.wire("corpus.test")
    if kind < 0.2:
        return bytes([63]) + bytes(rng.getrandbits(8) for _ in range(63)) + b"\4test\0"
    if kind < 0.25:
        return b"\x01x" * rng.choice((100, 125, 126, 127)) + b"\0"
    return messages.wire(f"c{number}.test")


def make_opt(rng):
    options = b"".join(option(rng.choice(OPTIONS), bytes(rng.randrange(40))) for _ in range(rng.choice((0, 0, 1, 2, 5, 70))))
    return opt(rng.choice((0, 100, 512, 1232, 4096, 65535)), rng.choice((0, 0, 0, 1, 255)), rng.choice((0, DO, 0x40, 0xFFFF)), options)


def mutate(rng, octets):
    if not octets:
        return octets
    at = rng.randrange(len(octets))
    kind = rng.randrange(6)
    if kind == 0:
        return octets[:at] + bytes([octets[at] ^ 1 << rng.randrange(8)]) + octets[at + 1 :]
    if kind == 1:
        return octets[:at] + bytes([rng.choice((0, 1, 12, 0x3F, 0x40, 0x80, 0xC0, 0xFF))]) + octets[at + 1 :]
    if kind == 2:
        return octets[:at]
    if kind == 3:
        return octets + bytes(rng.getrandbits(8) for _ in range(rng.randrange(60)))
    if kind == 4:
        return octets[:at] + b"\xc0" + bytes([rng.randrange(64)]) + octets[at:]
    return octets[:4] + bytes(rng.choice((0, 0, 0, 1, 2, 255)) for _ in range(8)) + octets[12:]
