"""Starts what an operator starts, and asks it: metrics, health, the end under load, and what leaves on the wire.

Everything runs in a network namespace of its own, in front of the project's own DoT server; ci/operable builds what is needed.
"""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from lab import namespace
from lab.checks import check, verdict
from lab.each import Each
from lab.processes import Program, wait_until
from shared_name import check_shared_name

DOTWARD = os.environ["DOTWARD"]
FAULTS = os.environ["FAULTS"]
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ADMIN = "127.0.0.1:9853"
UPSTREAM = "192.0.2.53"
PATH = os.path.join(namespace.SCRATCH, "dotward.toml")
CONTROL = os.path.join(namespace.SCRATCH, "control.sock")


def get(path, accept=None):
    request = urllib.request.Request(f"http://{ADMIN}{path}", headers={"Accept": accept} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def query(number, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def ask(name, patience=3.0):
    """The RCODE over UDP; None without an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(patience)
        plain.connect(("127.0.0.1", 53))
        plain.send(query(7, name))
        try:
            return plain.recv(4096)[3] & 15
        except TimeoutError:
            return None


class Load(threading.Thread):
    """Questions at a rate, each with an ID of its own; counts those that got no answer within three seconds."""

    def __init__(self, rate, names=50, sockets=16):
        super().__init__(daemon=True)
        self.rate, self.names = rate, names
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)]
        for plain in self.sockets:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            plain.connect(("127.0.0.1", 53))
            plain.setblocking(False)
        self.ending = threading.Event()
        self.sent = self.answered = self.failed = self.refused = 0
        self.waiting = {}

    def run(self):
        begin, number = time.monotonic(), 0
        while not self.ending.is_set():
            due = int((time.monotonic() - begin) * self.rate)
            for number in range(self.sent, min(due, self.sent + 256)):
                plain = self.sockets[number % len(self.sockets)]
                ident = (number // len(self.sockets)) & 0xFFFF
                try:
                    plain.send(query(ident, f"n{number % self.names}.example"))
                except (ConnectionRefusedError, BlockingIOError):
                    self.refused += 1
                else:
                    self.waiting[(plain, ident)] = time.monotonic()
                self.sent = number + 1
            self._receive()
            time.sleep(0.001)
        last = time.monotonic() + 3
        while self.waiting and time.monotonic() < last:
            self._receive()
            time.sleep(0.005)

    def _receive(self):
        for plain in self.sockets:
            while True:
                try:
                    message = plain.recv(4096)
                except (BlockingIOError, ConnectionRefusedError):
                    break
                if self.waiting.pop((plain, struct.unpack("!H", message[:2])[0]), None) is not None:
                    self.answered += 1
                    self.failed += message[3] & 15 != 0

    def finish(self):
        self.ending.set()
        self.join()
        for plain in self.sockets:
            plain.close()
        return len(self.waiting)


def configure(text):
    with open(PATH + ".new", "w") as file:
        file.write(text)
    os.replace(PATH + ".new", PATH)


def configuration(name="first", more=""):
    return f"""
[listen]
dns = ["127.0.0.1:53"]
admin = "{ADMIN}"
control = "{CONTROL}"

[[upstream]]
name = "{name}"
address = ["{UPSTREAM}"]
tls_name = "dot.test"
ca_file = "{namespace.SCRATCH}/ca.pem"
{more}
"""


def start_upstream():
    log = os.path.join(namespace.SCRATCH, "faults.log")
    command = [FAULTS, "--listen", f"{UPSTREAM}:853", "--ca-out", f"{namespace.SCRATCH}/ca.pem"]
    program = Program(command, log)
    wait_until(lambda: os.path.exists(f"{namespace.SCRATCH}/ca.pem"), 10, "the upstream does not start")
    return program


def start(*options, ready=True):
    program = Program([DOTWARD, "run", "--config", PATH, *options], os.path.join(namespace.SCRATCH, "dotward.log"))
    try:
        wait_until(lambda: is_ready() if ready else True, 10, "dotward is not ready")
    except TimeoutError:
        print(program.tail())
        raise
    return program


def is_ready():
    try:
        return get("/readyz")[0] == 200
    except OSError:
        return False


def check_metrics():
    configure(configuration())
    program = start()
    for name in ("a.example", "b.example", "a.localhost"):
        ask(name)
    status, page = get("/metrics")
    check(status == 200, "/metrics is there")
    linted = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True)
    check(linted.returncode == 0, "promtool check metrics", linted.stderr.strip()[:300])
    _, openmetrics = get("/metrics", "application/openmetrics-text; version=1.0.0")
    check(openmetrics.endswith("# EOF\n"), "OpenMetrics for who asks for it")
    families = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    wanted = set()
    for file in ("deploy/prometheus/alerts.yaml", "deploy/prometheus/dashboard.json"):
        with open(os.path.join(PROJECT, file)) as text:
            wanted |= set(re.findall(r"\b(?:dotward|process)_[a-z_]+(?=[\[{) ,\"]|$)", text.read()))
    wanted = {re.sub(r"_(bucket|count|sum)$", "", name) for name in wanted if not name.endswith("_")}
    check(wanted <= families, "alerts and dashboard name metrics that are there", ", ".join(sorted(wanted - families)))
    check(program.stop() == 0, "it ends with 0")


def check_scrape():
    """A hundred upstreams: what a scrape costs."""
    more = "".join(
        f'[[upstream]]\nname = "u{n}"\naddress = ["{UPSTREAM}"]\ntls_name = "dot.test"\nca_file = "{namespace.SCRATCH}/ca.pem"\n'
        for n in range(99)
    )
    configure(configuration(more=more))
    program = start()
    times = []
    for _ in range(20):
        begin = time.monotonic()
        _, page = get("/metrics")
        times.append(time.monotonic() - begin)
    median = sorted(times)[len(times) // 2]
    before = program.cpu_seconds()
    for _ in range(200):
        get("/metrics")
    cpu = (program.cpu_seconds() - before) / 200
    check(page.count("dotward_upstream_healthy{") == 100, "a hundred upstreams are told of")
    # By processor time: how long it takes besides is the machine's affair.
    check(cpu <= 0.005, "a scrape costs at most 5 ms", f"{cpu * 1000:.2f} ms of CPU, {median * 1000:.1f} ms in all, {len(page) // 1024} KiB")
    # Answers wait for a scrape as long as it takes the worker's own thread, and no longer.
    before = thread_seconds(program.pid)
    for _ in range(200):
        get("/metrics")
    held = (thread_seconds(program.pid) - before) / 200
    check(held * 10 <= 0.002, "ten scrapes a second take the worker less than 0.2 % of its time", f"{held * 1e6:.0f} us each")
    program.stop()


def thread_seconds(pid):
    """Processor time of the process's first thread, which is the first worker."""
    with open(f"/proc/{pid}/task/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


def check_readiness(upstream):
    configure(configuration(more='[runtime]\nready_requires = "upstream"'))
    program = start()
    upstream.child.send_signal(signal.SIGSTOP)
    red = wait_until(lambda: get("/readyz")[0] == 503, 5, "not red")
    check(red <= 2.0, "red after all upstreams fell silent", f"{red:.2f} s")
    check(get("/livez")[0] == 200, "alive all the same")
    upstream.child.send_signal(signal.SIGCONT)
    green = wait_until(is_ready, 15, "not green")
    check(green <= 1.0, "green after one returned", f"{green:.2f} s")
    program.stop()


def check_healthcheck():
    configure(configuration())
    program = start()
    run = lambda *options: subprocess.run([DOTWARD, "healthcheck", *options], capture_output=True, text=True)
    check(run("--config", PATH).returncode == 0, "healthcheck by the admin listener")
    check(run("--config", PATH, "--admin", "off").returncode == 0, "healthcheck by DNS")
    program.stop()
    ended = run("--config", PATH)
    check(ended.returncode == 1 and "does not answer" in ended.stderr, "healthcheck of nobody", ended.stderr.strip())
    ended = run("--config", PATH, "--admin", "off")
    check(ended.returncode == 1, "healthcheck of nobody by DNS", ended.stderr.strip())


def check_last(rate=4_000, count=5):
    """What becomes of each question that is asked around the end, while something in flight has it last."""
    configure(configuration())
    for _ in range(count):
        program = start()
        each = Each(("127.0.0.1", 53), lambda number: query(number, f"n{number % 50}.example"))
        ended = threading.Event()

        def at(passed):
            if passed > 0.5 and not ended.is_set():
                ended.set()
                slow.send(query(1, "delay-500.example"))
                program.child.send_signal(signal.SIGTERM)

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as slow:
            slow.connect(("127.0.0.1", 53))
            each.ask(rate, 1.2, at)
        silent = each.count()
        seen = f"{each.answered} answered, {each.refused} refused, {silent} silent of {each.sent}"
        check(silent == 0 and each.refused > 0 and program.stop() == 0, "who comes too late is told at once", seen)


def check_end(rate=10_000):
    configure(configuration())
    program = start()
    load = Load(rate)
    load.start()
    time.sleep(2)
    begin = time.monotonic()
    # Once: a second order would be to end at once.
    status = program.stop(seconds=10)
    took = time.monotonic() - begin
    lost = load.finish()
    # A port that several questions came from tells of one refusal only, so this cannot tell refusals from silence; `check_last` does.
    check(status == 0 and took <= 2.0, "SIGTERM under load ends it", f"{took:.2f} s, status {status}")
    drained = re.search(r"unanswered=(\d+)", program.output())
    check(drained is not None and drained[1] == "0", "every accepted query is answered", f"{load.answered} answered, {lost} came too late; {drained and drained[0]}")


def check_handovers(count=20, rate=10_000):
    """Each process takes the place of the one before while questions come, and with its ports what it had kept (cache.snapshot)."""
    snapshot = os.path.join(namespace.SCRATCH, "snapshot")
    configure(configuration(more=f'[cache]\nsnapshot = "{snapshot}"\n'))
    program = start()
    load = Load(rate)
    load.start()
    time.sleep(1)
    statuses, begin = [], time.monotonic()
    for number in range(count):
        log = os.path.join(namespace.SCRATCH, f"dotward-{number}.log")
        successor = Program([DOTWARD, "run", "--config", PATH, "--takeover"], log)
        wait_until(lambda: program.child.poll() is not None, 10, f"hand-over {number}: the one before does not end")
        statuses.append(program.child.returncode)
        program = successor
    took = time.monotonic() - begin
    time.sleep(1)
    lost = load.finish()
    seen = f"{load.answered} of {load.sent} answered, {lost} silent, {load.refused} refused, {load.failed} failed, {took / count:.2f} s each"
    check(statuses == [0] * count, f"{count} hand-overs, each process ends with 0", str(set(statuses)))
    check(lost == load.refused == load.failed == 0, f"no question is lost at {rate} a second", seen)
    status = subprocess.run([DOTWARD, "status", "--json", "--control", CONTROL], capture_output=True, text=True)
    check(f'"pid": {program.child.pid}' in status.stdout, "the control socket is the last one's", status.stderr.strip())
    check(os.path.exists(snapshot), "what was kept is in the snapshot")
    program.stop()


def check_wire():
    """Only TLS to port 853 leaves."""
    capture = os.path.join(namespace.SCRATCH, "wire.pcap")
    sniffer = Program(["tcpdump", "--immediate-mode", "-i", "lo", "-U", "-n", "-w", capture, "host", UPSTREAM],
                      os.path.join(namespace.SCRATCH, "tcpdump.log"))
    wait_until(lambda: "listening" in sniffer.output(), 10, "tcpdump does not listen")
    configure(configuration())
    program = start()
    names = [f"never-in-clear-{n}.example" for n in range(20)]
    good = sum(ask(name) == 0 for name in names)
    program.stop()
    time.sleep(0.3)
    sniffer.stop(signal.SIGINT)
    with open(capture, "rb") as file:
        octets = file.read()
    check(good == len(names), "all names are answered")
    check(len(octets) > 5000, "the capture saw the traffic", f"{len(octets)} octets")
    clear = [word for word in (b"never-in-clear", b"\x05clear", b"example") if word in octets]
    check(not clear, "no name is on the wire in clear", str(clear))
    other = subprocess.run(["tcpdump", "-n", "-r", capture, "not", "tcp", "port", "853"], capture_output=True, text=True)
    check(other.stdout.strip() == "", "nothing but TCP port 853 leaves", other.stdout[:200])


def main():
    namespace.enter()
    upstream = start_upstream()
    check_metrics()
    check_scrape()
    check_healthcheck()
    check_end()
    check_last()
    check_handovers()
    check_wire()
    check_readiness(upstream)
    check_shared_name(sys.modules[__name__])
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
