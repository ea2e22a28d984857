"""Counts instructions per path and compares them with the record. Started by ci/instructions.

A path is walked FEW and MANY times; the difference divided by the difference is what one walk costs, without start and end.
"""

import os
import re
import subprocess
import sys

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench", "instructions.txt")
FEW, MANY = 960, 2880
# A rise above this share of the record fails. Toolchain and record are pinned together, so what is below it is noise of code layout.
TOLERANCE = 0.03


def counted(program, path, times):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, path, str(times)]
    result = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or not found:
        sys.exit(f"error: {path} was not walked:\n{result.stderr}")
    return int(found[1])


def read():
    """The record's lines: comments and empty ones as text, the others as (path, count)."""
    with open(RECORD) as file:
        for line in file:
            words = line.split()
            yield line if line.startswith("#") or not words else (words[0], int(words[1]))


def main():
    program, recording = sys.argv[1], sys.argv[2:] == ["--record"]
    lines, written, faults = list(read()), [], 0
    for line in lines:
        if isinstance(line, str):
            written.append(line)
            continue
        path, recorded = line
        count = round((counted(program, path, MANY) - counted(program, path, FEW)) / (MANY - FEW))
        written.append(f"{path:<16} {count:6}\n")
        change = count / recorded - 1 if recorded else 0.0
        word = ""
        if recorded and change > TOLERANCE and not recording:
            faults += 1
            word = "  <- too many"
        elif recorded and change < -TOLERANCE and not recording:
            word = "  <- fewer; record it, so that it stays so"
        print(f"{path:<16} {count:6} instructions, recorded {recorded:6} ({change:+.1%}){word}")
    if recording:
        with open(RECORD, "w") as file:
            file.writelines(written)
    if faults:
        print("error: a path became dearer. If it is worth it: ci/instructions --record, and say why in the commit")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
