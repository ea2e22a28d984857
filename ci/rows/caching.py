"""What is kept, for how long, and for whom: rows E."""

import itertools
import json
import random
import subprocess
import time

from lab import messages
from lab.asking import equal, fresh, lawful, replies_of_many, tcp, udp, want
from lab.messages import (
    A, AAAA, AD, ANY, CD, CH, CNAME, DO, ECS, IN, NOERROR, NXDOMAIN, OPT, QR, RA, RD, REFUSED, RRSIG, SERVFAIL, SOA, TC, TXT, opt, option,
    query, record, wire,
)
from lab.upstream import MOMENT, Later, Upstream, address_of, respond, usual
from rows import row
from rows.dnssec import SIGNATURE, wants_signatures

HERE = b"\xc0\x0c"
HINFO, CLASS_ANY = 13, 255


def soa(ttl, minimum, owner=HERE):
    return record(owner, SOA, wire("ns.example") + wire("mail.example") + bytes(16) + minimum.to_bytes(4), ttl)


def ttls(reply, section=0):
    return [found.ttl for found in reply.section(section) if found.rtype != OPT]


def asked_of(lab, name):
    return len(lab.upstream.queries(name))


# E01: what answers look like. Each depends on DO and on CD, so that mixing them up shows.
SHAPES = {
    "small": lambda asked, mark: respond(asked, [record(HERE, A, mark)] + signature(asked), edns=edns(asked)),
    "large": lambda asked, mark: respond(
        asked, [record(HERE, A, mark[:3] + bytes([n])) for n in range(200)] + signature(asked), edns=edns(asked)),
    "alias": lambda asked, mark: respond(
        asked, [record(HERE, CNAME, wire("to.example"), 3600), record("to.example", A, mark, 1800)] + signature(asked), edns=edns(asked)),
    "nodata": lambda asked, mark: respond(asked, [], [soa(900, 900)] + signature(asked, 900), edns=edns(asked)),
    "nxdomain": lambda asked, mark: respond(asked, [], [soa(900, 900)] + signature(asked, 900), rcode=NXDOMAIN, edns=edns(asked)),
    "authentic": lambda asked, mark: respond(asked, [record(HERE, A, mark)] + signature(asked), flags=QR | RA | AD, edns=edns(asked)),
    "told": lambda asked, mark: respond(
        asked, [record(HERE, A, mark)], [], [record("more.example", A, mark)],
        edns=opt(options=option(messages.EDE, b"\0\4forged")) if asked.opt else b""),
}


def signature(asked, ttl=60):
    return [record(HERE, RRSIG, SIGNATURE, ttl)] if wants_signatures(asked) else []


def edns(asked):
    return opt(flags=DO if wants_signatures(asked) else 0) if asked.opt else b""


def shaped(shape):
    def answer(asked):
        mark = bytes([10, bool(asked.flags & CD), wants_signatures(asked), 1])
        return SHAPES[shape](asked, mark)

    return answer


def without_time(reply):
    """A reply but for its ID and the time its records have left."""
    records = [found if found.rtype == OPT else found._replace(ttl=0) for found in reply.records]
    return reply.flags, reply.questions, records


@row("E01")
def every_combination_agrees_with_a_program_that_keeps_nothing(lab):
    chance = random.Random(20)
    names = {fresh("e01"): shape for shape in SHAPES}
    for name, shape in names.items():
        lab.upstream.rule(name, shaped(shape))
    kinds = [None, *itertools.product((0, DO), (512, 1232, 4096))]
    everything = list(itertools.product(names, (0, RD), (0, AD), (0, CD), kinds, (udp, tcp)))
    chance.shuffle(everything)
    kept, from_memory, begin = set(), 0, time.monotonic()
    with lab.another("uncached", 5320, '[cache]\nsize = "off"'):
        for name, rd, ad, cd, kind, ask in everything:
            client = None if kind is None else opt(kind[1], flags=kind[0])
            spelled = bytes(chance.choice((octet, octet ^ 0x20)) if 0x61 <= octet <= 0x7A else octet for octet in wire(name))
            octets = query(spelled, edns=client, flags=rd | ad | cd)
            key = (name, bool(kind and kind[0]), cd)
            before = asked_of(lab, name)
            found = ask(octets)
            added = asked_of(lab, name) - before
            # Without recursion the one that keeps nothing refuses; what is kept is told.
            known = not rd and key in kept
            oracle = query(spelled, edns=client, flags=ad | cd | RD) if known else octets
            wanted = udp(oracle, port=5320) if ask is udp else tcp(oracle, port=5320)
            flags, *rest = without_time(wanted)
            what = f"{names[name]}, RD {bool(rd)}, AD {bool(ad)}, CD {bool(cd)}, EDNS {kind}, {ask.__name__}"
            equal(without_time(found), (flags & ~RD | rd, *rest), what)
            # Nothing is older than the first of these questions.
            oldest = time.monotonic() - begin + 1
            for told, kept_for in zip(found.records, wanted.records):
                want(told.rtype == OPT or kept_for.ttl - oldest <= told.ttl <= kept_for.ttl, f"{what}: TTL {told.ttl} of {kept_for.ttl}")
            equal(added, int(bool(rd) and key not in kept), f"{what}: queries upstream")
            from_memory += added == 0 and found.rcode != REFUSED
            if rd:
                kept.add(key)
    equal(len(kept), len(names) * 4, "answers kept")
    return f"{len(everything)} questions, {from_memory} answered from memory"


