"""TSIG (RFC 8945) with HMAC-SHA256, and the octets of a SIG(0) record (RFC 2931): enough to see that nobody touched a message."""

import hashlib
import hmac
import struct

from lab import messages

TSIG, SIG, ANY_CLASS = 250, 24, 255
ALGORITHM = messages.wire("hmac-sha256")
FUDGE = 300


def _variables(name, moment):
    return name + struct.pack("!HI", ANY_CLASS, 0) + ALGORITHM + moment.to_bytes(6) + struct.pack("!HHH", FUDGE, 0, 0)


def _mac(secret, message, name, moment, request_mac):
    before = struct.pack("!H", len(request_mac)) + request_mac if request_mac else b""
    return hmac.digest(secret, before + message + _variables(name, moment), hashlib.sha256)


def _with_record(message, record):
    additionals = struct.unpack("!H", message[10:12])[0] + 1
    return message[:10] + struct.pack("!H", additionals) + message[12:] + record


def signed(message, secret, moment, request_mac=b"", name="key.test"):
    """The message with a TSIG record, and the MAC in it."""
    name = messages.wire(name)
    mac = _mac(secret, message, name, moment, request_mac)
    rdata = ALGORITHM + moment.to_bytes(6) + struct.pack("!HH", FUDGE, len(mac)) + mac + message[:2] + bytes(4)
    return _with_record(message, messages.record(name, TSIG, rdata, 0, ANY_CLASS)), mac


def verified(octets, secret, request_mac=b""):
    """The MAC of a message whose last record is a good TSIG; None when it is not."""
    last = messages.Message(octets).records[-1]
    if last.rtype != TSIG or not last.rdata.startswith(ALGORITHM):
        return None
    at = len(ALGORITHM)
    moment = int.from_bytes(last.rdata[at : at + 6])
    length = struct.unpack("!H", last.rdata[at + 8 : at + 10])[0]
    mac, original = last.rdata[at + 10 : at + 10 + length], last.rdata[at + 10 + length : at + 12 + length]
    record = messages.record(last.owner, TSIG, last.rdata, 0, ANY_CLASS)
    if not octets.endswith(record):
        return None
    additionals = struct.unpack("!H", octets[10:12])[0] - 1
    bare = original + octets[2:10] + struct.pack("!H", additionals) + octets[12 : -len(record)]
    return mac if hmac.compare_digest(mac, _mac(secret, bare, last.owner, moment, request_mac)) else None


def sig0(message, signature):
    """The message with a SIG(0) record that holds these octets for a signature."""
    rdata = struct.pack("!HBBIIIH", 0, 13, 0, 0, 1, 0, 7) + messages.wire("key.test") + signature
    return _with_record(message, messages.record(b"\0", SIG, rdata, 0, ANY_CLASS))
