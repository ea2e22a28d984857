"""Real DNS-over-TLS servers from Debian, answering from local data.

Every server serves the same zone, so that one list of checks fits all of them:

    NAME.wild.example   A 192.0.2.1, AAAA 2001:db8::1, for any NAME
    big.example         BIG_COUNT A records: too large for a UDP reply of 512 octets, and for one of 1232
    nx.example          does not exist

The names lie below `example`, which is forwarded like any other; `test` is not (RFC 6761 section 6.2).
"""

import ipaddress
import os

from lab.processes import Program, wait_until

A = "192.0.2.1"
AAAA = "2001:db8::1"
BIG_COUNT = 100
BIG = [str(ipaddress.IPv4Address("198.51.100.0") + n) for n in range(1, BIG_COUNT + 1)]


class Server:
    """A server to be started on 127.0.0.1 and ::1, with the certificate given."""

    #: the name people know it by, the command, and the Debian package of the command
    name = command = package = None

    def __init__(self, directory, port, identity):
        self.directory = os.path.join(directory, f"{self.name}-{port}")
        os.makedirs(self.directory, exist_ok=True)
        self.port = port
        self.certificate, self.key = identity
        self.program = None

    def start(self, cpu=None):
        command = self.configure()
        self.program = Program(command, os.path.join(self.directory, "log"), cpu=cpu)
        try:
            wait_until(self._ready, 15, f"{self.name} does not listen on port {self.port}", every=0.05)
        except (TimeoutError, ChildProcessError):
            print(self.program.tail())
            raise
        return self

    def stop(self):
        if self.program is not None:
            self.program.stop()

    def configure(self):
        """Writes the configuration files and returns the command."""
        raise NotImplementedError

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def _ready(self):
        if not self.program.running():
            raise ChildProcessError(f"{self.name} ended at once")
        return listening("tcp", self.port) and listening("tcp6", self.port)


def listening(table, port):
    """Whether a socket of this network namespace listens on the port; `table` is tcp, tcp6, udp or udp6."""
    state = "0A" if table.startswith("tcp") else "07"
    with open(f"/proc/net/{table}") as file:
        next(file)
        for line in file:
            fields = line.split()
            if fields[3] == state and int(fields[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False


class Unbound(Server):
    name, command, package = "unbound", "unbound", "unbound"

    def configure(self):
        big = "".join(f'  local-data: "big.example. 60 IN A {address}"\n' for address in BIG)
        path = self.write("unbound.conf", f"""
server:
  interface: 127.0.0.1@{self.port}
  interface: ::1@{self.port}
  tls-port: {self.port}
  tls-service-key: "{self.key}"
  tls-service-pem: "{self.certificate}"
  access-control: 127.0.0.0/8 allow
  access-control: ::1/128 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  module-config: "iterator"
  incoming-num-tcp: 100
  num-threads: 1
  local-zone: "wild.example." redirect
  local-data: "wild.example. 60 IN A {A}"
  local-data: "wild.example. 60 IN AAAA {AAAA}"
  local-zone: "example." static
  local-data: "example. 60 IN SOA ns.example. admin.example. 1 3600 600 86400 60"
{big}
remote-control:
  control-enable: no
""")
        return ["unbound", "-d", "-c", path]


class Dnsdist(Server):
    name, command, package = "dnsdist", "dnsdist", "dnsdist"

    def configure(self):
        big = ", ".join(f"'{address}'" for address in BIG)
        path = self.write("dnsdist.lua", f"""
setLocal('127.0.0.1:{self.port + 1000}')
for _, address in ipairs({{'127.0.0.1', '[::1]'}}) do
  addTLSLocal(address .. ':{self.port}', '{self.certificate}', '{self.key}', {{
    provider='openssl', maxInFlight=1000, maxConcurrentTCPConnections=0, reusePort=true
  }})
end
setACL({{'127.0.0.0/8', '::1/128'}})
setMaxTCPClientThreads(2)
setMaxTCPQueriesPerConnection(0)
setMaxTCPConnectionsPerClient(0)
setMaxTCPQueuedConnections(10000)
setSecurityPollSuffix('')
wild = newSuffixMatchNode()
wild:add('wild.example.')
addAction(AndRule({{QNameRule('big.example.'), QTypeRule(DNSQType.A)}}), SpoofAction({{{big}}}, {{ttl=60}}))
addAction(AndRule({{SuffixMatchNodeRule(wild), QTypeRule(DNSQType.A)}}), SpoofAction('{A}', {{ttl=60}}))
addAction(AndRule({{SuffixMatchNodeRule(wild), QTypeRule(DNSQType.AAAA)}}), SpoofAction('{AAAA}', {{ttl=60}}))
addAction(SuffixMatchNodeRule(wild), RCodeAction(DNSRCode.NOERROR))
addAction(AllRule(), RCodeAction(DNSRCode.NXDOMAIN))
""")
        return ["dnsdist", "-C", path, "--supervised", "--disable-syslog"]


class KnotResolver(Server):
    name, command, package = "knot-resolver", "kresd", "knot-resolver"

    def configure(self):
        big = ", ".join(f"kres.str2ip('{address}')" for address in BIG)
        path = self.write("kresd.conf", f"""
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
trust_anchors.remove('.')
net.listen('127.0.0.1', {self.port}, {{ kind = 'tls' }})
net.listen('::1', {self.port}, {{ kind = 'tls' }})
net.tls('{self.certificate}', '{self.key}')
cache.open(10 * MB, 'lmdb://{self.directory}/cache')
policy.add(policy.domains(policy.ANSWER({{
  [kres.type.A] = {{ rdata = {{ {big} }}, ttl = 60 }}
}}), policy.todnames({{'big.example'}})))
policy.add(policy.suffix(policy.ANSWER({{
  [kres.type.A] = {{ rdata = kres.str2ip('{A}'), ttl = 60 }},
  [kres.type.AAAA] = {{ rdata = kres.str2ip('{AAAA}'), ttl = 60 }},
}}, true), policy.todnames({{'wild.example'}})))
policy.add(policy.all(policy.DENY))
""")
        os.makedirs(os.path.join(self.directory, "cache"), exist_ok=True)
        return ["kresd", "-n", "-c", path, self.directory]


class Bind(Server):
    name, command, package = "bind", "named", "bind9"

    def configure(self):
        records = "".join(f"big 60 IN A {address}\n" for address in BIG)
        zone = self.write("example.zone", f"""$ORIGIN example.
@ 60 IN SOA ns admin 1 3600 600 86400 60
@ 60 IN NS ns
ns 60 IN A 127.0.0.1
*.wild 60 IN A {A}
*.wild 60 IN AAAA {AAAA}
{records}""")
        path = self.write("named.conf", f"""
tls own {{ cert-file "{self.certificate}"; key-file "{self.key}"; }};
options {{
  directory "{self.directory}"; pid-file none; session-keyfile "{self.directory}/session.key";
  managed-keys-directory "{self.directory}";
  listen-on port {self.port} tls own {{ 127.0.0.1; }};
  listen-on-v6 port {self.port} tls own {{ ::1; }};
  recursion no; dnssec-validation no; notify no; tcp-clients 1000;
}};
controls {{ }};
zone "example" {{ type primary; file "{zone}"; }};
""")
        return ["named", "-g", "-n", "1", "-c", path]


ALL = (Unbound, Dnsdist, KnotResolver, Bind)
