"""Processes started here, and what the kernel says about them."""

import os
import signal
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


class Program:
    """One started process with its output in a file. `stop` ends it and nothing else."""

    def __init__(self, command, log, environment=None, cpu=None, descriptors=()):
        self.log = log
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        with open(log, "w") as output:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True, pass_fds=descriptors,
            )
        self.pid = self.child.pid
        _weigh_as_we_do(self.pid)

    def running(self):
        return self.child.poll() is None

    def stop(self, sent=signal.SIGTERM, seconds=5.0):
        """Sends the signal and returns the exit status; a process that does not end in time is killed (None)."""
        if self.running():
            self.child.send_signal(sent)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def stop_gently(self, seconds=1.0):
        """Sends SIGTERM and returns the exit status; None, and the process goes on, when it does not end in time."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def output(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def tail(self, lines=15):
        return "\n".join(self.output().splitlines()[-lines:])

    def cpu_seconds(self):
        """User plus system time so far, all threads."""
        user, system = self.cpu_split()
        return user + system

    def cpu_split(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICK, int(fields[12]) / TICK

    def cpu_nanoseconds(self):
        """Processor time so far of all threads that are alive. Exact, where the clock ticks of `cpu_split` are a few percent of a short run."""
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        return total

    def waits(self):
        """How often its first thread went to sleep for want of something to do."""
        return self._status("voluntary_ctxt_switches")

    def resident_bytes(self):
        return self._status("VmRSS") * 1024

    def peak_resident_bytes(self):
        return self._status("VmHWM") * 1024

    def threads(self):
        return self._status("Threads")

    def _status(self, key):
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise KeyError(key)


def _weigh_as_we_do(pid):
    """Linux weighs sessions before it looks at processes, and a new session weighs what is usual, whoever began it."""
    try:
        with open("/proc/self/autogroup") as file:
            weight = file.read().split()  # "/autogroup-N nice M"; empty in a control group of its own, which is weighed instead
        if weight and weight[-1] != "0":
            with open(f"/proc/{pid}/autogroup", "w") as file:
                file.write(weight[-1])
    except OSError:
        pass  # no such thing here, or the process has ended


def wait_until(condition, seconds, what, every=0.01):
    """Polls the condition until it holds; the time it took, or an error that says what did not happen."""
    begin = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - begin
        if time.monotonic() - begin > seconds:
            raise TimeoutError(f"after {seconds:g} s: {what}")
        time.sleep(every)
