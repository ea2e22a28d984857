"""Clients over TCP and TLS who are many, slow, or more than there are descriptors for."""

import os
import ssl
import time

import crowd
import load as clients
from lab import certificates
from lab.processes import wait_until
from play import DESCRIPTORS_KEPT, row

TLS_PORT = 5301
#: Idle clients over TCP and TLS (T50), and the octets of memory one may cost above the kernel's part.
IDLE_TCP, IDLE_TLS = 10_000, 2_000
COST_TCP, COST_TLS = 8 << 10, 24 << 10
#: Questions of the active client, alone and beside them.
ACTIVE = 2_000
#: How much longer than alone the active client may wait (p99), in milliseconds: what scheduling costs on a machine that is not idle.
LONGER_MS = 1.0
#: Clients who drip and who do not read (T51), half each; seconds after which they are gone, which is the patience with who completes no question
#: (10 s) and some for the machine; more of it in the long form.
SLOW, SLOW_FULL, GONE, GONE_FULL = 1_000, 5_000, 12, 15
#: Questions of one who does not read, and how long others may wait for a reply while all of them are taken, in milliseconds. In the long form the
#: answers are of 4,000 octets, or reading millions of questions would be what takes the time; and they are five times as many.
UNREAD, UNREAD_FULL, OTHERS_MS, OTHERS_MS_FULL = 4_000, 120, 250, 500
#: Resident octets at most meanwhile: what may be owed to all of them (32 MiB), buffers of a few KiB each, the cache and the program.
OWED = 96 << 20
#: The descriptors there are (T52), who connects all the same, and who asks meanwhile.
DESCRIPTORS, CONNECTS, ACTIVES = 64, 200, 10
#: Seconds over which the process is watched then, the share of a processor it may take, and log lines a second.
WATCHED, CPU_SHARE, LINES = 3, 0.05, 1


def configuration(play, **limits):
    return play.subject.write("limits.toml", "[limits]\n" + "".join(f"{key} = {value}\n" for key, value in limits.items()))


def listen(play, tls=None):
    """The flags of the listeners; `tls`: certificate and key."""
    address, port = play.subject.address
    flags = ["--listen", f"{address}:{port}"]
    if tls is not None:
        flags += ["--listen", f"tls://{address}:{TLS_PORT}", "--listen-cert", tls[0], "--listen-key", tls[1]]
    return flags


@row("T50", f"{IDLE_TCP} idle clients over TCP, {IDLE_TLS} over TLS, and one that asks",
     f"it waits as before (p99 + {LONGER_MS:g} ms); {COST_TCP >> 10} and {COST_TLS >> 10} KiB each at most", needs=("openssl",),
     seconds=25, alone=True)
def idle(play):
    crowd.raise_descriptors()
    u1 = play.upstream(1)
    authority = certificates.Authority(play.ground.scratch, "listeners")
    tls = authority.issue("listener", ["DNS:listener.test"])
    context = ssl.create_default_context(cafile=authority.certificate)
    config = configuration(play, clients=16384)
    for what, count, cost, port, context in (("TCP", IDLE_TCP, COST_TCP, play.subject.address[1], None),
                                             ("TLS", IDLE_TLS, COST_TLS, TLS_PORT, context)):
        play.resident_allowance = count * cost
        play.start(u1, more=("--config", config, "--cache", "4MiB", *listen(play, tls)), warm=True)
        target = (play.subject.address[0], port)
        query = crowd.framed(f"warm.{clients.ZONE}")
        active = crowd.connect(play.subject.address, 0)
        alone = crowd.waits(active, query, ACTIVE)
        # The first ones bring in what all share.
        idle = [crowd.connect(target, number, context) for number in range(100)]
        before, began = play.subject.resident(), time.monotonic()
        with crowd.closing(idle):
            for number in range(100, 100 + count):
                client = crowd.connect(target, number, context)
                crowd.ask(client, query)
                idle.append(client)
            each = (play.subject.resident() - before) / count
            beside = crowd.waits(active, query, ACTIVE)
            took = time.monotonic() - began
            there = sum(map(crowd.is_open, idle[100:]))
        active.close()
        # Who was idle for ten seconds is let go, which is no fault of a row that took longer.
        play.expect(f"{what}: everybody stays", there == count or took > 9, f"{there} of {count} after {took:.1f} s")
        play.expect(f"{what}: at most {cost >> 10} KiB each", each <= cost, f"{each / 1024:.1f} KiB")
        play.expect(f"{what}: the active one waits as before", beside[1] <= alone[1] + LONGER_MS,
                    f"p99 {alone[1]:.2f} ms alone, {beside[1]:.2f} ms beside")
        play.note(f"{there} over {what}, {each / 1024:.1f} KiB each; median {alone[0] * 1000:.0f} us alone, {beside[0] * 1000:.0f} beside; "
                  f"p99 {alone[1] * 1000:.0f} and {beside[1] * 1000:.0f}")


