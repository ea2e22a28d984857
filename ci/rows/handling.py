"""Message handling: rows A."""

import time

from lab import messages, namespace
from lab.asking import (
    Stream, Unexpected, equal, fresh, is_due, lawful, replies_of_many, silence, tcp, udp, udp_raw, udp_socket, want,
)
from lab.corpus import corpus
from lab.messages import (
    A, AA, AD, ANY, AXFR, CH, CNAME, COOKIE, FORMERR, IN, IXFR, NOERROR, NOTIMP, QR, RA, RD, REFUSED, SERVFAIL, SRV, TC, TXT, Z,
    header, opt, option, query, question, record,
)
from lab.upstream import MOMENT, Later, address_of, respond, usual
from rows import row

CORPUS = 4000
AT_ONCE = 100


@row("A01")
def every_odd_message_gets_one_reply_and_nothing_else_any(lab):
    everything = list(corpus(CORPUS))
    due = sum(map(is_due, everything))
    replied, begin = 0, time.monotonic()
    for start in range(0, len(everything), AT_ONCE):
        asked = everything[start : start + AT_ONCE]
        found, extra = replies_of_many(asked)
        equal(extra, 0, "second replies")
        for octets, reply in zip(asked, found):
            if (reply is not None) != is_due(octets):
                raise Unexpected(f"{'no reply to' if reply is None else 'a reply to'} {octets.hex()} over UDP")
            if reply is not None:
                lawful(octets, reply, over_udp=True)
                replied += 1
    equal(replied, due, "replies over UDP")
    equal(corpus_over_tcp([octets for octets in everything if is_due(octets)]), due, "replies over TCP")
    return f"{len(everything)} messages, {due} replies over UDP and over TCP, {time.monotonic() - begin:.1f} s"


def corpus_over_tcp(everything):
    """All of them pipelined, a hundred to a connection, told apart by an ID put in."""
    replied = 0
    for start in range(0, len(everything), AT_ONCE):
        asked = {n.to_bytes(2): n.to_bytes(2) + octets[2:] for n, octets in enumerate(everything[start : start + AT_ONCE], 1)}
        with Stream() as stream:
            stream.send(*asked.values())
            while asked:
                reply = stream.receive()
                if reply is None or reply[:2] not in asked:
                    raise Unexpected(f"{'the stream ended' if reply is None else reply.hex()}; open: {next(iter(asked.values())).hex()}")
                lawful(asked.pop(reply[:2]), reply)
                replied += 1
    return replied


@row("A02")
def responses_are_never_answered(lab):
    octets = bytes.fromhex("123481800001000000000000") + question(fresh("a02"))
    silence(octets)
    silence(bytes.fromhex("1234f8040000000000000000"))
    good = query(fresh("a02"), identifier=0x4321)
    for tls in (None, lab.ca):
        with Stream(tls) as stream:
            stream.send(octets, good)
            reply = stream.receive()
            want(reply is None or reply[:2] == good[:2], f"a stream answered a response: {(reply or b'').hex()}")


@row("A03")
def runts_get_silence(lab):
    whole = query(fresh("a03"))
    for length in range(12):
        silence(whole[:length])


@row("A04")
def other_opcodes_get_notimp_and_a_bare_header(lab):
    equal(udp_raw(bytes.fromhex("123478000000000000000000")), bytes.fromhex("1234f8040000000000000000"), "opcode 15")
    for opcode in range(1, 16):
        flags = opcode << 11 | RD
        for body in (b"", question(fresh("a04")), b"\xff" * 30):
            asked = header(0x1234, flags, 1 if body else 0) + body
            equal(udp_raw(asked), header(0x1234, flags | QR | NOTIMP), f"opcode {opcode}")


@row("A05")
def two_questions_get_formerr(lab):
    name = fresh("a05")
    for count in (2, 3, 65535):
        asked = header(0x1234, RD, count) + question(name) * min(count, 3)
        equal(udp(asked).rcode, FORMERR, f"RCODE for {count} questions")
        equal(tcp(asked).rcode, FORMERR, f"RCODE for {count} questions over TCP")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("A06")
