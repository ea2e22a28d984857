"""Holds dotward to docs/conformance.md, row by row, with raw messages. Started by ci/conformance.

Every row has a check of its name in rows/; the page says what state the row is in, where it is decided and what proves it
elsewhere. The page cannot drift: a row without a check, a check without a row, an open row that holds by now, and a file or
test that is named and does not exist are failures like any other.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lab import certificates, namespace, servers  # noqa: E402
from lab.asking import PORT, TLS_PORT, Unexpected, fresh, tcp, udp  # noqa: E402
from lab.messages import query  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402
from lab.upstream import Upstream  # noqa: E402
from rows import CHECKS, caching, dnssec, edns, handling, signed, sizes, streams  # noqa: E402, F401

DOTWARD = os.path.abspath(os.environ.get("DOTWARD", "target/release/dotward"))
PROJECT = os.path.dirname(HERE)
PAGE = "docs/conformance.md"
TLS_NAME = "dot.test"
UPSTREAM_PORT, SECOND_PORT, OLD_PORT, CLEAR_PORT = 8531, 8532, 8533, 8534

# met: holds as written. part: what is checked holds, the page says what is missing. open: does not hold; its check, if there is
# one, has to fail. design: true of the whole construction, nothing to be asked for on the wire.
STATES = ("met", "part", "open", "design")
SECTIONS = {"A": 30, "B": 11, "C": 26, "D": 10, "E": 19, "F": 18, "I": 7}


class Lab:
    """The program under test, in front of upstreams whose answers the checks write."""

    PROGRAM = DOTWARD
    LOCAL = "here.local.example"
    #: names below it go to an upstream of their own, `old`
    OLD = "old.example"
    #: and below it to one in clear text
    CLEAR = "clear.example"
    PAIR_PORT, WILDCARD_PORT = 5301, 5302
    # The second program has the same secrets, requires cookies, and has a name. The secret in use is that of RFC 9018 appendix A.1.
    SECRETS = [bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf"), bytes(range(16))]
    NSID = "pair.test"

    def __init__(self, directory):
        authority = certificates.Authority(directory)
        identity = authority.issue("server", [f"DNS:{TLS_NAME}", "IP:127.0.0.1"])
        self.ca = authority.certificate
        self.upstream = Upstream(UPSTREAM_PORT, identity)
        self.second = Upstream(SECOND_PORT, identity)
        self.clear = Upstream(CLEAR_PORT, None)
        self.directory, self.authority, self.identity = directory, authority, identity
        self.old = Upstream(OLD_PORT, identity)
        specs = [f"tls://{TLS_NAME}@127.0.0.1:{port}" for port in (UPSTREAM_PORT, SECOND_PORT)]
        main = f"""
upstream = ["{specs[0]}"]
[listen]
dns = ["127.0.0.1:{PORT}", "[::1]:{PORT}"]
tls = ["127.0.0.1:{TLS_PORT}"]
certificate = "{identity[0]}"
key = "{identity[1]}"
cookie_secret_file = "{self._secrets(directory)}"
[tls]
ca_file = "{self.ca}"
[[route]]
suffix = ["{self.CLEAR}"]
to = ["tcp://127.0.0.1:{CLEAR_PORT}"]
[[local]]
name = "{self.LOCAL}"
a = ["192.0.2.7"]
[[route]]
suffix = "{self.OLD}"
to = "tls://{TLS_NAME}@127.0.0.1:{OLD_PORT}"
"""
        pair = f"""
strategy = "ordered"
upstream = ["{specs[0]}", "{specs[1]}"]
[listen]
cookies = "require"
cookie_secret_file = "{os.path.join(directory, "secrets")}"
nsid = "{self.NSID}"
dns = ["127.0.0.1:{self.PAIR_PORT}", "0.0.0.0:{self.WILDCARD_PORT}", "[::]:{self.WILDCARD_PORT}"]
[tls]
ca_file = "{self.ca}"
"""
        self.pair = self._start(directory, "pair", pair, self.WILDCARD_PORT)
        self.program = self._start(directory, "main", main, TLS_PORT)
        udp(query(fresh()))
        udp(query(fresh()), port=self.PAIR_PORT)

    def _secrets(self, directory):
        path = os.path.join(directory, "secrets")
        with open(path, "w") as file:
            file.write("".join(f"{secret.hex()}\n" for secret in self.SECRETS))
        return path

    @contextlib.contextmanager
    def another(self, name, port, listen="", descriptors=None, upstream=UPSTREAM_PORT):
        """One more program like the first, on a port of its own, for as long as the block lasts; `listen` goes on with its settings."""
        configuration = f"""
