"""What stands before dotward or under it: load balancers that send PROXY headers, an address that comes late."""

import os
import subprocess

from . import clients, servers
from .processes import Program, wait_until

NAME = "nas.home.arpa"
ADDRESS = "192.0.2.1"
# Load balancers connect from here; the first client may ask, the second may not.
BALANCER, ALLOWED, STRANGER = "127.0.0.1", "127.0.0.77", "127.0.0.78"
PORT = 5301

RECORD = f"""
[[local]]
name = "{NAME}"
a = ["{ADDRESS}"]
"""


def behind_balancers():
    return f'[listen]\ndns = ["127.0.0.1:{PORT}"]\nallow = ["{ALLOWED}"]\nproxy_from = ["{BALANCER}"]\n{RECORD}'


def late_address(address):
    return f'[listen]\ndns = ["{address}:{PORT}"]\nallow = ["any"]\nfreebind = true\n{RECORD}'


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def ask(address, port, source=None, tcp=False):
    options = [*(["-b", source] if source else []), *(["+tcp"] if tcp else [])]
    command = ["dig", f"@{address}", "-p", str(port), *options, "+short", "+tries=1", "+timeout=2", NAME]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def through_dnsdist(directory):
    port = PORT + 1
    text = f"""
setLocal("127.0.0.1:{port}")
addACL("127.0.0.0/8")
newServer({{address="127.0.0.1:{PORT}", useProxyProtocol=true, healthCheckMode="up"}})
setSecurityPollSuffix("")
"""
    command = ["dnsdist", "--supervised", "--disable-syslog", "-C", write(directory, "balancer.lua", text)]
    return through(directory, command, [port], (False, True))


def through_haproxy(directory):
    ports = {PORT + 2: "send-proxy-v2", PORT + 3: "send-proxy"}
    text = "defaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n"
    for port, option in ports.items():
        text += f"listen p{port}\n bind 127.0.0.1:{port}\n server dotward 127.0.0.1:{PORT} {option}\n"
    return through(directory, ["haproxy", "-f", write(directory, "haproxy.cfg", text)], list(ports), (True,))


def through(directory, command, ports, transports):
    """Asks through a load balancer from a client that may ask and from one that may not."""
    balancer = Program(command, os.path.join(directory, "balancer.log"))
    try:
        wait_until(lambda: all(servers.listening("tcp", port) for port in ports), 10, f"{command[0]} does not listen")
        for port in ports:
            for tcp in transports:
                got = [ask("127.0.0.1", port, source, tcp) for source in (ALLOWED, STRANGER)]
                if got[0] != ADDRESS or ADDRESS in got[1]:
                    raise clients.Unexpected(f"port {port}, tcp {tcp}: {got}\n{balancer.tail()}")
    finally:
        balancer.stop()
    return f"{len(ports) * len(transports)} ways"


def comes_and_goes(address):
    """The address appears, is served, goes, comes back, and is served."""
    for _ in range(2):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        for tcp in (False, True):
            got = ask(address, PORT, tcp=tcp)
            if got != ADDRESS:
                raise clients.Unexpected(f"tcp {tcp}: {got!r}")
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)
    return address
