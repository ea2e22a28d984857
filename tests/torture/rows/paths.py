"""The path between dotward and an upstream: dark, broken, lossy, thin, flapping, gone."""

import time
import types

import ground as lay
from play import AFTER, LEAD, row

#: Seconds the only upstream is dark (T03).
DARK, DARK_FULL = (8,), (20, 90, 900)
#: Seconds of flapping (T43, T44), and between two changes.
FLAPPING, FLAPPING_FULL, FLAP = 16, 300, 2
#: Times that every connection is reset (T45).
RESETS = 4
#: Seconds without a network (T46).
DOWN, DOWN_FULL = 5, 30
#: The extended error of what is past its time (RFC 8914 section 4.4).
STALE = 3
#: Seconds until a silent connection is retired (T04): the budget of a question, and some for the machine.
RETIRED = 2.1
#: Seconds until a dark upstream is known to be dark, which is what a dial may take, and some for the machine (T03).
KNOWN_DARK = 3.5
#: SYN a second to a dark upstream that is all there is: recovery within a second needs a dial every 0.8 s, and the kernel sends the
#: SYN of a dial three times before it is given up.
SYN_PER_SECOND = 4


def nobody(play, number):
    """An address where nobody listens."""
    some = next(iter(play.ups.values()))
    return types.SimpleNamespace(address=play.ground.addresses[number], port=some.port, ca=some.ca, number=number)


@row("T01", "U1 drops SYN from the start", "NOERROR; 0 lost, max 250 ms after 1 s of warming up", needs=("network",))
def syn_dropped(play):
    u1, u2 = play.both()
    play.ground.path(f"arriving ip daddr {u1.address} tcp flags & (syn | ack) == syn drop")
    play.start(u1, u2)
    with play.load() as load:
        begin = play.moment()
        play.sleep(1 + 2 * AFTER)
    play.all_good(load.history)
    play.within(load.history.until(begin + 1), 1000, "warm-up ")
    play.within(load.history.since(begin + 1), 250)
    play.note(f"after warm-up max {load.history.since(begin + 1).max_ms:.0f} ms")


