"""The share of a cached answer's instructions that is spent on counting. Started by bench/counting.

The program runs under callgrind and is asked the same name FEW and MANY times, one question at a time; the difference divided by the
difference is what one question costs, file by file of the sources. Counted as counting is everything in the files that count, every
look into a message for its class, and every atomic operation, whoever needs it: the share is an upper bound. The kernel's part of the
processor time, which is most of it, is not seen by callgrind and would make the share smaller still.
"""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

FEW, MANY = 300, 2300
MOST = 0.03
FILES = ("dotward/src/tally.rs", "dotward/src/counters.rs", "core/src/counts.rs", "core/src/wire/peek.rs", "cache/stats.rs", "sync/atomic.rs")
NAME = b"\3www\7example\3com\0\0\1\0\1"


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        return plain.getsockname()[1]


def ask(plain, number):
    plain.send(struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + NAME)
    return plain.recv(4096)


def child_of(process):
    """The program below strace; the signal that ends it has to go there."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return int(file.read().split()[0])


def walked(scratch, upstream, times):
    """Instructions by source file for `times` answers, start and end included."""
    out, port = os.path.join(scratch, "callgrind.out"), free_port()
    command = [
        # valgrind hides the kernel's page of fast system calls from the program, but not when it asks by prctl; refused, it asks otherwise.
        "strace", "--seccomp-bpf", "-f", "-o", "/dev/null", "-e", "trace=prctl", "-e", "inject=prctl:error=EINVAL",
        "valgrind", "--tool=callgrind", "--dump-line=yes", f"--callgrind-out-file={out}",
        os.environ["DOTWARD"], "run", "--listen", f"127.0.0.1:{port}", "--upstream", f"tls://dot.test@127.0.0.1:{upstream}",
        "--ca-file", f"{scratch}/ca.pem", "--no-sandbox", "--workers", "1", "--control", "off",
    ]
    with open(os.path.join(scratch, "log"), "w") as log:
        program = subprocess.Popen(command, stdout=log, stderr=log)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(1)
        plain.connect(("127.0.0.1", port))
        for number in range(120):
            try:
                ask(plain, number)
                break
            except OSError:
                time.sleep(0.5)
        else:
            with open(os.path.join(scratch, "log")) as log:
                sys.exit(f"error: it does not answer under callgrind:\n{log.read()}")
        for number in range(times):
            ask(plain, number)
    os.kill(child_of(program), signal.SIGTERM)
    program.wait(60)
    return by_file(out)


def by_file(path):
    """Own instructions by source file, inlined code where it was written (callgrind's format, `fl`, `fi` and `fe`)."""
    files, names, file, inclusive = {}, {}, "", False
    with open(path) as lines:
        for line in lines:
            if found := re.match(r"(?:fl|fi|fe)=\((\d+)\)(?: (.*))?", line):
                if found[2]:
                    names[found[1]] = found[2].strip()
                file = names.get(found[1], "")
            elif line.startswith("calls="):
                # The next line is what the callee took, which is told there.
                inclusive = True
            elif found := re.match(r"[+\-*]?\d* (\d+)$", line):
                if not inclusive:
                    files[file] = files.get(file, 0) + int(found[1])
                inclusive = False
    return files


def main():
    with tempfile.TemporaryDirectory() as scratch:
        port = free_port()
        faults = subprocess.Popen([os.environ["FAULTS"], "--listen", f"127.0.0.1:{port}", "--ca-out", f"{scratch}/ca.pem"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(f"{scratch}/ca.pem") and faults.poll() is None:
                time.sleep(0.05)
            few, many = walked(scratch, port, FEW), walked(scratch, port, MANY)
        finally:
            faults.terminate()
            faults.wait()
    each = {file: (number - few.get(file, 0)) / (MANY - FEW) for file, number in many.items()}
    whole = sum(each.values())
    counting = sum(number for file, number in each.items() if file.endswith(FILES))
    if not any(file.endswith(FILES[0]) for file in each):
        sys.exit("error: the binary has no line numbers; build it with --profile profiling")
    share = counting / whole
    print(f"{whole:.0f} instructions for a cached answer, at most {counting:.0f} of them for counting: {share:.1%} (at most {MOST:.0%})")
    return 1 if share > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
