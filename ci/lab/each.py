"""Questions each from a port of its own, so that what becomes of each is known: answered, refused by the machine, or nothing at all."""

import select
import socket
import time


class Each:
    """Asks at a rate, for as long as `ask` is told; `count` waits for the rest."""

    def __init__(self, to, message):
        self.to, self.message = to, message
        self.waiting, self.poll = {}, select.epoll()
        self.sent = self.answered = self.failed = self.refused = 0

    def ask(self, rate, seconds, while_asking=lambda passed: None):
        begin, first = time.monotonic(), self.sent
        while (passed := time.monotonic() - begin) < seconds:
            while_asking(passed)
            # No more at once than may be open, however long we were not let run.
            for _ in range(min(64, int(passed * rate) - (self.sent - first))):
                self._send()
            self._receive(0.001)

    def _send(self):
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.setblocking(False)
        plain.connect(self.to)
        plain.send(self.message(self.sent))
        self.sent += 1
        self.waiting[plain.fileno()] = plain
        self.poll.register(plain.fileno(), select.EPOLLIN)

    def _receive(self, patience):
        for number, _ in self.poll.poll(patience):
            with self.waiting.pop(number) as plain:
                self.poll.unregister(number)
                try:
                    message = plain.recv(4096)
                    self.answered += 1
                    self.failed += message[3] & 15 != 0
                except ConnectionRefusedError:
                    self.refused += 1

    def count(self, patience=3.0):
        """How many nothing was heard of."""
        last = time.monotonic() + patience
        while self.waiting and time.monotonic() < last:
            self._receive(0.01)
        silent = len(self.waiting)
        for plain in self.waiting.values():
            plain.close()
        self.poll.close()
        return silent
