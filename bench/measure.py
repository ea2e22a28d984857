"""Measures forwarders one after another against the same DNS-over-TLS server. Started by bench/run.

The subject has one core to itself; the load (dnsperf) and the server (dnsdist, answering from memory) share the other.
Everything runs in a network namespace of its own, where no packet filter of the machine takes part.
"""

import argparse
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "ci"), HERE]

import peers  # noqa: E402
from lab import certificates, namespace  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402

SUBJECT_CPU, LOAD_CPU = 0, 1
FIRST_PORT = 5400
MEBIBYTE = 1024 * 1024

# Memory is judged from this moment of the load on; what was taken before is what the load needs.
SETTLED_SECONDS = 10
# Shorter than this after the settling, a slope says nothing.
JUDGED_SECONDS = 15
# Growth that is still called flat: pages touched late, not a leak of something per query.
FLAT_MEBIBYTES = 1.0
PACE = 2000


def names(path, count, seed):
    """A dnsperf query file of names that never repeat, in this file or in one of another seed."""
    rng = random.Random(seed)
    hosts = ("api", "www", "cdn", "img", "mail", "static", "edge", "auth", "login", "assets")
    with open(path, "w") as file:
        file.writelines(f"{rng.choice(hosts)}-{rng.getrandbits(32):x}.s{seed}x{n}.example A\n" for n in range(count))
    return path


def start_upstream(directory, identity):
    certificate, key = identity
    path = os.path.join(directory, "upstream.lua")
    with open(path, "w") as file:
        file.write(f"""
setLocal('127.0.0.1:{peers.UPSTREAM_PORT + 1000}')
addTLSLocal('127.0.0.1:{peers.UPSTREAM_PORT}', '{certificate}', '{key}', {{
  provider='openssl', numberOfShards=1, maxInFlight=2000, maxConcurrentTCPConnections=0, reusePort=true
}})
setACL({{'127.0.0.0/8'}})
setSecurityPollSuffix('')
setMaxTCPClientThreads(1)
setMaxTCPConnectionsPerClient(0)
setMaxTCPQueriesPerConnection(0)
setMaxTCPQueuedConnections(10000)
addAction(QTypeRule(DNSQType.A), SpoofAction('192.0.2.1', {{ttl=3600}}))
addAction(AllRule(), RCodeAction(DNSRCode.NXDOMAIN))
""")
    return Program(["dnsdist", "-C", path, "--supervised", "--disable-syslog"], os.path.join(directory, "upstream.log"), cpu=LOAD_CPU)


def answers(port):
    """Whether one question is answered with NOERROR."""
    name = b"".join(bytes([len(label)]) + label for label in (f"up{time.monotonic_ns()}".encode(), b"example")) + b"\0"
    query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0" + name + b"\0\x01\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(0.2)
        try:
            plain.sendto(query, ("127.0.0.1", port))
            reply = plain.recv(4096)
        except OSError:
            return False
    return reply[:2] == query[:2] and reply[3] & 0x0F == 0


def dnsperf(port, file, *options):
    command = ["taskset", "-c", str(LOAD_CPU), "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", file, "-t", "3", *options]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    return result.stdout


def figure(pattern, text):
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


class MemoryWatch(threading.Thread):
    """Notes the resident memory of a process once a second until told to end."""

    def __init__(self, program):
        super().__init__(daemon=True)
        self.program = program
        self.begin = time.monotonic()
        self.samples = []
        self._ended = threading.Event()

    def run(self):
        while not self._ended.is_set() and self.program.running():
            self.samples.append((time.monotonic() - self.begin, self.program.resident_bytes() / MEBIBYTE))
            self._ended.wait(1.0)

    def end(self):
        self._ended.set()
        self.join()

    def growth(self):
        """Growth in MiB per minute and in MiB after the settling, or None when the run was too short to tell."""
        judged = [sample for sample in self.samples if sample[0] >= SETTLED_SECONDS]
        if len(judged) < 2 or judged[-1][0] - judged[0][0] < JUDGED_SECONDS:
            return None
        middle_time = sum(at for at, _ in judged) / len(judged)
        middle = sum(size for _, size in judged) / len(judged)
        slope = sum((at - middle_time) * (size - middle) for at, size in judged) / sum((at - middle_time) ** 2 for at, _ in judged)
        return {"per_minute": slope * 60, "total": judged[-1][1] - judged[0][1]}


def measure(subject, files, pace_file):
    program = Program(subject.command(), subject.log, cpu=SUBJECT_CPU)
    try:
        wait_until(lambda: not program.running() or answers(subject.port), 15, f"{subject.name} does not answer", every=0.02)
        if not program.running():
            raise RuntimeError(f"{subject.name} ended at once")
        result = {"idle_mib": program.resident_bytes() / MEBIBYTE}
        result.update(full_load(program, subject, files))
        if not subject.floor:
            result["pace"] = paced(subject.port, pace_file)
        result["end_mib"] = program.resident_bytes() / MEBIBYTE
        return result
    except (RuntimeError, TimeoutError) as error:
        return {"failed": f"{error}\n{program.tail(5)}"}
    finally:
        program.stop()


