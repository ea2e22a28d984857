"""Lays the image of the Dockerfile out and runs it, in namespaces of its own; see ci/container."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

from lab import namespace
from lab.checks import check, verdict
from lab.processes import Program, wait_until

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UPSTREAM = "192.0.2.53"
LIMIT = 20 * 1024 * 1024


def last_stage():
    """The instructions of the Dockerfile's last stage, joined over continued lines."""
    with open(os.path.join(PROJECT, "Dockerfile")) as file:
        lines = [line for line in file.read().replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    start = max(place for place, line in enumerate(lines) if line.startswith("FROM "))
    stage = {}
    for line in lines[start:]:
        word, rest = line.split(None, 1)
        stage.setdefault(word, []).append(rest)
    return stage


def lay_out():
    root = os.path.join(namespace.SCRATCH, "image")
    for place in ("usr/bin", "etc/dotward", "proc"):
        os.makedirs(os.path.join(root, place))
    shutil.copy(os.environ["DOTWARD_STATIC"], os.path.join(root, "usr/bin/dotward"))
    return root


def dig(*arguments):
    command = ["dig", "+short", "+time=3", "+tries=1", "@127.0.0.1", *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main():
    namespace.enter()
    stage = last_stage()
    root = lay_out()
    program = os.path.join(root, "usr/bin/dotward")
    size = os.path.getsize(program)
    check(size <= LIMIT, "the image is small", f"{size / 1048576:.1f} MiB")
    headers = subprocess.run(["readelf", "-l", program], capture_output=True, text=True).stdout
    check("INTERP" not in headers, "the program is static")
    check(stage["FROM"] == ["scratch"] and "HEALTHCHECK" in stage and "LABEL" in stage, "from scratch, with a health check and labels")

    ca = os.path.join(root, "etc/dotward/ca.pem")
    upstream = Program([os.environ["FAULTS"], "--listen", f"{UPSTREAM}:853", "--ca-out", ca], os.path.join(namespace.SCRATCH, "log"))
    wait_until(lambda: os.path.exists(ca), 10, "the upstream does not start")
    os.chmod(ca, 0o644)
    subprocess.run(["mount", "--bind", root, root], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", os.path.join(root, "proc")], check=True)
    # As Docker does for each container.
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as file:
        file.write("0")

    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(stage["ENV"])))
    environment["DOTWARD_UPSTREAM"] = f"tls://dot.test@{UPSTREAM}?ca_file=/etc/dotward/ca.pem"
    user = stage["USER"][0]
    entry = json.loads(stage["ENTRYPOINT"][0])
    inside = ["setpriv", "--no-new-privs", "--bounding-set=+sys_chroot,+setuid,+setgid,-net_bind_service",
              "/usr/sbin/chroot", f"--userspec={user}", root]
    running = Program([*inside, *entry, *json.loads(stage["CMD"][0])], os.path.join(namespace.SCRATCH, "dotward.log"), environment)
    health = json.loads(stage["HEALTHCHECK"][0].split("CMD", 1)[1])
    healthy = lambda: subprocess.run([*inside, *health], env=environment, capture_output=True).returncode == 0
    try:
        wait_until(healthy, 10, "the health check fails", every=0.1)
    except TimeoutError:
        print(running.tail())
        raise
    check(True, "the health check of the image is good")
    check(dig("a.example") != "", "dig over UDP", dig("a.example"))
    check(dig("+tcp", "b.example") != "", "dig over TCP", dig("+tcp", "b.example"))
    check(dig("-p", "53", "localhost", "AAAA") == "::1", "what is answered here")
    with open(f"/proc/{running.pid}/status") as file:
        status = file.read()
    check(re.search(r"^CapEff:\s*0+$", status, re.M) is not None, "no capability is left")
    check(f"Uid:\t{user.split(':')[0]}" in status, "not root")
    ended = running.stop(getattr(signal, stage["STOPSIGNAL"][0]))
    check(ended == 0, "it ends with 0", str(ended))
    check(not healthy(), "the health check tells that it has ended")
    upstream.stop()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
