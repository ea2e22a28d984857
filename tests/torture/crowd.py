"""Many clients over TCP or TLS from many addresses, who do nothing, too little, or too much."""

import contextlib
import resource
import socket
import ssl
import struct
import time

import load as clients
import message

#: Clients of one address, below the bound for one source.
EACH_ADDRESS = 50
#: Octets of receive buffer of who does not read: the least there is.
LITTLE = 2048


def raise_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def framed(name, number=7):
    wire, _ = message.query(number, name)
    return struct.pack("!H", len(wire)) + wire


def address(number):
    """The address of client number so much."""
    place = number // EACH_ADDRESS
    return f"127.{100 + (place >> 8)}.{place & 255}.1"


def connect(target, number, context=None, buffer=None):
    """A client who has connected, TLS included."""
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.bind((address(number), 0))
    client.settimeout(10)
    client.connect(target)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client if context is None else context.wrap_socket(client, server_hostname="listener.test")


def ask(client, query):
    """One question on a stream; the milliseconds until its answer."""
    began = time.perf_counter()
    client.sendall(query)
    head = client.recv(65537)
    if len(head) < 14 or head[2:4] != query[2:4] or head[5] & 15 != message.NOERROR:
        raise message.Bad(f"no good answer on a stream: {head[:16].hex() or 'the end'}")
    return (time.perf_counter() - began) * 1000


def quantiles(times):
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]


def waits(client, query, count):
    """Milliseconds an active client waits: (median, p99)."""
    return quantiles([ask(client, query) for _ in range(count)])


def is_open(client):
    """Whether the other end has not closed it; what it says is read away."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
        return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


@contextlib.contextmanager
def closing(sockets):
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


__all__ = ["address", "ask", "clients", "closing", "connect", "framed", "is_open", "quantiles", "raise_descriptors", "waits"]