@row("E02")
def ttls_count_down_and_a_set_has_one(lab):
    name = fresh("e02")
    lab.upstream.rule(name, lambda asked: respond(asked, [record(HERE, A, bytes(4), 300), record(HERE, A, b"abcd", 60)]))
    equal(ttls(udp(query(name))), [60, 60], "TTLs of one set")
    begin = time.monotonic()
    time.sleep(2.1)
    for ask in (udp, tcp):
        found, passed = ttls(ask(query(name))), time.monotonic() - begin
        want(found[0] == found[1] and 60 - passed - 1 <= found[0] <= 58, f"TTLs {found} after {passed:.1f} s")
    equal(asked_of(lab, name), 1, "queries upstream")


@row("E03")
def a_ttl_with_its_top_bit_set_is_none_and_a_large_one_is_capped(lab):
    for ttl, told, queries in ((0xFFFFFFFF, 0, 2), (0x80000000, 0, 2), (0x7FFFFFFF, 86400, 1)):
        name = fresh("e03")
        lab.upstream.rule(name, lambda asked, ttl=ttl: respond(asked, [record(HERE, A, bytes(4), ttl)]))
        for _ in range(2):
            want(told - 2 <= ttls(udp(query(name)))[0] <= told, f"TTL told for {ttl:#x}")
        equal(asked_of(lab, name), queries, f"queries upstream for a TTL of {ttl:#x}")


@row("E04")
def a_ttl_of_zero_is_for_who_waits_for_it(lab):
    name = fresh("e04")
    lab.upstream.rule(name, lambda asked: respond(asked, [record(HERE, A, bytes(4), 0)]))
    for queries in (1, 2, 3):
        equal((ttls(udp(query(name))), asked_of(lab, name)), ([0], queries), "TTL, queries upstream")


@row("E05")
def a_negative_answer_without_soa_is_not_kept(lab):
    for rcode in (NXDOMAIN, NOERROR):
        name = fresh("e05")
        lab.upstream.rule(name, lambda asked, rcode=rcode: respond(asked, rcode=rcode))
        for queries in (1, 2):
            equal((udp(query(name)).rcode, asked_of(lab, name)), (rcode, queries), "RCODE, queries upstream")


@row("E06")
def a_negative_answer_is_kept_as_its_soa_says_and_three_hours_at_most(lab):
    for ttl, minimum, told in ((86400, 86400, 10800), (100, 50, 50), (50, 100, 50), (7, 7, 7)):
        for rcode in (NXDOMAIN, NOERROR):
            name = fresh("e06")
            lab.upstream.rule(name, lambda asked, rcode=rcode, of=(ttl, minimum): respond(asked, [], [soa(*of)], rcode=rcode))
            equal(ttls(udp(query(name)), 1), [told], f"TTL of a SOA record with {ttl} and {minimum}")
            reply = udp(query(name))
            want(reply.rcode == rcode and told - 2 <= ttls(reply, 1)[0] <= told, "the SOA record of what is kept")
            equal(asked_of(lab, name), 1, "queries upstream")
    time.sleep(1.1)
    want(ttls(udp(query(name)), 1)[0] < 7, "the TTL of the SOA record does not count down")


@row("E07")
def no_data_of_one_type_says_nothing_of_another(lab):
    name = fresh("e07")
    lab.upstream.rule(name, lambda asked: respond(asked, [], [soa(300, 300)]) if asked.qtype == A else usual(asked))
    for _ in range(2):
        equal((udp(query(name)).rcode, len(udp(query(name)).answers)), (NOERROR, 0), "A: RCODE, answers")
        equal(len(udp(query(name, AAAA)).answers), 1, "AAAA: answers")
    equal(asked_of(lab, name), 2, "queries upstream")


@row("E08")
def a_failure_is_kept_longer_each_time_and_not_beyond_recovery(lab):
    name = fresh("e08")
    lab.upstream.rule(name, lambda asked: respond(asked, rcode=SERVFAIL))
    begin = time.monotonic()
    asked = 0
    while time.monotonic() - begin < 2.8:
        equal(udp(query(name)).rcode, SERVFAIL, "RCODE")
        asked += 1
        time.sleep(0.01)
    # At 0 and 1 s; the next would be at 3.
    equal(asked_of(lab, name), 2, f"queries upstream for {asked} in 2.8 s")
    lab.upstream.rule(name, usual)
    while udp(query(name)).rcode != NOERROR:
        want(time.monotonic() - begin < 4.5, "no answer long after the failure")
        time.sleep(0.05)
    return f"{asked} asked, 2 upstream"


