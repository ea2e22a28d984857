"""Drives dotward with real clients in front of real DNS-over-TLS servers. Started by ci/interop.

Every check is one line of the table at the end; one that fails makes the exit status 1. All of it happens in a network
namespace of its own (see lab/namespace.py), so nothing needs a free port and nothing leaves the machine.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import certificates, clients, namespace, nearside, servers  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402

DOTWARD = os.path.abspath(os.environ.get("DOTWARD", "target/release/dotward"))
TLS_NAME = "dot.test"
UPSTREAM_PORT = 8531
MEBIBYTE = 1024 * 1024

# The bounds the project promises. A start is timed a few times and the quickest counts: the bound is about the program,
# not about what else the machine does.
START_MS = 50
STARTS = 5
IDLE_RESIDENT_MIB = 15
BINARY_MIB = 15
PARALLEL = 200
PARALLEL_CONNECTIONS = 2
REPLY_SECONDS = 2.0


class Table:
    """Collects the outcome of every check and prints it as it comes."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, where, what, function, *arguments):
        """Runs the function; its return value is the remark, an exception is the failure."""
        try:
            remark = function(*arguments)
        except Exception as error:  # every failure of a check is an outcome to be shown
            self.failed += 1
            print(f"FAIL  {where:<14} {what:<44} {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, (clients.Unexpected, TimeoutError)):
                traceback.print_exc()
            return False
        self.passed += 1
        print(f"pass  {where:<14} {what:<44} {remark or ''}".rstrip(), flush=True)
        return True


class Subject:
    """dotward, running with the arguments given until the block is left."""

    def __init__(self, directory, *arguments, environment=None):
        self.command = [DOTWARD, *arguments]
        self.log = os.path.join(directory, "dotward.log")
        self.environment = {**os.environ, **(environment or {})}

    def __enter__(self):
        self.program = Program(self.command, self.log, self.environment)
        return self.program

    def __exit__(self, kind, error, trace):
        status = self.program.stop()
        if kind is None and status != 0:
            raise clients.Unexpected(f"exit status {status} on SIGTERM\n{self.program.tail()}")
        return False


def forward(directory, upstream, *more, listen=("127.0.0.1:53", "[::1]:53"), ca=None):
    arguments = ["run"]
    for address in listen:
        arguments += ["--listen", address]
    for spec in [upstream] if isinstance(upstream, str) else upstream:
        arguments += ["--upstream", spec]
    if ca is not None:
        arguments += ["--ca-file", ca]
    return Subject(directory, *arguments, *more)


def wait_listening(program, port=53, tables=("tcp", "tcp6", "udp", "udp6")):
    def ready():
        if not program.running():
            raise clients.Unexpected(f"dotward ended at once\n{program.tail()}")
        return all(servers.listening(table, port) for table in tables)

    try:
        return wait_until(ready, 5, "dotward does not listen", every=0.0005)
    except TimeoutError as error:
        raise clients.Unexpected(f"{error}\n{program.tail()}") from None


def spec(address="127.0.0.1", name=TLS_NAME, port=UPSTREAM_PORT):
    return f"tls://{name}@{address}:{port}" if name else f"tls://{address}:{port}"


# --- with every server ------------------------------------------------------------------------------------------------


def with_server(table, directory, authority, server):
    where = server.name
    table.check(where, "answers kdig +tls by itself", clients.kdig_tls, "127.0.0.1", server.port, authority.certificate, TLS_NAME)
    known = clients.upstream_connections(server.port)
    upstream = [spec("127.0.0.1", port=server.port), spec("[::1]", port=server.port)]
    try:
        with forward(directory, upstream[0], ca=authority.certificate) as program:
            wait_listening(program)
            table.check(where, f"{PARALLEL} parallel questions, fresh start", parallel, server.port, known)
            for client in clients.ALL:
                for address in ("127.0.0.1", "::1"):
                    table.check(where, f"{client.name} @{address}", ask_all, client, address)
            table.check(where, "getaddrinfo (glibc), IPv4 listener", getaddrinfo, "127.0.0.1")
            table.check(where, "getaddrinfo (glibc), IPv6 listener", getaddrinfo, "::1")
            table.check(where, "getaddrinfo (glibc), over TCP", getaddrinfo, "127.0.0.1", "options use-vc")
        with forward(directory, upstream[1], ca=authority.certificate) as program:
            wait_listening(program)
            table.check(where, "upstream over IPv6", clients.Dig().ask, "A", "127.0.0.1")
        table.check(where, "SIGTERM ends it with exit status 0", lambda: None)
    except Exception as error:  # the block itself failed: no check inside it says so
        table.check(where, "dotward serves and ends on SIGTERM", reraise, error)


def ask_all(client, address):
    for question in client.questions:
        try:
            client.ask(question, address)
        except Exception as error:
            raise clients.Unexpected(f"{question}: {error}") from error
    return ", ".join(client.questions)


def reraise(error):
    raise error


def parallel(port, known):
    answered, mismatched, slowest = clients.burst("127.0.0.1", 53, PARALLEL, REPLY_SECONDS)
    opened = clients.upstream_connections(port) - known
    remark = f"{answered} answered, {mismatched} mismatched, slowest {slowest * 1000:.0f} ms, {len(opened)} upstream connections"
    if answered != PARALLEL or mismatched or not 1 <= len(opened) <= PARALLEL_CONNECTIONS:
        raise clients.Unexpected(remark)
    return remark


def getaddrinfo(address, *options):
    namespace.use_resolver(f"nameserver {address}", "options timeout:3 attempts:1", *options)
    found = subprocess.run(["getent", "ahosts", "glibc.wild.example"], capture_output=True, text=True).stdout
    addresses = sorted({line.split()[0] for line in found.splitlines()})
    if addresses != sorted([servers.A, servers.AAAA]):
        raise clients.Unexpected(f"getent ahosts: {addresses}")
    return " ".join(addresses)


# --- about dotward itself, with one server ----------------------------------------------------------------------------


def about_itself(table, directory, authority, server, quick):
    ca = authority.certificate
    where = "dotward"
    table.check(where, "wildcard bind replies from the address asked", wildcard, directory, ca)
    table.check(where, "certificate of another name is refused", refused, directory, ca, spec(name="other.test"))
    stranger = certificates.Authority(directory, "stranger")
    table.check(where, "certificate of an unknown authority is refused", refused, directory, stranger.certificate, spec())
    table.check(where, "address in the certificate (IP SAN) is enough", served, directory, ca, spec(name=None))
    right = certificates.pin(server.certificate)
    table.check(where, "pin alone is enough", served, directory, None, f"{spec(name=None)}?pin=sha256/{right}")
    wrong = certificates.pin(stranger.certificate)
    table.check(where, "wrong pin is refused", refused, directory, ca, f"{spec()}?pin=sha256/{wrong}")
    table.check(where, "second upstream serves when the first is dead", second_upstream, directory, ca)
    table.check(where, "own DoT listener answers kdig +tls", own_listener, directory, authority)
    table.check(where, "clients behind dnsdist (PROXY 2, UDP and TCP)", balanced, directory, nearside.through_dnsdist)
    table.check(where, "clients behind haproxy (PROXY 2 and 1)", balanced, directory, nearside.through_haproxy)
    table.check(where, "an address that comes late, goes and comes back", late_address, directory)
    table.check(where, "UDP alone and TCP alone", one_protocol, directory, ca)
    table.check(where, "older environment names", older_environment, directory, ca)
    table.check(where, "query shows the connection", query_command, directory, ca)
    table.check(where, "faulty configuration: exit status 2, all faults", faulty, directory)
    for number in (signal.SIGTERM, signal.SIGINT):
        table.check(where, f"{number.name} under load: all answered, status 0", stop_under_load, directory, ca, number)
    table.check(where, f"start to listening <= {START_MS} ms", start_time, directory, ca)
    if not quick:
        table.check(where, f"idle resident memory <= {IDLE_RESIDENT_MIB} MiB", idle_memory, directory, ca)
        table.check(where, "demo answers dig", demo, directory)
    table.check(where, f"release binary <= {BINARY_MIB} MiB", binary_size)


def wildcard(directory, ca):
    with forward(directory, spec(), listen=("0.0.0.0:5300", "[::]:5300"), ca=ca) as program:
        wait_listening(program, 5300)
        seen = []
        for address in ("127.0.0.1", "127.0.0.9", namespace.HOST4, "::1", namespace.HOST6):
            source = clients.reply_source(address, 5300)
            if source != address:
                raise clients.Unexpected(f"asked {address}, the reply came from {source}")
            seen.append(source)
    return f"{len(seen)} addresses"


def refused(directory, ca, upstream):
    with forward(directory, upstream, ca=ca) as program:
        wait_listening(program)
        begin = time.monotonic()
        output = clients.run("dig", "@127.0.0.1", "+tries=1", "+timeout=4", "refused.wild.example")
        seconds = time.monotonic() - begin
        status = clients.dig_status(output)
        if status != "SERVFAIL" or "; EDE: " not in output or seconds > REPLY_SECONDS + 0.3:
            raise clients.Unexpected(f"{status} after {seconds:.2f} s\n{output}")
        return re.search(r"; EDE: (.*)", output)[1] + f", {seconds * 1000:.0f} ms"


def served(directory, ca, upstream):
    with forward(directory, upstream, ca=ca) as program:
        wait_listening(program)
        return clients.Dig().ask("A", "127.0.0.1")


def second_upstream(directory, ca):
    dead = spec(port=UPSTREAM_PORT + 7)
    with forward(directory, [dead, spec()], ca=ca) as program:
        wait_listening(program)
        answered, mismatched, slowest = clients.burst("127.0.0.1", 53, 50, REPLY_SECONDS)
        remark = f"{answered} of 50 answered, slowest {slowest * 1000:.0f} ms"
        if answered != 50 or mismatched:
            raise clients.Unexpected(remark)
        return remark


def own_listener(directory, authority):
    certificate, key = authority.issue("listener", ["DNS:dotward.test"])
    path = os.path.join(directory, "listener.toml")
    with open(path, "w") as file:
        file.write(f"""
[listen]
dns = ["127.0.0.1:53"]
tls = ["127.0.0.1:853", "[::1]:853"]
certificate = "{certificate}"
key = "{key}"

[[upstream]]
name = "dot"
address = ["127.0.0.1:{UPSTREAM_PORT}"]
tls_name = "{TLS_NAME}"
ca_file = "{authority.certificate}"
""")
    with Subject(directory, "run", "--config", path) as program:
        wait_listening(program, 853, ("tcp", "tcp6"))
        clients.kdig_tls("::1", 853, authority.certificate, "dotward.test")
        return clients.kdig_tls("127.0.0.1", 853, authority.certificate, "dotward.test")


def balanced(directory, through):
    path = nearside.write(directory, "balanced.toml", nearside.behind_balancers())
    with Subject(directory, "run", "--config", path) as program:
        wait_listening(program, nearside.PORT, ("tcp", "udp"))
        return through(directory)


def late_address(directory):
    address = "192.0.2.99"
    path = nearside.write(directory, "late.toml", nearside.late_address(address))
    with Subject(directory, "run", "--config", path) as program:
        wait_listening(program, nearside.PORT, ("tcp", "udp"))
        return nearside.comes_and_goes(address)


def one_protocol(directory, ca):
    for protocol, client, absent in (("udp", clients.Dig(), "tcp"), ("tcp", clients.DigTcp(), "udp")):
        with forward(directory, spec(), listen=(f"{protocol}://127.0.0.1:53",), ca=ca) as program:
            wait_listening(program, 53, (protocol,))
            client.ask("A", "127.0.0.1")
            if servers.listening(absent, 53):
                raise clients.Unexpected(f"{protocol}:// alone also listens on {absent}")


def older_environment(directory, ca):
    environment = {
        "BIND_ADDRESS": "127.0.0.1", "BIND_PORT": "53", "PROTO": "UDP",
        "DOT_ADDRESS": "127.0.0.1", "DOT_PORT": str(UPSTREAM_PORT), "DOTWARD_CA_FILE": ca,
    }
    with Subject(directory, environment=environment) as program:
        wait_listening(program, 53, ("udp",))
        return clients.Dig().ask("A", "127.0.0.1")


def query_command(directory, ca):
    output = clients.run(DOTWARD, "query", "--upstream", spec(), "--ca-file", ca, "query.wild.example", "A", expect=0)
    shown = output.lower().replace(" ", "")
    missing = [word for word in (servers.A, "tls1.3", TLS_NAME, "sha256/") if word not in shown]
    if missing:
        raise clients.Unexpected(f"not shown: {missing}\n{output}")


def faulty(directory):
    path = os.path.join(directory, "faulty.toml")
    with open(path, "w") as file:
        file.write('[listen]\ndns = ["300.1.2.3"]\ncolour = "red"\n\n[[upstream]]\naddress = ["192.0.2.1"]\n')
    output = clients.run(DOTWARD, "check", path, expect=2)
    missing = [word for word in ("300.1.2.3", "colour", "192.0.2.1") if word not in output]
    if missing:
        raise clients.Unexpected(f"not reported: {missing}\n{output}")
    clients.run(DOTWARD, "run", "--config", path, expect=2)


def stop_under_load(directory, ca, number):
    subject = forward(directory, spec(), ca=ca)
    with subject as program:
        wait_listening(program)
        asked = clients.Burst("127.0.0.1", 53, PARALLEL)
        asked.send()
        # What the kernel has queued when the signal comes is not yet taken in; one answer shows that reading began.
        asked.receive_one(REPLY_SECONDS)
        begin = time.monotonic()
        status = program.stop(number)
        seconds = time.monotonic() - begin
        asked.receive(0.2)
        remark = f"exit status {status} after {seconds:.2f} s, {asked.answered} of {PARALLEL} answered"
        if status != 0 or asked.answered != PARALLEL or seconds > REPLY_SECONDS + 0.5:
            raise clients.Unexpected(remark)
        return remark


def start_time(directory, ca):
    times = []
    for _ in range(STARTS):
        subject = forward(directory, spec(), ca=ca)
        begin = time.monotonic()
        with subject as program:
            wait_listening(program)
            times.append((time.monotonic() - begin) * 1000)
    times.sort()
    remark = f"quickest {times[0]:.1f} ms, middle {times[len(times) // 2]:.1f} ms of {STARTS}"
    if times[0] > START_MS:
        raise clients.Unexpected(remark)
    return remark


def idle_memory(directory, ca):
    with forward(directory, spec(), ca=ca) as program:
        wait_listening(program)
        clients.Dig().ask("A", "127.0.0.1")
        time.sleep(2)  # idle is a state that lasts, so it is waited for and not polled
        resident = program.resident_bytes() / MEBIBYTE
        remark = f"{resident:.1f} MiB, {program.threads()} threads, after one question"
    if resident > IDLE_RESIDENT_MIB:
        raise clients.Unexpected(remark)
    return remark


def demo(directory):
    with Subject(directory, "demo") as program:
        line = None

        def shown():
            nonlocal line
            line = re.search(r"^\W*(dig\s.*)$", program.output(), re.M)
            return line is not None or not program.running()

        wait_until(shown, 5, "demo prints no dig line")
        if line is None:
            raise clients.Unexpected(program.tail())
        output = clients.run(*line[1].split(), "+tries=1")
        if clients.dig_status(output) != "NOERROR":
            raise clients.Unexpected(f"{line[1]}: {output}")
        return line[1]


def binary_size():
    size = os.path.getsize(DOTWARD) / MEBIBYTE
    if size > BINARY_MIB:
        raise clients.Unexpected(f"{size:.1f} MiB")
    return f"{size:.1f} MiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one server, and none of the checks that wait")
    options = parser.parse_args()
    if not os.access(DOTWARD, os.X_OK):
        sys.exit(f"error: no program at {DOTWARD}")
    namespace.enter()
    directory = namespace.SCRATCH
    table = Table()
    begin = time.monotonic()
    authority = certificates.Authority(directory)
    identity = authority.issue("server", [f"DNS:{TLS_NAME}", "IP:127.0.0.1", "IP:::1"])
    chosen = servers.ALL[:1] if options.quick else servers.ALL
    for kind in chosen:
        server = kind(directory, UPSTREAM_PORT, identity).start()
        with_server(table, directory, authority, server)
        if kind is chosen[0]:
            about_itself(table, directory, authority, server, options.quick)
        server.stop()
    print(f"interop: {table.passed} good, {table.failed} bad, {time.monotonic() - begin:.0f} s")
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