def no_question_is_no_silence(lab):
    for asked in (header(0x1234, RD), header(0x1234, RD, 0, 0, 0, 1) + opt()):
        equal(udp(asked).rcode, FORMERR, "RCODE")
    alone = header(0x1234, RD, 0, 0, 0, 1) + opt(options=option(COOKIE, b"12345678"))
    first = udp(alone)
    equal((first.rcode, first.questions, len(first.option(COOKIE) or b"")), (NOERROR, [], 24), "RCODE, questions, length of the cookie")
    again = udp(header(0x1234, RD, 0, 0, 0, 1) + opt(options=option(COOKIE, first.option(COOKIE))))
    equal((again.rcode, again.option(COOKIE)), (NOERROR, first.option(COOKIE)), "RCODE, cookie")


@row("A07")
def the_reserved_bit_is_neither_echoed_nor_forwarded(lab):
    name = fresh("a07")
    reply = udp(query(name, flags=RD | Z))
    equal((reply.rcode, reply.flags & Z), (NOERROR, 0), "RCODE, Z")
    seen = lab.upstream.queries(name)[0].message
    equal(seen.flags & ~(RD | AD), 0, "flags forwarded besides RD and AD")


@row("A08")
def aa_is_for_local_data_only_and_ra_is_always_set(lab):
    name = fresh("a08")
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", A, bytes(4))], flags=QR | AA))
    reply = udp(query(name))
    equal(reply.flags & (AA | RA), RA, "AA and RA of a forwarded answer")
    equal(udp(query(lab.LOCAL)).flags & (AA | RA), AA | RA, "AA and RA of a local answer")
    equal(udp(query(name, AXFR)).flags & (AA | RA), RA, "AA and RA of a refusal")


@row("A09")
def rd_is_copied(lab):
    for name in (fresh("a09"), lab.LOCAL):
        for flags in (0, RD):
            equal(udp(query(name, flags=flags)).flags & RD, flags, "RD")  # `lawful` holds every other reply to it, too
    name = fresh("a09")
    for flags in (RD, 0, RD):
        reply = udp(query(name, flags=flags))
        equal((reply.flags & RD, len(reply.answers), len(lab.upstream.queries(name))), (flags, 1, 1), "RD, answers, queries upstream")


@row("A10")
def rd_clear_and_nothing_known_is_refused(lab):
    name = fresh("a10")
    reply = udp(query(name, flags=0, edns=opt()))
    equal((reply.rcode, reply.ede), (REFUSED, 20), "RCODE and extended error")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("A11")
def names_of_255_octets_and_any_octet_are_legal(lab):
    longest = b"".join(b"\x01" + bytes([0x61 + n % 26]) for n in range(127)) + b"\0"
    equal(len(longest), 255, "octets of the name")
    reply = udp(query(longest, edns=opt()))
    equal((reply.rcode, reply.name, len(reply.answers)), (NOERROR, longest, 1), "RCODE, name, answers")
    equal(udp_raw(query(b"\x02ab" + longest[2:]))[3] & 15, FORMERR, "RCODE for 256 octets")
    equal(udp_raw(query(b"\x40" + b"a" * 64 + b"\0"))[3] & 15, FORMERR, "RCODE for a label of 64 octets")
    odd = b"\x04\x00\xff\x2e\x20" + messages.wire(fresh("a11"))
    equal(udp(query(odd)).name, odd, "name in the reply")
    equal(lab.upstream.queries(odd)[0].message.name, odd, "name upstream")
    every = b"".join(bytes([32]) + bytes(range(start, start + 32)) for start in range(0, 192, 32)) + b"\0"
    equal(udp(query(every)).name, every, "name in the reply")


