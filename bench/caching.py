"""The subjects of bench/peers.py with a cache, and with listeners for TCP and TLS where they have them; and more of them.

Caches hold all names that are asked again and are otherwise as they come.
"""

import os
import socket
import subprocess

import measure
from peers import TLS_NAME, UPSTREAM_PORT, Dnsdist, Dotward, Echo, KnotResolver, Subject, Unbound

#: a directory with a Debian of its own, whose programs the peers are; empty for this machine's
ROOT = os.environ.get("PEERS_ROOT", "")


def enter_root(scratch):
    """Makes the run's files seen inside ROOT under the same path; in the run's own mount namespace only."""
    if ROOT:
        subprocess.run(["mount", "--bind", scratch, ROOT + scratch], check=True)


class Caching(Subject):
    #: what it can be asked over
    speaks = frozenset({"udp", "tcp"})
    #: its program, looked for where peers are
    program = ""
    #: lines of its configuration that are replaced, and by what
    changes = ()

    def __init__(self, name, directory, port, ca, identity):
        super().__init__(name, directory, port, ca)
        self.certificate, self.key = identity
        self.tls_port = port + 1000

    def is_here(self):
        places = ("/usr/sbin/", "/usr/bin/", "/usr/local/sbin/", "/usr/local/bin/")
        return any(os.path.exists(ROOT + place + self.program) for place in places)

    def answers(self, load):
        """Whether it can be asked in this way."""
        return self.speaks.issuperset(load.transports)

    def is_up(self):
        return measure.answers(self.port)

    def warm(self, hot):
        """Has it ask for the names in the file `hot`, each once."""
        measure.dnsperf(self.port, hot, "-n", "1", "-c", "8", "-q", "50")

    def write(self, name, text):
        for old, new in self.changes:
            if old not in text:
                raise RuntimeError(f"{name} has no {old!r}")
            text = text.replace(old, new.format(self=self))
        return super().write(name, text)

    def run(self):
        command = self.command()
        return ["chroot", ROOT, *command] if ROOT else command


class CachingDotward(Caching, Dotward):
    speaks = frozenset({"udp", "tcp", "tls"})
    workers = 1

    def is_here(self):
        return True

    def run(self):
        return [*self.command(), "--listen", f"tls://127.0.0.1:{self.tls_port}", "--listen-cert", self.certificate,
                "--listen-key", self.key, "--workers", str(self.workers), "--control", "off"]


class Floor(Caching):
    """A program that moves the octets of some loads and does nothing else: no server can do less."""
    floor = True
    #: names of the loads it is for
    loads = ()

    def is_here(self):
        return True

    def run(self):
        return self.command()

    def answers(self, load):
        return load.name in self.loads

    def warm(self, hot):
        pass


class CachingEcho(Floor, Echo):
    loads = ("cached, UDP", "cached, UDP, paced")


class StreamFloor(Floor):
    def is_up(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.listening)) == 0

    @property
    def listening(self):
        return self.port


class TcpFloor(StreamFloor):
    loads = ("cached, TCP",)

    def command(self):
        return [os.environ["FLOOR"], "tcp", f"127.0.0.1:{self.port}"]


class TlsFloor(StreamFloor):
    loads = ("cached, TLS",)

    @property
    def listening(self):
        return self.tls_port

    def command(self):
        return [os.environ["FLOOR"], "tls", f"127.0.0.1:{self.tls_port}", self.certificate, self.key]


class Relay(Floor):
    loads = ("forwarded", "forwarded, paced")

    def command(self):
        return [os.environ["FLOOR"], "relay", f"127.0.0.1:{self.port}", f"127.0.0.1:{UPSTREAM_PORT}", TLS_NAME, self.ca]


class CachingUnbound(Caching, Unbound):
    program = "unbound"
    changes = (("num-threads: 1", "num-threads: 1\n  msg-cache-size: 64m\n  rrset-cache-size: 128m\n  incoming-num-tcp: 1000"),)


class CachingDnsdist(Caching, Dnsdist):
    program = "dnsdist"
    speaks = frozenset({"udp", "tcp", "tls"})
    changes = (("setMaxTCPClientThreads(1)", """setMaxTCPClientThreads(1)
setMaxTCPConnectionsPerClient(0)
setMaxTCPQueuedConnections(10000)
setMaxTCPQueriesPerConnection(0)
addTLSLocal('127.0.0.1:{self.tls_port}', '{self.certificate}', '{self.key}', {{{{provider='openssl'}}}})
getPool(''):setCache(newPacketCache(100000, {{{{maxTTL=86400}}}}))""".replace("{{{{", "{{").replace("}}}}", "}}")),)


class CachingKnotResolver(Caching, KnotResolver):
    program = "kresd"
    speaks = frozenset({"udp", "tcp", "tls"})
    changes = (("net.ipv6 = false", """net.ipv6 = false
net.listen('127.0.0.1', {self.tls_port}, {{kind = 'tls'}})
net.tls('{self.certificate}', '{self.key}')"""),)


class CachingBind(Caching):
    program = "named"

    def command(self):
        return ["named", "-g", "-n", "1", "-c", self.write("named.conf", f"""
tls up {{ ca-file "{self.ca}"; remote-hostname "{TLS_NAME}"; }};
options {{
  directory "{self.directory}"; pid-file none; session-keyfile "{self.directory}/session.key"; managed-keys-directory "{self.directory}";
  listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};
  forward only; forwarders port {UPSTREAM_PORT} tls up {{ 127.0.0.1; }}; dnssec-validation no; recursive-clients 10000;
  tcp-clients 1000; minimal-responses yes;
}};
controls {{ }};
""")]


class CachingSmartdns(Caching):
    program = "smartdns"

    def command(self):
        return ["smartdns", "-f", "-x", "-p", os.path.join(self.directory, "pid"), "-c", self.write("smartdns.conf", f"""
bind 127.0.0.1:{self.port}
bind-tcp 127.0.0.1:{self.port}
server-tls 127.0.0.1:{UPSTREAM_PORT} -host-name {TLS_NAME} -tls-host-verify {TLS_NAME}
ca-file {self.ca}
cache-size 100000
cache-persist no
speed-check-mode none
prefetch-domain no
serve-expired no
log-level error
log-file {self.directory}/log.txt
dualstack-ip-selection no
max-reply-ip-num 16
""")]


ALL = {
    "echo": CachingEcho, "echo-tcp": TcpFloor, "echo-tls": TlsFloor, "relay": Relay, "dotward": CachingDotward, "unbound": CachingUnbound, "bind": CachingBind, "knot-resolver": CachingKnotResolver,
    "dnsdist": CachingDnsdist, "smartdns": CachingSmartdns,
}
