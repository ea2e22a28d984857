"""Wrong clocks, sleep, and a process that is stopped. libfaketime moves the wall clock of dotward alone."""

import base64
import hashlib
import os
import signal
import subprocess
import types

import ground as lay
from play import AFTER, LEAD, row
from rows.paths import hurt_flows
from subjects import FAKETIME

DAY, YEAR = 86_400, 31_557_600
#: Seconds a process is stopped under load (T49), and sleeps (T47).
PAUSE, SLEEP = 5, 3
#: Seconds of nothing (IDLE), and between looks at certificate files.
IDLE, IDLE_FULL, FILES_LOOK = 25, 150, 10
#: Wake-ups for one look at files (the event loop's clock wakes up to three times for one timer, and a thread of its own looks), and for the
#: end of an idle connection.
LOOK, CLOSING = 6, 4


class WallClock:
    """The wall clock of the subject, as far from the true one as it is set."""

    def __init__(self, play):
        self.path = os.path.join(play.ground.scratch, "clock")
        self.set("+0")
        self.environment = {
            "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, text):
        beside = self.path + ".next"
        with open(beside, "w") as file:
            file.write(text + "\n")
        os.replace(beside, self.path)


@row("T33", "our clock says 2015", "SERVFAIL EDE 23, a log line that says so; good 5 s after it is set", needs=("faketime",), seconds=14)
def boot_without_clock(play):
    clock = WallClock(play)
    u1 = play.upstream(1)
    clock.set("@2015-01-01 00:00:00")
    play.start(u1, environment=clock.environment)
    with play.load(rate=20) as load:
        play.sleep(LEAD)
        octets = u1.counters()["octets_after_handshake"]
        clock.set("+0")
        right = play.moment()
        play.sleep(AFTER + 3)
    play.all_servfail(load.history.until(right - 0.1), (23,), "in 2015: ")
    play.expect("no DNS before the certificate is valid", octets == 0, octets, law=True)
    play.all_good(load.history.since(right + 5), "5 s after: ")
    with open(play.subject.log) as file:
        play.expect("the log says it is the clock", "clock" in file.read(), "no line about the clock")
    first = load.history.since(right).first_good
    play.note(f"good {(first or 0) - right:.2f} s after the clock is right")


@row("T47", "sleep: process and flows stop, the wall clock goes on by an hour", "first question after it within 1 s",
     needs=("network", "faketime"), seconds=12)
def sleep(play):
    clock = WallClock(play)
    u1, u2 = play.both()
    play.start(u1, u2, environment=clock.environment)
    with play.load():
        play.sleep(LEAD)
    hurt_flows(play, "drop")
    os.kill(play.subject.program.pid, signal.SIGSTOP)
    clock.set(f"+{3600}")
    play.sleep(SLEEP)
    os.kill(play.subject.program.pid, signal.SIGCONT)
    with play.load() as load:
        play.sleep(LEAD)
    play.all_good(load.history)
    play.within(load.history, 1000)
    play.note(f"first question {load.history.asked[0].milliseconds:.0f} ms; the boot-time clock cannot be moved here")


@row("T48", "wall clock jumps by a day and by ten years", "nothing: NOERROR, 0 lost, max 100 ms", needs=("faketime",), seconds=12)
def jumps(play):
    clock = WallClock(play)
    u1, u2 = play.both()
    play.start(u1, u2, environment=clock.environment)
    with play.load() as load:
        for seconds in (0, DAY, -DAY, 10 * YEAR, -10 * YEAR, 0):
            clock.set(f"{seconds:+d}")
            play.sleep(LEAD)
    play.all_good(load.history)
    play.within(load.history, 100)


@row("T49", "process stopped for 5 s under load, upstreams that take 200 ms", "old questions discarded: no reply older than 2.1 s; then NOERROR", seconds=14)
def stopped(play):
    u1, u2 = play.both("delay=200ms", "delay=200ms")
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        os.kill(play.subject.program.pid, signal.SIGSTOP)
        stop = play.moment()
        play.sleep(PAUSE)
        os.kill(play.subject.program.pid, signal.SIGCONT)
        go = play.moment()
        play.sleep(AFTER)
    # Also what was in flight: its answer comes when nobody waits for it any more.
    asked = stop - 0.4
    paused = load.history.since(asked).until(go)
    play.may_be_lost.append((asked, go))
    play.all_good(load.history.since(go))
    play.within(load.history.since(go), 500, "afterwards ")
    play.note(f"{paused.lost} of {len(paused)} questions of the pause discarded")


def wake_ups(pid):
    """How often the threads of a process went to sleep so far, which is how often they woke up."""
    count = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            count += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches:"))
    return count


@row("IDLE", "nothing at all: one upstream, nobody asks",
     "no wake-up of its own; with certificate files in the configuration, a look at them every 10 s", needs=("openssl",),
     seconds=2 * IDLE + 5, full=2 * IDLE_FULL + 5)
def idle(play):
    u1 = play.upstream(1)
    pinned = types.SimpleNamespace(spec=f"tls://{u1.address}:{u1.port}?pin={pin_of(play, u1)}")
    seconds = IDLE_FULL if play.full else IDLE
    # The connection that nobody needs any more ends after a minute.
    looks = seconds // FILES_LOOK + 1
    for where, up, allowed in (("pinned", pinned, CLOSING), ("with a file", u1, CLOSING + looks * LOOK)):
        play.start(up, warm=True)
        # The start is over when the connection was answered on and nothing of it is left to do.
        play.sleep(1)
        pid = play.subject.program.pid
        before = wake_ups(pid)
        play.sleep(seconds)
        count = wake_ups(pid) - before
        play.expect(f"{where}: at most {allowed} wake-ups in {seconds} s", count <= allowed, count)
        play.note(f"{where}: {count} wake-ups in {seconds} s")


def pin_of(play, up):
    """The pin of an upstream's key (RFC 7858 appendix A)."""
    pem = play.ground.far("openssl", "s_client", "-connect", f"{up.address}:{up.port}", text="")
    key = lay.run("openssl", "x509", "-noout", "-pubkey", text=pem)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key.encode(), capture_output=True, check=True).stdout
    return "sha256/" + base64.b64encode(hashlib.sha256(der).digest()).decode()
