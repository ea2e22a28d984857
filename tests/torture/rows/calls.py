"""System calls that fail: those of accepting and of sending again and again, and of every kind the first, the second, the third and so on.

strace makes them fail. It starts the subject and leaves the process to us, so the sandbox is entered as ever.
"""

import os
import time

import crowd
import load as clients
import message
from lab.processes import Program, wait_until
from lab.servers import listening
from play import row

#: Errors of accepting (T53) and of sending (T54).
ACCEPTING = "EMFILE", "ENFILE", "ECONNABORTED", "EPERM"
SENDING = "EAGAIN", "ENOBUFS", "EPERM", "ENETUNREACH"
#: Seconds in which every call of a kind fails, the share of a processor that may take, and calls a second.
LASTING, CPU_SHARE, CALLS = 2, 0.05, 500
#: Clients that connect while every third accept fails, and the longest one of them may wait, in milliseconds.
CONNECTS, PAUSED_MS = 20, 500
#: A kind of call, its second name, and the error it fails with (T66).
SWEPT = {
    "socket": "EMFILE", "connect": "ENETUNREACH", "bind": "EADDRNOTAVAIL", "listen": "EADDRINUSE", "accept4": "EMFILE",
    "setsockopt": "ENOPROTOOPT", "getsockopt": "EINVAL", "recvmmsg": "ENOMEM", "sendmmsg": "ENOBUFS", "recvfrom": "ECONNRESET",
    "sendto": "EPIPE", "recvmsg": "ENOBUFS", "sendmsg": "ENOBUFS", "read": "EIO", "write": "EIO", "writev": "EPIPE", "openat": "EMFILE",
    "epoll_create1": "EMFILE", "epoll_ctl": "ENOSPC", "epoll_wait": "EINTR", "eventfd2": "EMFILE", "fcntl": "EMFILE", "getrandom": "EAGAIN",
    "clone": "EAGAIN", "clone3": "ENOSYS", "mmap": "ENOMEM", "mprotect": "ENOMEM", "munmap": "ENOMEM", "madvise": "ENOMEM", "brk": "ENOMEM",
    "getsockname": "ENOBUFS", "prlimit64": "EPERM", "rt_sigaction": "EINVAL", "sched_getaffinity": "EPERM", "shutdown": "ENOTCONN",
    "close": "EIO", "landlock_create_ruleset": "EOPNOTSUPP", "seccomp": "EINVAL", "prctl": "EPERM", "poll": "EINTR", "statx": "EACCES",
    "socketpair": "EMFILE", "dup": "EMFILE", "timerfd_create": "EMFILE", "ioctl": "ENOTTY",
}
#: Kinds that ask for memory. Who is refused it ends at once and wherever it is, before the first line of ours or in a thread that is just being
#: made, so that there may be nobody to say why.
MEMORY = "mmap", "mprotect", "munmap", "madvise", "brk"
#: Failures that cannot be, or that leave nothing to go on with, and that the libraries beneath answer by ending the process; by what they say of
#: it: a process without randomness, and the pair of sockets by which the runtime tells itself of a signal.
ENDED_BENEATH = {"getrandom": "failed to generate random data", "recvfrom": "self-pipe", "socketpair": "failed to create UnixStream"}
#: How many calls of a kind fail, one in each play: the first ones, and with --full as many as there are.
EACH, EACH_FULL = 3, 60
#: The kinds of the short form: those of the sockets, of files, of the event loop and of memory.
SHORT = ("socket", "connect", "accept4", "recvmmsg", "sendmmsg", "recvfrom", "sendto", "write", "openat", "epoll_ctl", "epoll_wait", "mmap")
#: Longest that the end of a process or an answer may take, in seconds.
HANG = 5


def injected(play, call, error, when):
    """The command under which the n-th such calls of each thread fail."""
    trace = os.path.join(play.ground.scratch, "trace")
    # A line of the log, and not what wakes the event loop, which cannot fail.
    where = ("-P", os.path.join(play.ground.scratch, "swept.log")) if call == "write" else ()
    return ("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", trace, *where, "-e", f"trace={call}",
            "-e", f"inject={call}:error={error}:when={when}"), trace


