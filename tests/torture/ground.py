"""The ground a row is played on: the client's side with dotward, and behind a virtual cable the side of the upstreams.

    near (this process, dotward, client)  192.0.2.2 ──veth── 192.0.2.1, .11, .12  far (dotward-faults, faults of the path)

Everything lives in namespaces of its own and ends with this process. Where namespaces cannot be had, the same addresses
are found on loopback, no path can be hurt, and rows that need one are skipped.
"""

import json
import os
import subprocess
import time

NEAR, NEAR_OTHER, GATE = "192.0.2.2", "192.0.2.3", "192.0.2.1"
FAR = {1: "192.0.2.11", 2: "192.0.2.12"}
LOOPBACK = {1: "127.0.0.11", 2: "127.0.0.12"}
CABLE = "near0", "far0"
DOT = 853

INSIDE = "TORTURE_INSIDE"
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
if os.geteuid() != 0:
    UNSHARE += ["--user", "--map-root-user"]
#: A file system in memory, seen inside only.
SCRATCH = "/mnt"


def available():
    """None, or why there can be no namespaces."""
    try:
        result = subprocess.run([*UNSHARE, "nft", "list", "ruleset"], capture_output=True, text=True)
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    return None if result.returncode == 0 else "no network namespaces for this user (root has them)"


def run(*command, text=None):
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


class Ground:
    def __init__(self, scratch):
        self.isolated = os.environ.get(INSIDE) == "1"
        self.scratch = scratch
        self.far_prefix = []
        self.addresses = LOOPBACK
        if self.isolated:
            self._build()

    def _build(self):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "scratch", SCRATCH)
        self.scratch = SCRATCH
        self.addresses = FAR
        keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        here = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{keeper.pid}/ns/net") == here:
            time.sleep(0.005)
        self.far_prefix = ["nsenter", f"--net=/proc/{keeper.pid}/ns/net"]
        near, far = CABLE
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(keeper.pid))
        run("ip", "address", "add", f"{NEAR}/24", "dev", near)
        run("ip", "link", "set", near, "up")
        self.far("ip", "link", "set", "lo", "up")
        for address in (GATE, *FAR.values()):
            self.far("ip", "address", "add", f"{address}/24", "dev", far)
        self.far("ip", "link", "set", far, "up")
        self.far("nft", "-f", "-", text="""
table inet path {
  chain arriving { type filter hook input priority 0; }
  chain leaving { type filter hook output priority 0; }
}
""")
        self._watch()

    def _watch(self):
        """Counts what leaves the near side: nothing may leave it in the clear, loopback included."""
        counters = "".join(f"  counter syn{n} {{}}\n  counter octets{n} {{}}\n" for n in FAR)
        rules = "".join(
            f"    ip daddr {address} tcp flags & (syn | ack) == syn counter name syn{n}\n"
            f"    ip daddr {address} counter name octets{n}\n"
            for n, address in FAR.items()
        )
        run("nft", "-f", "-", text=f"""
table inet watch {{
  counter clear {{}}
{counters}
  chain leaving {{
    type filter hook output priority 0;
    udp dport 53 counter name clear
    tcp dport 53 counter name clear
    oifname "{CABLE[0]}" meta l4proto udp counter name clear
{rules}
  }}
}}
""")

    def far(self, *command, text=None):
        return run(*self.far_prefix, *command, text=text)

    def counters(self):
        """Name to (packets, octets) of what left the near side."""
        if not self.isolated:
            return {}
        listed = json.loads(run("nft", "-j", "list", "counters"))["nftables"]
        found = (entry["counter"] for entry in listed if "counter" in entry)
        return {counter["name"]: (counter["packets"], counter["bytes"]) for counter in found}

    @staticmethod
    def carried():
        """Octets the near side has (sent, received) over the cable."""
        with open("/proc/net/dev") as file:
            fields = next(line for line in file if line.strip().startswith(CABLE[0] + ":")).split(":")[1].split()
        return int(fields[8]), int(fields[0])

    # --- what can be done to the path -------------------------------------------------------------------------------

    def path(self, *rules, heal=True):
        """Puts these rules in place of all, at one moment. A rule begins with `arriving` or `leaving` (at the far side)."""
        lines = ["flush chain inet path arriving", "flush chain inet path leaving"] if heal else []
        lines += [f"add rule inet path {rule}" for rule in rules]
        self.far("nft", "-f", "-", text="\n".join(lines) + "\n")

    def heal(self):
        self.path()

    def dark(self, *numbers):
        """The path to these upstreams swallows everything, both ways."""
        self.path(*(rule for n in numbers for rule in self.dark_rules(n)))

    @staticmethod
    def dark_rules(number):
        return f"arriving ip daddr {FAR[number]} drop", f"leaving ip saddr {FAR[number]} drop"

    def flows(self, number):
        """The client ports of connections to the upstream that stand."""
        output = run("ss", "-Htn", "state", "established", "dst", f"{FAR[number]}:{DOT}")
        return {int(line.split()[2].rsplit(":", 1)[1]) for line in output.splitlines()}

    def limit(self, rate, queue_ms):
        """Both directions of the cable carry `rate` at most."""
        tbf = ("root", "tbf", "rate", rate, "burst", "2000", "latency", f"{queue_ms}ms")
        run("tc", "qdisc", "add", "dev", CABLE[0], *tbf)
        self.far("tc", "qdisc", "add", "dev", CABLE[1], *tbf)

    def link(self, state):
        run("ip", "link", "set", CABLE[0], state)
