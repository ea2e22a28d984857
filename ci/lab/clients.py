"""Real stub resolvers and DNS tools, each asked in the way a person or a program would, and one burst of raw UDP."""

import itertools
import os
import re
import select
import socket
import subprocess
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from lab import servers

_number = itertools.count(1)


class Unexpected(Exception):
    """An outcome other than the one a check wants."""


def fresh_name():
    """A name nobody asked before, so that nothing can answer it from a memory."""
    return f"n{next(_number)}.wild.example"


def run(*command, expect=None):
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    output = result.stdout + result.stderr
    if expect is not None and result.returncode != expect:
        raise Unexpected(f"exit status {result.returncode} of {' '.join(command)}\n{output}")
    return output


class CommandClient:
    """dig or kdig: the same options do the same in both."""

    command = None
    options = ()
    #: A and AAAA found, no such name, no such type, and an answer too large for the client's UDP size
    questions = ("A", "AAAA", "NXDOMAIN", "NODATA", "large")

    def ask(self, question, address):
        name, qtype, more = {
            "A": (fresh_name(), "A", ()),
            "AAAA": (fresh_name(), "AAAA", ()),
            "NXDOMAIN": ("nx.example", "A", ()),
            "NODATA": (fresh_name(), "MX", ()),
            "large": ("big.example", "A", ()),
            "large, no EDNS": ("big.example", "A", ("+noedns",)),
            "TC": ("big.example", "A", ("+ignore",)),
        }[question]
        output = run(self.command, f"@{address}", "+tries=1" if self.command == "dig" else "+retry=0",
                     "+time=4", *self.options, *more, name, qtype)
        return self.judge(question, output)

    def judge(self, question, output):
        status = dig_status(output)
        answers = answer_section(output)
        truncated = " tc" in (re.search(r"(?i)flags:([^;]*);", output) or [None, ""])[1].lower()
        wanted = {
            "A": ("NOERROR", [servers.A]),
            "AAAA": ("NOERROR", [servers.AAAA]),
            "NXDOMAIN": ("NXDOMAIN", []),
            "NODATA": ("NOERROR", []),
        }.get(question)
        if question == "TC":
            good = status == "NOERROR" and truncated
        elif question.startswith("large"):
            good = status == "NOERROR" and sorted(answers) == sorted(servers.BIG) and not truncated
        else:
            good = (status, answers) == wanted and not truncated
        if not good:
            raise Unexpected(f"{status}, {len(answers)} answers, tc {truncated}\n{output}")
        return f"{status} {len(answers)} answers{' TC' if truncated else ''}"


class Dig(CommandClient):
    name = command = "dig"
    questions = (*CommandClient.questions, "large, no EDNS", "TC")


class DigTcp(CommandClient):
    name, command, options = "dig +tcp", "dig", ("+tcp",)


class Kdig(CommandClient):
    name = command = "kdig"
    questions = (*CommandClient.questions, "TC")


class KdigTcp(CommandClient):
    name, command, options = "kdig +tcp", "kdig", ("+tcp",)


class Dnspython:
    """dnspython checks ID, question and source address of a reply by itself and raises when they are wrong."""

    name = "dnspython"
    questions = ("UDP", "TCP", "UDP with EDNS", "fallback to TCP", "letter case kept")

    def ask(self, question, address):
        if question == "fallback to TCP":
            query = dns.message.make_query("big.example", "A")
            reply, over_tcp = dns.query.udp_with_fallback(query, address, timeout=4)
            if not over_tcp:
                raise Unexpected("a large answer came over UDP")
            wanted = servers.BIG
        else:
            name = fresh_name()
            if question == "letter case kept":
                name = name.replace("wild", "wILd")
            query = dns.message.make_query(name, "A", use_edns=0 if question == "UDP with EDNS" else None)
            over = dns.query.tcp if question == "TCP" else dns.query.udp
            reply = over(query, address, timeout=4)
            wanted = [servers.A]
            if reply.question[0].name.to_text() != query.question[0].name.to_text():
                raise Unexpected(f"the reply asks {reply.question[0].name}")
            if (query.edns >= 0) != (reply.edns >= 0):
                raise Unexpected(f"EDNS {query.edns} was answered with {reply.edns}")
        found = sorted(item.to_text() for rrset in reply.answer for item in rrset)
        if found != sorted(wanted) or not reply.flags & dns.flags.RA:
            raise Unexpected(str(reply))
        return f"{len(found)} answers"


