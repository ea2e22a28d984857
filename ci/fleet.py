"""The fleet of deploy/compose/fleet.yaml without an engine: each service in a network namespace of its own on one bridge, found by its name,
with the environment, command and user that the file says. Run by ci/container, after the image alone.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request

import container
import yaml
from container import PROJECT, UPSTREAM
from lab import namespace
from lab.checks import check, verdict
from lab.processes import Program, wait_until

FLEET = os.path.join(PROJECT, "deploy/compose/fleet.yaml")
GATEWAY = "172.30.0.1"
# What the one who types `docker compose up` may set.
CHOSEN = {"DOTWARD_UPSTREAM": f"tls://dot.test@{UPSTREAM}?ca_file=/etc/dotward/ca.pem"}


def run(*command):
    subprocess.run(command, check=True)


def wire(services):
    """A bridge, and for each service a namespace on it; gives back their addresses."""
    run("mount", "-t", "tmpfs", "run", "/run")
    run("ip", "link", "add", "fleet", "type", "bridge")
    run("ip", "address", "add", f"{GATEWAY}/24", "dev", "fleet")
    run("ip", "link", "set", "fleet", "up")
    addresses = {}
    for number, name in enumerate(services):
        addresses[name] = f"172.30.0.{number + 2}"
        inside = ["ip", "-n", name]
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to{number}", "master", "fleet", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"to{number}", "up")
        run(*inside, "address", "add", f"{addresses[name]}/24", "dev", "eth0")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", GATEWAY)
    return addresses


def bind(text, target):
    source = os.path.join(namespace.SCRATCH, os.path.basename(target))
    with open(source, "w") as file:
        file.write(text)
    run("mount", "--bind", source, target)


def environment(stage, service):
    """That of the image, and of the file in its place."""
    values = dict(re.findall(r"(\w+)=(\S+)", " ".join(stage["ENV"])))
    for name, value in service["environment"].items():
        values[name] = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda it: CHOSEN.get(it[1], it[2]), value)
    return values


def start(name, command, values=None):
    return Program(["ip", "netns", "exec", name, *command], os.path.join(namespace.SCRATCH, f"{name}.log"), values)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


def ask(address, name, *more):
    command = ["dig", "+short", "+time=3", "+tries=1", f"@{address}", *more, name]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def counted(address, metric):
    """The sum of a counter over its other labels."""
    page = get(f"http://{address}:9853/metrics")
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(metric))


def main():
    namespace.enter()
    with open(FLEET) as file:
        services = yaml.safe_load(file)["services"]
    stage, root = container.last_stage(), container.lay_out()
    addresses = wire(services)
    hosts = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in addresses.items())
    bind(hosts, "/etc/hosts")
    shutil.copy("/etc/hosts", os.path.join(root, "etc/hosts"))
    ca = os.path.join(root, "etc/dotward/ca.pem")
    upstream = Program([os.environ["FAULTS"], "--listen", f"{UPSTREAM}:853", "--ca-out", ca], os.path.join(namespace.SCRATCH, "log"))
    wait_until(lambda: os.path.exists(ca) and os.path.getsize(ca) > 0, 10, "the upstream does not start")
    os.chmod(ca, 0o644)
    run("mount", "--bind", root, root)
    run("mount", "-o", "remount,bind,ro", root)

    store = services["valkey"]
    server, *arguments = store["command"]
    server = server if shutil.which(server) else "redis-server"
    user, group = store["user"].split(":")
    # The image of the file has protected mode off: whoever reaches the network of the fleet may ask.
    as_user = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    valkey = start("valkey", [*as_user, server, *arguments, "--protected-mode", "no", "--dir", "/tmp"])
    wait_until(lambda: "eady to accept" in valkey.output(), 10, f"{server} does not start")
    check(True, f"the store starts with the command and user of the file, as {server}")

    inside = ["setpriv", "--no-new-privs", "--bounding-set=-all,+sys_chroot,+setuid,+setgid", "/usr/sbin/chroot", f"--userspec={stage['USER'][0]}", root]
    command = [*inside, *json.loads(stage["ENTRYPOINT"][0]), *json.loads(stage["CMD"][0])]
    forwarders = {}
    for name in ("one", "two"):
        # As Docker does for each container.
        run("ip", "netns", "exec", name, "sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=0")
        forwarders[name] = start(name, command, environment(stage, services[name]))
    one, two = addresses["one"], addresses["two"]

    def ready(address):
        try:
            get(f"http://{address}:9853/readyz")
        except OSError:
            return False
        return True

    for name in forwarders:
        try:
            wait_until(lambda: ready(addresses[name]), 10, f"{name} is not ready", every=0.1)
        except TimeoutError:
            print(forwarders[name].tail())
            raise
        check(ask(addresses[name], f"{name}.example") != "", f"{name} answers over UDP")
        check(ask(addresses[name], f"{name}.tcp.example", "+tcp") != "", f"{name} answers over TCP")

    learned = ask(one, "shared.example")
    written = 'dotward_cache_inserts_total{level="shared"}'
    wait_until(lambda: counted(one, written) >= 3, 10, "one writes nothing into the store")
    check(learned != "" and ask(two, "shared.example") == learned, "two answers the same", learned)
    # A store that takes more than 4 ms has the upstream asked beside it, which a machine with other things to do may bring about.
    hits = counted(two, 'dotward_cache_requests_total{level="shared",result="hit"}')
    check(hits == 1, "two has it from the store", f"{hits:.0f} hit")

    os.makedirs(os.path.join(namespace.SCRATCH, "prometheus"))
    for source, name in (("compose/prometheus.yaml", "prometheus.yml"), ("prometheus/alerts.yaml", "alerts.yaml")):
        shutil.copy(os.path.join(PROJECT, "deploy", source), os.path.join(namespace.SCRATCH, "prometheus", name))
    run("mount", "--bind", os.path.join(namespace.SCRATCH, "prometheus"), "/etc/prometheus")
    prometheus = start("prometheus", ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", f"--storage.tsdb.path={namespace.SCRATCH}/series"])

    def up():
        query = urllib.parse.urlencode({"query": "sum(up{job='dotward'})"})
        try:
            result = json.loads(get(f"http://{addresses['prometheus']}:9090/api/v1/query?{query}"))["data"]["result"]
        except OSError:
            return False
        return bool(result) and result[0]["value"][1] == "2"

    took = wait_until(up, 40, "Prometheus does not see both", every=0.25)
    check(True, "Prometheus sees both by their names", f"{took:.0f} s")

    valkey.stop()
    check(all(ask(addresses[name], f"alone.{name}.example") != "" for name in forwarders), "without the store both go on")
    for program in (prometheus, *forwarders.values(), upstream):
        program.stop()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
