"""The client: asks over UDP at a steady rate and keeps the history of every question, to be judged afterwards.

Nothing is asked twice by itself; a question without a reply is lost. Times of arrival are the kernel's, so that a busy
interpreter does not make the subject look slow.
"""

import itertools
import select
import socket
import struct
import threading
import time

import message

#: Where the names are: nowhere special, since names such as test. are never forwarded (RFC 6761).
ZONE = "lab.zone"
#: The latest a reply may come: the budget of two seconds and some for the machine.
LATEST = 2.1
#: How long stragglers are waited for after the last question: so long that whatever is still missing is lost and not late.
PATIENCE = 6
#: Every so manyth question is one of a few names that come again and again.
REPEATED_EVERY = 5
REPEATED_NAMES = 12

_SO_TIMESTAMPNS = 35
_ANCILLARY = socket.CMSG_SPACE(16)
_BUFFER = 4 * 1024 * 1024
_runs = itertools.count()


class Asked:
    """One question and what came of it."""

    __slots__ = ("name", "question", "sent", "came", "rcode", "ede", "ede_text", "fault", "replies", "truncated")

    def __init__(self, name, question, sent):
        self.name, self.question, self.sent = name, question, sent
        self.came = self.rcode = self.fault = None
        self.ede, self.ede_text = (), ()
        self.replies = 0
        self.truncated = False

    @property
    def good(self):
        return self.rcode == message.NOERROR and self.fault is None

    @property
    def milliseconds(self):
        return (self.came - self.sent) * 1000


class History:
    """Questions in order of asking."""

    def __init__(self, asked):
        self.asked = asked

    def since(self, moment):
        return History([one for one in self.asked if one.sent >= moment])

    def until(self, moment):
        return History([one for one in self.asked if one.sent < moment])

    def __len__(self):
        return len(self.asked)

    @property
    def lost(self):
        return sum(one.replies == 0 for one in self.asked)

    @property
    def good(self):
        return sum(one.good for one in self.asked)

    @property
    def bad(self):
        """Answered, but not with data."""
        return sum(one.replies > 0 and not one.good for one in self.asked)

    @property
    def servfails(self):
        return sum(one.rcode == message.SERVFAIL for one in self.asked)

    @property
    def faults(self):
        return [f"{one.name}: {one.fault}" for one in self.asked if one.fault]

    @property
    def repeated_replies(self):
        return sum(one.replies > 1 for one in self.asked)

    @property
    def times(self):
        return sorted(one.milliseconds for one in self.asked if one.came is not None)

    def quantile(self, share):
        times = self.times
        return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0

    @property
    def max_ms(self):
        return self.quantile(1)

    @property
    def p99_ms(self):
        return self.quantile(0.99)

    @property
    def median_ms(self):
        return self.quantile(0.5)

    @property
    def first_good(self):
        """When the first question that got data was asked."""
        return next((one.sent for one in self.asked if one.good), None)

    @property
    def ede(self):
        return {code for one in self.asked for code in one.ede}

    @property
    def ede_texts(self):
        return {text for one in self.asked for text in one.ede_text}


