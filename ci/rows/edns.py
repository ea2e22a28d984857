"""EDNS: rows C."""

import socket
import struct
import time

from lab import messages, siphash
from lab.asking import Stream, equal, fresh, lawful, replies_of_many, tcp, udp, udp_raw, want
from lab.messages import (
    A, AXFR, BADCOOKIE, BADVERS, COOKIE, DO, ECS, EDE, FORMERR, KEEPALIVE, NOERROR, NSID, PADDING, QR, RA, RD, REFUSED, REPORT, SERVFAIL,
    TXT, header, opt, option, query, question, record,
)
from lab.upstream import MOMENT, Later, respond, usual
from rows import row
from rows.sizes import large


def upstream_failing(lab, row_name):
    name = fresh(row_name)
    lab.upstream.rule(name, lambda asked: respond(asked, rcode=SERVFAIL, edns=opt() if asked.opt else b""))
    return name


@row("C01")
def opt_is_answered_with_opt_and_none_with_none(lab):
    kinds = {
        "forwarded": (fresh("c01"), A, NOERROR), "local": (lab.LOCAL, A, NOERROR), "refused": (fresh("c01"), AXFR, REFUSED),
        "failed": (upstream_failing(lab, "c01"), A, SERVFAIL), "malformed": (fresh("c01"), 41, FORMERR),
        "truncated": (large(lab, 1600), TXT, NOERROR),
    }
    for kind, (name, qtype, rcode) in kinds.items():
        for edns in (None, opt(), opt(512, flags=DO)):
            for ask in (udp, tcp):
                reply = ask(query(name, qtype, edns=edns))
                equal((reply.rcode, reply.opt is not None), (rcode, edns is not None), f"{kind}: RCODE, has OPT")


@row("C02")
def a_higher_version_gets_badvers_before_anything_else(lab):
    name = fresh("c02")
    wanted = header(0x1234, QR | RD | RA, 1, 0, 0, 1) + question(name) + opt(1232, rcode_high=1)
    for version in (1, 255):
        equal(udp_raw(query(name, edns=opt(4096, version))), wanted, f"reply to version {version}")
        equal(udp(query(name, edns=opt(4096, version, options=b"\0\1\2"))).rcode, BADVERS, "RCODE with options not understood")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("C03")
def two_opt_records_get_formerr(lab):
    name = fresh("c03")
    reply = udp(header(0x1234, RD, 1, 0, 0, 2) + question(name) + opt() + opt())
    equal((reply.rcode, reply.opt is not None, lab.upstream.queries(name)), (FORMERR, True, []), "RCODE, has OPT, queries upstream")


@row("C04")
def opt_belongs_to_the_root_in_the_additional_section(lab):
    name = fresh("c04")
    for asked in (
        header(0x1234, RD, 1, 0, 0, 1) + question(name) + opt(owner=b"\x01a\0"),
        header(0x1234, RD, 1, 1, 0, 0) + question(name) + opt(),
        header(0x1234, RD, 1, 0, 1, 0) + question(name) + opt(),
    ):
        equal(udp(asked).rcode, FORMERR, "RCODE")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("C05")
def an_option_past_its_record_gets_formerr_with_opt(lab):
    name = fresh("c05")
    for options in (b"\0\x64\0\x32ab", b"\0\x64\0", b"\0", option(100, b"x") + b"\0\x0c\xff\xff"):
        reply = udp(query(name, edns=opt(options=options)))
        equal((reply.rcode, reply.opt is not None), (FORMERR, True), "RCODE, has OPT")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("C06")
def unknown_options_are_neither_minded_nor_echoed_nor_forwarded(lab):
    name = fresh("c06")
    reply = udp(query(name, edns=opt(options=option(100, b"abc") + option(65001))))
    equal((reply.rcode, reply.options), (NOERROR, []), "RCODE, options")
    equal({code for code, _ in lab.upstream.queries(name)[0].message.options}, {PADDING}, "options upstream")


@row("C07")
def unknown_edns_flags_are_not_echoed(lab):
    name = fresh("c07")
    equal(udp(query(name, edns=opt(flags=0x7FFF))).opt.ttl, 0, "flags of the reply")
    equal(lab.upstream.queries(name)[0].message.opt.ttl, 0, "flags upstream")


