"""A row of the table, and the play in which it happens: what the row may use, what it expects, what holds in every row."""

import contextlib
import dataclasses
import json
import os
import time

import ground as lay
import load as clients
import upstreams

#: Questions a second unless a row says otherwise.
RATE = 50
#: Seconds of ordinary traffic before and of faulty traffic after a fault.
LEAD, AFTER = 1.5, 3.5
#: What a process may keep after a row: connections to every upstream as they may be open, and memory the allocator holds.
DESCRIPTORS_KEPT = 8
RESIDENT_KEPT = 12 * 1024 * 1024
SETTLE_SECONDS = 5
#: A process that opened nothing for this long has started.
STILL_SECONDS = 0.05

ROWS = {}


@dataclasses.dataclass
class Row:
    name: str
    fault: str
    expected: str
    function: object
    #: network: the path is hurt; openssl, faketime: that is used
    needs: tuple
    #: seconds it takes, in short and in full form, to plan by
    seconds: tuple
    #: runs while nothing else does
    alone: bool
    #: who clients are to get no data from is part of the row: peers can be put in its place
    peers: bool


def row(name, fault, expected, needs=(), seconds=10, full=None, alone=False, peers=False):
    def register(function):
        ROWS[name] = Row(name, fault, expected, function, needs, (seconds, full or seconds), alone, peers)
        return function

    return register


