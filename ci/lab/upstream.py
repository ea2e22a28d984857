"""A DNS-over-TLS server, or one over TCP when it has no identity, whose answers a check writes octet by octet, and which remembers every query it read.

By default it answers A and AAAA with an address computed from the name, anything else with an empty answer. A rule for a name
takes its place: a function that gets the query and gives the octets to send, None for silence, or Later.
"""

import hashlib
import select
import socket
import ssl
import struct
import threading
import time
from collections import namedtuple

from lab import messages
from lab.messages import A, AAAA, QR, RA, Message

Seen = namedtuple("Seen", "connection message")
Later = namedtuple("Later", "seconds octets")

# Where the kernel's struct tcp_info counts the segments with data that were received.
DATA_SEGMENTS_IN = 152

# Long enough for questions asked together to meet, and too short for one of them to be asked a second time elsewhere.
MOMENT = 0.05


def address_of(name):
    """The IPv4 address every upstream here gives to a name, letter case aside."""
    return bytes([10]) + hashlib.sha256(messages.wire(name).lower()).digest()[:3]


def respond(query, *sections, flags=QR | RA, edns=b"", rcode=0):
    """A response to the query: each section a list of records as octets, then an OPT record if any."""
    lists = [list(section) for section in sections] + [[], [], []]
    answers, authorities, additionals = lists[:3]
    if edns:
        additionals = [*additionals, edns]
    head = messages.header(query.id, flags | (query.flags & messages.RD) | rcode, 1, len(answers), len(authorities), len(additionals))
    return head + query.questions[0] + b"".join(answers + authorities + additionals)


def usual(query):
    edns = messages.opt() if query.opt else b""
    data = {A: address_of(query.name), AAAA: b"\x20\x01\x0d\xb8" + address_of(query.name) * 3}.get(query.qtype)
    answers = [messages.record(b"\xc0\x0c", query.qtype, data)] if data and query.questions[0][-2:] == b"\0\1" else []
    return respond(query, answers, edns=edns)


def segments_in(plain):
    """Segments with data that came in on a TCP connection."""
    information = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return struct.unpack_from("=I", information, DATA_SEGMENTS_IN)[0]


class Upstream:
    def __init__(self, port, identity, address="127.0.0.1"):
        self.port = port
        self.seen = []
        self.connections = 0
        self._rules = {}
        self._accepted = []
        self._tls = None
        if identity is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*identity)
        self._listener = socket.create_server((address, port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def rule(self, name, function):
        self._rules[messages.wire(name).lower()] = function

    def queries(self, name):
        """What was read about the name so far, letter case aside."""
        wanted = messages.wire(name).lower()
        return [seen for seen in list(self.seen) if seen.message.name.lower() == wanted]

    def segments(self):
        """Segments with data received so far, of all connections of one without TLS."""
        return sum(segments_in(plain) for plain in self._accepted if plain.fileno() >= 0)

    def _accept(self):
        while True:
            plain, _ = self._listener.accept()
            self.connections += 1
            self._accepted.append(plain)
            threading.Thread(target=self._serve, args=(plain, self.connections), daemon=True).start()

    def _serve(self, plain, number):
        try:
            with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as stream:
                self._converse(stream, number)
        except OSError:
            pass  # the client left

    def _converse(self, stream, number):
        received, due = b"", []
        while True:
            wait = max(0.0, min(at for at, _ in due) - time.monotonic()) if due else None
            if (self._tls and stream.pending()) or select.select([stream], [], [], wait)[0]:
                octets = stream.recv(65536)
                if not octets:
                    return
                received += octets
            out = []
            while len(received) >= 2 and len(received) >= 2 + (length := int.from_bytes(received[:2])):
                self._take(received[2 : 2 + length], number, out, due)
                received = received[2 + length :]
            moment = time.monotonic()
            out += [octets for at, octets in due if at <= moment]
            due = [(at, octets) for at, octets in due if at > moment]
            if out:
                stream.sendall(b"".join(messages.frame(octets) for octets in out))

    def _take(self, octets, number, out, due):
        query = Message(octets)
        self.seen.append(Seen(number, query))
        answer = self._rules.get(query.name.lower(), usual)(query)
        for each in answer if isinstance(answer, list) else [answer]:
            if isinstance(each, Later):
                due.append((time.monotonic() + each.seconds, each.octets))
            elif each is not None:
                out.append(each)
