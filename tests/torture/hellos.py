"""Begins TLS handshakes as fast as it can and finishes none: what a server answers costs it a key exchange and a signature, and whoever asks
for it the octets. A process of its own, so that the client that is measured beside it is not held up by it.

    hellos.py ADDRESS PORT SECONDS SOURCES

SOURCES is how many addresses they come from. Prints how many it began.
"""

import contextlib
import select
import socket
import ssl
import sys
import time

#: Connections at a time; the oldest gives way to the next.
TOGETHER = 256


def hello():
    """The first message of a handshake."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="listener.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def flood(target, seconds, sources):
    message, begun, connections = hello(), 0, []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        client = socket.socket()
        client.bind((f"127.78.{begun % sources >> 8}.{begun % sources & 255 or 254}", 0))
        client.setblocking(False)
        client.connect_ex(target)
        connections.append(client)
        # The kernel takes it while there is room in its queue; what is not accepted yet has been asked for all the same.
        if select.select([], [client], [], 0.01)[1]:
            with contextlib.suppress(OSError):
                client.send(message)
                begun += 1
        if len(connections) == TOGETHER:
            connections.pop(0).close()
    return begun


if __name__ == "__main__":
    address, port, seconds, sources = sys.argv[1:]
    print(flood((address, int(port)), float(seconds), int(sources)), flush=True)