class Load(threading.Thread):
    """Asks `rate` questions a second until told to stop; `with` it, the history is whole when the block is left. Some are of a few names
    that come again and again (`repeated`), the others of new ones (`unique`)."""

    def __init__(self, target, rate, limit=None, sockets=1, repeated=True, unique=True, label="", patience=PATIENCE):
        super().__init__(daemon=True)
        self.interval, self.limit = 1 / rate, limit
        self.repeated_every = (REPEATED_EVERY if unique else 1) if repeated else 0
        self.label, self.patience = label, patience
        self.run_number = next(_runs)
        self.sockets = [self._socket(target, place) for place in range(sockets)]
        self.table, self.asked = {}, []
        self.unexpected = []
        self.waiting = 0
        self.stall = 0.0
        self.stopping = threading.Event()
        self.failure = None

    @staticmethod
    def _socket(target, place):
        """Each is a client of its own, because one client gets half of the room for questions at most."""
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.bind((f"127.0.0.{place + 1}", 0))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        plain.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        plain.setblocking(False)
        plain.connect(target)
        return plain

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()
        return False

    def stop(self):
        self.stopping.set()
        self.finish()

    def finish(self):
        """Waits until all was asked and answered, or given up."""
        self.join()
        for plain in self.sockets:
            plain.close()
        if self.failure is not None:
            raise self.failure

    @property
    def history(self):
        return History(self.asked)

    def run(self):
        try:
            self._run()
        except Exception as error:  # told by whoever waits for the history
            self.failure = error

    def _run(self):
        poller = select.poll()
        by_descriptor = {plain.fileno(): (place, plain) for place, plain in enumerate(self.sockets)}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.POLLIN)
        begin = time.monotonic()
        end = None
        while end is None or (self.waiting and time.monotonic() < end):
            now = time.monotonic()
            if end is None:
                self._send_due(begin, now)
                if self.stopping.is_set() or len(self.asked) == self.limit:
                    end = time.monotonic() + self.patience
                wait = begin + len(self.asked) * self.interval - time.monotonic()
            else:
                wait = end - now
            for descriptor, _ in poller.poll(max(0, min(wait, 0.1) * 1000)):
                self._receive(*by_descriptor[descriptor])

    def _send_due(self, begin, now):
        due = int((now - begin) / self.interval) + 1
        if self.limit is not None:
            due = min(due, self.limit)
        if len(self.asked) < due:
            self.stall = max(self.stall, now - (begin + len(self.asked) * self.interval))
        # No more than a few at once, so that replies are read in between.
        for number in range(len(self.asked), min(due, len(self.asked) + 32)):
            self._send(number)

    def _name_of(self, number):
        if self.repeated_every and number % self.repeated_every == 0:
            return f"again{number // self.repeated_every % REPEATED_NAMES}.{self.label}{ZONE}"
        return f"n{number:x}.r{self.run_number}.{self.label}{ZONE}"

    def _send(self, number):
        place = number % len(self.sockets)
        key = (place, (number // len(self.sockets)) & 0xFFFF)
        name = self._name_of(number)
        wire, question = message.query(key[1], name)
        one = Asked(name, question, time.time())
        try:
            self.sockets[place].send(wire)
        except ConnectionRefusedError:
            # The subject's socket is gone; the question counts as lost, which is what it is.
            pass
        self.asked.append(one)
        self.table[key] = one
        self.waiting += 1

    def _receive(self, place, plain):
        for _ in range(64):
            try:
                octets, ancillary, _, _ = plain.recvmsg(65535, _ANCILLARY)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            self._take(place, octets, _arrival(ancillary))

    def _take(self, place, octets, came):
        one = self.table.get((place, struct.unpack_from("!H", octets)[0])) if len(octets) >= 12 else None
        if one is None:
            self.unexpected.append(octets)
            return
        one.replies += 1
        if one.replies > 1:
            return
        self.waiting -= 1
        one.came = came
        try:
            reply = message.Reply(octets)
            one.rcode, one.ede, one.ede_text = reply.rcode, reply.ede, reply.ede_text
            one.truncated = reply.truncated
            if reply.question != one.question:
                one.fault = "the question in the reply is another one"
            elif reply.rcode == message.NOERROR and not reply.truncated and (
                not reply.addresses or reply.addresses[0] != message.expected_a(one.name)
            ):
                one.fault = f"the answer is another name's: {[octets.hex() for octets in reply.addresses[:2]]}"
        except message.Bad as error:
            one.fault = str(error)


def _arrival(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanos = struct.unpack("@qq", data[:16])
            return seconds + nanos / 1e9
    return time.time()


def ask_tcp(target, name, qtype=message.A, seconds=5):
    """One question over TCP; the reply and its octets."""
    wire, question = message.query(7, name, qtype)
    with socket.create_connection(target, timeout=seconds) as stream:
        stream.sendall(struct.pack("!H", len(wire)) + wire)
        length = struct.unpack("!H", _exactly(stream, 2))[0]
        octets = _exactly(stream, length)
    reply = message.Reply(octets)
    if reply.question != question:
        raise message.Bad("the question in the reply is another one")
    return reply, octets


def ask_udp(target, name, qtype=message.A, seconds=5):
    wire, _ = message.query(9, name, qtype)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(seconds)
        plain.connect(target)
        plain.send(wire)
        return message.Reply(plain.recv(65535))


def _exactly(stream, count):
    octets = b""
    while len(octets) < count:
        more = stream.recv(count - len(octets))
        if not more:
            raise message.Bad(f"the stream ended after {len(octets)} of {count} octets")
        octets += more
    return octets