@row("C08")
def every_client_gets_an_opt_of_its_own(lab):
    name = fresh("c08")
    foreign = opt(4096, flags=DO | 0x40, options=option(COOKIE, bytes(16)) + option(100))
    lab.upstream.rule(name, lambda asked: Later(MOMENT, respond(asked, [record(b"\xc0\x0c", A, bytes(4))], edns=foreign)))
    asked = [query(name, edns=opt(4096, flags=DO)), query(name, edns=opt(512)), query(name)]
    found, _ = replies_of_many(asked)
    first = [lawful(octets, reply or b"", True) for octets, reply in zip(asked, found)]
    queries = len(lab.upstream.queries(name))
    for replies in (first, [udp(octets) for octets in asked]):
        equal(replies[0].opt[2:], (41, 1232, DO, b""), "OPT for DO=1")
        equal(replies[1].opt[2:], (41, 1232, 0, b""), "OPT for DO=0")
        equal(replies[2].opt, None, "OPT for none")
    equal(len(lab.upstream.queries(name)), queries, "queries upstream: the second time is from what is kept")


@row("C09")
def an_upstream_without_edns_is_asked_again_without_and_remembered(lab):
    def old(asked):
        return respond(asked, rcode=FORMERR) if asked.opt else usual(asked)

    for number, sent in enumerate(([True, False], [True, False], [False])):
        name = f"{fresh('c09')}.{lab.OLD}"
        lab.old.rule(name, old)
        reply = udp(query(name, edns=opt(flags=DO)))
        equal((reply.rcode, any(r.section == 0 for r in reply.records), reply.opt is not None), (NOERROR, True, True), "RCODE, has answers, has OPT")
        equal([bool(seen.message.opt) for seen in lab.old.queries(name)], sent, f"queries with OPT, question {number + 1}")


@row("C11")
def options_cost_little_and_repeats_are_harmless(lab):
    many = query(fresh("c11"), edns=opt(options=option(100) * 15_000))
    times = []
    for _ in range(5):
        with Stream() as stream:
            begin = time.monotonic()
            equal(stream.ask(many).rcode, FORMERR, "RCODE for 15,000 options")
            times.append(time.monotonic() - begin)
    want(min(times) < 0.05, f"{min(times) * 1000:.1f} ms for 15,000 options")
    repeated = (option(NSID) + option(COOKIE, bytes(8)) + option(PADDING, bytes(8))) * 3
    reply = udp(query(fresh("c11"), edns=opt(options=repeated)))
    codes = [code for code, _ in reply.options]
    want(reply.rcode == NOERROR and len(codes) == len(set(codes)), f"RCODE {reply.rcode}, options {codes}")
    return f"{min(times) * 1000:.2f} ms"


@row("C12")
def keepalive_is_ignored_over_udp(lab):
    for data in (b"", b"\0\x64"):
        reply = udp(query(fresh("c12"), edns=opt(options=option(KEEPALIVE, data))))
        equal((reply.rcode, reply.option(KEEPALIVE)), (NOERROR, None), "RCODE, keepalive")


@row("C13")
def keepalive_is_offered_on_streams(lab):
    kinds = {"forwarded": (fresh("c13"), A), "local": (lab.LOCAL, A), "refused": (fresh("c13"), AXFR)}
    for kind, (name, qtype) in kinds.items():
        for tls in (None, lab.ca):
            for data in (b"", b"\0\1"):
                reply = tcp(query(name, qtype, edns=opt(options=option(KEEPALIVE, data))), tls)
                equal(reply.option(KEEPALIVE), b"\0\x64", f"{kind}, TLS {bool(tls)}: the timeout, 10 s in units of 100 ms")
            equal(tcp(query(name, qtype, edns=opt()), tls).option(KEEPALIVE), None, "keepalive nobody asked for")


@row("C14")
def a_keepalive_of_zero_ends_the_connection(lab):
    goodbye = opt(options=option(KEEPALIVE, b"\0\0"))
    first, second = fresh("c14"), fresh("c14")
    lab.upstream.rule(first, lambda asked: respond(asked, [record(b"\xc0\x0c", A, bytes(4))], edns=goodbye))
    udp(query(first))
    udp(query(second))
    old, new = (lab.upstream.queries(name)[0].connection for name in (first, second))
    want(old != new, "the next query took the same connection")


