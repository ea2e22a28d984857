"""dotward's peers as forwarders to the same two upstreams, and the rows on which they are compared.

Each is configured as its documentation recommends for DNS over TLS to two upstreams with verified certificates, one thread where
that can be said; time-outs, caches and choice of upstream are as the peer brings them. Packages are Debian's; LAB names a
directory with newer ones in a root directory `trixie` of their own.
"""

import concurrent.futures
import os
import shutil
import subprocess

import ground as lay
import upstreams
from play import ROWS
from subjects import PORT, Subject

LAB_ROOT = os.path.join(os.environ["LAB"], "trixie") if os.environ.get("LAB") else None


class Peer(Subject):
    #: the command, and the Debian package it is from
    program = package = None
    #: longer than any of them tries, so that what comes late is seen to be late
    patience = 12
    #: runs in the root directory of the lab
    chrooted = False

    def __init__(self, ground):
        directory = None
        if self.chrooted:
            # What is written here is seen in there.
            lay.run("mount", "--bind", ground.scratch, LAB_ROOT + lay.SCRATCH)
        super().__init__(ground, directory)

    def command(self, ups, more):
        inside = ["chroot", LAB_ROOT] if self.chrooted else []
        return [*inside, *self.started_by(ups)]

    def started_by(self, ups):
        raise NotImplementedError

    @classmethod
    def version(cls):
        inside = ["chroot", LAB_ROOT] if cls.chrooted else []
        command = [*inside, "dpkg-query", "--show", "--showformat=${Version}", cls.package]
        return subprocess.run(command, capture_output=True, text=True).stdout or "?"

    @classmethod
    def present(cls):
        path = f"{LAB_ROOT}/usr/bin:{LAB_ROOT}/usr/sbin" if cls.chrooted else None
        return shutil.which(cls.program, path=path) is not None


class Unbound(Peer):
    name = program = package = "unbound"

    def started_by(self, ups):
        forward = "".join(f"  forward-addr: {up.address}@{up.port}#{upstreams.NAME}\n" for up in ups)
        return ["unbound", "-d", "-c", self.write("unbound.conf", f"""
server:
  interface: 127.0.0.1@{PORT}
  num-threads: 1
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  tls-cert-bundle: "{self.bundle(ups)}"
  module-config: "iterator"
  access-control: 127.0.0.0/8 allow
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-tls-upstream: yes
{forward}
""")]


class Dnsdist(Peer):
    name = program = package = "dnsdist"

    def started_by(self, ups):
        # Without a limit above 1 it opens a connection for each query in flight; its documentation recommends more for DoT.
        servers = "".join(f"""
newServer({{
  address='{up.address}:{up.port}', tls='openssl', subjectName='{upstreams.NAME}', validateCertificates=true,
  caStore='{up.ca}', maxInFlight=100, healthCheckMode='auto', checkName='health.lab.zone.'
}})""" for up in ups)
        return ["dnsdist", "-C", self.write("dnsdist.lua", f"""
setLocal('127.0.0.1:{PORT}')
setACL({{'127.0.0.0/8'}})
setSecurityPollSuffix('')
setMaxTCPClientThreads(1)
{servers}
"""), "--supervised", "--disable-syslog"]


class KnotResolver(Peer):
    name = package = "knot-resolver"
    program = "kresd"

    def started_by(self, ups):
        targets = ",\n".join(f"  {{ '{up.address}@{up.port}', hostname = '{upstreams.NAME}', ca_file = '{up.ca}' }}" for up in ups)
        path = self.write("kresd.conf", f"""
net.listen('127.0.0.1', {PORT})
net.ipv6 = false
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
trust_anchors.remove('.')
cache.open(100 * MB, 'lmdb://{self.directory}/cache')
policy.add(policy.all(policy.TLS_FORWARD({{
{targets}
}})))
""")
        os.makedirs(os.path.join(self.directory, "cache"), exist_ok=True)
        return ["kresd", "-n", "-c", path, self.directory]


class Stubby(Peer):
    name = program = package = "stubby"

    def started_by(self, ups):
        listed = "".join(
            f'  - address_data: {up.address}\n    tls_port: {up.port}\n    tls_auth_name: "{upstreams.NAME}"\n' for up in ups
        )
        return ["stubby", "-C", self.write("stubby.yml", f"""
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_ca_file: "{self.bundle(ups)}"
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
round_robin_upstreams: 1
idle_timeout: 10000
listen_addresses: [127.0.0.1@{PORT}]
upstream_recursive_servers:
{listed}""")]


DEBIAN = (Unbound, Dnsdist, KnotResolver, Stubby)
NEWER = tuple(type(peer.__name__ + "Newer", (peer,), {"name": peer.name + "-newer", "chrooted": True}) for peer in DEBIAN)
ALL = {peer.name: peer for peer in (*DEBIAN, *(NEWER if LAB_ROOT else ()))}


def compare(options, runner, chosen):
    """Plays the rows that compare with everybody; one table, a line per row."""
    rows = [name for name in chosen if ROWS[name].peers]
    subjects = {"dotward": None} | {name: peer for name, peer in ALL.items() if peer.present()}
    done = subprocess.run([os.environ["DOTWARD"], "--version"], capture_output=True, text=True)
    print(f"dotward: {done.stdout.split()[1]}")
    for name, peer in subjects.items():
        if peer is not None:
            print(f"{name}: {peer.version()}")
    print("lost / SERVFAIL / max ms")
    print(" | ".join(("row", "fault", "asked", *subjects)))
    jobs = max(1, options.jobs // 2)
    for row in rows:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            results = list(pool.map(lambda name: runner.play(row, name), subjects))
        asked = next((result["asked"] for result in results if result.get("asked")), "?")
        print(" | ".join((row, ROWS[row].fault, str(asked), *map(cell, results))), flush=True)
    return 0


def cell(result):
    if result.get("error") and not result.get("asked"):
        return f"error: {result['error'][:60]}"
    wrong = result["bad"] - result["servfail"]
    return f"{result['lost']} / {result['servfail']} / {result['max_ms']:.0f}" + (f" ({wrong} wrong)" if wrong else "")