class Play:
    """One row being played. `expect` collects what is to be seen; nothing ends the row early but an error."""

    def __init__(self, subject, ground, faults, full=False):
        self.subject, self.ground, self.faults, self.full = subject, ground, faults, full
        self.ups, self.started, self.loads = {}, None, []
        #: (what, holds, seen, whether it is a law)
        self.findings = []
        self.notes = []
        #: memory a row is allowed to have asked for beyond the rest
        self.resident_allowance = 0
        self.baseline = None
        #: (from, to) in which questions may be lost, because the row is about discarding them
        self.may_be_lost = []
        #: whether TLS stands or falls with the row, so that no DNS may reach these upstreams
        self.silent = set()

    # --- what a row does ---------------------------------------------------------------------------------------------

    def upstream(self, number, mode="normal"):
        if number in self.ups:
            self.ups[number].stop()
            os.remove(self.ups[number].control)
        self.ups[number] = upstreams.Upstream(self.ground, self.faults, number, mode)
        return self.ups[number]

    def both(self, first="normal", second="normal"):
        return self.upstream(1, first), self.upstream(2, second)

    def start(self, *ups, more=(), warm=False, **how):
        """Starts the subject anew before these upstreams; `warm`: a first question was answered."""
        if self.started is not None:
            self.end_subject()
        self.subject.start(ups, *more, **how)
        self.started = self.subject
        if warm:
            self.ask(f"warm.{clients.ZONE}")
        self.baseline = (self._settled_descriptors(), self.subject.resident())
        return self.subject

    def _settled_descriptors(self):
        """How many there are once the start is over: no more come for a while."""
        count, since = self.subject.descriptors(), time.monotonic()
        while time.monotonic() - since < STILL_SECONDS:
            time.sleep(0.005)
            if (now := self.subject.descriptors()) != count:
                count, since = now, time.monotonic()
        return count

    def ask(self, name):
        return clients.ask_udp(self.subject.address, name)

    @contextlib.contextmanager
    def load(self, rate=RATE, **options):
        load = clients.Load(self.subject.address, rate, patience=self.subject.patience, **options)
        self.loads.append(load)
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def sleep(self, seconds):
        time.sleep(seconds)

    def moment(self):
        return time.time()

    # --- what a row expects ------------------------------------------------------------------------------------------

    def expect(self, what, holds, seen="", law=False):
        """A law holds whatever else the machine does: one breach is the end of the row. Anything else depends on when things happen, and is
        judged by two plays out of three."""
        self.findings.append((what, bool(holds), str(seen), law))

    def note(self, text):
        self.notes.append(text)

    def all_good(self, history, where=""):
        # SERVFAIL may be a matter of time; any other answer is not.
        law = history.bad != history.servfails
        self.expect(f"{where}every answer NOERROR", history.bad == 0, f"{history.bad} of {len(history)} not good", law)

    def within(self, history, milliseconds, where=""):
        seen = f"{where}max {history.max_ms:.0f} ms"
        self.expect(f"{where}max {milliseconds} ms", history.max_ms <= milliseconds, seen)

    def p99(self, history, milliseconds):
        self.expect(f"p99 {milliseconds} ms", history.p99_ms <= milliseconds, f"p99 {history.p99_ms:.0f} ms")

    def all_servfail(self, history, codes, where="alone: "):
        seen = f"{history.servfails} of {len(history)} SERVFAIL, EDE {sorted(history.ede)}"
        self.expect(f"{where}SERVFAIL EDE {'/'.join(map(str, codes))}",
                    history.servfails == len(history) and history.ede and history.ede <= set(codes), seen)

    # --- what holds in every row -------------------------------------------------------------------------------------

    def end_subject(self):
        """The log of a run is judged, and the exit."""
        log = self.subject.log
        status = self.subject.stop()
        self.expect("ends with status 0 on SIGTERM", status == 0, f"status {status}", law=True)
        self._judge_log(log)
        self.started = None

    def finish(self):
        """After the row: everything works again, and nothing was left behind."""
        for load in self.loads:
            self._judge_replies(load)
        self._judge_silence()
        if self.started is not None:
            if self.baseline is not None:
                self._judge_remains()
            self.end_subject()

    def _judge_replies(self, load):
        history = load.history
        late = sum(time_ms > clients.LATEST * 1000 for time_ms in history.times)
        lost = history.lost
        lost -= sum(history.since(begin).until(end).lost for begin, end in self.may_be_lost)
        self.expect("0 lost", lost == 0, f"{lost} of {len(history)} lost", law=True)
        self.expect("one reply each", history.repeated_replies == 0, f"{history.repeated_replies} answered twice", law=True)
        self.expect("no reply to what was not asked", not load.unexpected, f"{len(load.unexpected)} unexpected", law=True)
        self.expect("every reply to its question", not history.faults, history.faults[:3], law=True)
        self.expect(f"no reply after {clients.LATEST} s", late == 0, f"{late} late, max {history.max_ms:.0f} ms")

    def _judge_silence(self):
        for up in self.ups.values():
            seen = up.counters()
            before = seen["octets_before_handshake"]
            self.expect("nothing but TLS reaches an upstream", before == 0, before, law=True)
            if up.number in self.silent:
                octets = seen["octets_after_handshake"]
                none = seen["queries"] == 0 and octets == 0
                self.expect("no DNS before a verified handshake", none, f"{octets} octets of DNS", law=True)
            if seen["malformed"]:
                self.expect("upstreams get nothing but queries", False, f"{seen['malformed']} malformed", law=True)
        clear = self.ground.counters().get("clear", (0, 0))[0]
        self.expect("no packet in the clear", clear == 0, f"{clear} packets", law=True)

    def _judge_remains(self):
        descriptors, resident = self.baseline
        allowed = resident + RESIDENT_KEPT + self.resident_allowance
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            if self.subject.descriptors() <= descriptors + DESCRIPTORS_KEPT and self.subject.resident() <= allowed:
                break
            time.sleep(0.05)
        now = self.subject.descriptors()
        self.expect("descriptors return", now <= descriptors + DESCRIPTORS_KEPT, f"{descriptors} before, {now} after")
        now = self.subject.resident()
        self.expect("memory returns", now <= allowed, f"{resident >> 10} KiB before, {now >> 10} after")

    def _judge_log(self, log):
        with open(log, errors="replace") as file:
            text = file.read()
        bad = [line for line in text.splitlines() if not _is_log_line(line)]
        whole = not bad and (not text or text.endswith("\n"))
        self.expect("the log is JSON line by line", whole, bad[:2], law=True)
        self.expect("nothing panicked", "panicked" not in text, "a panic in the log", law=True)

    # --- what is told ------------------------------------------------------------------------------------------------

    def result(self):
        asked = [one for load in self.loads for one in load.asked]
        whole = clients.History(asked)
        failed = [finding for finding in self.findings if not finding[1]]
        return {
            "asked": len(asked), "lost": whole.lost, "servfail": whole.servfails, "bad": whole.bad,
            "max_ms": whole.max_ms, "p99_ms": whole.p99_ms, "median_ms": whole.median_ms,
            "stall_ms": max((load.stall for load in self.loads), default=0) * 1000,
            "notes": self.notes,
            "failed": [{"what": what, "seen": seen, "law": law} for what, _, seen, law in failed],
        }


def _is_log_line(line):
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and {"timestamp", "level", "message"} <= entry.keys()


def distinct_queries(*ups):
    """(queries read, of them repeated at the same upstream)."""
    counters = [up.counters() for up in ups]
    return sum(c["queries"] for c in counters), sum(c["questions_repeated"] for c in counters)


__all__ = ["AFTER", "LEAD", "RATE", "ROWS", "Play", "distinct_queries", "lay", "row"]
