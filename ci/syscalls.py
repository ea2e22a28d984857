"""Counts system calls per answer that needs no upstream. Started by ci/syscalls.

The question is for a special-use name, which takes the way of a cached one: received, judged, answered in the same turn. Questions come
one at a time, so that each costs a whole turn and nothing is shared between them.
"""

import os
import signal
import socket
import subprocess
import sys
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]

from lab import namespace  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402

PORT = 5300
QUESTIONS = 2000
NEEDED = {"udp": {"recvmmsg", "sendmmsg", "epoll_wait"}, "tcp": {"recvfrom", "sendto", "epoll_wait"}}
# Calls that have their own clock: timers, a look at how busy the thread is.
ASIDE = 40

QUERY = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07printer\x05local\0\0\x01\0\x01"


def ask(transport, client):
    if transport == "udp":
        client.send(QUERY)
        return client.recv(512)[:2] == QUERY[:2]
    client.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
    length = int.from_bytes(client.recv(2, socket.MSG_WAITALL), "big")
    return client.recv(length, socket.MSG_WAITALL)[:2] == QUERY[:2]


def connect(transport):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    client.settimeout(5)
    client.connect(("127.0.0.1", PORT))
    if transport == "tcp":
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def answers():
    try:
        with connect("udp") as client:
            client.settimeout(0.2)
            return ask("udp", client)
    except OSError:
        return False


def counted(program, transport):
    """System calls by name while QUESTIONS are answered."""
    table = os.path.join(namespace.SCRATCH, transport)
    log = os.path.join(namespace.SCRATCH, "strace.log")
    with connect(transport) as client, open(log, "w") as output:
        ask(transport, client)
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", table, "-p", str(program.pid)], stderr=output)
        wait_until(lambda: "attached" in open(log).read(), 10, "strace does not attach")
        for _ in range(QUESTIONS):
            if not ask(transport, client):
                sys.exit(f"error: a question over {transport} got no answer")
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    calls = {}
    with open(table) as file:
        for line in file:
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3])
    return calls


def main():
    namespace.enter()
    log = os.path.join(namespace.SCRATCH, "dotward.log")
    program = Program(
        [os.environ["DOTWARD"], "run", "--listen", f"127.0.0.1:{PORT}", "--upstream", "tls://dot.test@127.0.0.1:853", "--control", "off"], log
    )
    wait_until(answers, 10, "it does not answer")
    # The upstream is not there; what is tried about that at the start is over after this.
    time.sleep(1)
    faults = []
    for transport, needed in NEEDED.items():
        calls = counted(program, transport)
        text = ", ".join(f"{name} {count / QUESTIONS:.2f}" for name, count in sorted(calls.items(), key=lambda call: -call[1]))
        print(f"{transport}: system calls per answer: {text}")
        others = sum(count for name, count in calls.items() if name not in needed)
        if others > ASIDE:
            faults.append(f"{transport}: {others} other calls than {', '.join(sorted(needed))}")
        faults += [f"{transport}: {calls.get(name, 0)} times {name} for {QUESTIONS} answers" for name in sorted(needed)
                   if not QUESTIONS - ASIDE <= calls.get(name, 0) <= QUESTIONS + ASIDE]
    program.stop()
    for fault in faults:
        print(f"error: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