@row("E09")
def one_question_is_sent_three_times_at_most(lab):
    name = fresh("e09")
    lab.upstream.rule(name, lambda asked: None)
    equal(udp(query(name)).rcode, SERVFAIL, "RCODE")
    want(1 <= asked_of(lab, name) <= 3, f"{asked_of(lab, name)} queries upstream")


@row("E10")
def an_upstream_that_was_away_is_asked_again_within_seconds(lab):
    with lab.another("away", 5321, upstream=8539):
        for _ in range(5):
            equal(udp(query(fresh("e10")), port=5321).rcode, SERVFAIL, "RCODE while nobody listens")
        upstream, begin = Upstream(8539, lab.identity), time.monotonic()
        while udp(query(fresh("e10")), port=5321).rcode != NOERROR:
            want(time.monotonic() - begin < 5, "not found again within 5 s")
            time.sleep(0.05)
        want(upstream.seen, "it was asked")
        return f"{time.monotonic() - begin:.1f} s"


@row("E11", tries=3)
def equal_questions_share_one_flight(lab):
    name = fresh("e11")
    lab.upstream.rule(name, lambda asked: Later(MOMENT, usual(asked)))
    # One client may have half of the thousand who may wait for one answer.
    asked = [query(name, identifier=number) for number in range(400)]
    found, extra = replies_of_many(asked)
    for octets, reply in zip(asked, found):
        want(reply is not None, "a question without a reply")
        equal([each.rdata for each in lawful(octets, reply, True).answers], [address_of(name)], "answer")
    equal((extra, asked_of(lab, name)), (0, 1), "replies too many, queries upstream")


def expired(lab, answer):
    """A name whose answer is kept and past its time, while its upstream says nothing more."""
    name = fresh("e12")
    lab.upstream.rule(name, answer)
    udp(query(name))
    lab.upstream.rule(name, lambda asked: None)
    time.sleep(1.1)
    return name


@row("E12")
def what_is_past_its_time_is_given_when_nobody_answers(lab):
    data = expired(lab, lambda asked: respond(asked, [record(HERE, A, b"data", 1)]))
    absent = expired(lab, lambda asked: respond(asked, [], [soa(1, 1)], rcode=NXDOMAIN))
    for name, rcode, code, section in ((data, NOERROR, 3, 0), (absent, NXDOMAIN, 19, 1)):
        begin = time.monotonic()
        reply = udp(query(name, edns=opt()))
        took = time.monotonic() - begin
        equal((reply.rcode, reply.ede, ttls(reply, section)), (rcode, code, [30]), "RCODE, extended error, TTL of what is stale")
        want(1.6 <= took <= 2.0, f"after {took:.2f} s and not after 1.8")
        begin = time.monotonic()
        equal(udp(query(name, edns=opt())).ede, code, "extended error soon after")
        want(time.monotonic() - begin < 0.3, "it is not given at once")
    lab.upstream.rule(data, lambda asked: respond(asked, [record(HERE, A, b"news")]))
    refused = udp(query(data, flags=0, edns=opt()))
    equal((refused.rcode, refused.ede), (REFUSED, 20), "without recursion nothing stale is told")


@row("E13")
def what_must_not_be_kept_is_not(lab):
    mine = lambda asked, **how: respond(asked, [record(HERE, asked.qtype, b"data")], **how)  # noqa: E731
    scoped = opt(options=option(ECS, b"\0\1\x18\x18\xcb\0\x71"))
    other = wire("other.example")
    cases = {
        "truncated": (lambda asked: mine(asked, flags=QR | RA | TC), TXT, IN),
        "for one subnet": (lambda asked: mine(asked, edns=scoped), A, IN),
        "of class CH": (lambda asked: respond(asked, [record(HERE, TXT, b"\4data", rclass=CH)]), TXT, CH),
        "of class ANY": (mine, A, CLASS_ANY),
        "of a meta type": (mine, 253, IN),
        "of another name": (lambda asked: respond(asked, [record(other, A, b"data")]), A, IN),
        "with a transaction signature": (lambda asked: respond(asked, [record(HERE, A, b"data")], [], [record(b"\0", 250, bytes(30), 0, 255)]), A, IN),
    }
    for what, (answer, qtype, qclass) in cases.items():
        name = fresh("e13")
        lab.upstream.rule(name, answer)
        for queries in (1, 2):
            tcp(query(name, qtype, qclass, edns=opt()))
            equal(asked_of(lab, name), queries, f"queries upstream for an answer {what}")