@row("C15")
def queries_upstream_are_padded_to_128(lab):
    for length in range(1, 201, 3):
        name = messages.wire(fresh("c15"))
        room = max(0, length - len(name))
        name = b"".join(bytes([min(62, room - at) or 1]) + b"p" * (min(62, room - at) or 1) for at in range(0, room, 63)) + name
        udp(query(name, edns=opt(options=option(PADDING, bytes(length)))))
        seen = lab.upstream.queries(name)[0].message
        equal((len(seen.octets) % 128, seen.options[-1][0]), (0, PADDING), f"name of {len(name)} octets: length mod 128, last option")


@row("C16")
def nothing_is_padded_in_clear(lab):
    name = fresh("c16")
    padded = opt(options=option(PADDING, bytes(400)))
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", A, bytes(4))], edns=padded))
    for ask in (udp, tcp):
        reply = ask(query(name, edns=opt(options=option(PADDING, bytes(50)))))
        equal((reply.option(PADDING), len(reply.answers)), (None, 1), "padding, answers")


@row("C17")
def padded_queries_over_tls_get_padded_replies(lab):
    padded = opt(options=option(PADDING, bytes(50)))
    kinds = {
        "short": (fresh("c17"), A), "long": (large(lab, 1600, row="c17"), TXT), "local": (lab.LOCAL, A), "refused": (fresh("c17"), AXFR),
        "failed": (upstream_failing(lab, "c17"), A),
    }
    for kind, (name, qtype) in kinds.items():
        reply = tcp(query(name, qtype, edns=padded), lab.ca)
        equal((len(reply.octets) % 468, reply.options[-1][0]), (0, PADDING), f"{kind}: length mod 468, last option")
        equal(tcp(query(name, qtype, edns=opt()), lab.ca).option(PADDING), None, f"{kind}: padding for a query that is not padded")
    huge = tcp(query(large(lab, 8_000, count=8, row="c17"), TXT, edns=padded), lab.ca)
    want(len(huge.octets) % 468 == 0 and len(huge.answers) == 8, f"{len(huge.octets)} octets")


@row("C18", tries=3)
def padding_and_cookies_make_no_other_question(lab):
    name = fresh("c18")
    lab.upstream.rule(name, lambda asked: Later(MOMENT, usual(asked)))
    options = (b"", option(PADDING, bytes(10)), option(PADDING, bytes(90)), option(COOKIE, bytes(8)), option(COOKIE, b"12345678"))
    found, _ = replies_of_many([query(name, edns=opt(options=each)) for each in options])
    for each in options:
        udp(query(name, edns=opt(options=each)))
    equal((found.count(None), len(lab.upstream.queries(name))), (0, 1), "unanswered, queries upstream")


@row("C19")
def client_subnet_stays_here(lab):
    for subnet in (b"\0\1\x18\0\xcb\0\x71", b"\0\1\0\0", b"\0\2\x38\0\x20\1\x0d\xb8\0\0\0"):
        name = fresh("c19")
        reply = udp(query(name, edns=opt(options=option(ECS, subnet))))
        sent = lab.upstream.queries(name)[0].message.option(ECS)
        want(reply.rcode == NOERROR and (sent is None or sent[2] == 0), f"client subnet upstream: {sent}")


@row("C22")
def cookies_of_lengths_there_are_not_get_formerr_and_none_goes_upstream(lab):
    for length in (0, 7, 8, 9, 15, 16, 24, 40, 41):
        good = length == 8 or 16 <= length <= 40
        for ask in (udp, tcp):
            name = fresh("c22")
            reply = ask(query(name, edns=opt(options=option(COOKIE, bytes(length)))))
            found = (reply.rcode, reply.opt is not None, reply.option(COOKIE) is not None)
            equal(found, (NOERROR if good else FORMERR, True, good), f"cookie of {length} octets: RCODE, has OPT, has a cookie")
            equal(len(lab.upstream.queries(name)), int(good), "queries upstream")
            want(all(seen.message.option(COOKIE) is None for seen in lab.upstream.queries(name)), "the cookie went upstream")


