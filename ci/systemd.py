"""Boots a systemd and has ci/booted.py ask things of it; see ci/systemd."""

import os
import shutil
import subprocess
import sys

from lab import namespace

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATIENCE = 90

# Everything of this machine that would be started is out of the way; what the checks need is in.
CHECKS = """[Unit]
Description=Checks of dotward
After=basic.target dbus.socket

[Service]
Type=oneshot
ExecStart={python} /checks/booted.py
StandardOutput=append:/checks/report
StandardError=inherit
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStopPost=/bin/systemctl --force exit
"""

FAULTS = """[Service]
ExecStart=/checks/dotward-faults --listen 127.0.0.2:853 --ca-out /checks/ca.pem
"""


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(0)


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"no root to boot from: {done.stderr.strip()}")


def lay_out():
    """A root that is this machine's with everything written to it in memory."""
    upper, work, root = (os.path.join(namespace.SCRATCH, it) for it in ("upper", "work", "root"))
    for place in (upper, work, root):
        os.makedirs(place)
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", root)
    within = lambda path: os.path.join(root, path.lstrip("/"))
    units = within("/etc/systemd/system")
    shutil.rmtree(units, ignore_errors=True)
    os.makedirs(within("/etc/systemd/system/multi-user.target.wants"))
    os.symlink("/lib/systemd/system/multi-user.target", os.path.join(units, "default.target"))
    with open(within("/etc/machine-id"), "w"):
        pass  # a new one is made
    os.makedirs(within("/checks"))
    for source, name in ((os.environ["FAULTS"], "dotward-faults"), (os.path.join(PROJECT, "ci/booted.py"), "booted.py")):
        shutil.copy(source, within(f"/checks/{name}"))
    shutil.copytree(os.path.join(PROJECT, "ci/lab"), within("/checks/lab"))
    shutil.copytree(os.path.join(PROJECT, "deploy/systemd"), within("/checks/units"))
    shutil.copy(os.environ["DOTWARD"], within("/usr/bin/dotward"))
    if "RESOLVED" in os.environ:
        shutil.copytree(os.environ["RESOLVED"], root, symlinks=True, dirs_exist_ok=True)
    for name, text in (("checks.service", CHECKS.format(python=sys.executable)), ("faults.service", FAULTS)):
        with open(os.path.join(units, name), "w") as file:
            file.write(text)
    os.symlink("../checks.service", os.path.join(units, "multi-user.target.wants/checks.service"))
    return root


def clean_up():
    """Control groups outlive who made them; those of others are not empty and stay."""
    for hierarchy in ("", "unified", "systemd"):
        for group in ("payload", "supervisor"):
            for place, _, _ in os.walk(os.path.join("/sys/fs/cgroup", hierarchy, group), topdown=False):
                try:
                    os.rmdir(place)
                except OSError:
                    return


def main():
    namespace.enter()
    root = lay_out()
    command = ["systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--private-network", "--keep-unit", "--register=no",
               "--machine=dotward-checks", "--console=pipe", "--resolv-conf=off"]
    # The container's own filter of system calls would be judged along with the unit's.
    environment = {**os.environ, "SYSTEMD_SECCOMP": "0"}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        status, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        status, said = None, (error.stdout or b"").decode(errors="replace") + (error.stderr or b"").decode(errors="replace")
    clean_up()
    try:
        with open(os.path.join(root, "checks/report")) as file:
            report = file.read()
    except FileNotFoundError:
        print("\n".join(said.splitlines()[-10:]))
        skip("systemd does not boot in a container here")
    print(report, end="")
    if status is None:
        print("\n".join(said.splitlines()[-20:]), f"\nnot over after {PATIENCE} s")
    return 0 if status is not None and report.endswith("all good\n") else 1


if __name__ == "__main__":
    sys.exit(main())