@row("E14")
def additional_data_is_no_answer(lab):
    name, glue = fresh("e14"), fresh("e14")
    lab.upstream.rule(name, lambda asked: respond(asked, [record(HERE, 15, b"\0\1" + wire(glue))], [], [record(glue, A, b"glue")]))
    equal(len(udp(query(name, 15)).section(2)), 1, "additional records")
    equal([found.rdata for found in udp(query(glue)).answers], [address_of(glue)], "the answer for what was additional")
    equal(asked_of(lab, glue), 1, "queries upstream")


@row("E15")
def hinfo_in_place_of_any_is_kept(lab):
    name = fresh("e15")
    lab.upstream.rule(name, lambda asked: respond(asked, [record(HERE, HINFO, b"\7RFC8482\0")]))
    for _ in range(3):
        equal([found.rdata for found in tcp(query(name, ANY)).answers], [b"\7RFC8482\0"], "HINFO")
    equal(asked_of(lab, name), 1, "queries upstream")


@row("E16", tries=2)
def what_is_much_asked_for_is_refreshed_once_ahead_of_its_end(lab):
    name, idle = fresh("e16"), fresh("e16")
    for each in (name, idle):
        lab.upstream.rule(each, lambda asked: Later(MOMENT, respond(asked, [record(HERE, A, b"data", 10)])))
    for _ in range(12):
        udp(query(name))
    udp(query(idle))
    time.sleep(9.3)
    asked = [query(name, identifier=number) for number in range(200)]
    found, _ = replies_of_many(asked)
    equal((found.count(None), asked_of(lab, name)), (0, 2), "unanswered, queries upstream")
    waited = [ttls(lawful(octets, reply, True)) for octets, reply in zip(asked, found)]
    want(waited[0][0] <= 1, "the first one waited for the refresh")
    udp(query(idle))
    equal(asked_of(lab, idle), 1, "queries upstream for what is seldom asked for")
    return f"{sum(told[0] <= 1 for told in waited)} of 200 at once were told what was kept"


@row("E17")
def the_cache_keeps_its_bound_and_so_does_the_process(lab):
    limit = 1 << 20
    control = f"{lab.directory}/bounded.sock"
    with lab.another("bounded", 5322, f'control = "{control}"\n[cache]\nsize = "1MiB"') as program:
        filler = b"".join(b"\x3f" + b"f" * 63 for _ in range(2))
        long = lambda number: b"\x20" + f"{number:032x}".encode() + b"\x3f" + b"g" * 63 + filler + wire("example")  # noqa: E731
        want(len(long(0)) > 230, "long names")
        big = lambda asked: respond(asked, [record(HERE, TXT, b"\xff" + bytes(255)) for _ in range(200)])  # noqa: E731
        fill(lambda number: long(1 << 20 | number), 200)
        before = program.resident_bytes()
        for number in range(12):
            fill(lambda at, number=number: long(number * 1000 + at), 800)
        full = bounded(lab, control)
        want(0.6 * limit < full["octets"] <= limit, f"{full['octets']} octets kept of {limit}")
        for _ in range(60):
            name = fresh("e17")
            lab.upstream.rule(name, big)
            tcp(query(name, TXT), port=5322)
        grown = program.resident_bytes() - before
        told = bounded(lab, control)
        want(told["octets"] <= limit, f"{told['octets']} octets kept of {limit}")
        want(told["evictions"] > 5000, f"{told['evictions']} evictions")
        # What it may keep, and buffers of connections, which are no part of the cache.
        want(grown <= 1.1 * limit + (2 << 20), f"the process grew by {grown} octets")
        return f"{full['entries']} answers in {full['octets']} octets; the process grew by {grown >> 10} KiB"


def bounded(lab, control):
    command = [lab.PROGRAM, "cache", "stats", "--json", "--control", control]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["memory"]


def fill(name, count):
    asked = [query(name(number), identifier=number) for number in range(count)]
    for start in range(0, count, 100):
        found, _ = replies_of_many(asked[start : start + 100], port=5322)
        want(None not in found, "a question without a reply")


@row("E19")
def a_failure_takes_nothing_from_good_data(lab):
    name = fresh("e19")
    lab.upstream.rule(name, lambda asked: respond(asked, [record(HERE, A, b"good", 1)]))
    udp(query(name))
    lab.upstream.rule(name, lambda asked: respond(asked, rcode=SERVFAIL))
    time.sleep(1.1)
    for _ in range(3):
        reply = udp(query(name, edns=opt()))
        equal((reply.rcode, reply.ede, [found.rdata for found in reply.answers]), (NOERROR, 3, [b"good"]), "RCODE, extended error, data")
    want(asked_of(lab, name) == 2, f"{asked_of(lab, name)} queries upstream")
