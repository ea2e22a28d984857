"""More questions than can be answered: of random names, of one name, without end, and of each other."""

import contextlib
import os
import socket
import subprocess
import sys
import time

import load as clients
import message
import upstreams
from lab import certificates
from lab.processes import Program, wait_until
from play import row
from subjects import PORT

PROGRAMS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Questions a second, and seconds of them (T56).
RATE, RATE_FULL, SECONDS, SECONDS_FULL = 20_000, 50_000, 5, 60
#: Addresses a flood of random names comes from: one home, and a whole network of pods.
SOURCES = 1, 250
#: How often a kept name is asked for meanwhile, and the longest that may take, in milliseconds, for 99 of 100. The flood and the upstream take most of
#: two processors; the short form leaves room for what else such a machine does.
KNOWN_RATE, CACHED_MS, CACHED_MS_FULL = 200, 20, 2
#: Seconds of handshakes (T69), and how long a kept name may take meanwhile in the long form, in milliseconds: a few handshakes one behind the other.
HELLOS, HELLOS_FULL, HELD_UP_MS = 4, 30, 5
#: Resident memory for all there is beside the cache, 20,000 questions in flight among it; and how much more of it the second half of a flood
#: may have than the first, in which tables and cache have grown to their size.
BESIDE_CACHE, GROWTH = 64 << 20, 4 << 20
CACHE = 4 << 20
#: Names of 255 octets (T55), how many a second, the cache they go through, and the memory there is for everything.
LONG_NAMES, LONG_NAMES_FULL, LONG_RATE, LONG_CACHE, MEMORY = 100_000, 1_000_000, 15_000, 40 << 20, 64 << 20
#: Questions a second for one name (T64), seconds of them, and milliseconds the upstream takes: less than anybody would try again after.
SAME_RATE, SAME_SECONDS, SLOWLY = 50_000, 2, 200
#: Messages that are no queries (T65); names asked of two that ask each other; packets that the probes, by which they ask whether the other
#: one works, may make in a second, and seconds until there are none.
RESPONSES, LOOPED, PROBES, QUIET = 1_000, 20, 100, 40


class Flood:
    """A flood that begins at once; `sent` waits for its end. It is the rest of the world, whose processors are others."""

    def __init__(self, program, target, *how):
        command = ["nice", "-n", "10", sys.executable, os.path.join(PROGRAMS, program), *map(str, (*target, *how))]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def runs(self):
        return self.child.poll() is None

    def sent(self):
        return int(self.child.communicate()[0])


def questions(play, rate, seconds, what="random", sources=1):
    """A flood of questions."""
    return Flood("flood.py", play.subject.address, rate, seconds, what, sources)


@row("T55", f"{LONG_NAMES} names of 255 octets (--full: {LONG_NAMES_FULL}), {LONG_CACHE >> 20} MiB of cache",
     f"what is asked least makes room; {MEMORY >> 20} MiB at most in all; 0 lost beside it", seconds=15, full=90, alone=True)
def long_names(play):
    u1 = play.upstream(1)
    play.start(u1, more=("--cache", str(LONG_CACHE)), warm=True)
    play.resident_allowance = MEMORY
    names = LONG_NAMES_FULL if play.full else LONG_NAMES
    flood = questions(play, LONG_RATE, names / LONG_RATE, "long", SOURCES[1])
    with play.load(rate=KNOWN_RATE) as load:
        while flood.runs():
            time.sleep(0.1)
    play.all_good(load.history)
    sent, answered = flood.sent(), u1.counters()["responses"]
    most = play.subject.program.peak_resident_bytes()
    play.expect(f"{MEMORY >> 20} MiB at most", most <= MEMORY, f"{most / (1 << 20):.1f} MiB")
    play.expect("the cache was filled", answered >= names * 0.9, f"{answered} answers for {sent} names", law=True)
    play.note(f"{sent} names, {answered} answered; at most {most / (1 << 20):.1f} MiB")


@row("T56", f"{RATE} questions a second of random names (--full: {RATE_FULL}), the upstream mute",
     f"kept names in {CACHED_MS} ms (p99; --full: {CACHED_MS_FULL}); at most {BESIDE_CACHE >> 20} MiB beside the cache (--full: and no more with time)",
     seconds=2 * SECONDS + 10, full=2 * SECONDS_FULL + 10, alone=True)
