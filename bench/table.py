"""Measures every way a query can take, for dotward and its peers, in one run. Started by bench/run --table.

The subject has one core; the load (dnsperf) and the DNS-over-TLS server (dnsdist, answering from memory) share the other. All of it
runs in a network namespace of its own. What is compared is processor time of the subject's process per answer.
"""

import argparse
import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "ci"), HERE]

import bursts  # noqa: E402
import caching  # noqa: E402
import draw  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
from lab import certificates, namespace  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402

HOT_NAMES = 10_000
DRAWN = 400_000
PACED = 20_000
PACED_MISSES = 2000
PACED_ROUNDS = 4
# Bursts of the comparison of workers.
BURSTS = 40
# Distance from a subject's port to the one it speaks TLS on.
TLS_OFFSET = 1000


def hot_names(directory):
    """The names that are cached, each once, and a file that draws from them as Zipf says: few names are most of the queries."""
    rng = random.Random(7)
    hot = [f"www{n}.site{n % 977}.example A\n" for n in range(HOT_NAMES)]
    drawn = (hot[min(int(rng.paretovariate(0.9)) - 1, HOT_NAMES - 1)] for _ in range(DRAWN))
    paths = [os.path.join(directory, name) for name in ("hot", "drawn")]
    for path, lines in zip(paths, (hot, drawn)):
        with open(path, "w") as file:
            file.writelines(lines)
    return paths


class Load:
    """One way to ask, and what came of it."""

    def __init__(self, name, file, *options, tls=False, transports=("udp",), fresh=0, rounds=1):
        self.name, self.file, self.options, self.tls, self.transports = name, file, options, tls, transports
        #: times it is run for each time others are
        self.rounds = rounds
        #: so many names are made for each run, or it would find the answers of one before in the cache, which may outlive the process
        self.fresh, self.runs = fresh, 0

    def run(self, program, subject):
        if self.fresh:
            self.runs += 1
            measure.names(self.file, self.fresh, f"{time.time_ns():x}r{self.runs}")
        port = subject.port + TLS_OFFSET if self.tls else subject.port
        begin, waits = program.cpu_split(), program.waits()
        text = measure.dnsperf(port, self.file, *self.options)
        end = program.cpu_split()
        answered = measure.figure(r"Queries completed:\s+(\d+)", text)
        user, system = (1e6 * (after - before) / max(answered, 1) for before, after in zip(begin, end))
        result = {
            "answered": answered, "lost": measure.figure(r"Queries lost:\s+(\d+)", text), "user_us": user, "system_us": system,
            "us": user + system, "per_second": measure.figure(r"Queries per second:\s+([\d.]+)", text),
            "waits": (program.waits() - waits) / max(answered, 1),
        }
        result["busy"] = result["us"] * result["per_second"] / 1e6
        times = sorted(float(line.rsplit(" ", 1)[1]) * 1e3 for line in text.splitlines() if line.startswith("> NOERROR"))
        if times:
            result["p50"], result["p99"] = (times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.99))
        return result


def loads(directory, seconds):
    hot, drawn = hot_names(directory)
    misses, paced = (os.path.join(directory, name) for name in ("misses", "misses-paced"))
    length = ("-l", str(seconds))
    return hot, [
        Load("cached, UDP", drawn, *length, "-c", "8", "-q", "200"),
        Load("cached, UDP, paced", drawn, *length, "-c", "8", "-q", "200", "-Q", str(PACED)),
        Load("cached, TCP", drawn, *length, "-m", "tcp", "-c", "50", "-q", "200", transports=("tcp",)),
        Load("cached, TLS", drawn, *length, "-m", "dot", "-c", "50", "-q", "200", tls=True, transports=("tls",)),
        Load("forwarded", misses, *length, "-c", "8", "-q", "200", fresh=150_000 * seconds),
        # Short and often: where the machine stood still for some milliseconds, all that was asked in them is late, and a run with such a moment
        # says nothing of the subject.
        Load("forwarded, paced", paced, "-n", "1", "-c", "8", "-q", "200", "-Q", str(PACED_MISSES), "-v", fresh=PACED_MISSES, rounds=PACED_ROUNDS),
    ]


