"""Wrong clocks, sleep, and a process that is stopped. libfaketime moves the wall clock of dotward alone."""

import os
import signal

from play import AFTER, LEAD, row
from rows.paths import hurt_flows
from subjects import FAKETIME

DAY, YEAR = 86_400, 31_557_600
#: Seconds a process is stopped under load (T49), and sleeps (T47).
PAUSE, SLEEP = 5, 3
#: Seconds of nothing (IDLE), between looks at certificate files, and wake-ups that the end of an idle connection may take.
IDLE, IDLE_FULL, FILES_LOOK, CLOSING = 30, 150, 10, 3


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


@row("T49", "process stopped for 5 s under load", "old questions discarded: no reply older than 2.1 s; then NOERROR", seconds=14)
def stopped(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        os.kill(play.subject.program.pid, signal.SIGSTOP)
        stop = play.moment()
        play.sleep(PAUSE)
        os.kill(play.subject.program.pid, signal.SIGCONT)
        go = play.moment()
        play.sleep(AFTER)
    paused = load.history.since(stop - 0.1).until(go)
    play.may_be_lost = (stop - 0.1, go)
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


@row("IDLE", "nothing at all: one upstream, nobody asks", "no wake-up but for looks at files every 10 s, and the end of the idle connection",
     seconds=IDLE + 5, full=IDLE_FULL + 5)
def idle(play):
    u1 = play.upstream(1)
    play.start(u1, warm=True)
    pid = play.subject.program.pid
    seconds = IDLE_FULL if play.full else IDLE
    before = wake_ups(pid)
    play.sleep(seconds)
    count = wake_ups(pid) - before
    # One more of each than fits, since nobody knows where in their turn they are, and the connection that is not needed any more.
    allowed = seconds // FILES_LOOK + 1 + CLOSING
    play.expect(f"at most {allowed} wake-ups in {seconds} s", count <= allowed, count)
    play.note(f"{count} wake-ups in {seconds} s")
