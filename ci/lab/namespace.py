"""A network namespace that lives exactly as long as the command in it.

`enter` starts the calling script again inside new network, mount and process namespaces. Nothing in it can reach or be
reached from outside, port 53 is free, /etc/resolv.conf may be replaced, and when the script ends - also when it is
killed - the kernel ends every process it started and forgets every file it wrote to SCRATCH.
"""

import os
import subprocess
import sys

INSIDE = "INSIDE_LAB_NAMESPACE"

# Where files of the run go: a file system in memory that is seen inside only and ends with the namespaces.
SCRATCH = "/mnt"

# Addresses beyond loopback, from the ranges reserved for documentation (RFC 5737, RFC 3849). glibc asks for an address
# family only when the machine has an address of it that is not loopback.
HOST4 = "192.0.2.53"
HOST6 = "2001:db8:53::53"


def enter():
    """Returns inside the namespaces; outside it replaces this process and does not return."""
    if os.environ.get(INSIDE) == "1":
        _furnish()
        return
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    os.environ[INSIDE] = "1"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


def _furnish():
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{HOST4}/32", "dev", "lo"],
        ["ip", "-6", "address", "add", f"{HOST6}/128", "dev", "lo"],
        ["mount", "-t", "tmpfs", "-o", "mode=755", "scratch", SCRATCH],
    ):
        subprocess.run(command, check=True)


def use_resolver(*lines):
    """Makes /etc/resolv.conf and nsswitch.conf say what the caller says, inside the namespace only."""
    _replace("/etc/resolv.conf", "".join(line + "\n" for line in lines))
    _replace("/etc/nsswitch.conf", "hosts: dns\n")


def _replace(target, text):
    source = os.path.join(SCRATCH, os.path.basename(target))
    laid = os.path.exists(source)
    with open(source, "w") as file:
        file.write(text)
    if not laid:
        subprocess.run(["mount", "--bind", source, os.path.realpath(target)], check=True)
