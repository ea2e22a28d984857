"""A shared cache that is given by its name, inside the sandbox: a search for its address that hangs holds up no answer and no end, and
hosts files that are replaced, as tools do it, are read again. Part of ci/operable.

The program gets a directory /etc of its own, in which files can be replaced.
"""

import os
import shutil
import socket
import time

from lab import namespace
from lab.processes import Program, wait_until

NAME, PORT = "store.test", 6399
#: takes questions over UDP and says nothing
SILENT = "127.0.0.9"
ETC = os.path.join(namespace.SCRATCH, "etc")


def lay_etc(hosts, order):
    """Replaces the files that the C library reads: each a new one under the old name."""
    os.makedirs(ETC, exist_ok=True)
    for name, text in (("hosts", hosts), ("resolv.conf", f"nameserver {SILENT}\n"), ("nsswitch.conf", f"hosts: {order}\n")):
        with open(os.path.join(ETC, name + ".new"), "w") as file:
            file.write(text)
        os.replace(os.path.join(ETC, name + ".new"), os.path.join(ETC, name))


def check_shared_name(operable):
    check, ask = operable.check, operable.ask
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((SILENT, 53))
        lay_etc("", "files dns")
        program = start(operable)
        good = sum(ask(f"hang{n}.example") == 0 for n in range(20))
        check(good == 20, "a name nobody finds delays no answer", f"{good} of 20")
        asked = silent.recv(512)
        check(b"\5store" in asked, "the system looks for the name")
        begin = time.monotonic()
        status = program.stop(seconds=10)
        took = time.monotonic() - begin
        check(status == 0 and took < 3, "nor the end, while the search hangs", f"{took:.2f} s, status {status}")

    store = start_store()
    lay_etc("", "files")
    program = start(operable)
    ask("before.example")
    lay_etc(f"127.0.0.1 {NAME}\n", "files")
    number = iter(range(10_000))

    def is_written():
        ask(f"after{next(number)}.example")
        _, page = operable.get("/metrics")
        return any(line.startswith('dotward_cache_inserts_total{level="shared"}') and not line.endswith(" 0") for line in page.splitlines())

    try:
        took = wait_until(is_written, 40, "it is not found")
        check(True, "a name that hosts learns later is found", f"{took:.1f} s")
    except TimeoutError:
        check(False, "a name that hosts learns later is found", program.tail(5))
    check("files=" in program.output(), "inside the sandbox", next((line for line in program.output().splitlines() if "sandbox" in line), ""))
    program.stop()
    store.stop()


def start(operable):
    operable.configure(operable.configuration(more=f'[cache]\nshared = "redis://{NAME}:{PORT}"'))
    command = f"mount --bind {ETC} /etc && exec {operable.DOTWARD} run --config {operable.PATH}"
    program = Program(["unshare", "--mount", "sh", "-c", command], os.path.join(namespace.SCRATCH, "dotward.log"))
    wait_until(operable.is_ready, 10, "dotward is not ready")
    return program


def start_store():
    server = shutil.which("valkey-server") or "redis-server"
    log = os.path.join(namespace.SCRATCH, "store.log")
    program = Program([server, "--port", str(PORT), "--bind", "127.0.0.1", "--save", "", "--dir", namespace.SCRATCH], log)
    wait_until(lambda: listens(PORT), 10, "the store does not listen")
    return program


def listens(port):
    with socket.socket() as plain:
        return plain.connect_ex(("127.0.0.1", port)) == 0
