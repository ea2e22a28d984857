"""Size and truncation: rows B."""

import subprocess

from lab import messages
from lab.asking import Stream, equal, fresh, tcp, udp, want
from lab.messages import A, CNAME, SERVFAIL, TC, TXT, opt, query, record
from lab.upstream import respond
from rows import row


def text(octets):
    """TXT data of that many octets, at least two."""
    data = b""
    while octets > 0:
        length = min(255, octets - 1)
        data += bytes([length]) + b"x" * length
        octets -= length + 1
    return data


def large(lab, octets, count=1, row="b", edns=b"", before=(), flags=messages.QR | messages.RA):
    """A name whose TXT answer is `count` records of that many octets of data each, with records before them."""
    name = fresh(row)
    records = [*before, *(record(b"\xc0\x0c", TXT, text(octets)) for _ in range(count))]
    lab.upstream.rule(name, lambda asked: respond(asked, records, edns=edns, flags=flags))
    return name


@row("B01")
def without_edns_at_most_512_and_truncated_between_record_sets(lab):
    reply = udp(query(large(lab, 1600), TXT))
    equal((len(reply.octets) <= 512, bool(reply.flags & TC), reply.opt, len(reply.answers)), (True, True, None, 0), "reply")
    alias = record(b"\xc0\x0c", CNAME, messages.wire("target.example"))
    reply = udp(query(large(lab, 400, count=3, before=[alias]), TXT))
    equal((bool(reply.flags & TC), [found.rtype for found in reply.answers]), (True, [CNAME]), "kept record sets")


@row("B02")
def never_more_than_the_client_takes(lab):
    name = large(lab, 900)
    for size, bound in ((600, 600), (1232, 1232), (4096, 1232), (65535, 1232)):
        reply = udp(query(name, TXT, edns=opt(size)))
        want(len(reply.octets) <= bound, f"{len(reply.octets)} octets for size {size}")
        equal(bool(reply.flags & TC), size == 600, f"TC for size {size}")
    reply = udp(query(large(lab, 1400), TXT, edns=opt(65535)))
    want(len(reply.octets) <= 1232 and reply.flags & TC, f"{len(reply.octets)} octets for size 65535")


@row("B03")
def sizes_below_512_mean_512(lab):
    for size in (0, 100, 511):
        reply = udp(query(large(lab, 200), TXT, edns=opt(size)))
        equal((bool(reply.flags & TC), len(reply.answers)), (False, 1), f"size {size}: TC, answers")


@row("B04")
def a_truncated_reply_keeps_its_opt(lab):
    reply = udp(query(large(lab, 1600), TXT, edns=opt(512)))
    want(reply.flags & TC and reply.opt is not None and len(reply.octets) <= 512, reply.octets.hex())


@row("B05")
def truncated_over_tls_is_asked_elsewhere_and_tc_stays(lab):
    name = fresh("b05")
    tc = lambda asked: respond(asked, flags=messages.QR | messages.RA | TC)  # noqa: E731
    lab.upstream.rule(name, tc)
    for queries in (1, 2):
        want(udp(query(name)).flags & TC, "one upstream: TC was cleared")
        equal(len(lab.upstream.queries(name)), queries, "queries to the one upstream: what is truncated is not kept")
    name = fresh("b05")
    lab.upstream.rule(name, tc)
    reply = udp(query(name), port=lab.PAIR_PORT)
    equal((bool(reply.flags & TC), len(reply.answers)), (False, 1), "two upstreams: TC, answers")
    equal((len(lab.upstream.queries(name)), len(lab.second.queries(name))), (1, 1), "queries to each upstream")


@row("B06")
def additional_data_goes_first_and_without_tc(lab):
    name = fresh("b06")
    more = [record(messages.wire(f"extra{n}.example"), TXT, text(200)) for n in range(3)]
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", A, bytes(4))], [], more))
    reply = udp(query(name))
    equal((bool(reply.flags & TC), len(reply.answers), len(reply.section(2))), (False, 1, 0), "TC, answers, additional")
    equal(len(tcp(query(name)).section(2)), 3, "additional records over TCP")


@row("B07")
def the_extended_error_goes_before_anything_else(lab):
    extended = messages.option(messages.EDE, b"\0\3" + b"stale " * 20)
    name = large(lab, 430, edns=opt(options=extended))
    reply = udp(query(name, TXT, edns=opt(512)))
    equal((bool(reply.flags & TC), len(reply.answers), reply.ede), (False, 1, None), "TC, answers, extended error")
    equal(udp(query(name, TXT, edns=opt(1232))).ede, 3, "extended error where it fits")


@row("B08")
def a_stream_ignores_the_udp_size(lab):
    name = large(lab, 1600)
    for octets in (query(name, TXT), query(name, TXT, edns=opt(512))):
        reply = tcp(octets)
        equal((bool(reply.flags & TC), len(reply.answers)), (False, 1), "TC, answers")


def fragments():
    """Datagrams this network namespace cut into fragments so far, both families."""
    found = 0
    with open("/proc/net/snmp") as file:
        names, values = [line.split() for line in file if line.startswith("Ip:")]
        found += int(values[names.index("FragCreates")])
    with open("/proc/net/snmp6") as file:
        found += sum(int(line.split()[1]) for line in file if line.startswith("Ip6FragCreates"))
    return found


@row("B09")
def the_largest_reply_passes_a_path_of_1280_without_fragments(lab):
    name = fresh("b09")
    room = 1232 - len(query(name, TXT, edns=opt())) - len(record(b"\xc0\x0c", TXT, b""))
    lab.upstream.rule(name, lambda asked: respond(asked, [record(b"\xc0\x0c", TXT, text(room))]))
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1280"], check=True)
    try:
        before = fragments()
        sizes = [len(udp(query(name, TXT, edns=opt(1232)), address=address).octets) for address in ("127.0.0.1", "::1")]
        equal((sizes, fragments() - before), ([1232, 1232], 0), "sizes over IPv4 and IPv6, fragments")
    finally:
        subprocess.run(["ip", "link", "set", "lo", "mtu", "65536"], check=True)


@row("B10")
def long_queries_are_read_whole(lab):
    padded = opt(options=messages.option(messages.PADDING, bytes(3900)))
    equal(len(udp(query(fresh("b10"), edns=padded)).answers), 1, "answers")


@row("B11")
def nothing_wraps_at_65535(lab):
    for octets in (65_100, 65_400, 65_460, 65_470, 65_480):
        name = fresh("b11")
        extended = opt(options=messages.option(messages.EDE, b"\0\3"))
        data = text(octets)

        def biggest(asked, data=data, extended=extended):
            response = respond(asked, [record(b"\xc0\x0c", TXT, data)], edns=extended)
            return response if len(response) <= 65_535 else respond(asked, rcode=SERVFAIL)

        lab.upstream.rule(name, biggest)
        with Stream() as stream:
            reply = stream.ask(query(name, TXT, edns=opt()))
            want(reply.flags & TC or reply.rcode == SERVFAIL or len(reply.answers) == 1, "neither whole, nor TC, nor SERVFAIL")
            equal(len(stream.ask(query(fresh("b11"))).answers), 1, "the next answer on the stream")
        want(udp(query(name, TXT, edns=opt())).flags & TC or octets > 65_460, "UDP without TC")
