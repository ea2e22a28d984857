"""What happens to the process itself: its log takes nothing, it is told to end, it is killed, its address goes."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import crowd
import ground as lay
import load as clients
import message
from lab.processes import wait_until
from play import AFTER, LEAD, row
from subjects import PORT

ADMIN = "127.0.0.1:5380"
#: Octets of the log's file system (T57); ends of the upstream's connections, each of which makes a few lines, between two looks at how many
#: lines were dropped; and seconds until some have to be.
LOG_ROOM, ENDS, BLOCKED = 64 << 10, 50, 15
#: Milliseconds the upstream takes, so that there are questions in flight when the end comes (T60), and seconds it may take.
SLOWLY, END = 300, 2
#: Streams with questions in flight then, and questions on each.
STREAMS, PIPELINED = 5, 10
#: Milliseconds after a kill until it serves again (T61).
AGAIN_MS = 200
#: An address that comes and goes (T62), and seconds until it is served.
COMING, SERVED = "10.203.0.5", 1


def metric(name):
    with urllib.request.urlopen(f"http://{ADMIN}/metrics", timeout=2) as page:
        found = re.search(rf"^{name}(?:{{}})? (\S+)$", page.read().decode(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"no metric is called {name}")
    return float(found.group(1))


@row("T57", "the log's file system full; its pipe blocked; its pipe closed; standard error closed", "0 lost, max 100 ms; lines dropped are counted",
     needs=("network",), seconds=20)
def log_takes_nothing(play):
    u1 = play.upstream(1)
    full_disk(play, u1)
    pipe = os.path.join(play.ground.scratch, "pipe")
    os.mkfifo(pipe)
    to_pipe = ("sh", "-c", 'exec "$@" 2>"$0"', pipe)
    for where, closed in (("blocked pipe", False), ("closed pipe", True)):
        reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        fill(reader)
        play.start(u1, under=to_pipe, tells=False, more=("--log-level", "trace", "--admin", ADMIN))
        if closed:
            os.close(reader)
        loaded(play, u1, where)
        if not closed:
            os.close(reader)
    play.start(u1, under=("sh", "-c", 'exec "$@" 2>&-', "sh"), tells=False, more=("--log-level", "trace"))
    with play.load(rate=200) as load:
        play.sleep(LEAD)
    play.all_good(load.history, "standard error closed: ")
    play.within(load.history, 100, "standard error closed: ")


def fill(descriptor):
    """Writes until there is no room."""
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))


def loaded(play, up, where):
    """Asks, and expects that answers are as ever and that the log is not."""
    with play.load(rate=200) as load:
        # A pipe that is blocked is noticed when all that may wait for it (4,096 lines) waits.
        end = time.monotonic() + BLOCKED
        while (dropped := metric("dotward_log_lines_dropped_total")) == 0 and time.monotonic() < end:
            for _ in range(ENDS):
                up.tell("close")
                play.ask(f"again.{clients.ZONE}")
    play.all_good(load.history, f"{where}: ")
    play.within(load.history, 100, f"{where}: ")
    play.expect(f"{where}: lines dropped are counted", dropped > 0, dropped)
    play.note(f"{where}: {dropped:.0f} lines dropped, max {load.history.max_ms:.0f} ms")
    return dropped


def full_disk(play, up):
    directory = os.path.join(play.ground.scratch, "small")
    os.mkdir(directory)
    lay.run("mount", "-t", "tmpfs", "-o", f"size={LOG_ROOM}", "small", directory)
    ballast, log = os.path.join(directory, "ballast"), os.path.join(directory, "log")
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    fill(descriptor)
    os.close(descriptor)
    play.start(up, tells=False, more=("--log-file", log, "--log-level", "trace", "--admin", ADMIN))
    before = loaded(play, up, "full disk")
    os.remove(ballast)
    up.tell("close")
    play.ask(f"room.{clients.ZONE}")
    wait_until(lambda: "lines dropped" in open(log).read(), 2, "the log does not tell of dropped lines when there is room")
    with open(log) as file:
        text = file.read()
    told = sum(int(number) for number in re.findall(r'"lines":(\d+)', text))
    play.expect("full disk: the log tells how many are missing", told >= before, f"{told} told, {before:.0f} counted")
    # One line was cut where the room ended; the others are whole.
    bad = [line for line in text.splitlines() if not line.startswith('{"timestamp"') or not line.endswith("}")]
    play.expect("full disk: one line is cut at most", len(bad) <= 1, bad[:2], law=True)


@row("T60", "SIGTERM under load", f"0 lost of what was asked before; ends within {END} s with status 0", seconds=12)
def told_to_end(play):
    u1 = play.upstream(1)
    play.start(u1, warm=True)
    u1.mode(f"delay={SLOWLY}ms")
    names = [[f"s{stream}n{number}.{clients.ZONE}" for number in range(PIPELINED)] for stream in range(STREAMS)]
    with crowd.closing([]) as streams, play.load(rate=200) as load:
        play.sleep(LEAD)
        for stream, asked in enumerate(names):
            streams.append(crowd.connect(play.subject.address, stream))
            streams[-1].sendall(b"".join(crowd.framed(name, number) for number, name in enumerate(asked)))
        told = play.moment()
        os.kill(play.subject.program.pid, signal.SIGTERM)
        answered = [len(answers(stream)) for stream in streams]
        took = None
        try:
            play.subject.program.child.wait(2 * END)
            took = play.moment() - told
        except subprocess.TimeoutExpired:
            pass  # told below
        load.stop()
    play.may_be_lost.append((told, told + 10))
    before = load.history.until(told)
    waiting = sum(one.came is not None and one.came > told for one in before.asked)
    play.all_good(before)
    play.expect("every question of a stream answered", answered == [PIPELINED] * STREAMS, answered, law=True)
    play.end_subject()
    play.expect(f"ends within {END} s", took is not None and took <= END, took)
    play.note(f"{waiting} over UDP and {sum(answered)} over TCP answered after the signal; ended after {took or 0:.2f} s")


def answers(stream):
    """The messages that come until the end."""
    octets, found = b"", []
    while more := stream.recv(65536):
        octets += more
    while len(octets) >= 2 and len(octets) >= (length := 2 + int.from_bytes(octets[:2])):
        found.append(octets[2:length])
        octets = octets[length:]
    return found


@row("T61", "kill -9 under load and a new start; the same with sockets held by the service manager",
     f"serves again within {AGAIN_MS} ms; with held sockets nobody is refused", seconds=14)
def killed(play):
    u1 = play.upstream(1)
    play.start(u1, warm=True)
    with play.load(rate=200) as load:
        play.sleep(LEAD)
        died = kill(play)
        play.subject.start((u1,))
        play.sleep(LEAD)
    play.may_be_lost.append((died - clients.LATEST, died + 1))
    first = min((one.came for one in load.history.since(died).asked if one.good), default=died + 9)
    again = (first - died) * 1000
    play.expect(f"serves again within {AGAIN_MS} ms", again <= AGAIN_MS, f"{again:.0f} ms")
    play.all_good(load.history.since(died + 1), "afterwards: ")
    play.note(f"first answer {again:.0f} ms after the kill")
    play.end_subject()
    with held(play.subject.address) as sockets:
        activated(play, u1, sockets)


def kill(play):
    died = play.moment()
    os.kill(play.subject.program.pid, signal.SIGKILL)
    play.subject.program.child.wait()
    return died


class held:
    """The sockets of an address, UDP and TCP, as a service manager holds them."""

    def __init__(self, address):
        self.sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        self.address = address

    def __enter__(self):
        for one in self.sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wait_until(lambda: self._bound(one), 5, f"{self.address} is not free")
        self.sockets[1].listen(1024)
        return self.sockets

    def _bound(self, one):
        try:
            one.bind(self.address)
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()


def activated(play, up, sockets):
    numbers = [one.fileno() for one in sockets]
    # As systemd does it: descriptors from 3 on, and the number of the process they are for.
    script = f'LISTEN_PID=$$ LISTEN_FDS=2 exec "$@" 3<&{numbers[0]} 4<&{numbers[1]}'
    how = {"under": ("sh", "-c", script, "sh"), "descriptors": numbers}
    play.start(up, warm=True, **how)
    refused, times, stop = [], [], threading.Event()

    def connects():
        number = 0
        while not stop.is_set():
            number += 1
            began = time.monotonic()
            try:
                with crowd.connect(play.subject.address, number) as client:
                    crowd.ask(client, crowd.framed(f"c{number}.{clients.ZONE}"))
                times.append((time.monotonic() - began) * 1000)
            except ConnectionRefusedError as error:
                refused.append(error)
            except (OSError, message.Bad):
                pass  # it was the killed one's
            time.sleep(0.005)

    with play.load(rate=200) as load:
        client = threading.Thread(target=connects)
        client.start()
        play.sleep(LEAD)
        died = kill(play)
        play.subject.start((up,), **how)
        play.sleep(LEAD)
        stop.set()
        client.join()
    lost = load.history.lost
    # What the killed one had taken is gone with it; what waits in the sockets is not.
    play.may_be_lost.append((died - clients.LATEST, died + 0.002))
    play.expect("held sockets: nobody is refused", not refused, f"{len(refused)} refused", law=True)
    play.all_good(load.history.since(died + 1), "held sockets, afterwards: ")
    slowest = max(times, default=0)
    play.note(f"held sockets: {lost} of {len(load.history)} lost with the killed one, 0 refused of {len(times)} connections, the slowest {slowest:.0f} ms")


@row("T62", "an address of a listener comes, goes and comes back (freebind)", f"served within {SERVED} s; others as ever", needs=("network",), seconds=12)
def address_comes_and_goes(play):
    u1 = play.upstream(1)
    address, port = play.subject.address
    flags = ("--listen", f"{address}:{port},{COMING}:{port}", "--freebind", "true")
    play.start(u1, more=flags, warm=True)
    with play.load() as load:
        for turn in range(3):
            lay.run("ip", "address", "add", f"{COMING}/32", "dev", "lo")
            took = max(wait_until(lambda ask=ask: served(ask, turn), 5, f"{COMING} is not served", every=0.005)
                       for ask in (clients.ask_udp, clients.ask_tcp))
            play.expect(f"served within {SERVED} s", took <= SERVED, f"{took:.2f} s")
            play.note(f"served {took * 1000:.0f} ms after it came")
            lay.run("ip", "address", "delete", f"{COMING}/32", "dev", "lo")
            play.sleep(AFTER / 7)
    play.all_good(load.history)
    play.within(load.history, 100)


def served(ask, turn):
    try:
        return ask((COMING, PORT), f"t{turn}.{clients.ZONE}", seconds=0.2) is not None
    except (OSError, message.Bad):
        return False
