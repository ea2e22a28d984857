"""Compares builds of dotward with each other, and with peers: each load in alternation, medians. Started by bench/compare.

All subjects run at the same time and idle while another is measured, so that a machine that gets slower does so for all of them.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "ci"), HERE]

import caching  # noqa: E402
import draw  # noqa: E402
import measure  # noqa: E402
import table  # noqa: E402


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="+", help="NAME=BINARY, NAME='BINARY --SETTING VALUE', or a peer's name")
    parser.add_argument("--seconds", type=int, default=2, help="length of one load (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="times each load is run for each subject (%(default)s)")
    parser.add_argument("--loads", nargs="+", help="names of loads, like 'forwarded, paced', or parts of them, like TCP; all when left out")
    options = parser.parse_args()
    directory, authority, identity, upstream = table.stage()
    hot, all_loads = table.loads(directory, options.seconds)
    chosen = [load for load in all_loads if not options.loads or {load.name, *load.name.split(", ")} & set(options.loads)]
    if not chosen:
        sys.exit(f"error: no such load; there are: {', '.join(repr(load.name) for load in all_loads)}")
    running = []
    for number, word in enumerate(options.subjects):
        subject = subject_of(word, directory, measure.FIRST_PORT + number, authority, identity)
        program = table.start(subject, hot) or sys.exit(1)
        running.append((subject, program))
    print(draw.HEADING, flush=True)
    results = {}
    for load in chosen:
        results[load.name] = table.alternate(running, load, options.rounds)
        for name, runs in results[load.name].items():
            print(draw.line(name, load.name, runs), flush=True)
    for _, program in running:
        program.stop()
    upstream.stop()
    measure.save(results)


if __name__ == "__main__":
    main()
