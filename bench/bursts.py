"""What a second worker costs the first, without a load beside them: questions wait in the sockets before anybody works.

The program is stopped, questions are put into its sockets, it goes on, and what its threads took until all are answered is divided by their
number. Nothing else runs meanwhile, so two workers have a core each and batches as full as one has alone: what differs is what they cost each
other (locks, cache lines they share, the kernel's).
"""

import signal
import socket
import time

from lab import messages

#: clients of one worker, spread over its sockets by the kernel; each has so many questions in a burst
CLIENTS, EACH = 64, 40
# Room for the answers of a burst, which nobody reads until it is over.
RECEIVE_BUFFER = 1 << 20


class Bursts:
    """Clients of one program."""

    def __init__(self, program, port, workers, names):
        self.program = program
        self.queries = [messages.query(name)[2:] for name in names]
        self.sockets = []
        for _ in range(CLIENTS * workers):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            client.setblocking(False)
            client.connect(("127.0.0.1", port))
            self.sockets.append(client)

    def close(self):
        for client in self.sockets:
            client.close()

    def _drain(self):
        taken = 0
        for client in self.sockets:
            try:
                while client.recv(4096):
                    taken += 1
            except BlockingIOError:
                pass
        return taken

    def burst(self, number):
        """What an answer took, and how many questions got none; `number` says which names are asked for."""
        asked = len(self.sockets) * EACH
        self.program.child.send_signal(signal.SIGSTOP)
        try:
            for place, client in enumerate(self.sockets):
                for n in range(EACH):
                    which = (number * asked + place * EACH + n) * 7919 % len(self.queries)
                    client.send(n.to_bytes(2, "big") + self.queries[which])
            begin = self.program.cpu_nanoseconds()
        finally:
            self.program.child.send_signal(signal.SIGCONT)
        # Looking for answers would take a core from the workers: they need some ten milliseconds.
        answered, end = 0, time.monotonic() + 1.0
        while answered < asked and time.monotonic() < end:
            time.sleep(0.05)
            answered += self._drain()
        spent = (self.program.cpu_nanoseconds() - begin) / 1e3
        return {"us": spent / max(answered, 1), "lost": asked - answered}
