"""The upstreams: dotward-faults, switched over its control socket, and openssl for what rustls will not do wrong."""

import json
import os
import socket

import ground as lay
from lab.processes import Program, wait_until

NAME = "dot.test"


class Upstream:
    """One dotward-faults. What it was told and what it saw."""

    def __init__(self, ground, binary, number, mode="normal"):
        self.number, self.address = number, ground.addresses[number]
        self.ca = os.path.join(ground.scratch, f"ca{number}.pem")
        self.control = os.path.join(ground.scratch, f"control{number}")
        port = lay.DOT if ground.isolated else 0
        self.program = Program(
            [*ground.far_prefix, binary, "--listen", f"{self.address}:{port}", "--name", NAME, "--ca-out", self.ca,
             "--control", self.control, "--mode", mode],
            os.path.join(ground.scratch, f"upstream{number}.log"),
        )
        wait_until(self._up, 10, f"dotward-faults does not start: {self.program.tail()}")
        self.port = int(self.program.output().splitlines()[0].rsplit(":", 1)[1])
        self.socket = socket.socket(socket.AF_UNIX)
        wait_until(self._reachable, 10, "dotward-faults takes no control lines")
        self.lines = self.socket.makefile("rw")

    def _up(self):
        return "\n" in self.program.output()

    def _reachable(self):
        return self.socket.connect_ex(self.control) == 0

    def tell(self, line):
        self.lines.write(line + "\n")
        self.lines.flush()
        reply = self.lines.readline().strip()
        if not reply.startswith("ok"):
            raise RuntimeError(f"{line}: {reply}")
        return reply[3:]

    def mode(self, words):
        self.tell(f"mode {words}")

    def counters(self):
        return json.loads(self.tell("counters"))

    def stop(self):
        self.socket.close()
        self.program.stop()


class Together:
    """Several dotward-faults as the addresses of one upstream."""

    def __init__(self, subject, *ups):
        addresses, roots = ",".join(up.address for up in ups), subject.bundle(ups)
        self.spec = f"tls://{NAME}@{addresses}:{ups[0].port}?ca_file={roots}"


class OpenSsl:
    """`openssl s_server` with the options given; it answers nothing and logs what it is sent."""

    def __init__(self, ground, authority, number, options, identity):
        self.number, self.address = number, ground.addresses[number]
        self.port, self.ca = lay.DOT, authority.certificate
        certificate, key = identity
        self.program = Program(
            [*ground.far_prefix, "openssl", "s_server", "-accept", f"{self.address}:{self.port}", "-cert", certificate,
             "-key", key, "-quiet", "-naccept", "1000", *options],
            os.path.join(ground.scratch, f"openssl{number}.log"),
        )
        wait_until(lambda: self._listens(ground), 10, "openssl s_server does not listen")

    def _listens(self, ground):
        return f"{self.address}:{self.port}" in ground.far("ss", "-Hltn")

    def stop(self):
        self.program.stop()