@row("A12")
def pointers_go_backwards_or_nowhere(lab):
    begin = time.monotonic()
    asked = header(0x1234, RD, 1) + bytes.fromhex("c00c00010001")
    equal(udp(asked).rcode, FORMERR, "RCODE for a pointer to itself")
    seconds = time.monotonic() - begin
    want(seconds < 0.1, f"{seconds * 1000:.0f} ms for a pointer to itself")
    for name in (b"\xc0\x0e\xc0\x0c", b"\xc0\xff", b"\xff\xff", b"\x01a\xc0\x0c"):
        equal(udp_raw(header(0x1234, RD, 1) + name + b"\0\1\0\1")[3] & 15, FORMERR, f"RCODE for the name {name.hex()}")
    name = fresh("a12")
    at = 12 + len(question(name))
    target = bytes([0xC0, at])
    loop = lambda asked: respond(asked, [target + b"\0\1\0\1" + bytes(4) + b"\0\4" + bytes(4)])  # noqa: E731
    lab.upstream.rule(name, loop)
    reply = udp(query(name, edns=opt()))
    equal((reply.rcode, reply.ede), (SERVFAIL, 24), "RCODE and extended error for a loop from upstream")
    name = fresh("a12")  # pointers to pointers, inside data as well
    chain = [record(b"\xc0\x0c", CNAME, b"\x01t\xc0\x0c"), record(b"\xc0" + bytes([12 + len(question(name)) + 12]), A, bytes(4))]
    lab.upstream.rule(name, lambda asked: respond(asked, chain))
    equal([found.rtype for found in udp(query(name)).answers], [CNAME, A], "answers with pointers")


@row("A13")
def label_types_01_and_10_are_malformed(lab):
    for first in (0x41, 0x7F, 0x80, 0xBF):
        reply = udp_raw(header(0x1234, RD, 1) + bytes([first]) + b"a\0\0\1\0\1" + bytes(70))
        equal(reply[3] & 15, FORMERR, f"RCODE for label type {first:02x}")


@row("A14")
def lengths_and_counts_have_to_fit(lab):
    body = question(fresh("a14"))
    for answers, rest in ((1, b""), (65535, record(b"\0", A, bytes(4))), (1, b"\0\0\1\0\1" + bytes(4) + b"\xff\xff")):
        equal(udp(header(0x1234, RD, 1, answers) + body + rest).rcode, FORMERR, f"RCODE for {answers} claimed records")
    before = lab.program.resident_bytes()
    for _ in range(3):
        name = fresh("a14")

        def boastful(asked):
            octets = bytearray(respond(asked, [record(b"\xc0\x0c", A, bytes(4))]))
            octets[6:8] = b"\xff\xff"
            return bytes(octets)

        lab.upstream.rule(name, boastful)
        reply = udp(query(name, edns=opt()))
        equal((reply.rcode, reply.ede), (SERVFAIL, 24), "RCODE and extended error for 65535 claimed answers")
    grown = lab.program.resident_bytes() - before
    want(grown < 1 << 20, f"resident memory grew by {grown} octets")


@row("A15")
def octets_behind_the_message_are_neither_minded_nor_forwarded(lab):
    for tail in (b"\0", b"tail" * 25):
        name = fresh("a15")
        equal(len(udp(query(name) + tail).answers), 1, "answers")
        want(b"tail" not in lab.upstream.queries(name)[0].message.octets, "the tail went upstream")
    name = fresh("a15")
    lab.upstream.rule(name, lambda asked: usual(asked) + b"tail")
    want(not udp_raw(query(name)).endswith(b"tail"), "the tail of a response was relayed")


@row("A16")
def any_type_and_class_passes_with_its_octets(lab):
    data = bytes.fromhex("c00cc0ff0001ff") + bytes(range(32))
    for qtype, qclass in ((65280, IN), (64, IN), (0, IN), (65535, IN), (1, 254), (65280, 65280)):
        name = fresh("a16")
        lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", 65280, data)]))
        reply = udp(query(name, qtype, qclass))
        equal((reply.rcode, reply.questions[0]), (NOERROR, question(name, qtype, qclass)), "RCODE and question")
        equal([found.rdata for found in reply.answers], [data], "data")


@row("A17")
def compression_inside_data_stays_valid(lab):
    name = fresh("a17")
    data = b"\0\1\0\2\0\x35\x03srv\xc0\x0c"
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", SRV, data)], edns=opt()))
    for edns in (None, opt()):
        octets = udp(query(name, SRV, edns=edns)).octets
        at = octets.index(data[:6]) + 6
        equal(messages.read_name(octets, at), b"\x03srv" + messages.wire(name), "SRV target")