def random_names(play):
    u1 = play.upstream(1)
    rate, seconds = (RATE_FULL, SECONDS_FULL) if play.full else (RATE, SECONDS)
    behind(u1.program)
    for sources in SOURCES:
        u1.mode("normal")
        play.start(u1, more=("--cache", str(CACHE)))
        play.resident_allowance = BESIDE_CACHE
        make_known(play)
        u1.mode("mute")
        flood = questions(play, rate, seconds, sources=sources)
        resident = []
        with play.load(rate=KNOWN_RATE, label="known.", unique=False) as load:
            while flood.runs():
                resident.append(play.subject.resident())
                time.sleep(0.1)
        where = f"{sources} sources: "
        half = len(resident) // 2
        growth, most = max(resident[half:]) - max(resident[:half]), max(resident)
        play.all_good(load.history, where)
        bound = CACHED_MS_FULL if play.full else CACHED_MS
        play.expect(f"{where}p99 {bound} ms", load.history.p99_ms <= bound, f"p99 {load.history.p99_ms:.2f} ms")
        # Tables grow to their size in the first ten seconds, which is longer than the short form.
        if play.full:
            play.expect(f"{where}memory flat", growth <= GROWTH, f"{growth >> 10} KiB more in the second half")
        play.expect(f"{where}memory bounded", most <= CACHE + BESIDE_CACHE, f"{most >> 20} MiB")
        play.note(f"{where}{flood.sent()} sent; kept names p99 {load.history.p99_ms:.2f} ms, max {load.history.max_ms:.1f}; "
                  f"at most {most / (1 << 20):.1f} MiB, {growth >> 10:+} KiB in the second half")


@row("T69", "TLS handshakes begun as fast as one can, and none finished", f"kept names in {CACHED_MS} ms (p99; --full: {HELD_UP_MS}); 0 lost",
     needs=("openssl",), seconds=HELLOS + 5, full=HELLOS_FULL + 5, alone=True)
def handshakes(play):
    u1 = play.upstream(1)
    authority = certificates.Authority(play.ground.scratch, "listeners")
    certificate, key = authority.issue("listener", ["DNS:listener.test"])
    address, port = play.subject.address
    play.start(u1, more=("--cache", str(CACHE), "--listen", f"{address}:{port},tls://{address}:{port + 1}", "--listen-cert", certificate,
                         "--listen-key", key))
    play.resident_allowance = BESIDE_CACHE
    make_known(play)
    seconds = HELLOS_FULL if play.full else HELLOS
    with play.load(rate=KNOWN_RATE, label="known.", unique=False) as load:
        play.sleep(1)
    alone, spent = load.history.p99_ms, play.subject.program.cpu_seconds()
    flood = Flood("hellos.py", (address, port + 1), seconds, SOURCES[1])
    with play.load(rate=KNOWN_RATE, label="known.", unique=False) as load:
        while flood.runs():
            time.sleep(0.1)
    share = (play.subject.program.cpu_seconds() - spent) / seconds
    play.all_good(load.history)
    bound = HELD_UP_MS if play.full else CACHED_MS
    play.expect(f"p99 {bound} ms", load.history.p99_ms <= bound, f"p99 {load.history.p99_ms:.2f} ms")
    play.note(f"{flood.sent() / seconds:.0f} begun a second; CPU {share:.0%}; kept names p99 {alone:.2f} ms before, {load.history.p99_ms:.2f} meanwhile")


def make_known(play):
    """Has the names kept that are asked for later."""
    for number in range(clients.REPEATED_NAMES):
        play.ask(f"again{number}.known.{clients.ZONE}")


def behind(program):
    """The other end has processors of its own: here it gives way."""
    for thread in os.listdir(f"/proc/{program.pid}/task"):
        os.setpriority(os.PRIO_PROCESS, int(thread), min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10))


@row("T64", f"{SAME_RATE} questions a second for one name, the upstream takes {SLOWLY} ms", "one query; who else asks for it is answered",
     seconds=8, alone=True)