def full_load(program, subject, files):
    """As many queries as are answered, 200 in flight, each name once; a second file when memory could not be judged yet."""
    watch = MemoryWatch(program)
    watch.start()
    sent = answered = lost = 0
    begin, (user, system) = time.monotonic(), program.cpu_split()
    codes = {}
    for file in files:
        text = dnsperf(subject.port, file, "-n", "1", "-c", "8", "-q", "200")
        sent += int(figure(r"Queries sent:\s+(\d+)", text))
        answered += int(figure(r"Queries completed:\s+(\d+)", text))
        lost += int(figure(r"Queries lost:\s+(\d+)", text))
        for code, count in re.findall(r"([A-Z]\w+) (\d+) \(", (re.search(r"Response codes:(.*)", text) or [None, ""])[1]):
            codes[code] = codes.get(code, 0) + int(count)
        if subject.floor or time.monotonic() - begin >= SETTLED_SECONDS + JUDGED_SECONDS + 1:
            break
    seconds = time.monotonic() - begin
    user_end, system_end = program.cpu_split()
    watch.end()
    per_query = 1e6 / max(answered, 1)
    return {
        "sent": sent, "answered": answered, "lost": lost, "codes": codes, "seconds": seconds, "per_second": answered / seconds,
        "user_us": (user_end - user) * per_query, "system_us": (system_end - system) * per_query,
        "memory": [(round(at, 1), round(size, 2)) for at, size in watch.samples], "growth": watch.growth(),
    }


def paced(port, file):
    """A steady PACE queries per second for ten seconds: latency as a client sees it, in milliseconds."""
    text = dnsperf(port, file, "-n", "1", "-c", "8", "-q", "200", "-Q", str(PACE), "-v")
    times = sorted(float(line.rsplit(" ", 1)[1]) * 1e3 for line in text.splitlines() if line.startswith("> NOERROR"))
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] if times else None  # noqa: E731
    return {"count": len(times), "lost": int(figure(r"Queries lost:\s+(\d+)", text)), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999)}


def line(name, result):
    if "failed" in result:
        return f"{name:<14} failed: {result['failed']}"
    bad = sum(count for code, count in result["codes"].items() if code != "NOERROR")
    text = (
        f"{name:<14} {result['user_us'] + result['system_us']:6.2f} {result['user_us']:6.2f} {result['system_us']:6.2f}"
        f" {result['per_second']:9.0f} {result['lost']:6} {bad:6}"
        f" {result['idle_mib']:7.1f} {result['end_mib']:7.1f}"
    )
    growth, pace = result["growth"], result.get("pace")
    text += f" {growth['per_minute']:+9.2f}" if growth else f" {'-':>9}"
    if pace and pace["count"]:
        text += f" {pace['p50']:7.2f} {pace['p99']:7.2f} {pace['p999']:7.2f}"
    return text


HEADING = (
    f"{'':<14} {'CPU us per query':^20} {'':>9} {'':>6} {'not':>6} {'resident MiB':^15} {'growth':>9} {f'ms at {PACE} per second':^23}\n"
    f"{'':<14} {'all':>6} {'user':>6} {'system':>6} {'per s':>9} {'lost':>6} {'good':>6} {'idle':>7} {'end':>7} {'MiB/min':>9}"
    f" {'p50':>7} {'p99':>7} {'p99.9':>7}"
)


def verdicts(result):
    """What must hold for our own program, whatever the machine: nothing lost, no error, memory flat."""
    if "failed" in result:
        return ["dotward failed"]
    faults = []
    if result["lost"] or set(result["codes"]) - {"NOERROR"}:
        faults.append(f"lost {result['lost']}, response codes {result['codes']}")
    if result["growth"] is None:
        print("memory: the run was too short to judge it")
    elif result["growth"]["total"] > FLAT_MEBIBYTES:
        faults.append(f"memory grew by {result['growth']['total']:.1f} MiB after the first {SETTLED_SECONDS} s")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(peers.ALL), help="subjects, separated by commas")
    parser.add_argument("--names", type=int, default=1_000_000, help="unique names per pass")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(peers.ALL):
        sys.exit(f"error: no such subject: {', '.join(sorted(unknown))}; there are {', '.join(peers.ALL)}")
    if os.cpu_count() < 2:
        sys.exit("error: two cores are needed, one for the subject and one for the load")
    namespace.enter()
    directory = namespace.SCRATCH
    results = {}
    authority = certificates.Authority(directory)
    upstream = start_upstream(directory, authority.issue("server", [f"DNS:{peers.TLS_NAME}"]))
    files = [names(os.path.join(directory, f"names-{seed}"), options.names, seed) for seed in (1, 2, 3)]
    pace_file = names(os.path.join(directory, "names-pace"), PACE * 10, 9)
    print(HEADING, flush=True)
    for number, name in enumerate(chosen):
        subject = peers.ALL[name](name, directory, FIRST_PORT + number, authority.certificate)
        results[name] = measure(subject, files, pace_file)
        print(line(name, results[name]), flush=True)
    upstream.stop()
    save(results)
    faults = verdicts(results["dotward"]) if "dotward" in results else []
    for fault in faults:
        print(f"error: {fault}")
    return 1 if faults else 0


def save(results):
    place = os.path.join(HERE, "out")
    os.makedirs(place, exist_ok=True)
    path = os.path.join(place, time.strftime("%Y-%m-%dT%H-%M-%S.json"))
    with open(path, "w") as file:
        json.dump(results, file, indent=1)
    print(f"all samples: bench/out/{os.path.basename(path)}")


if __name__ == "__main__":
    sys.exit(main())