@row("A18", tries=3)
def letter_case_is_the_clients_and_only_ascii_is_folded(lab):
    name = messages.wire(fresh("a18"))
    slow = lambda asked: Later(MOMENT, usual(asked))  # noqa: E731
    lab.upstream.rule(name, slow)
    spelled = [name, name.upper(), name.swapcase(), name.title()]
    replies = [lawful(query(each), reply, True) for each, reply in zip(spelled, at_once([query(each) for each in spelled]))]
    equal([reply.name for reply in replies], spelled, "names")
    for each in spelled:
        equal(udp(query(each)).name, each, "the name with what is kept")
    equal(len(lab.upstream.queries(name)), 1, "queries upstream for one name in four spellings")
    small, capital = b"\x02\xe0a" + name, b"\x02\xc0a" + name
    for each in (small, capital):
        lab.upstream.rule(each, slow)
    at_once([query(small), query(capital)])
    for each in (small, capital):
        equal(udp(query(each)).name, each, "the name with what is kept")
    equal((len(lab.upstream.queries(small)), len(lab.upstream.queries(capital))), (1, 1), "queries for octets E0 and C0")


def at_once(asked):
    found, extra = replies_of_many(asked)
    want(None not in found and extra == 0, f"{found.count(None)} without reply, {extra} replies too many")
    return found


@row("A19", tries=3)
def class_is_part_of_the_question(lab):
    name = fresh("a19")
    lab.upstream.rule(name, lambda asked: Later(MOMENT, respond(asked, [record(b"\xc0\x0c", TXT, asked.questions[0][-1:] * 2)])))
    asked = [query(name, TXT, CH), query(name, TXT, IN)]
    replies = [lawful(octets, reply, True) for octets, reply in zip(asked, at_once(asked))]
    equal([reply.questions[0][-2:] for reply in replies], [b"\0\3", b"\0\1"], "classes")
    equal([reply.answers[0].rdata for reply in replies], [b"\3\3", b"\1\1"], "data")
    equal(len(lab.upstream.queries(name)), 2, "queries upstream")
    for qclass, data, queries in ((IN, b"\1\1", 2), (CH, b"\3\3", 3), (IN, b"\1\1", 3)):
        equal(udp(query(name, TXT, qclass)).answers[0].rdata, data, f"data of class {qclass} once more")
        equal(len(lab.upstream.queries(name)), queries, f"queries upstream: of class {qclass} once more")
    for about_us in ("id.server", "HOSTNAME.bind", "version.bind", "version.server"):
        reply = udp(query(about_us, TXT, CH, edns=opt()))
        equal((reply.rcode, reply.ede), (REFUSED, 18), f"{about_us}: RCODE, extended error")
        reply = udp(query(about_us, TXT, CH), port=lab.PAIR_PORT)
        told = [found.rdata for found in reply.answers]
        wanted = [] if about_us.startswith("version") else [bytes([len(lab.NSID)]) + lab.NSID.encode()]
        equal((reply.rcode, told), (NOERROR if wanted else REFUSED, wanted), f"{about_us} of a server with a name: RCODE, text")
        equal(lab.upstream.queries(about_us), [], "queries upstream")


@row("A20")
def any_is_not_amplified_over_udp(lab):
    name = fresh("a20")
    data = (b"\xff" + b"x" * 255) * 8
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", TXT, data) for _ in range(2)]))
    for edns in (opt(4096), opt(512), None):
        reply = udp(query(name, ANY, edns=edns))
        equal((bool(reply.flags & TC), reply.answers, len(lab.upstream.queries(name))), (True, [], 0), "TC, answers, queries upstream")
    equal(len(tcp(query(name, ANY)).answers), 2, "answers over TCP")
    equal(len(udp(query(lab.LOCAL, ANY)).answers), 1, "answers for a local name")


@row("A21")
def meta_types_are_no_question(lab):
    for qtype in (41, 250):
        equal(udp(query(fresh("a21"), qtype)).rcode, FORMERR, f"RCODE for type {qtype}")
    for qtype in (249, 253, 254):
        equal(udp(query(fresh("a21"), qtype)).rcode, NOERROR, f"RCODE for type {qtype}")