def stage():
    """A network namespace, in it the server that everybody forwards to: where files go, who signs, the server's certificate and key, the server."""
    namespace.enter()
    directory = namespace.SCRATCH
    caching.enter_root(directory)
    authority = certificates.Authority(directory)
    identity = authority.issue("server", [f"DNS:{peers.TLS_NAME}"])
    os.chmod(identity[1], 0o644)
    return directory, authority, identity, measure.start_upstream(directory, identity)


def start(subject, hot, cpu=measure.SUBJECT_CPU):
    """The running program, with the answers it keeps; None, and a line that says why, when it does not come up."""
    program = Program(subject.run(), subject.log, cpu=cpu)
    try:
        wait_until(lambda: not program.running() or subject.is_up(), 20, f"{subject.name} does not answer", every=0.02)
        if not program.running():
            raise RuntimeError("it ended at once")
        subject.warm(hot)
        return program
    except (RuntimeError, TimeoutError) as error:
        print(f"{subject.name:<14} failed: {error}\n{program.tail(5)}", flush=True)
        program.stop()
        return None


def alternate(running, load, rounds):
    """The runs of one load for each subject that can be asked so: by turns, so that a machine that gets slower does so for all."""
    able = [(subject, program) for subject, program in running if subject.answers(load)]
    runs = {subject.name: [] for subject, _ in able}
    for _ in range(rounds * load.rounds):
        for subject, program in able:
            runs[subject.name].append(load.run(program, subject))
    return runs


def merge(results, more):
    """Adds the runs of another comparison to those of `results`."""
    for name, loads_of in more.items():
        mine = results.setdefault(name, {})
        for load, runs in loads_of.items():
            mine.setdefault(load, []).extend(runs)


def two_workers(make, hot, rounds=BURSTS):
    """Processor time per cached answer with one worker and with two: two answer 2 x (one's / two's) as much."""
    with open(hot) as file:
        names = [line.split()[0] for line in file]
    running, runs = [], {}
    try:
        for word, workers in (("one", 1), ("two", 2)):
            subject = make(workers)
            program = start(subject, hot, cpu=None)
            if not program:
                return {}
            running.append((word, program, bursts.Bursts(program, subject.port, workers, names)))
        for number in range(rounds):
            for word, _, clients in running:
                runs.setdefault(word, []).append(clients.burst(number))
    finally:
        for _, program, clients in running:
            clients.close()
            program.stop()
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="subjects, separated by commas")
    parser.add_argument("--seconds", type=int, default=3, help="length of one load")
    parser.add_argument("--repeats", type=int, default=3, help="times each load is run, the subjects by turns; the median counts")
    parser.add_argument("--add", nargs="*", default=[], help="results of runs before (bench/out/*.json) whose figures count too")
    parser.add_argument("--draw", action="store_true", help="write docs/performance.svg and the table in docs/performance.md")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(caching.ALL)
    if unknown := set(chosen) - set(caching.ALL):
        sys.exit(f"error: no such subject: {', '.join(sorted(unknown))}; there are {', '.join(caching.ALL)}")
    directory, authority, identity, upstream = stage()
    hot, all_loads = loads(directory, options.seconds)
    port, running = measure.FIRST_PORT, []
    for name in chosen:
        port += 1
        subject = caching.ALL[name](name, directory, port, authority.certificate, identity)
        if not subject.is_here():
            print(f"{name:<14} is not installed", flush=True)
            continue
        if program := start(subject, hot):
            running.append((subject, program))
    results = {subject.name: {} for subject, _ in running}
    for load in all_loads:
        for name, runs in alternate(running, load, options.repeats).items():
            results[name][load.name] = runs
            print(draw.line(name, load.name, runs), flush=True)
    for _, program in running:
        program.stop()
    if "dotward" in results:
        def make(workers):
            subject = caching.ALL["dotward"](f"dotward-{workers}", directory, port + 10 + workers, authority.certificate, identity)
            subject.workers = workers
            return subject
        results["two workers"] = two_workers(make, hot)
    upstream.stop()
    measure.save(results)
    for path in options.add:
        with open(path) as file:
            merge(results, json.load(file))
    results = draw.medians(results)
    table = draw.table(results)
    print(table)
    if options.draw:
        draw.write(results, table)


if __name__ == "__main__":
    main()