@row("T51", f"{SLOW} clients that drip their questions or never read their answers (--full: {SLOW_FULL})",
     f"closed in {GONE} s (--full: {GONE_FULL}); others go on, max {OTHERS_MS} ms (--full: {OTHERS_MS_FULL}); {OWED >> 20} MiB at most", seconds=20, full=30)
def slow(play):
    crowd.raise_descriptors()
    u1 = play.upstream(1)
    count, patience = (SLOW_FULL, GONE_FULL) if play.full else (SLOW, GONE)
    config = configuration(play, clients=2 * count)
    # What is owed to those who do not read is bounded for all of them together.
    play.resident_allowance = 64 << 20
    play.start(u1, more=("--config", config, "--cache", "4MiB"), warm=True)
    query = crowd.framed(f"warm.{clients.ZONE}")
    before = play.subject.descriptors()
    unread = query * UNREAD
    if play.full:
        large = f"size-4000.warm.{clients.ZONE}"
        clients.ask_tcp(play.subject.address, large)
        unread = crowd.framed(large) * UNREAD_FULL
    with crowd.closing([]) as slow, play.load(rate=100) as load:
        for number in range(count):
            slow.append(crowd.connect(play.subject.address, number, buffer=crowd.LITTLE))
            slow[-1].setblocking(False)
        wait_until(lambda: play.subject.descriptors() >= before + count, 10, "not all of them are accepted")
        began, gone = time.monotonic(), None
        for place in range(count // 2, count):
            push(slow[place], unread)
        for step in range(patience * 4):
            # An octet now and then, never a whole question.
            if step % 4 == 0 and step // 4 < len(query) - 1:
                for client in slow[: count // 2]:
                    push(client, query[step // 4 : step // 4 + 1])
            time.sleep(max(0, began + (step + 1) / 4 - time.monotonic()))
            # Who does not read does not see the end either, so it is looked for at the other side.
            if play.subject.descriptors() <= before + DESCRIPTORS_KEPT:
                gone = time.monotonic() - began
                break
        left = play.subject.descriptors() - before
    most = play.subject.program.peak_resident_bytes()
    play.expect(f"{OWED >> 20} MiB at most", most <= OWED, f"{most / (1 << 20):.1f} MiB")
    play.expect(f"all gone in {patience} s", gone is not None, f"{left} of {count} are there")
    play.all_good(load.history)
    play.within(load.history, OTHERS_MS_FULL if play.full else OTHERS_MS)
    play.note(f"{count} gone after {gone or 0:.1f} s; at most {most / (1 << 20):.1f} MiB")


def push(client, octets):
    try:
        client.send(octets)
    except OSError:
        pass  # no room, or closed: that is what is waited for


@row("T52", f"{DESCRIPTORS} descriptors, {CONNECTS} clients connect", f"those who ask and the upstream are served; CPU {CPU_SHARE:.0%}, {LINES} log line a second",
     seconds=14)
def few_descriptors(play):
    u1 = play.upstream(1)
    play.start(u1, under=("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"), more=("--cache", "4MiB"), warm=True)
    query = crowd.framed(f"warm.{clients.ZONE}")
    program = play.subject.program
    with crowd.closing([]) as sockets, play.load(rate=20) as load:
        actives = [crowd.connect(play.subject.address, place * crowd.EACH_ADDRESS) for place in range(ACTIVES)]
        sockets += actives
        for number in range(CONNECTS):
            sockets.append(crowd.connect(play.subject.address, 1000 + number))
            if number % 4 == 0:
                # Once it is answered, all who connected before it were accepted: the active ones are not those idle longest.
                for client in (sockets[-1], *actives):
                    crowd.ask(client, query)
        times = [crowd.ask(client, query) for client in actives]
        lines, spent, began = program.output().count("\n"), program.cpu_seconds(), time.monotonic()
        # Everybody who connected stays, and nobody asks but the load: the shortage lasts.
        u1.tell("close")
        play.sleep(WATCHED)
        passed = time.monotonic() - began
        share = (program.cpu_seconds() - spent) / passed
        lines = (program.output().count("\n") - lines) / passed
        there = sum(crowd.is_open(client) for client in sockets[ACTIVES:])
    play.all_good(load.history)
    play.expect("those who ask are not let go", len(times) == ACTIVES, times)
    play.expect(f"CPU below {CPU_SHARE:.0%}", share < CPU_SHARE, f"{share:.1%}")
    play.expect(f"at most {LINES} log line a second", lines <= LINES, f"{lines:.1f}")
    play.note(f"{there} of {CONNECTS} idle ones connected; CPU {share:.1%}, {lines:.1f} lines a second")