def server_cookie(secret, client, moment, address="127.0.0.1", reserved=bytes(3)):
    """RFC 9018 section 4, written down a second time."""
    head = b"\1" + reserved + struct.pack("!I", moment & 0xFFFFFFFF)
    return head + siphash.digest(secret, client + head + socket.inet_aton(address))


@row("C23")
def server_cookies_are_those_of_rfc_9018(lab):
    client = b"\x24\x64\xc4\xab\xcf\x10\xc9\x57"
    in_use, other = lab.SECRETS
    vector = bytes.fromhex("010000005cf79f111f8130c3eee29480")
    equal(server_cookie(in_use, client, 1559731985, "198.51.100.100"), vector, "RFC 9018 appendix A.1, in this check")
    name, now = fresh("c23"), int(time.time())

    def ask(cookie, **where):
        reply = udp(query(name, edns=opt(options=option(COOKIE, client + cookie))), **where)
        data = reply.option(COOKIE)
        equal((len(data), data[:8]), (24, client), "length, client cookie")
        made = struct.unpack("!I", data[12:16])[0]
        equal(data[8:], server_cookie(in_use, client, made, reserved=data[9:12]), "the server cookie")
        return reply.rcode, data[8:], made

    rcode, cookie, made = ask(b"")
    want(rcode == NOERROR and -2 <= made - now <= 5, f"RCODE {rcode}, made at {made}, it is {now}")
    # Old, other and odd ones, with what becomes of them: as it is, or exchanged. The second program answers good ones only.
    for judged, good, kept in (
        (cookie, True, True),
        (server_cookie(in_use, client, now - 1700), True, True),
        (server_cookie(in_use, client, now - 1900), True, False),
        (server_cookie(in_use, client, now - 3700), False, False),
        (server_cookie(in_use, client, now + 280), True, True),
        (server_cookie(in_use, client, now + 320), False, False),
        (server_cookie(other, client, now), True, False),
        (server_cookie(bytes(16), client, now), False, False),
        (server_cookie(in_use, client, now, "127.0.0.2"), False, False),
        (server_cookie(in_use, client, now, reserved=b"\1\2\3"), True, True),
        (bytes(8), False, False),
        (bytes(32), False, False),
        (b"", False, False),
    ):
        rcode, found, _ = ask(judged)
        equal((rcode, found == judged), (NOERROR, kept), f"cookie {judged.hex()}: RCODE, comes back as it is")
        rcode, found, _ = ask(judged, port=lab.PAIR_PORT)
        equal((rcode, found == judged), (NOERROR if good else BADCOOKIE, kept), f"cookie {judged.hex()} where cookies are required")
    equal(udp(query(name), port=lab.PAIR_PORT).rcode, NOERROR, "RCODE without a cookie where cookies are required")
    equal(len(lab.upstream.queries(name)) > 0, True, "asked upstream")


@row("C24")
def extended_errors_are_passed_on_and_change_nothing(lab):
    name = fresh("c24")
    bogus = opt(options=option(EDE, b"\0\6no signature"))
    lab.upstream.rule(name, lambda asked: respond(asked, rcode=SERVFAIL, edns=bogus))
    reply = udp(query(name, edns=opt()))
    equal((reply.rcode, reply.ede), (SERVFAIL, 6), "RCODE and extended error")
    equal(udp(query(name)).opt, None, "OPT for a client without")


@row("C25")
def report_channels_stay_on_their_hop(lab):
    name = fresh("c25")
    channel = option(REPORT, messages.wire("agent.example"))
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", A, bytes(4))], edns=opt(options=channel)))
    reply = udp(query(name, edns=opt(options=channel)))
    equal((reply.option(REPORT), lab.upstream.queries(name)[0].message.option(REPORT)), (None, None), "option 18")


@row("C26")
def nsid_is_not_answered_unless_configured(lab):
    asked = opt(options=option(NSID))
    equal(udp(query(fresh("c26"), edns=asked)).option(NSID), None, "NSID")
    equal(udp(query(fresh("c26"), edns=asked), port=lab.PAIR_PORT).option(NSID), lab.NSID.encode(), "NSID where there is one")
    equal(udp(query(fresh("c26"), edns=opt()), port=lab.PAIR_PORT).option(NSID), None, "NSID nobody asked for")
