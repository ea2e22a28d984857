"""How the conformance checks ask: raw messages over UDP, TCP and TLS, to the program under test."""

import itertools
import select
import socket
import ssl
import time

from lab import messages
from lab.messages import Message

PORT, TLS_PORT = 53, 853
PATIENCE = 3.0
_number = itertools.count(1)


class Unexpected(Exception):
    """The program did something else than the row asks for."""


def want(condition, what):
    if not condition:
        raise Unexpected(what)


def equal(found, wanted, what):
    if isinstance(found, bytes) and isinstance(wanted, bytes):
        want(found == wanted, f"{what}: {found.hex()} instead of {wanted.hex()}")
    else:
        want(found == wanted, f"{what}: {found!r} instead of {wanted!r}")


def fresh(row="n"):
    """A name nobody asked before."""
    return f"{row.lower()}-{next(_number)}.example"


def udp_socket(address="127.0.0.1", port=PORT, source=None):
    plain = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    if source is not None:
        plain.bind((source, 0))
    plain.settimeout(PATIENCE)
    plain.connect((address, port))
    return plain


def udp_raw(octets, address="127.0.0.1", port=PORT, source=None):
    with udp_socket(address, port, source) as plain:
        plain.send(octets)
        try:
            return plain.recv(65535)
        except TimeoutError:
            raise Unexpected(f"no reply to {octets[:64].hex()}") from None


def udp(octets, **where):
    """The reply, read strictly, after the laws that hold for every reply were checked."""
    return lawful(octets, udp_raw(octets, **where), over_udp=True)


def silence(octets):
    """Nothing may come back over UDP, while a good query asked after it on the same socket is answered."""
    with udp_socket() as plain:
        plain.send(octets)
        probe = messages.query(fresh("probe"), identifier=0xBEEF)
        plain.send(probe)
        try:
            reply = plain.recv(65535)
        except TimeoutError:
            raise Unexpected("the next query is not answered") from None
        equal(reply[:2], probe[:2], f"reply to {octets.hex()}")
        plain.settimeout(0.1)
        try:
            raise Unexpected(f"{octets.hex()} was answered by {plain.recv(65535).hex()}")
        except TimeoutError:
            pass


class Stream:
    """A TCP connection, or a TLS one, on which messages are framed."""

    def __init__(self, tls=None, port=None, source=None):
        to, bound = ("127.0.0.1", port or (TLS_PORT if tls else PORT)), (source, 0) if source else None
        self.plain = socket.create_connection(to, timeout=PATIENCE, source_address=bound)
        if tls:
            context = ssl.create_default_context(cafile=tls)
            context.check_hostname = False
            self.plain = context.wrap_socket(self.plain)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.plain.close()

    def send(self, *octets):
        self.plain.sendall(b"".join(messages.frame(each) for each in octets))

    def receive(self):
        """The next message, or None when the stream ended."""
        while len(self.received) < 2 or len(self.received) < 2 + int.from_bytes(self.received[:2]):
            try:
                octets = self.plain.recv(65536)
            except TimeoutError:
                raise Unexpected("no reply on the stream") from None
            except ConnectionResetError:
                return None
            if not octets:
                return None
            self.received += octets
        end = 2 + int.from_bytes(self.received[:2])
        octets, self.received = self.received[2:end], self.received[end:]
        return octets

    def ask(self, octets):
        self.send(octets)
        return lawful(octets, self.receive() or fail("the stream ended"))


def fail(what):
    raise Unexpected(what)


def tcp(octets, tls=None, port=None):
    with Stream(tls, port) as stream:
        return stream.ask(octets)


def lawful(asked, octets, over_udp=False):
    """What holds for every reply, whatever was asked; returns the reply."""
    try:
        reply = Message(octets)
        options = reply.options
    except ValueError as error:
        raise Unexpected(f"malformed reply: {error}: {octets.hex()}") from None
    equal(octets[:2], asked[:2], "ID")
    want(reply.flags & messages.QR, f"QR is clear: {octets.hex()}")
    equal(reply.flags & 0x7800, int.from_bytes(asked[2:4]) & 0x7800, "opcode")
    want(not reply.flags & messages.Z, "the reserved bit is set")
    equal(reply.flags & messages.RD, int.from_bytes(asked[2:4]) & messages.RD, "RD")
    if over_udp:
        want(len(octets) <= 1232, f"{len(octets)} octets over UDP")
        want(messages.KEEPALIVE not in dict(options) and messages.PADDING not in dict(options), "padding or keepalive over UDP")
    return reply


def replies_of_many(asked, seconds=PATIENCE, port=PORT):
    """Sends each message from a socket of its own, all at once: the reply of each, or None; and how often a socket got another."""
    sockets = [udp_socket(port=port) for _ in asked]
    try:
        for plain, octets in zip(sockets, asked):
            plain.send(octets)
        found, extra = [None] * len(asked), 0
        poller, places = select.poll(), {}
        for place, plain in enumerate(sockets):
            places[plain.fileno()] = place
            poller.register(plain, select.POLLIN)
        expected = sum(is_due(octets) for octets in asked)
        end, replied = time.monotonic() + seconds, 0
        while replied < expected and time.monotonic() < end:
            for descriptor, _ in poller.poll(50):
                octets = sockets[places[descriptor]].recv(65535)
                if found[places[descriptor]] is None:
                    found[places[descriptor]] = octets
                    replied += 1
                else:
                    extra += 1
        extra += len(poller.poll(0)) if replied >= expected else 0
        return found, extra
    finally:
        for plain in sockets:
            plain.close()


def is_due(octets):
    """Whether a message has to be replied to: a whole header, and QR clear."""
    return len(octets) >= 12 and not octets[2] & 0x80
