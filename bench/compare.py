"""Compares builds of dotward with each other, and with peers: each load in alternation, medians. Started by bench/compare.

All subjects run at the same time and idle while another is measured, so that a machine that gets slower does so for all of them.
"""

import argparse
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "ci"), HERE]

import caching  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
import table  # noqa: E402
from lab import certificates, namespace  # noqa: E402
from lab.processes import Program, wait_until  # noqa: E402


class Build(caching.CachingDotward):
    """A binary with settings of its own, given as NAME=BINARY or NAME=BINARY --SETTING VALUE."""

    def run(self):
        binary, *settings = self.given.split()
        return [binary, *super().run()[1:], *settings]


def subject_of(word, directory, port, authority, identity):
    name, _, given = word.partition("=")
    if not given and name in caching.ALL:
        return caching.ALL[name](name, directory, port, authority.certificate, identity)
    if not given:
        sys.exit(f"error: {word} is no peer; give a build as NAME=BINARY")
    build = Build(name, directory, port, authority.certificate, identity)
    build.given = given
    return build


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def line(name, load, runs):
    text = (
        f"{load:<18} {name:<14} {median(runs, 'us'):7.2f} {median(runs, 'user_us'):6.2f} {median(runs, 'system_us'):7.2f}"
        f" {min(run['us'] for run in runs):7.2f} {max(run['us'] for run in runs):7.2f}"
        f" {median(runs, 'waits'):6.2f} {100 * median(runs, 'busy'):5.0f} {median(runs, 'per_second'):9.0f} {sum(run['lost'] for run in runs):6.0f}"
    )
    return text + (f" {median(runs, 'p50'):6.2f} {median(runs, 'p99'):6.2f}" if "p50" in runs[0] else "")


HEADING = (
    f"{'':<33} {'us per answer':^22} {'least':>7} {'most':>7} {'waits':>6} {'busy':>5} {'answers':>9} {'':>6} {'ms':^13}\n"
    f"{'load':<18} {'subject':<14} {'all':>7} {'user':>6} {'system':>7} {'':>7} {'':>7} {'each':>6} {'%':>5} {'per s':>9} {'lost':>6} {'p50':>6} {'p99':>6}"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="+", help="NAME=BINARY, NAME='BINARY --SETTING VALUE', or a peer's name")
    parser.add_argument("--seconds", type=int, default=2, help="length of one load (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="times each load is run for each subject (%(default)s)")
    parser.add_argument("--loads", help="names of loads, or parts of them, separated by commas; all when left out")
    options = parser.parse_args()
    namespace.enter()
    directory = namespace.SCRATCH
    caching.enter_root(directory)
    authority = certificates.Authority(directory)
    identity = authority.issue("server", [f"DNS:{peers.TLS_NAME}"])
    os.chmod(identity[1], 0o644)
    upstream = measure.start_upstream(directory, identity)
    hot, all_loads = table.loads(directory, options.seconds)
    wanted = options.loads.split(",") if options.loads else [load.name for load in all_loads]
    chosen = [load for load in all_loads if load.name in wanted or any(part in load.name.split(", ") for part in wanted)]
    running = []
    for number, word in enumerate(options.subjects):
        subject = subject_of(word, directory, measure.FIRST_PORT + number, authority, identity)
        program = Program(subject.run(), subject.log, cpu=measure.SUBJECT_CPU)
        running.append((subject, program))
        wait_until(subject.is_up, 20, f"{subject.name} does not answer: {program.tail(5)}", every=0.02)
        subject.warm(hot)
    print(HEADING, flush=True)
    results = {}
    for load in chosen:
        able = [(subject, program) for subject, program in running if subject.answers(load)]
        runs = {subject.name: [] for subject, _ in able}
        for _ in range(options.rounds):
            for subject, program in able:
                runs[subject.name].append(load.run(program, subject))
        results[load.name] = runs
        for name, samples in runs.items():
            print(line(name, load.name, samples), flush=True)
    for _, program in running:
        program.stop()
    upstream.stop()
    measure.save(results)


if __name__ == "__main__":
    main()