def one_name(play):
    u1 = play.upstream(1, f"delay={SLOWLY}ms")
    play.start(u1, more=("--cache", str(CACHE)), warm=True)
    play.resident_allowance = BESIDE_CACHE
    name = f"wanted.{clients.ZONE}"
    flood = questions(play, SAME_RATE, SAME_SECONDS, name)
    wait_until(lambda: int(u1.tell(f"asked {name} 1")) > 0, 5, "nobody asks")
    began = time.monotonic()
    reply = play.ask(name)
    took = (time.monotonic() - began) * 1000
    good = reply.rcode == message.NOERROR and reply.addresses == [message.expected_a(name)]
    play.expect("another client is answered", good, f"RCODE {reply.rcode}, EDE {reply.ede}")
    sent, queries = flood.sent(), int(u1.tell(f"asked {name} 1"))
    play.expect("one query", queries == 1, queries, law=True)
    play.note(f"{sent} sent, {queries} query; another client waited {took:.0f} ms")


@row("T65", f"{RESPONSES} messages with QR=1; two of ours that ask each other", f"silence; the loop ends with the question: after 1 s only probes ({PROBES} packets a second at most), and none within {QUIET} s",
     needs=("network", "openssl"), seconds=60)
def loops(play):
    u1 = play.upstream(1)
    play.start(u1, warm=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(play.subject.address)
        for number in range(RESPONSES):
            wire = bytearray(message.query(number, f"r{number}.{clients.ZONE}")[0])
            wire[2] |= 0x80
            plain.send(wire)
        # What follows it is answered, so all before it was taken.
        play.ask(f"after.{clients.ZONE}")
        plain.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            play.expect("no reply to a response", False, plain.recv(512).hex(), law=True)
    asked = u1.counters()["queries"]
    play.expect("no query for a response", asked == 2, asked, law=True)
    authority = certificates.Authority(play.ground.scratch, "both")
    play.end_subject()
    for cache in (str(CACHE), "off"):
        looped(play, authority, cache)


def looped(play, authority, cache):
    """A asks B, B asks A, over TLS."""
    certificate, key = authority.issue("both-listener", [f"DNS:{upstreams.NAME}"])
    tls = PORT + 10
    end_of = {"A": (PORT, tls + 1, tls + 2), "B": (PORT + 1, tls + 2, tls + 1)}
    programs = []
    for name, (port, own, other) in end_of.items():
        more = ("--cache", cache, "--listen", f"127.0.0.1:{port},tls://127.0.0.1:{own}", "--listen-cert", certificate, "--listen-key", key,
                "--upstream", f"tls://{upstreams.NAME}@127.0.0.1:{other}?ca_file={authority.certificate}")
        log = os.path.join(play.ground.scratch, f"{name}-{cache}.log")
        programs.append(Program(play.subject.command((), more), log))
    for program in programs:
        wait_until(lambda one=program: one.output().count('"listening"') >= 3, 10, f"{program.tail()}")
    before = packets()
    with play.load(rate=LOOPED, limit=LOOPED, repeated=False) as load:
        load.join()
    during = packets() - before
    play.sleep(1)
    each_second = seconds_of_packets(play)
    statuses = [program.stop() for program in programs]
    play.all_servfail(load.history, (22, 23), f"looped, cache {cache}: ")
    play.expect(f"{PROBES} packets a second at most", max(each_second) <= PROBES, each_second)
    play.expect(f"none within {QUIET} s", each_second[-1] == 0, each_second)
    play.expect("both end with status 0", statuses == [0, 0], statuses, law=True)
    play.note(f"looped, cache {cache}: {during} packets for {LOOPED} questions, then {max(each_second)} in a second at most, and none after {len(each_second)} s")


def seconds_of_packets(play):
    """How many there are in each second until there is a second without."""
    counts = []
    while len(counts) < QUIET and (not counts or counts[-1] > 0):
        before = packets()
        play.sleep(1)
        counts.append(packets() - before)
    return counts


def packets():
    with open("/proc/net/dev") as file:
        return next(int(line.split()[2]) for line in file if line.strip().startswith("lo:"))


__all__ = ["handshakes", "long_names", "loops", "one_name", "random_names"]
