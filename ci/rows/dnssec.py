"""DNSSEC bits in a forwarder that does not validate: rows D."""

import time

from lab.asking import equal, fresh, tcp, udp, want
from lab.messages import A, AD, CD, DO, EDE, NOERROR, NXDOMAIN, QR, RA, RD, RRSIG, SERVFAIL, SOA, opt, option, query, record, wire
from lab.upstream import address_of, respond, usual
from rows import row

ADDRESS = bytes(4)
SIGNATURE = b"\0\1\x0d\2" + bytes(14) + b"\0" + bytes(64)
SIGNED = opt(flags=DO)


def wants_signatures(asked):
    return bool(asked.opt and asked.opt.ttl & DO)


def with_signatures(asked, ttl=300, signature_ttl=300):
    """As a validating resolver answers: signatures with DO, and AD whoever asks."""
    answers = [record(b"\xc0\x0c", A, ADDRESS, ttl)]
    if wants_signatures(asked):
        answers.append(record(b"\xc0\x0c", RRSIG, SIGNATURE, signature_ttl))
    return respond(asked, answers, flags=QR | RA | AD, edns=opt(flags=DO if wants_signatures(asked) else 0))


def types(reply):
    return [found.rtype for found in reply.answers]


@row("D01")
def signatures_are_for_who_sets_do(lab):
    name = fresh("d01")
    lab.upstream.rule(name, with_signatures)
    for edns, wanted in ((SIGNED, [A, RRSIG]), (opt(), [A]), (None, [A]), (SIGNED, [A, RRSIG]), (opt(), [A])):
        for ask in (udp, tcp):
            equal(types(ask(query(name, edns=edns))), wanted, "types in the answer")


@row("D02")
def signatures_asked_for_by_type_are_not_stripped_nor_mixed(lab):
    name = fresh("d02")
    lab.upstream.rule(name, lambda asked: respond(
        asked, [record(b"\xc0\x0c", RRSIG, SIGNATURE + (b"DO" if wants_signatures(asked) else b""))], edns=opt()))
    for edns, wanted in ((SIGNED, b"DO"), (opt(), b""), (SIGNED, b"DO"), (None, b"")):
        reply = udp(query(name, RRSIG, edns=edns))
        equal([found.rdata for found in reply.answers], [SIGNATURE + wanted], "the signature")


@row("D03")
def cd_goes_up_and_comes_back_and_parts_what_is_bogus(lab):
    name = fresh("d03")
    bogus = lambda asked: respond(asked, rcode=SERVFAIL, edns=opt(options=option(EDE, b"\0\6")))  # noqa: E731
    data = lambda asked: respond(asked, [record(b"\xc0\x0c", A, ADDRESS)], edns=opt())  # noqa: E731
    lab.upstream.rule(name, lambda asked: data(asked) if asked.flags & CD else bogus(asked))
    for flags, wanted in ((RD | CD, (NOERROR, 1, CD)), (RD, (SERVFAIL, 0, 0)), (RD | CD, (NOERROR, 1, CD)), (RD, (SERVFAIL, 0, 0))):
        reply = udp(query(name, edns=opt(), flags=flags))
        equal((reply.rcode, len(reply.answers), reply.flags & CD), wanted, "RCODE, answers, CD")


@row("D04")
def ad_is_told_to_who_asks_for_it(lab):
    name = fresh("d04")
    lab.upstream.rule(name, with_signatures)
    for flags, edns, wanted in ((RD, SIGNED, AD), (RD, None, 0), (RD, opt(), 0), (RD | AD, None, AD), (RD, None, 0)):
        equal(udp(query(name, flags=flags, edns=edns)).flags & AD, wanted, "AD")


@row("D05")
def ad_is_believed_over_tls_alone_and_set_on_nothing_of_our_own(lab):
    name = fresh("d05").replace(".example", f".{lab.CLEAR}")
    lab.clear.rule(name, with_signatures)
    for ask in (udp, tcp):
        reply = ask(query(name, flags=RD | AD, edns=SIGNED))
        equal((types(reply), reply.flags & AD), ([A, RRSIG], 0), "types, AD from an upstream in clear text")
    for own in (lab.LOCAL, "localhost", "1.0.0.10.in-addr.arpa"):
        equal(udp(query(own, flags=RD | AD, edns=SIGNED)).flags & AD, 0, f"AD of {own}")
    name = fresh("d05")
    lab.upstream.rule(name, with_signatures)
    equal(udp(query(name, flags=RD | AD)).flags & AD, AD, "AD over TLS")


@row("D06")
def do_is_copied_into_the_reply(lab):
    for name in (fresh("d06"), lab.LOCAL):
        for edns, wanted in ((SIGNED, DO), (opt(), 0)):
            for ask in (udp, tcp):
                equal(ask(query(name, edns=edns)).opt.ttl & DO, wanted, "DO")


@row("D07")
def an_answer_and_its_signatures_expire_together(lab):
    name = fresh("d07")
    lab.upstream.rule(name, lambda asked: with_signatures(asked, ttl=300, signature_ttl=1))
    asked = query(name, edns=SIGNED)
    equal(types(udp(asked)), [A, RRSIG], "types")
    before = len(lab.upstream.queries(name))
    time.sleep(1.2)  # the life of the signature, by its TTL
    reply = udp(asked)
    equal((types(reply), len(lab.upstream.queries(name))), ([A, RRSIG], before + 1), "types, queries upstream")


@row("D08")
def a_name_that_is_not_there_hides_nothing_below_it(lab):
    name = fresh("d08")
    soa = record(b"\xc0\x0c", SOA, wire("ns.example") + wire("mail.example") + bytes(20))
    lab.upstream.rule(name, lambda asked: respond(asked, [], [soa], rcode=NXDOMAIN, edns=opt() if asked.opt else b""))
    equal(udp(query(name)).rcode, NXDOMAIN, "RCODE")
    below = f"corp.{name}"
    lab.upstream.rule(below, usual)
    reply = udp(query(below))
    equal((reply.rcode, [found.rdata for found in reply.answers]), (NOERROR, [address_of(below)]), "RCODE, answer")
    routed = fresh("d08")
    lab.upstream.rule(lab.CLEAR, lambda asked: respond(asked, [], [soa], rcode=NXDOMAIN))
    equal(udp(query(f"{routed}.{lab.CLEAR}")).rcode, NOERROR, "RCODE of a name with a route")


@row("D10")
def failed_validation_is_not_repeated_at_once(lab):
    name = fresh("d10")
    bogus = opt(options=option(EDE, b"\0\6"))
    lab.upstream.rule(name, lambda asked: respond(asked, rcode=SERVFAIL, edns=bogus))
    begin = time.monotonic()
    for _ in range(100):
        equal(udp(query(name, edns=opt())).rcode, SERVFAIL, "RCODE")
        if time.monotonic() - begin > 0.8:
            break
    want(len(lab.upstream.queries(name)) <= 1, f"{len(lab.upstream.queries(name))} queries upstream")
