"""What limits cost for each answer. Started by bench/limits.

Two processes of the same program, one with limits and one without, answer the same kept names in turn, many short rounds each, at the same
pace on the same processor; the load has the other one. A round's figure is the processor time of the process, user and kernel, for each
answer. Compared are the rounds next to each other, and of these ratios the median.
"""

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "ci"), HERE]

from counting import ask, free_port  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402

SUBJECT_CPU, LOAD_CPU = 0, 1
PREFIXES, ROUNDS, SECONDS, RATE, NAMES = 10_000, 31, 1, 60_000, 1_000
MOST = 0.03

#: /24 networks nobody asks from, and the one who does.
LISTED = [f'"{10 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24"' for n in range(PREFIXES - 1)] + ['"127.0.0.0/8"']
WITH = f"""[listen]
allow = [{", ".join(LISTED)}]
[limits]
rate = 100000
octets = 1000000000
exempt = []
"""
WITHOUT = """[listen]
allow = ["0.0.0.0/0"]
[limits]
rate = 0
octets = 0
"""


def start(scratch, name, configuration, upstream):
    path, port = os.path.join(scratch, f"{name}.toml"), free_port()
    with open(path, "w") as file:
        file.write(configuration)
    command = [os.environ["DOTWARD"], "run", "--config", path, "--listen", f"127.0.0.1:{port}", "--workers", "1", "--control", "off",
               "--upstream", f"tls://dot.test@127.0.0.1:{upstream}", "--ca-file", f"{scratch}/ca.pem"]
    return Program(command, os.path.join(scratch, f"{name}.log"), cpu=SUBJECT_CPU), port


def play(port, names, seconds):
    """Answers that came."""
    command = ["taskset", "-c", str(LOAD_CPU), "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", names, "-t", "3", "-l", str(seconds),
               "-c", "8", "-q", "200", "-Q", str(RATE)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    good, rest = (int(re.search(pattern, output)[1]) for pattern in (r"NOERROR (\d+)", r"Queries lost: +(\d+)"))
    if rest > good // 100:
        sys.exit(f"error: {rest} lost of {good}:\n{output}")
    return good


def cost(program, port, names):
    """Microseconds of processor time for an answer."""
    before = program.cpu_nanoseconds()
    good = play(port, names, SECONDS)
    return (program.cpu_nanoseconds() - before) / good / 1000


def main():
    with tempfile.TemporaryDirectory() as scratch:
        names, upstream = os.path.join(scratch, "names"), free_port()
        with open(names, "w") as file:
            file.writelines(f"n{number}.example A\n" for number in range(NAMES))
        faults = Program([os.environ["FAULTS"], "--listen", f"127.0.0.1:{upstream}", "--ca-out", f"{scratch}/ca.pem"],
                         os.path.join(scratch, "faults.log"), cpu=LOAD_CPU)
        wait_until(lambda: os.path.exists(f"{scratch}/ca.pem"), 10, "no upstream")
        subjects = [start(scratch, *one, upstream) for one in (("with", WITH), ("without", WITHOUT))]
        try:
            for _, port in subjects:
                wait_until(lambda port=port: asked(port), 10, "it does not answer")
                play(port, names, SECONDS)
            pairs = [[cost(program, port, names) for program, port in subjects] for _ in range(ROUNDS)]
        finally:
            for program in (faults, *(program for program, _ in subjects)):
                program.stop()
    more = statistics.median(limited / free for limited, free in pairs) - 1
    limited, free = (statistics.median(column) for column in zip(*pairs, strict=True))
    low, _, high = statistics.quantiles((limited / free - 1 for limited, free in pairs), n=4)
    print(f"{limited:.2f} us with {PREFIXES} prefixes and rates, {free:.2f} without: {more:+.1%}, half of the rounds {low:+.1%} to {high:+.1%} "
          f"(at most {MOST:.0%})")
    return 1 if more > MOST else 0


def asked(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(0.2)
        plain.connect(("127.0.0.1", port))
        try:
            return bool(ask(plain, 1))
        except OSError:
            return False


if __name__ == "__main__":
    sys.exit(main())