upstream = ["tls://{TLS_NAME}@127.0.0.1:{upstream}"]
[listen]
dns = ["127.0.0.1:{port}"]
{listen}
[tls]
ca_file = "{self.ca}"
[[local]]
name = "{self.LOCAL}"
a = ["192.0.2.7"]
"""
        program = self._start(self.directory, name, configuration, port, descriptors)
        try:
            yield program
        finally:
            program.stop()

    def _start(self, directory, name, configuration, last_port, descriptors=None):
        path = os.path.join(directory, f"{name}.toml")
        with open(path, "w") as file:
            file.write(configuration)
        limit = ["prlimit", f"--nofile={descriptors}"] if descriptors else []
        program = Program([*limit, DOTWARD, "run", "--config", path], os.path.join(directory, f"{name}.log"))
        wait_until(lambda: servers.listening("tcp", last_port) or not program.running(), 5, "dotward does not listen")
        if not program.running():
            raise RuntimeError(program.tail())
        return program

    def alive(self):
        for program in (self.program, self.pair):
            if not program.running():
                raise Unexpected(f"dotward ended\n{program.tail()}")
        tcp(query(fresh()))

    def stop(self):
        statuses = [program.stop() for program in (self.program, self.pair)]
        if statuses != [0, 0]:
            raise Unexpected(f"exit statuses {statuses}\n{self.program.tail()}")


def read_page():
    """The rows of the page: name -> (state, rest of the line)."""
    rows = {}
    with open(os.path.join(PROJECT, PAGE)) as file:
        for line in file:
            if found := re.match(r"\| ([A-Z]\d\d) \| P\d \| (\w+) \|(.*)", line):
                rows[found[1]] = (found[2], found[3])
    return rows


def judge_page(rows):
    """What the page says that is not so, apart from what the program does."""
    wanted = {f"{letter}{number:02}" for letter, count in SECTIONS.items() for number in range(1, count + 1)}
    for name in sorted(wanted ^ set(rows)):
        yield f"{name}: {'is missing' if name in wanted else 'is no row of the standard list'}"
    for name in sorted(set(CHECKS) - set(rows)):
        yield f"{name}: has a check and no row"
    tests = set()
    for path in subprocess.run(["git", "ls-files", "crates", "fuzz"], capture_output=True, text=True, cwd=PROJECT).stdout.split():
        if path.endswith(".rs"):
            with open(os.path.join(PROJECT, path)) as file:
                tests |= set(re.findall(r"fn (\w+)", file.read()))
    for name, (state, rest) in sorted(rows.items()):
        if state not in STATES:
            yield f"{name}: the state is {state}; there are {', '.join(STATES)}"
        if state in ("met", "part") and name not in CHECKS:
            yield f"{name}: is {state} and has no check"
        for word in re.findall(r"`([^`]+)`", rest):
            if "/" in word and re.fullmatch(r"[\w./-]+", word) and not os.path.exists(os.path.join(PROJECT, word)):
                yield f"{name}: names the file {word}, which does not exist"
            if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+){2,}", word) and word not in tests:
                yield f"{name}: names the test {word}, which does not exist"


def carry_out(name, state, lab):
    """(good, word, remark) of one check."""
    try:
        remark = in_tries(CHECKS[name], lab)
        lab.alive()
    except Unexpected as error:
        if state == "open":
            return True, "open", CHECKS[name].__name__.replace("_", " ")
        return False, "FAIL", str(error)
    except Exception:  # a check that breaks is a failure to be shown, and the next one goes on
        return False, "FAIL", traceback.format_exc()
    if state == "open":
        return False, "FAIL", f"holds, and {PAGE} says it is open"
    return True, "pass", f"{CHECKS[name].__name__.replace('_', ' ')}{f': {remark}' if remark else ''}"


def in_tries(check, lab):
    for left in reversed(range(check.tries)):
        try:
            return check(lab)
        except Unexpected:
            if left == 0:
                raise


def main():
    chosen = sys.argv[1:] or sorted(CHECKS)
    if unknown := set(chosen) - set(CHECKS):
        sys.exit(f"error: no check is called {', '.join(sorted(unknown))}")
    if not os.access(DOTWARD, os.X_OK):
        sys.exit(f"error: no program at {DOTWARD}")
    namespace.enter()
    begin, failed = time.monotonic(), 0
    rows = read_page()
    for fault in judge_page(rows):
        failed += 1
        print(f"FAIL  {PAGE}: {fault}")
    lab = Lab(namespace.SCRATCH)
    for name in chosen:
        good, word, remark = carry_out(name, rows.get(name, ("met",))[0], lab)
        failed += not good
        print(f"{word}  {name}  {remark}", flush=True)
    try:
        lab.stop()
    except Unexpected as error:
        failed += 1
        print(f"FAIL  end  {error}")
    print(f"conformance: {len(chosen)} checks, {failed} faults, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
