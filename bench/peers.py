"""How each subject is started as a forwarder to the same DoT server: one thread where it can be said, certificate verified.

Caches are as the peer brings them and small; with names that never repeat they only cost what an insertion costs.
"""

import os

UPSTREAM_PORT = 8853
TLS_NAME = "dot.test"


class Subject:
    #: sends nothing upstream: a floor and not a forwarder
    floor = False

    def __init__(self, name, directory, port, ca):
        self.name, self.port, self.ca = name, port, ca
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.log = os.path.join(self.directory, "log")

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def command(self):
        raise NotImplementedError


class Dotward(Subject):
    def command(self):
        return [os.environ["DOTWARD"], "run", "--listen", f"127.0.0.1:{self.port}",
                "--upstream", f"tls://{TLS_NAME}@127.0.0.1:{UPSTREAM_PORT}", "--ca-file", self.ca, "--log-level", "warn"]


class Echo(Subject):
    floor = True

    def command(self):
        return [os.environ["ECHO"], f"127.0.0.1:{self.port}"]


class Unbound(Subject):
    def command(self):
        return ["unbound", "-d", "-c", self.write("unbound.conf", f"""
server:
  interface: 127.0.0.1@{self.port}
  num-threads: 1
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  tls-cert-bundle: "{self.ca}"
  module-config: "iterator"
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  so-rcvbuf: 4m
  so-sndbuf: 4m
  outgoing-range: 8192
  num-queries-per-thread: 4096
  outgoing-num-tcp: 100
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@{UPSTREAM_PORT}#{TLS_NAME}
""")]


class Dnsdist(Subject):
    def command(self):
        return ["dnsdist", "-C", self.write("dnsdist.lua", f"""
setLocal('127.0.0.1:{self.port}')
setACL({{'127.0.0.0/8'}})
setSecurityPollSuffix('')
setMaxTCPClientThreads(1)
setUDPSocketBufferSizes(4194304, 4194304)
newServer({{
  address='127.0.0.1:{UPSTREAM_PORT}', tls='openssl', subjectName='{TLS_NAME}', validateCertificates=true,
  caStore='{self.ca}', maxInFlight=1000, healthCheckMode='up'
}})
"""), "--supervised", "--disable-syslog"]


class KnotResolver(Subject):
    def command(self):
        path = self.write("kresd.conf", f"""
net.listen('127.0.0.1', {self.port})
net.ipv6 = false
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
trust_anchors.remove('.')
cache.open(100 * MB, 'lmdb://{self.directory}/cache')
policy.add(policy.all(policy.TLS_FORWARD({{
  {{ '127.0.0.1@{UPSTREAM_PORT}', hostname = '{TLS_NAME}', ca_file = '{self.ca}' }}
}})))
""")
        os.makedirs(os.path.join(self.directory, "cache"), exist_ok=True)
        return ["kresd", "-n", "-c", path, self.directory]


class Stubby(Subject):
    def command(self):
        return ["stubby", "-C", self.write("stubby.yml", f"""
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_ca_file: "{self.ca}"
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
round_robin_upstreams: 0
idle_timeout: 30000
listen_addresses: [127.0.0.1@{self.port}]
upstream_recursive_servers:
  - address_data: 127.0.0.1
    tls_port: {UPSTREAM_PORT}
    tls_auth_name: "{TLS_NAME}"
""")]


ALL = {
    "dotward": Dotward, "unbound": Unbound, "dnsdist": Dnsdist, "knot-resolver": KnotResolver, "stubby": Stubby, "echo": Echo,
}