ALL = (Dig(), DigTcp(), Kdig(), KdigTcp(), Dnspython())


def kdig_tls(address, port, ca, name):
    """kdig over TLS with the certificate verified."""
    output = run("kdig", f"@{address}", "-p", str(port), "+tls", f"+tls-ca={ca}", f"+tls-hostname={name}", "+retry=0",
                 "+time=4", fresh_name(), "A")
    if dig_status(output) != "NOERROR" or answer_section(output) != [servers.A]:
        raise Unexpected(output)
    return (re.search(r"TLS session (.*)", output) or [None, ""])[1]


def dig_status(output):
    return (re.search(r"status: (\w+)", output) or [None, "no reply"])[1]


def answer_section(output):
    """The data of the answer section's records."""
    section = re.search(r";; ANSWER SECTION:\n(.*?)(?:\n\n|\Z)", output, re.S)
    return [line.split()[-1] for line in section[1].splitlines()] if section else []


def reply_source(address, port):
    """The address a UDP reply comes from when the question went to `address`; the socket is left open to any source."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        plain.settimeout(4)
        plain.sendto(dns.message.make_query(fresh_name(), "A").to_wire(), (address, port))
        return plain.recvfrom(4096)[1][0]


def upstream_connections(port):
    """The client ends of every TCP connection to the port, those that closed lately included."""
    output = run("ss", "-Htan", f"( dport = :{port} or sport = :{port} )")
    ends = set()
    for line in output.splitlines():
        state, _, _, local, peer = line.split()[:5]
        if state != "LISTEN":
            ends.add(peer if local.endswith(f":{port}") else local)
    return ends


class Burst:
    """Many questions at one moment, each from its own socket as from its own client."""

    def __init__(self, address, port, count):
        self.address, self.port = address, port
        self.waiting = {}
        self.answered = self.mismatched = 0
        self.slowest = 0.0
        for number in range(count):
            plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            plain.setblocking(False)
            query = dns.message.make_query(fresh_name(), "A", id=number)
            self.waiting[plain.fileno()] = (plain, query, query.to_wire())

    def send(self):
        self.begin = time.monotonic()
        for plain, _, wire in self.waiting.values():
            plain.sendto(wire, (self.address, self.port))

    def receive(self, seconds, enough=None):
        """Takes answers until `enough` came, all came, or no more time is left."""
        end = time.monotonic() + seconds
        poller = select.poll()
        for descriptor in self.waiting:
            poller.register(descriptor, select.POLLIN)
        while self.waiting and (enough is None or self.answered < enough):
            left = end - time.monotonic()
            if left <= 0:
                break
            for descriptor, _ in poller.poll(left * 1000):
                poller.unregister(descriptor)
                self._take(descriptor)

    def receive_one(self, seconds):
        self.receive(seconds, enough=1)

    def _take(self, descriptor):
        plain, query, _ = self.waiting.pop(descriptor)
        with plain:
            wire = plain.recv(4096)
        self.slowest = max(self.slowest, time.monotonic() - self.begin)
        try:
            reply = dns.message.from_wire(wire)
            good = query.is_response(reply) and [item.to_text() for rrset in reply.answer for item in rrset] == [servers.A]
        except dns.exception.DNSException:
            good = False
        self.answered += 1
        self.mismatched += not good

    def close(self):
        for plain, _, _ in self.waiting.values():
            plain.close()
        self.waiting.clear()


def burst(address, port, count, seconds):
    """Asks `count` questions at once: (answered, answered wrongly, slowest in seconds)."""
    asked = Burst(address, port, count)
    asked.send()
    asked.receive(seconds)
    asked.close()
    return asked.answered, asked.mismatched, asked.slowest
