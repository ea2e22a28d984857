"""SipHash-2-4 (Aumasson, Bernstein), which server cookies are made with."""

import struct

ALL = (1 << 64) - 1


def digest(key, data):
    """Eight octets, little-endian as RFC 9018 writes them."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    data += bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", data):
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


def _rounds(v, count):
    for _ in range(count):
        v[0], v[2] = (v[0] + v[1]) & ALL, (v[2] + v[3]) & ALL
        v[1], v[3] = _rotated(v[1], 13) ^ v[0], _rotated(v[3], 16) ^ v[2]
        v[0] = (_rotated(v[0], 32) + v[3]) & ALL
        v[2] = (v[2] + v[1]) & ALL
        v[1], v[3] = _rotated(v[1], 17) ^ v[2], _rotated(v[3], 21) ^ v[0]
        v[2] = _rotated(v[2], 32)


def _rotated(word, by):
    return (word << by | word >> (64 - by)) & ALL
