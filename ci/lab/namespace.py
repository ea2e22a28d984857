"""A network namespace that lives exactly as long as the command in it.

`enter` starts the calling script again inside new network, mount and process namespaces. Nothing in it can reach or be
reached from outside, port 53 is free, /etc/resolv.conf may be replaced, and when the script ends - also when it is
killed - the kernel ends every process it started.
"""

import os
import shutil
import subprocess
import sys

INSIDE = "DOTWARD_LAB_INSIDE"

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
    ):
        subprocess.run(command, check=True)


def use_resolver(directory, *lines):
    """Makes /etc/resolv.conf and nsswitch.conf say what the caller says, inside the namespace only."""
    for target, text in (
        ("/etc/resolv.conf", "".join(line + "\n" for line in lines)),
        ("/etc/nsswitch.conf", "hosts: dns\n"),
    ):
        source = os.path.join(directory, os.path.basename(target))
        with open(source, "w") as file:
            file.write(text)
        target = os.path.realpath(target)
        if not os.path.ismount(target):
            if not os.path.exists(target):
                continue
            subprocess.run(["mount", "--bind", source, target], check=True)


def missing_commands(*names):
    return [name for name in names if shutil.which(name) is None]
