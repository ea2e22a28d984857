"""Tortures dotward, row by row. Started by ci/torture; docs/reliability.md says what the rows are.

Each row is a process in namespaces of its own; a few run at a time, ahead of whatever else the machine does where that is
permitted. A law broken (a question lost, an answer mixed up, an octet in the clear, a panic) fails the row at once. What
depends on when things happen is judged by two plays out of three: a row that misses a bound is played again, up to twice,
while no other row is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(PROJECT, "ci")]

import ground as lay  # noqa: E402
import peers  # noqa: E402
import rows  # noqa: E402, F401
import subjects  # noqa: E402
from play import ROWS, Play  # noqa: E402

#: Rows at a time, for each processor: they wait most of the time.
JOBS_PER_PROCESSOR = 2
#: How far ahead of the rest of the machine a row is scheduled: bounds in milliseconds are the subject's, not those of its neighbours.
AHEAD = -15
#: Plays of a row that misses a bound, and the misses that fail it.
PLAYS, MISSES = 3, 2
#: A row that takes this much longer than planned is ended.
GRACE_FACTOR, GRACE_SECONDS = 4, 60


def arguments():
    parser = argparse.ArgumentParser(prog="ci/torture", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="T04 or T30-T35; all unless told")
    parser.add_argument("--full", action="store_true", help="the long forms: hours of nothing, minutes of flapping")
    parser.add_argument("--list", action="store_true", help="the rows, and nothing else")
    parser.add_argument("--jobs", type=int, default=JOBS_PER_PROCESSOR * (os.cpu_count() or 1), help="rows at a time")
    parser.add_argument("--debug", action="store_true", help="dotward logs at debug, and the log of a failed row is shown")
    parser.add_argument("--keep", metavar="DIRECTORY", help="where the logs of failed rows go")
    parser.add_argument("--json", metavar="FILE", help="results, for machines")
    parser.add_argument("--peers", action="store_true", help="dotward beside its peers, on the rows that compare")
    parser.add_argument("--strategy", help="dotward's choice among upstreams: ordered, so that U1 is asked while it answers; "
                        "with --peers its default, fastest")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    parser.add_argument("--subject", default="dotward", help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(words):
    names = list(ROWS)
    if not words:
        return names
    found = []
    for word in words:
        first, _, last = word.upper().partition("-")
        some = [name for name in names if first <= name <= (last or first)]
        if not some:
            sys.exit(f"error: no row is called {word}")
        found += some
    return found


# --- inside: one row -----------------------------------------------------------------------------------------------


def get_ahead():
    """Puts this process and those it starts ahead of others, by niceness and as a session of its own, which is what Linux weighs."""
    try:
        os.nice(AHEAD)
        if os.getpid() != os.getsid(0):
            os.setsid()
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(AHEAD))
    except OSError:
        pass  # not root, or a kernel without: then the row waits like everybody else


def play_one(options):
    """Plays a row and prints the result as the last line."""
    get_ahead()
    subjects.Dotward.binary = os.environ["DOTWARD"]
    subjects.Dotward.log_level = "debug" if options.debug else "info"
    subjects.Dotward.strategy = options.strategy or subjects.Dotward.strategy
    row = ROWS[options.play]
    with tempfile.TemporaryDirectory(prefix="torture") as scratch:
        ground = lay.Ground(scratch)
        subject = subjects.Dotward(ground) if options.subject == "dotward" else peers.ALL[options.subject](ground)
        play = Play(subject, ground, os.environ["FAULTS"], options.full)
        error = None
        try:
            row.function(play)
            if options.subject == "dotward":
                play.finish()
        except Exception as problem:  # whatever happened, the row failed and says why
            error = f"{type(problem).__name__}: {problem}"
            traceback.print_exc()
        result = {"error": error, **play.result()}
        if subject.program is not None:
            subject.stop()
        result["log"] = logs(ground) if options.keep or options.debug else {}
        for up in play.ups.values():
            up.program.stop()
    print(json.dumps(result), flush=True)


def logs(ground):
    found = {}
    for directory, _, names in os.walk(ground.scratch):
        for name in names:
            if name.endswith("log"):
                path = os.path.join(directory, name)
                with open(path, errors="replace") as file:
                    found[os.path.relpath(path, ground.scratch).replace(os.sep, "-")] = file.read()
    return found


# --- outside: the table ----------------------------------------------------------------------------------------------


class Runner:
    def __init__(self, options, isolated):
        self.options, self.isolated = options, isolated
        self.lock = threading.Lock()
        self.results = {}

    def play(self, name, subject="dotward"):
        command = [sys.executable, HERE, "--play", name, "--subject", subject]
        for flag in ("full", "debug"):
            command += [f"--{flag}"] if getattr(self.options, flag) else []
        command += ["--keep", "yes"] if self.options.keep else []
        command += ["--strategy", self.options.strategy] if self.options.strategy else []
        environment = dict(os.environ)
        if self.isolated:
            command = [*lay.UNSHARE, *command]
            environment[lay.INSIDE] = "1"
        bound = ROWS[name].seconds[self.options.full] * GRACE_FACTOR + GRACE_SECONDS
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=bound, env=environment)
            return json.loads(done.stdout.splitlines()[-1]) | {"output": done.stderr}
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {bound:.0f} s", "output": ""}
        except (IndexError, ValueError):
            return {"error": f"ended with status {done.returncode}: {done.stderr.strip()[-500:]}", "output": done.stderr}

    def play_many(self, names, jobs, take):
        waiting = sorted(names, key=lambda name: -ROWS[name].seconds[self.options.full])

        def work():
            while True:
                with self.lock:
                    if not waiting:
                        return
                    name = waiting.pop(0)
                result = self.play(name)
                with self.lock:
                    take(name, result)

        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def failed(result):
    return bool(result.get("error") or result.get("failed"))


def only_bounds(result):
    return not result.get("error") and result.get("failed") and not any(one["law"] for one in result["failed"])


def seen(result):
    if "asked" not in result:
        return result.get("error", "")
    words = f"{result['lost']} lost of {result['asked']}, max {result['max_ms']:.0f} ms, p99 {result['p99_ms']:.0f}"
    return "; ".join([words, *result["notes"]])


def line(name, result, plays):
    row = ROWS[name]
    verdict = "FAIL" if failed(result) else "pass"
    print(f"{name} | {row.fault} | {row.expected} | {seen(result)} | {verdict}{f' (of {plays} plays)' if plays > 1 else ''}", flush=True)
    if result.get("error"):
        print(f"      error: {result['error']}")
    for one in result.get("failed", []):
        print(f"      {one['what']}: {one['seen']}", flush=True)


def keep(options, name, result):
    for file_name, text in result.get("log", {}).items():
        if options.keep:
            os.makedirs(options.keep, exist_ok=True)
            with open(os.path.join(options.keep, f"{name}-{file_name}"), "w") as file:
                file.write(text)
    if options.debug and failed(result):
        print(result.get("output", ""))


def torture(options):
    reason = lay.available()
    names = chosen(options.rows)
    skipped = [name for name in names if reason and ROWS[name].needs]
    names = [name for name in names if name not in skipped]
    runner = Runner(options, isolated=reason is None)
    jobs = max(1, options.jobs if reason is None else 1)
    began = time.monotonic()
    results, again = {}, []

    def take(name, result):
        if only_bounds(result):
            again.append((name, result))
            return
        tell(name, result, 1)

    def tell(name, result, plays):
        results[name] = result
        line(name, result, plays)
        keep(options, name, result)

    def play_again(name, result):
        misses, plays = 1, 1
        while misses < MISSES and plays < PLAYS and not (failed(result) and not only_bounds(result)):
            why = "; ".join(f"{one['what']}: {one['seen']}" for one in result["failed"])
            print(f"{name} is played again alone{f': {why}' if why else ''}", flush=True)
            result, plays = runner.play(name), plays + 1
            misses += failed(result)
        tell(name, result, plays)

    print("row | fault | expected | seen | pass")
    runner.play_many([name for name in names if not ROWS[name].alone], jobs, take)
    for name in (name for name in names if ROWS[name].alone):
        take(name, runner.play(name))
    for name, first in again:
        play_again(name, first)
    for name in skipped:
        print(f"{name} | {ROWS[name].fault} | {ROWS[name].expected} | skipped: {reason} | -")
    bad = sorted(name for name, result in results.items() if failed(result))
    print(f"{len(results)} rows, {len(bad)} failed, {len(skipped)} skipped, {time.monotonic() - began:.0f} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({name: {k: v for k, v in result.items() if k != "log"} for name, result in results.items()}, file, indent=1)
    return 1 if bad else 0


def main():
    options = arguments()
    if options.play:
        play_one(options)
        return 0
    if options.list:
        for row in ROWS.values():
            print(f"{row.name} | {row.fault} | {row.expected} | {' '.join(row.needs)}")
        return 0
    if options.peers:
        options.strategy = options.strategy or "fastest"
        return peers.compare(options, Runner(options, isolated=True), chosen(options.rows))
    return torture(options)


if __name__ == "__main__":
    sys.exit(main())
