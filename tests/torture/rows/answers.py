"""What comes back over a verified connection: nothing, late, in pieces, twice, or about something else."""

import load as clients
import message
import upstreams
from play import AFTER, LEAD, distinct_queries, row
from rows.paths import beside_and_alone

#: Questions while one answer in ten is late (T24).
LATE_QUESTIONS, LATE_RATE = 20_000, 2_000
LATE_QUESTIONS_FULL, LATE_RATE_FULL = 1_000_000, 6_000
#: Answers out of order (T19): questions, a second, and how many an upstream collects before it turns them round.
DISORDER_QUESTIONS, DISORDER_RATE, DISORDER_DEPTH = 6_000, 2_000, 1_000
#: Wrong answers after which a connection is closed, and those that were on their way by then.
MISMATCHES, ON_THEIR_WAY = 10, 10
#: Seconds in which a mute address is tried again once (T70): 10 after it fell mute, and 20 after that.
AGAIN = 15


@row("T12", "U1 falls mute", "NOERROR; 0 lost, max 500 ms; then at most 1 % touch U1", peers=True)
def mute(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load(rate=100) as load:
        play.sleep(LEAD)
        u1.mode("mute")
        play.sleep(1)
        touched, later = u1.counters()["queries"], play.moment()
        play.sleep(2 * AFTER)
        touched = u1.counters()["queries"] - touched
    play.all_good(load.history)
    play.within(load.history, 500)
    asked = len(load.history.since(later))
    play.expect("at most 1 % touch U1 after 1 s", touched <= 0.01 * asked + 1, f"{touched} of {asked}")
    play.note(f"{touched} of {asked} later questions touched U1")


@row("T70", "one of two addresses of the only upstream is mute", "NOERROR; 0 lost, max 500 ms; then at most 1 % touch it; one connection tries it again after 10 s",
     seconds=30)
def mute_address(play):
    first, second = play.both("mute")
    play.start(upstreams.Together(play.subject, first, second))
    with play.load(rate=100) as load:
        play.sleep(1)
        touched, later = first.counters()["queries"], play.moment()
        play.sleep(2 * AFTER)
        touched = first.counters()["queries"] - touched
        asked = len(load.history.since(later))
        # A connection that ends is no reason to dial the mute one again, before its time.
        second.mode("close-after=20")
        tried = first.counters()["connections_accepted"]
        play.sleep(AGAIN)
        tried = first.counters()["connections_accepted"] - tried
    play.all_good(load.history)
    play.within(load.history, 500)
    play.expect("at most 1 % touch the mute address after 1 s", touched <= 0.01 * asked + 1, f"{touched} of {asked}")
    play.expect("one connection tries it again", tried == 1, f"{tried} connections")
    play.note(f"{touched} of {asked} later questions touched it; {tried} connection in {AGAIN} s tried it again while the other closed after every 20 answers")


@row("T13", "U1 answers one of ten", "NOERROR; 0 lost, p99 500 ms")
def one_of_ten(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        u1.mode("answer-one-of=10")
        play.sleep(2 * AFTER)
    play.all_good(load.history)
    play.p99(load.history, 500)


@row("T16", "response time jumps from 1 ms to 800 ms", "NOERROR; 0 lost; at most 2 duplicates a question for 2 s, then 0.3", seconds=14)
def slower(play):
    u1, u2 = play.both("delay=1ms", "delay=1ms")
    play.start(u1, u2)
    with play.load(repeated=False) as load:
        play.sleep(LEAD)
        marks = [(len(load.asked), distinct_queries(u1, u2)[0])]
        for up in (u1, u2):
            up.mode("delay=800ms")
        for seconds in (2, 2 * AFTER):
            play.sleep(seconds)
            marks.append((len(load.asked), distinct_queries(u1, u2)[0]))
    play.all_good(load.history)
    # In the first 800 ms nothing tells this from two dead paths.
    shares = [(b[1] - a[1]) / (b[0] - a[0]) - 1 for a, b in zip(marks, marks[1:])]
    for share, bound, what in zip(shares, (2.0, 0.3), ("first 2 s", "later")):
        play.expect(f"{what}: at most {bound} duplicates a question", share <= bound, f"{share:.2f}")
    play.note(f"{shares[0]:.2f} duplicates a question in the first 2 s, then {shares[1]:.2f}")


@row("T17", "50 ms for each octet", "U2, max 500 ms; alone SERVFAIL within 2.1 s", seconds=12)
def drip(play):
    u1, u2 = play.both("drip=50ms")
    beside_and_alone(play, u1, u2, 500, (22,))


@row("T18", "answers in pieces, the length prefix octet by octet", "NOERROR", seconds=10)
def pieces(play):
    u1 = play.upstream(1)
    play.start(u1)
    with play.load() as load:
        for words in ("cut=1/2", "cut=1", "split", "tcp-chunk=1", "coalesce"):
            u1.mode(words)
            play.sleep(LEAD)
    play.all_good(load.history)


@row("T19", "answers in reverse and in disorder, a thousand deep", "NOERROR; 0 mismatched", seconds=12)
def disorder(play):
    u1 = play.upstream(1)
    play.start(u1)
    for word in ("reverse", "shuffle"):
        u1.mode(f"{word}={DISORDER_DEPTH}/300ms")
        with play.load(rate=DISORDER_RATE, limit=DISORDER_QUESTIONS, repeated=False) as load:
            load.join()
        play.all_good(load.history, f"{word}: ")
    play.note(f"{u1.counters()['in_flight_max']} in flight at most")


@row("T20", "foreign IDs before the right answer", "NOERROR; 0 lost", peers=True)
def strays(play):
    u1, u2 = play.both("stray=1", "stray=1")
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        for up in (u1, u2):
            up.mode("stray=3")
        play.sleep(AFTER)
    play.all_good(load.history)
    play.within(load.history, 100)


@row("T21", "right ID, wrong name, type, class, no question, no response", "never delivered; U2; alone SERVFAIL EDE 24",
     seconds=35)
def lies(play):
    words = ("wrong-name", "wrong-type", "wrong-class", "empty-question", "not-a-response")
    u1, u2 = play.both()
    play.start(u1, u2)
    for word in words:
        u1.mode(word)
        with play.load() as load:
            play.sleep(LEAD)
        play.all_good(load.history, f"{word}, with U2: ")
    for word in words:
        u1 = play.upstream(1, word)
        play.start(u1)
        with play.load(rate=20) as load:
            play.sleep(LEAD)
        play.all_servfail(load.history, (22, 23, 24), f"{word}, alone: ")
        most = max(u1.counters()["queries_per_connection"])
        bound = MISMATCHES + ON_THEIR_WAY
        play.expect(f"{word}: connection closed after {MISMATCHES}", most <= bound, f"{most} queries on one connection")
        play.note(f"{word}: EDE {sorted(load.history.ede)}, {most} queries on a connection, max {load.history.max_ms:.0f} ms")


@row("T22", "letter case of the question changed", "NOERROR, the client's case returned", seconds=8)
def letter_case(play):
    u1 = play.upstream(1)
    play.start(u1)
    with play.load() as load:
        for words in ("case=upper", "case=invert"):
            u1.mode(words)
            play.sleep(LEAD)
        reply = play.ask("MiXed.Case.lab.ZONE")
    play.all_good(load.history)
    play.expect("the client's case returned", b"MiXed\x04Case\x03lab\x04ZONE" in reply.question, reply.question, law=True)


@row("T23", "every answer twice and three times", "NOERROR, the first is used", seconds=8)
def duplicates(play):
    u1 = play.upstream(1, "duplicate=2")
    play.start(u1)
    with play.load() as load:
        play.sleep(AFTER)
    play.all_good(load.history)
    play.within(load.history, 100)


@row("T24", "one answer in ten 3 s late, at a high rate", "late ones discarded; 0 mismatched", seconds=20, full=200, alone=True)
def late(play):
    u1 = play.upstream(1, "late=3s/10")
    play.start(u1)
    questions = LATE_QUESTIONS_FULL if play.full else LATE_QUESTIONS
    rate = LATE_RATE_FULL if play.full else LATE_RATE
    play.resident_allowance = 48 * 1024 * 1024
    with play.load(rate=rate, limit=questions, repeated=False, sockets=8) as load:
        load.join()
    # What came late is discarded or, with the question asked again, was answered in time.
    play.expect("every answer good or SERVFAIL", load.history.good + load.history.servfails == len(load.history), load.history.bad)
    play.note(f"{load.history.good} good, {load.history.servfails} SERVFAIL")


def broken(play, *modes):
    """Whatever U1 does to its connections, U2 answers; alone it is told, and forgiven when it works."""
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        for words in modes:
            u1.mode("normal")
            play.sleep(LEAD / 3)
            u1.mode(words)
            play.sleep(LEAD)
    play.all_good(load.history, "with U2: ")
    play.start(u1)
    with play.load(rate=20) as load:
        play.sleep(LEAD)
        u1.mode("normal")
        healed = play.moment()
        play.sleep(LEAD + 1)
    hurt = load.history.until(healed - 0.1)
    play.expect("alone: SERVFAIL EDE 22/23/24", hurt.servfails == len(hurt) and hurt.ede <= {22, 23, 24},
                f"{hurt.servfails} of {len(hurt)} SERVFAIL, EDE {sorted(hurt.ede)}")
    play.all_good(load.history.since(healed + 1), "alone, 1 s after: ")


@row("T25", "length prefix larger than the data, then the end", "U2; 0 lost; alone SERVFAIL")
def long_prefix(play):
    broken(play, "length-too-large")


@row("T26", "length prefix 0, 1, 11", "U2; 0 lost; alone SERVFAIL", seconds=14)
def short_prefix(play):
    broken(play, "length=0", "length=1", "length=11")


@row("T27", "answer of 65,535 octets", "TCP client: whole; UDP client: TC", seconds=4)
def largest(play):
    u1 = play.upstream(1, "size=65535")
    play.start(u1)
    reply, octets = clients.ask_tcp(play.subject.address, f"large.{clients.ZONE}")
    whole = reply.rcode == message.NOERROR and not reply.truncated and len(reply.addresses) > 4000
    play.expect("TCP: whole", whole, f"{len(octets)} octets, {len(reply.addresses)} addresses, TC {reply.truncated}")
    play.expect("TCP: right", reply.addresses[:1] == [message.expected_a(f"large.{clients.ZONE}")], reply.addresses[:1])
    short = play.ask(f"large2.{clients.ZONE}")
    play.expect("UDP: TC", short.truncated and short.octets <= 1232, f"TC {short.truncated}, {short.octets} octets")
    play.note(f"TCP {len(octets)} octets, UDP {short.octets} with TC")


@row("T28", "TC over TLS", "the other upstream once; not the truncated answer if there is a whole one", seconds=4)
def truncated(play):
    u1, u2 = play.both("tc")
    play.start(u1, u2)
    reply = play.ask(f"short.{clients.ZONE}")
    play.expect("U2's whole answer", not reply.truncated and reply.addresses, f"TC {reply.truncated}")
    sends = [up.tell(f"asked short.{clients.ZONE} 1") for up in (u1, u2)]
    play.expect("each asked once", sends == ["1", "1"], sends)
    u2.mode("tc")
    reply = play.ask(f"short2.{clients.ZONE}")
    sends = [up.tell(f"asked short2.{clients.ZONE} 1") for up in (u1, u2)]
    play.expect("both truncated: told after one try each", (reply.truncated or reply.rcode == message.SERVFAIL)
                and sends == ["1", "1"], f"TC {reply.truncated}, RCODE {reply.rcode}, {sends}")


@row("T29", "end in the middle of a message, without close_notify", "U2; 0 lost; alone SERVFAIL")
def cut_off(play):
    broken(play, "abort")


@row("T68", "SERVFAIL from the only upstream; with a cache, TTL 1", "NOERROR, stale with EDE 3; new names SERVFAIL, kept for a second; fresh when asked again, after 30 s",
     seconds=45)
def unwilling_with_a_cache(play):
    u1 = play.upstream(1, "ttl=1")
    play.start(u1, more=("--cache", "4MiB"), warm=True)
    name = f"new.{clients.ZONE}"
    with play.load(rate=20, unique=False) as load:
        play.sleep(2 * LEAD)
        u1.mode("servfail")
        failing = play.moment()
        play.sleep(1.5)
        begin = play.moment()
        rcodes = []
        while play.moment() < begin + 0.8:
            rcodes.append(play.ask(name).rcode)
        sends = int(u1.tell(f"asked {name} 1"))
        play.sleep(0.5)
        u1.mode("ttl=1")
        healed = play.moment()
        # What is stale is asked for again every 30 s (RFC 8767 section 5).
        play.sleep(33)
    play.all_good(load.history)
    stale = sum(list(one.ede) == [3] for one in load.history.since(failing + 1.5).until(healed).asked)
    play.expect("stale data say so", stale > 0, stale)
    play.expect("a new name: SERVFAIL", set(rcodes) == {message.SERVFAIL}, set(rcodes))
    play.expect("a failure is kept for a second", sends <= 2, f"{sends} sends for {len(rcodes)} questions", law=True)
    after = load.history.since(healed + 32)
    old = sum(3 in one.ede for one in after.asked)
    play.expect("nothing stale 32 s after", len(after) > 0 and old == 0, f"{old} of {len(after)} stale")
    play.note(f"{stale} stale answers; {sends} sends for {len(rcodes)} questions about a new name")


@row("T42", "SERVFAIL or REFUSED for all", "U2; alone passed through; at most 3 sends",
     seconds=12)
def unwilling(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    for word in ("servfail", "refused"):
        u1.mode(word)
        with play.load() as load:
            play.sleep(LEAD)
        play.all_good(load.history, f"{word}, with U2: ")
    play.start(u1)
    for word, rcode in (("servfail", message.SERVFAIL), ("refused", message.REFUSED)):
        u1.mode(word)
        reply = play.ask(f"{word}-alone.{clients.ZONE}")
        sends = int(u1.tell(f"asked {word}-alone.{clients.ZONE} 1"))
        play.expect(f"{word}, alone: passed through", reply.rcode == rcode, f"RCODE {reply.rcode}")
        play.expect(f"{word}, alone: at most 3 sends", sends <= 3, sends)
        play.note(f"{word} alone: {sends} sends")
