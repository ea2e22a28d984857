"""Measures what an idle client costs. Started by bench/idle.

Clients connect over TCP and over TLS, each asks one question that is answered without an upstream, and then says nothing. The
resident memory of the process before and after, divided by their number, is what one costs above the kernel's part. One more client
asks meanwhile, and how long it waits is compared with how long it waited alone; last it does so while metrics are scraped. The client
and the program have a core each.
"""

import argparse
import os
import resource
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "ci")]

from lab import certificates, namespace  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402

PORT, TLS_PORT, ADMIN_PORT = 5400, 5401, 5402
PROGRAM_CPU, CLIENT_CPU = 0, 1
SCRAPES_PER_SECOND = 10
NAME = "local.bench"
# Octets one idle client may cost, above the kernel's.
BOUNDS = {"tcp": 8 * 1024, "tls": 24 * 1024}
# Clients are closed when they are idle for 10 s; what takes longer than this measures their going.
IN_TIME = 9.0

CONFIGURATION = f"""
[listen]
dns = ["127.0.0.1:{PORT}"]
tls = ["127.0.0.1:{TLS_PORT}"]
certificate = "{{certificate}}"
key = "{{key}}"
admin = "127.0.0.1:{ADMIN_PORT}"

[limits]
clients = 16384

[[local]]
name = "{NAME}"
a = ["192.0.2.1"]
"""


def query():
    labels = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
    message = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    return struct.pack(">H", len(message)) + message


QUERY = query()


def ask(client):
    client.sendall(QUERY)
    head = client.recv(4096)
    if len(head) < 4 or head[2:4] != QUERY[2:4]:
        raise RuntimeError("no answer")


def connect(number, context):
    client = socket.socket()
    # A few clients from each of many addresses, as the bound for one source demands.
    client.bind((f"127.{number // 5000 + 1}.{number // 50 % 100}.1", 0))
    client.connect(("127.0.0.1", TLS_PORT if context else PORT))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        client = context.wrap_socket(client, server_hostname="listener.bench")
    ask(client)
    return client


def waits(client, count=20_000):
    """Seconds at the 50th and 99th percentile."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        ask(client)
        took.append(time.perf_counter() - began)
    took.sort()
    return took[count // 2], took[count * 99 // 100]


def measure(program, kind, count, context):
    active = connect(0, None)
    alone = waits(active)
    # The first of a kind brings tables and code in, which all of that kind share.
    first = [connect(number, context) for number in range(50)]
    before = program.resident_bytes()
    began = time.monotonic()
    clients = [connect(50 + number, context) for number in range(count)]
    after = program.resident_bytes()
    beside = waits(active)
    took = time.monotonic() - began
    each = (after - before) / count
    # Each client that is still there answers for itself: nothing was closed to make the figure small.
    closed = sum(1 for client in clients if not open_still(client))
    print(
        f"{kind}: {count} idle clients, {each / 1024:.1f} KiB each (at most {BOUNDS[kind] / 1024:.0f}); "
        f"an active client waits {alone[0] * 1e6:.0f} us (p99 {alone[1] * 1e6:.0f}) alone and "
        f"{beside[0] * 1e6:.0f} us (p99 {beside[1] * 1e6:.0f}) beside them",
        flush=True,
    )
    for client in (*first, *clients, active):
        client.close()
    if took > IN_TIME:
        print(f"{kind}: took {took:.1f} s, longer than clients may be idle: not judged")
        return True
    if closed:
        print(f"{kind}: {closed} clients were closed meanwhile")
        return False
    return each <= BOUNDS[kind]


def scraped():
    """An active client while metrics are scraped much more often than anybody does."""
    active = connect(0, None)
    alone = waits(active)
    done = threading.Event()
    scraper = threading.Thread(target=scrape, args=(done,))
    scraper.start()
    beside = waits(active)
    done.set()
    scraper.join()
    print(
        f"metrics: an active client waits {alone[0] * 1e6:.0f} us (p99 {alone[1] * 1e6:.0f}) alone and "
        f"{beside[0] * 1e6:.0f} us (p99 {beside[1] * 1e6:.0f}) with {SCRAPES_PER_SECOND} scrapes a second",
        flush=True,
    )


def scrape(done):
    while not done.wait(1 / SCRAPES_PER_SECOND):
        with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN_PORT}/metrics", timeout=2) as response:
            response.read()


def open_still(client):
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tcp", type=int, default=10_000, help="idle clients over TCP (%(default)s)")
    parser.add_argument("--tls", type=int, default=2_000, help="idle clients over TLS (%(default)s)")
    chosen = parser.parse_args()
    namespace.enter()
    os.sched_setaffinity(0, {CLIENT_CPU})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    authority = certificates.Authority(namespace.SCRATCH)
    certificate, key = authority.issue("listener", ["DNS:listener.bench"])
    path = os.path.join(namespace.SCRATCH, "idle.toml")
    with open(path, "w") as file:
        file.write(CONFIGURATION.format(certificate=certificate, key=key))
    context = ssl.create_default_context(cafile=authority.certificate)
    good = True
    for kind, count in (("tcp", chosen.tcp), ("tls", chosen.tls)):
        program = Program([os.environ["DOTWARD"], "-c", path], os.path.join(namespace.SCRATCH, "dotward.log"), cpu=PROGRAM_CPU)
        wait_until(lambda: reachable(program), 10, "the program listens")
        try:
            good &= measure(program, kind, count, context if kind == "tls" else None)
            if kind == "tls":
                scraped()
        except (OSError, RuntimeError) as error:
            print(f"{kind}: {error}\n{program.tail()}")
            good = False
        program.stop()
    return 0 if good else 1


def reachable(program):
    if not program.running():
        raise RuntimeError(program.tail())
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", TLS_PORT)) == 0


if __name__ == "__main__":
    sys.exit(main())
