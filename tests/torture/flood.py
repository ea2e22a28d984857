"""Asks over UDP as fast as it is told and reads no reply: a flood. A process of its own, so that the client that is measured beside it
is not held up by it.

    flood.py ADDRESS PORT RATE SECONDS WHAT SOURCES

WHAT is `random` for names nobody asked before, `long` for such of 255 octets, or a name that is asked again and again. SOURCES is how many
addresses it asks from. Prints how many questions it sent.
"""

import socket
import struct
import sys
import time

import message

#: The part of a name that changes: hexadecimal digits of a number.
DIGITS = 12
#: Labels that make a name 255 octets long.
LONG = ".".join(("l" * 63, "l" * 63, "l" * 63, "l" * 39))
#: Questions between two looks at the clock.
BURST = 64
#: Octets of receive buffer: the least there is, since nobody reads.
RECEIVE_BUFFER = 1


def sockets(target, sources):
    for number in range(sources):
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        plain.bind((f"127.77.{number >> 8}.{number & 255 or 254}", 0))
        plain.connect(target)
        yield plain


def flood(target, rate, seconds, what, sources):
    names = {"random": f"{'0' * DIGITS}.flood.lab.zone", "long": f"{'0' * DIGITS}.{LONG}.lab.zone"}
    name = names.get(what, what)
    octets = bytearray(message.query(0, name)[0])
    senders = [plain.send for plain in sockets(target, sources)]
    count, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if count > passed * rate:
            time.sleep(0.0005)
            continue
        for count in range(count + 1, count + 1 + BURST):
            struct.pack_into("!H", octets, 0, count & 0xFFFF)
            if what in names:
                octets[13 : 13 + DIGITS] = b"%012x" % count
            try:
                senders[count % sources](octets)
            except OSError:
                pass  # nobody listens for a moment, or the machine has no room: so much less of a flood
    return count


if __name__ == "__main__":
    address, port, rate, seconds, what, sources = sys.argv[1:]
    print(flood((address, int(port)), int(rate), float(seconds), what, int(sources)), flush=True)
