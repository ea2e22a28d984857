"""Wrong clocks, sleep, and a process that is stopped. libfaketime moves the wall clock of dotward alone."""

import os
import signal

from play import AFTER, LEAD, row
from rows.paths import hurt_flows
from subjects import FAKETIME

DAY, YEAR = 86_400, 31_557_600
#: Seconds a process is stopped under load (T49), and sleeps (T47).
PAUSE, SLEEP = 5, 3


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
    play.expect("no DNS before the certificate is valid", octets == 0, octets)
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