@row("A22")
def transfers_are_refused_and_hold_nothing(lab):
    before = lab.upstream.connections
    name = fresh("a22")
    for qtype in (AXFR, IXFR):
        reply = udp(query(name, qtype, edns=opt()))
        equal((reply.rcode, reply.ede), (REFUSED, 21), "RCODE and extended error over UDP")
    with Stream() as stream:
        for _ in range(200):
            reply = stream.ask(query(name, IXFR, edns=opt()))
            equal((reply.rcode, reply.ede), (REFUSED, 21), "RCODE and extended error over TCP")
    equal((lab.upstream.connections - before, lab.upstream.queries(name)), (0, []), "connections and queries upstream")


@row("A23")
def updates_are_not_forwarded(lab):
    name = fresh("a23")
    asked = header(0x1234, 5 << 11, 1) + question(name, 6)
    for reply in (udp(asked), tcp(asked), tcp(asked, lab.ca)):
        equal(reply.rcode, NOTIMP, "RCODE")
    equal(lab.upstream.queries(name), [], "queries upstream")


@row("A24")
def notify_gets_notimp(lab):
    name = fresh("a24")
    equal(udp(header(0x1234, 4 << 11 | AA, 1) + question(name, 6)).rcode, NOTIMP, "RCODE")
    with Stream() as stream:
        equal(stream.ask(header(0x1234, 4 << 11, 9, 9, 9, 9) + b"\xff" * 9).rcode, NOTIMP, "RCODE of a malformed one")
        equal(len(stream.ask(query(name)).answers), 1, "answers afterwards")


@row("A25")
def stateful_operations_get_notimp_and_the_stream_goes_on(lab):
    with Stream() as stream:
        equal(stream.ask(header(0x1234, 6 << 11) + b"\0\1\0\4" + bytes(4)).rcode, NOTIMP, "RCODE")
        equal(len(stream.ask(query(fresh("a25"))).answers), 1, "answers afterwards")


@row("A26")
def replies_leave_from_the_address_asked(lab):
    for address in ("127.0.0.1", "127.0.0.3", namespace.HOST4, "::1", namespace.HOST6):
        with udp_socket(address, lab.WILDCARD_PORT) as connected:  # takes datagrams of that source alone
            connected.send(query(fresh("a26")))
            try:
                connected.recv(4096)
            except TimeoutError:
                raise Unexpected(f"no reply from {address}") from None


@row("A27")
def a_reply_takes_the_connection_of_its_query(lab):
    names = [fresh("a27") for _ in range(2)]
    for name, seconds in zip(names, (MOMENT, 0.0)):
        lab.upstream.rule(name, lambda asked, seconds=seconds: Later(seconds, usual(asked)))
    with Stream() as first, Stream() as second:
        first.send(query(names[0]))
        second.send(query(names[1]))
        for stream, name in ((second, names[1]), (first, names[0])):
            reply = lawful(query(name), stream.receive())
            equal((reply.name, reply.answers[0].rdata), (messages.wire(name), address_of(name)), "answer")
        first.send(query(names[0]))
        second.send(query(names[0], A, CH))
        want(lawful(query(names[0]), second.receive()).questions[0][-1] == CH, "class of the second client")
        want(lawful(query(names[0]), first.receive()).questions[0][-1] == IN, "class of the first client")


@row("A29", tries=3)
def a_query_sent_twice_is_answered_twice_and_asked_once(lab):
    name = fresh("a29")
    lab.upstream.rule(name, lambda asked: Later(MOMENT, usual(asked)))
    with udp_socket() as plain:
        plain.send(query(name))
        plain.send(query(name))
        equal([len(plain.recv(4096)) > 12 for _ in range(2)], [True, True], "replies")
    equal(len(lab.upstream.queries(name)), 1, "queries upstream")


@row("A30")
def strangers_are_refused(lab):
    name = fresh("a30")
    reply = udp(query(name, edns=opt()), address=namespace.HOST4, port=lab.WILDCARD_PORT, source=namespace.HOST4)
    equal((reply.rcode, reply.ede), (REFUSED, 18), "RCODE and extended error")
    equal(lab.upstream.queries(name), [], "queries upstream")
