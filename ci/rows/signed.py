"""TSIG, SIG(0), and what an operator can see: rows I."""

import struct
import time

from lab import tsig
from lab.asking import Stream, equal, fresh, replies_of_many, tcp, udp, udp_raw, want
from lab.messages import (
    A, AA, AXFR, COOKIE, ECS, FORMERR, NOERROR, NSID, PADDING, QR, RA, RD, REFUSED, SERVFAIL, TC, TXT, Z,
    header, opt, option, query, question, record,
)
from lab.upstream import MOMENT, Later, respond
from rows import row
from rows.sizes import text

SECRET = bytes(range(32))


def sign_back(octets):
    """What a server behind us does: verifies the query and signs a response with flags no forwarder would set."""
    def answer(asked):
        mac = tsig.verified(asked.octets, SECRET)
        if mac is None:
            return respond(asked, rcode=SERVFAIL)
        response = respond(asked, [record(b"\xc0\x0c", TXT, text(octets))], flags=QR | RA | AA | Z, edns=opt(4096, options=option(NSID, b"n")))
        return tsig.signed(response, SECRET, int(time.time()), mac)[0]
    return answer


def strange(name, identifier=0x1234):
    """A query with what would not survive the ordinary way: the reserved bit, options, another spelling."""
    edns = opt(4096, flags=0x4001, options=option(100, b"x") + option(COOKIE, bytes(8)) + option(PADDING, bytes(5)))
    return query(name.upper(), TXT, edns=edns, flags=RD | Z, identifier=identifier)


@row("I01")
def a_query_with_tsig_passes_unchanged_and_so_does_its_response(lab):
    name = fresh("i01")
    lab.upstream.rule(name, sign_back(200))
    octets, mac = tsig.signed(strange(name), SECRET, int(time.time()))
    over_tcp = lambda asked: exchange(None, asked)  # noqa: E731
    over_tls = lambda asked: exchange(lab.ca, asked)  # noqa: E731
    for place, ask in enumerate((udp_raw, over_tcp, over_tls)):
        reply = ask(octets)
        seen = lab.upstream.queries(name)
        equal(len(seen), place + 1, "queries upstream: a signed answer is not cached")
        equal(seen[-1].message.octets[2:], octets[2:], "the query upstream, but for its ID")
        equal(reply[:2], octets[:2], "ID")
        want(tsig.verified(reply, SECRET, mac) is not None, f"the MAC of the reply: {reply.hex()}")
    # At the same time they are as many questions.
    name = fresh("i01")
    answer = sign_back(20)
    lab.upstream.rule(name, lambda asked: Later(MOMENT, answer(asked)))
    found, _ = replies_of_many([tsig.signed(strange(name), SECRET, 5)[0]] * 3)
    equal((found.count(None), len(lab.upstream.queries(name))), (0, 3), "unanswered, queries upstream")
    # What does not fit is announced, not cut.
    name = fresh("i01")
    lab.upstream.rule(name, sign_back(1500))
    octets, mac = tsig.signed(strange(name), SECRET, int(time.time()))
    short = udp(octets)
    equal((bool(short.flags & TC), short.answers), (True, []), "TC, answers")
    want(tsig.verified(exchange(None, octets), SECRET, mac) is not None, "the whole answer over TCP")


def exchange(tls, octets):
    with Stream(tls) as stream:
        stream.send(octets)
        return stream.receive()


@row("I02")
def tsig_is_the_last_record_and_there_is_one(lab):
    name = fresh("i02")
    bare = query(name, edns=opt())
    once = tsig.signed(bare, SECRET, 5)[0]
    twice = tsig.signed(once, SECRET, 5)[0]
    last = once[len(bare) :]
    before_opt = header(0x1234, RD, 1, 0, 0, 2) + question(name) + last + opt()
    in_authority = header(0x1234, RD, 1, 0, 1, 0) + question(name) + last
    for octets in (twice, before_opt, in_authority):
        equal(udp(octets).rcode, FORMERR, f"RCODE of {octets.hex()}")
        equal(tcp(octets).rcode, FORMERR, "RCODE over TCP")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("I03")
def a_query_with_sig0_passes_with_its_message_id(lab):
    for ask in (udp_raw, lambda octets: exchange(None, octets)):
        name = fresh("i03")
        lab.upstream.rule(name, lambda asked: tsig.sig0(respond(asked, flags=QR | RA | AA), b"theirs"))
        octets = tsig.sig0(strange(name, identifier=0x7A7A), b"mine")
        reply = ask(octets)
        equal(lab.upstream.queries(name)[0].message.octets, octets, "the query upstream")
        want(reply[:2] == octets[:2] and reply.endswith(b"theirs") and reply[2] & 0x04, f"the reply: {reply.hex()}")
    # A SIG record that covers a type is data, not a signature.
    data = struct.pack("!HBBIIIH", A, 13, 0, 0, 1, 0, 7) + b"\0" + bytes(8)
    name = fresh("i03")
    equal(udp(header(0x1234, RD, 1, 0, 0, 1) + question(name) + record(b"\0", tsig.SIG, data)).rcode, NOERROR, "RCODE")


@row("I04")
def what_would_be_answered_here_is_refused_to_who_signs(lab):
    for name, qtype in ((lab.LOCAL, A), ("printer.local", A), ("localhost", A), (fresh("i04"), AXFR)):
        reply = udp(tsig.signed(query(name, qtype, edns=opt()), SECRET, 5)[0])
        equal((reply.rcode, reply.ede, reply.answers), (REFUSED, 21, []), f"{name}: RCODE, extended error, answers")
        equal(lab.upstream.queries(name), [], "queries upstream")
    huge = tsig.signed(query(fresh("i04"), edns=opt(options=option(65001, bytes(5000)))), SECRET, 5)[0]
    reply = tcp(huge)
    equal((reply.rcode, reply.ede), (REFUSED, 21), "of a query of 5,000 octets: RCODE, extended error")


@row("I05")
def the_log_names_nobody_and_no_client_subnet_leaves(lab):
    name = fresh("i05-secret")
    udp(query(name, edns=opt(options=option(ECS, b"\0\1\x18\0\xcb\0\x71"))))
    udp(query(fresh("i05-secret"), AXFR))
    equal(lab.upstream.queries(name)[0].message.option(ECS), None, "client subnet upstream")
    for program in (lab.program, lab.pair):
        written = program.output()
        want(written and "i05-secret" not in written and "203.0.113" not in written, f"the log names what was asked:\n{program.tail()}")
