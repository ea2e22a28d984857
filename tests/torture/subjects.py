"""Who is tortured: dotward, and for comparison its peers, each as a forwarder to the upstreams given."""

import os
import signal
import socket

import load
import upstreams
from lab.processes import Program, wait_until
from lab.servers import listening

PORT = 5300
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class Subject:
    """A forwarder that runs until `stop`. `start` puts it before these upstreams."""

    name = None
    #: seconds that stragglers are waited for after the last question
    patience = load.PATIENCE

    def __init__(self, ground, directory=None):
        self.ground = ground
        self.directory = directory or os.path.join(ground.scratch, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.program = None
        self.address = ("127.0.0.1", PORT)

    def start(self, ups, *more, environment=None, under=(), descriptors=(), tells=True):
        """`under`: the command that starts it, and becomes it. `descriptors` are handed on. `tells`: its standard error is ours to read."""
        self.log, self.tells = os.path.join(self.directory, "log"), tells
        command = [*under, *self.command(ups, more)]
        self.program = Program(command, self.log, self._environment(environment), descriptors=descriptors)
        wait_until(self._ready, 15, f"{self.name} does not listen: {self.program.tail()}", every=0.002)
        return self

    @staticmethod
    def _environment(more):
        ours = {key: value for key, value in os.environ.items() if not key.startswith("DOTWARD")}
        return {**ours, **(more or {})}

    def _ready(self):
        if not self.program.running():
            raise RuntimeError(f"{self.name} ended at once: {self.program.tail()}")
        return listening("udp", self.address[1])

    def command(self, ups, more):
        raise NotImplementedError

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def bundle(self, ups):
        """One file with the roots of all upstreams, for programs that know one file only."""
        text = ""
        for up in ups:
            with open(up.ca) as file:
                text += file.read()
        return self.write("roots.pem", text)

    def stop(self, sent=signal.SIGTERM):
        status = self.program.stop(sent) if self.program is not None else 0
        self.program = None
        return status

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.program.pid}/fd"))

    def resident(self):
        return self.program.resident_bytes()


class Dotward(Subject):
    name = "dotward"
    #: where the binary is, and how much it logs; set from the command line
    binary = None
    log_level = "info"
    #: `ordered`, so that what happens to U1 happens to whoever is asked; the program's own choice is `fastest`
    strategy = "ordered"

    def command(self, ups, more):
        command = [self.binary, "run", "--log-format", "json", "--strategy", self.strategy]
        if "--log-level" not in more:
            command += ["--log-level", self.log_level]
        if "--listen" not in more:
            command += ["--listen", f"{self.address[0]}:{self.address[1]}"]
        # Without a cache, so that every question meets the fault, and none is answered with what is old.
        if "--cache" not in more:
            command += ["--cache", "off"]
        for up in ups:
            spec = getattr(up, "spec", None)
            command += ["--upstream", spec or f"tls://{upstreams.NAME}@{up.address}:{up.port}?ca_file={up.ca}{getattr(up, 'more', '')}"]
        return [*command, *more]

    def _ready(self):
        # The sockets are bound before the rest is there; the log tells of them when it is.
        if not self.tells:
            return super()._ready() and self._takes_streams()
        return super()._ready() and self.program.output().count('"listening"') >= 2

    def _takes_streams(self):
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0