@row("T02", "U1 goes dark", "NOERROR; 0 lost, max 500 ms; marked within 1 s", needs=("network",), peers=True)
def goes_dark(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        play.ground.dark(1)
        dark = play.moment()
        play.sleep(2 * AFTER)
    play.all_good(load.history)
    play.within(load.history, 500)
    later = load.history.since(dark + 1)
    # Marked: only the odd question that tries it again is slow.
    slow = sum(ms > 50 for ms in later.times)
    play.expect("after 1 s at most 5 % slower than 50 ms", slow <= len(later) * 0.05, f"{slow} of {len(later)} slow")
    play.note(f"after 1 s {slow} of {len(later)} slower than 50 ms")


@row("T03", "the only upstream goes dark", "SERVFAIL EDE 22/23 (stale data come with a cache), median 5 ms once known; good 1 s after",
     needs=("network",), seconds=15, full=1020)
def only_one_dark(play):
    u1 = play.upstream(1)
    play.start(u1)
    for seconds in DARK_FULL if play.full else DARK:
        with play.load(rate=20) as load:
            play.sleep(LEAD)
            play.ground.dark(1)
            dark = play.moment()
            before = play.ground.counters()["syn1"][0]
            play.sleep(seconds)
            dials = play.ground.counters()["syn1"][0] - before
            play.ground.heal()
            healed = play.moment()
            play.sleep(AFTER)
        play.all_servfail(load.history.since(dark).until(healed - 2.1), (22, 23), f"dark {seconds} s: ")
        inside = load.history.since(dark + KNOWN_DARK).until(healed)
        play.expect("median 5 ms while known to be dark", inside.median_ms <= 5, f"median {inside.median_ms:.1f} ms")
        recovered = load.history.since(healed + 1)
        play.all_good(recovered, f"{seconds} s dark, 1 s after: ")
        allowed = SYN_PER_SECOND * seconds + 4
        play.expect(f"at most {SYN_PER_SECOND} SYN/s while dark", dials <= allowed, f"{dials} SYN in {seconds} s")
        first = load.history.since(healed).first_good
        play.note(f"{seconds} s dark: median {inside.median_ms:.1f} ms, {dials} SYN, "
                  f"first good asked {(first or 0) - healed:.2f} s after")


@row("T67", "the only upstream goes dark; with a cache, TTL 1", "NOERROR: kept, then stale with EDE 3, at once when known; fresh 2 s after",
     needs=("network",), seconds=15)
def only_one_dark_with_a_cache(play):
    u1 = play.upstream(1, "ttl=1")
    play.start(u1, more=("--cache", "4MiB"), warm=True)
    # New names as well, as in life: by these it is noticed that the path is back.
    with play.load(rate=20, unique=False) as load, play.load(rate=5, repeated=False, label="new"):
        play.sleep(2 * LEAD)
        play.ground.dark(1)
        dark = play.moment()
        play.sleep(DARK[0])
        play.ground.heal()
        healed = play.moment()
        play.sleep(AFTER)
    play.all_good(load.history)
    # What was kept is over by then.
    inside = load.history.since(dark + 1.5).until(healed)
    stale = sum(list(one.ede) == [STALE] for one in inside.asked)
    play.expect("stale data say so", stale == len(inside), f"{stale} of {len(inside)} with EDE {STALE}", law=True)
    known = load.history.since(dark + KNOWN_DARK).until(healed)
    play.expect("p99 20 ms while known to be dark", known.p99_ms <= 20, f"p99 {known.p99_ms:.1f} ms")
    after = load.history.since(healed + 2)
    old = sum(STALE in one.ede for one in after.asked)
    play.expect("nothing stale 2 s after", len(after) > 0 and old == 0, f"{old} of {len(after)} stale")
    play.note(f"{stale} stale answers, median {known.median_ms:.1f} ms once known")


@row("T04", "established flow silent, fresh ones work; with U2 and alone",
     "NOERROR; 0 lost, max 100 ms; old connection retired in 2 s", needs=("network",), seconds=14, peers=True)
def flow_silent(play):
    u1, u2 = play.both("delay=1ms", "delay=1ms")
    for where, ups in (("with U2", (u1, u2)), ("alone", (u1,))):
        play.start(*ups)
        with play.load() as load:
            play.sleep(LEAD)
            flows = hurt_flows(play, "drop", 1)
            silent = play.moment()
            gone = wait_gone(play, flows)
            play.sleep(max(0, AFTER - (play.moment() - silent)))
        play.ground.heal()
        play.all_good(load.history, f"{where}: ")
        play.within(load.history, 100, f"{where}: ")
        # Counted from the cut, not from the first question after it; and looking takes time too.
        retired = gone is not None and gone <= RETIRED
        play.expect(f"{where}: old connection retired in 2 s", retired, f"after {gone} s")
        play.note(f"{where}: max {load.history.max_ms:.0f} ms, " + (f"retired after {gone:.2f} s" if flows and gone else "not retired"))


def hurt_flows(play, what, *numbers):
    """Connections that stand, of these upstreams or of all, are hurt; those that come are not. The client ports hurt."""
    flows = set().union(*(play.ground.flows(number) for number in numbers or play.ups))
    ports = ", ".join(map(str, flows))
    rules = [f"arriving tcp sport {{ {ports} }} {what}"]
    if what == "drop":
        rules.append(f"leaving tcp dport {{ {ports} }} drop")
    play.ground.path(*(rules if flows else ()))
    return flows


def wait_gone(play, flows):
    begin = time.monotonic()
    while time.monotonic() - begin < AFTER:
        if not flows & (play.ground.flows(1) | play.ground.flows(2)):
            return time.monotonic() - begin
        time.sleep(0.02)
    return None


@row("T05", "established flow answered by RST (NAT forgot it)", "NOERROR; 0 lost, max 50 ms", needs=("network",))
def flow_reset(play):
    u1, u2 = play.both()
    for ups in ((u1, u2), (u1,)):
        play.start(*ups)
        with play.load() as load:
            for _ in range(4):
                play.sleep(LEAD / 2)
                hurt_flows(play, "reject with tcp reset")
            play.sleep(LEAD)
        play.ground.heal()
        play.all_good(load.history)
        play.within(load.history, 50)


def beside_and_alone(play, u1, u2, milliseconds, codes, alone_ms=None, seconds=LEAD):
    """With U2 at its side everything is well; alone everybody is told so, in time."""
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(2 * seconds)
    play.all_good(load.history, "with U2: ")
    play.within(load.history, milliseconds, "with U2: ")
    play.start(u1)
    with play.load(rate=20) as alone:
        play.sleep(seconds)
    play.all_servfail(alone.history, codes)
    if alone_ms is not None:
        play.within(alone.history, alone_ms, "alone: ")
    play.note(f"with U2 max {load.history.max_ms:.0f} ms, alone max {alone.history.max_ms:.0f} ms EDE {sorted(alone.history.ede)}")
    return alone.history


@row("T06", "U1 refuses the connection", "U2; alone SERVFAIL EDE 23; max 20 ms", needs=("network",))
def refused(play):
    u2 = play.upstream(2)
    beside_and_alone(play, nobody(play, 1), u2, 20, (23,), 20)


@row("T07", "no route to U1; ICMP host unreachable", "U2; alone SERVFAIL EDE 23; max 20 ms", needs=("network",), seconds=18)
def unreachable(play):
    u1, u2 = play.both()
    lay.run("ip", "route", "add", "unreachable", f"{u1.address}/32")
    beside_and_alone(play, u1, u2, 20, (23,), 20)
    lay.run("ip", "route", "del", "unreachable", f"{u1.address}/32")
    play.ground.path(f"arriving ip daddr {u1.address} reject with icmp type host-unreachable")
    beside_and_alone(play, u1, u2, 20, (23,), 20)


@row("T14", "random loss of 5 % and 30 % of packets", "5 %: NOERROR, p99 600 ms; 30 %: 99 % within 2 s",
     needs=("network",), seconds=18)
def loss(play):
    u1, u2 = play.both()
    for share in (5, 30):
        play.ground.path(*(f"{chain} numgen random mod 100 < {share} drop" for chain in ("arriving", "leaving")))
        play.start(u1, u2)
        with play.load() as load:
            play.sleep(2 * AFTER)
        history = load.history
        if share == 5:
            play.all_good(history, "5 %: ")
            play.p99(history, 600)
        else:
            good = sum(one.good and one.milliseconds <= 2000 for one in history.asked)
            play.expect("30 %: 99 % good within 2 s", good >= 0.99 * len(history), f"{good} of {len(history)}")
        play.note(f"{share} %: {history.good} of {len(history)} good, p99 {history.p99_ms:.0f} ms")


@row("T15", "64 kbit/s", "works; at most 1.3 times the octets of a wide path", needs=("network",), seconds=25)
def thin(play):
    u1, u2 = play.both()
    octets = []
    for rate in (None, "64kbit"):
        if rate is not None:
            play.ground.limit(rate, 4000)
        sent, received = play.ground.carried()
        play.start(u1, u2)
        with play.load(rate=12, limit=72, repeated=False) as load:
            load.join()
        play.all_good(load.history, f"{rate or 'wide'}: ")
        play.sleep(0.5)
        now = play.ground.carried()
        octets.append((now[0] - sent, now[1] - received))
        play.note(f"{rate or 'wide'}: median {load.history.median_ms:.0f} ms")
    wide, narrow = octets
    for place, what in enumerate(("sent", "received")):
        ratio = narrow[place] / wide[place]
        play.expect(f"{what} at most 1.3 times", ratio <= 1.3, f"{ratio:.2f} times")
        play.note(f"{what} {ratio:.2f} times")


@row("T43", "U1 flaps every 2 s", "NOERROR; 0 lost, max 500 ms; at most one switch per 2 s",
     needs=("network",), seconds=22, full=310)
def flapping(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    turns = (FLAPPING_FULL if play.full else FLAPPING) // FLAP
    with play.load() as load:
        for turn in range(turns):
            play.ground.dark(*(() if turn % 2 else (1,)))
            play.sleep(FLAP)
        play.ground.heal()
    play.all_good(load.history)
    play.within(load.history, 500)
    changes = state_changes(play)
    play.expect("at most one switch per 2 s", changes <= turns + 1, f"{changes} changes in {turns} turns")
    play.note(f"{changes} changes of U1's state in {turns} turns")


def state_changes(play):
    """How often the log says that an upstream goes or comes; suspicion that becomes certainty is one going."""
    with open(play.subject.log) as file:
        text = file.read()
    return text.count("upstream answers again") + text.count("upstream does not answer")


@row("T44", "U1 and U2 flap in turn", "99.9 % NOERROR within 2 s", needs=("network",), seconds=22, full=310)
def flapping_in_turn(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        for turn in range((FLAPPING_FULL if play.full else FLAPPING) // FLAP):
            play.ground.dark(1 + turn % 2)
            play.sleep(FLAP)
        play.ground.heal()
    history = load.history
    good = sum(one.good and one.milliseconds <= 2000 for one in history.asked)
    play.expect("99.9 % good within 2 s", good >= 0.999 * len(history), f"{good} of {len(history)}")
    play.note(f"{good} of {len(history)} good")


@row("T45", "every connection reset at once, again and again", "NOERROR; 0 lost; at most 10 SYN in the second after, to each",
     needs=("network",), seconds=12)
def resets(play):
    u1, u2 = play.both("serial,delay=5ms", "serial,delay=5ms")
    play.start(u1, u2)
    most = 0
    with play.load(rate=150) as load:
        for _ in range(RESETS):
            play.sleep(LEAD)
            before = play.ground.counters()
            # Not by a rule in the path: that would hit the new connections of this second too.
            for address in lay.FAR.values():
                lay.run("ss", "-K", "dst", address)
            play.sleep(1)
            after = play.ground.counters()
            most = max(most, *(after[name][0] - before[name][0] for name in ("syn1", "syn2")))
    play.all_good(load.history)
    play.expect("at most 10 SYN in a second", most <= 10, most)
    play.note(f"{most} SYN in a second at most")


@row("T46", "network down, then up with another address", "good within 1 s of up", needs=("network",), seconds=15, full=45)
def another_address(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        play.ground.link("down")
        down = play.moment()
        play.sleep(DOWN_FULL if play.full else DOWN)
        lay.run("ip", "address", "del", f"{lay.NEAR}/24", "dev", lay.CABLE[0])
        lay.run("ip", "address", "add", f"{lay.NEAR_OTHER}/24", "dev", lay.CABLE[0])
        play.ground.link("up")
        up = play.moment()
        play.sleep(AFTER)
    play.all_good(load.history.until(down - 0.1), "before: ")
    play.all_good(load.history.since(up + 1), "1 s after up: ")
    first = load.history.since(up).first_good
    play.note(f"first good asked {(first or 0) - up:.2f} s after up")