def calls(trace):
    with open(trace, errors="replace") as file:
        return sum("(INJECTED)" in line for line in file)


@row("T53", f"accepting fails ({', '.join(ACCEPTING)}), every third time and every time", f"everybody is accepted within {PAUSED_MS} ms; CPU {CPU_SHARE:.0%}",
     needs=("strace",), seconds=24)
def accepting(play):
    u1 = play.upstream(1)
    query = crowd.framed(f"warm.{clients.ZONE}")
    for error in ACCEPTING:
        under, trace = injected(play, "accept4", error, "1+3")
        play.start(u1, under=under, more=("--cache", "4MiB"), warm=True)
        slowest = 0
        for number in range(CONNECTS):
            began = time.monotonic()
            with crowd.connect(play.subject.address, number) as client:
                crowd.ask(client, query)
            slowest = max(slowest, (time.monotonic() - began) * 1000)
        failed = calls(trace)
        play.expect(f"{error}: it did fail", failed >= CONNECTS // 3, failed, law=True)
        play.expect(f"{error}: accepted within {PAUSED_MS} ms", slowest <= PAUSED_MS, f"{slowest:.0f} ms")
        under, trace = injected(play, "accept4", error, "1+1")
        play.start(u1, under=under, more=("--cache", "4MiB"), warm=True)
        with crowd.connect(play.subject.address, 0), play.load(rate=20) as load:
            share = cpu_share(play, LASTING)
        play.all_good(load.history)
        often = calls(trace)
        play.expect(f"{error} every time: CPU {CPU_SHARE:.0%}", share <= CPU_SHARE, f"{share:.1%}, {often} calls")
        play.note(f"{error}: slowest {slowest:.0f} ms with {failed} failed; every time: CPU {share:.1%}, {often} calls in {LASTING} s")


def cpu_share(play, seconds):
    program = play.subject.program
    spent, began = program.cpu_seconds(), time.monotonic()
    play.sleep(seconds)
    return (program.cpu_seconds() - spent) / (time.monotonic() - began)


@row("T54", f"sending replies fails ({', '.join(SENDING)}), every third time and every time",
     "counted, who asks again is answered, no busy loop", needs=("strace",), seconds=24)
def sending(play):
    u1 = play.upstream(1)
    for error in SENDING:
        under, trace = injected(play, "sendmmsg", error, "2+3")
        play.start(u1, under=under, more=("--cache", "4MiB"), warm=True)
        tries = [patient(play, f"n{number}.{error}.{clients.ZONE}") for number in range(30)]
        failed = calls(trace)
        play.expect(f"{error}: it did fail", failed >= 10, failed, law=True)
        # What has no room is sent when there is; anything else is asked for again.
        allowed = 1 if error == "EAGAIN" else 3
        play.expect(f"{error}: answered at try {allowed} at most", max(tries) <= allowed, tries)
        under, trace = injected(play, "sendmmsg", error, "2+1")
        play.start(u1, under=under, more=("--cache", "4MiB"), warm=True)
        with Asking(play.subject.address) as asking:
            share = cpu_share(play, LASTING)
        often = calls(trace)
        asked = asking.count
        play.expect(f"{error} every time: no busy loop", often <= CALLS * LASTING, f"{often} calls for {asked} questions, CPU {share:.1%}")
        with crowd.connect(play.subject.address, 0) as client:
            crowd.ask(client, crowd.framed(f"warm.{clients.ZONE}"))
        play.note(f"{error}: {failed} failed, all answered at try {max(tries)}; every time: {often} calls for {asked} questions, CPU {share:.1%}")


class Asking(clients.Load):
    """Asks at a steady rate, and nobody minds what becomes of it."""

    def __init__(self, target):
        super().__init__(target, 20, patience=0)

    @property
    def count(self):
        return len(self.asked)


def patient(play, name, tries=5, seconds=1.0):
    """Asks over UDP until there is an answer; at which try it came."""
    for number in range(1, tries + 1):
        try:
            reply = clients.ask_udp(play.subject.address, name, seconds=seconds)
        except TimeoutError:
            continue
        if reply.rcode != message.NOERROR:
            raise message.Bad(f"RCODE {reply.rcode}")
        return number
    return tries + 1


@row("T66", f"the n-th system call of a kind fails, n = 1 to {EACH}, {len(SHORT)} kinds (--full: n to {EACH_FULL}, {len(SWEPT)} kinds)",
     f"an answer, a clean error, or an end that says why; no hang over {HANG} s, no panic", needs=("strace",), seconds=45, full=1200)
def sweep(play):
    u1 = play.upstream(1)
    outcomes = {"served": 0, "not started": 0, "ended": 0}
    faults, plays = [], 0
    for call in SWEPT if play.full else SHORT:
        for number in range(1, (EACH_FULL if play.full else EACH) + 1):
            outcome, hit = one(play, u1, call, number)
            plays += 1
            if outcome in outcomes:
                outcomes[outcome] += 1
            else:
                faults.append(f"{call} {number}: {outcome}")
            if not hit:
                # There are no more calls of this kind than that.
                break
    play.expect("an answer, an error or an end that says why", not faults, "; ".join(faults[:8]), law=True)
    play.note(f"{plays} plays: {', '.join(f'{count} {what}' for what, count in outcomes.items())}")


def one(play, up, call, number):
    """Plays once. What became of it, and whether a call did fail."""
    under, trace = injected(play, call, SWEPT[call], number)
    log = os.path.join(play.ground.scratch, "swept.log")
    open(trace, "w").close()
    program = Program([*under, *play.subject.command((up,), ())], log, play.subject._environment(None))
    try:
        outcome = watched(play, program, call)
    finally:
        # The call that fails may be the one by which the runtime tells itself of a signal, which cannot fail by itself: then it is told again.
        status = program.stop_gently() if call == "sendto" and program.running() else None
        if status is None:
            status = program.stop(seconds=HANG)
    text = program.output()
    if call in ENDED_BENEATH and ENDED_BENEATH[call] in text:
        outcome = "ended"
    elif "panicked" in text and call not in MEMORY:
        outcome = f"panic: {text.strip().splitlines()[-1][:200]}"
    elif status is None:
        outcome = f"does not end on SIGTERM within {HANG} s"
    elif outcome == "served" and status != 0 and call not in MEMORY:
        outcome = f"status {status} on SIGTERM: {text.strip().splitlines()[-1:]}"
    return outcome, calls(trace) > 0


def watched(play, program, call):
    started = False
    try:
        wait_until(lambda: not program.running() or listening("tcp", play.subject.address[1]), HANG, "")
        started = program.running()
        for number in range(2):
            name = f"n{number}.{call}.{clients.ZONE}"
            answered(play, program, over_udp, name)
            answered(play, program, over_tcp, name)
    except TimeoutError:
        return f"no answer within {HANG} s: {program.tail(3)}"
    if program.running():
        return "served"
    if not ended_well(program, call):
        return f"ended with status {program.child.returncode} and says nothing of it: {program.tail(3)}"
    return "ended" if started else "not started"


def ended_well(program, call):
    """Whether the process is over and said why."""
    return program.child.returncode != 0 and (call in MEMORY or "error" in program.output())


def answered(play, program, ask, name):
    """Asks again and again, as clients do, for as long as nothing may hang."""
    end = time.monotonic() + HANG
    while program.running():
        try:
            # Whatever the RCODE: it is a reply to this question, whole.
            return ask(play.subject.address, name)
        except (OSError, message.Bad):
            if time.monotonic() > end:
                raise TimeoutError from None
            time.sleep(0.01)


def over_udp(address, name):
    return clients.ask_udp(address, name, seconds=1)


def over_tcp(address, name):
    return clients.ask_tcp(address, name, seconds=2)


__all__ = ["accepting", "sending", "sweep"]
