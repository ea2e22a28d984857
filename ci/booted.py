"""What is asked of a booted systemd; runs inside it, as a unit of it. See ci/systemd."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from lab.checks import check, verdict
from lab.processes import wait_until

UNITS = "/etc/systemd/system"
CONFIGURATION = "/etc/dotward/dotward.toml"
UPSTREAM = """[[upstream]]
name = "lab"
address = ["127.0.0.2:853"]
tls_name = "dot.test"
ca_file = "/etc/dotward/ca.pem"
"""


def systemctl(*arguments):
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def do(*arguments):
    status, said = systemctl(*arguments)
    check(status == 0, f"systemctl {' '.join(arguments)}", said)


def shown(name, unit="dotward.service"):
    return systemctl("show", "--value", "--property", name, unit)[1]


def main_pid():
    return int(shown("MainPID"))


def dig(*arguments):
    """One question, asked once."""
    done = subprocess.run(["dig", "+short", "+time=5", "+tries=1", "@127.0.0.1", *arguments], capture_output=True, text=True)
    return done.stdout.strip()


def configure(record, more=""):
    text = f'{UPSTREAM}{more}[[local]]\nname = "which.test"\na = ["192.0.2.{record}"]\n'
    with open(CONFIGURATION + ".new", "w") as file:
        file.write(text)
    os.chmod(CONFIGURATION + ".new", 0o644)
    os.rename(CONFIGURATION + ".new", CONFIGURATION)


def furnish():
    os.makedirs("/etc/dotward", exist_ok=True)
    do("start", "faults.service")
    wait_until(lambda: os.path.exists("/checks/ca.pem") and os.path.getsize("/checks/ca.pem") > 0, 10, "the upstream does not start")
    shutil.copy("/checks/ca.pem", "/etc/dotward/ca.pem")
    os.chmod("/etc/dotward/ca.pem", 0o644)
    configure(1)
    shutil.copy("/checks/units/dotward.service", UNITS)
    do("daemon-reload")


def journal():
    done = subprocess.run(["journalctl", "--unit", "dotward.service", "--output", "cat", "--no-pager"], capture_output=True, text=True)
    return done.stdout


def check_start():
    do("start", "dotward.service")
    check(shown("ActiveState") == "active" and shown("SubState") == "running", "started when it said that it serves (Type=notify)")
    # Asked once, at once: who is told that it has started can ask.
    answer = dig("first.example")
    check(answer != "", "the first question after the start is answered", answer)
    check(dig("+tcp", "second.example") != "", "over TCP")
    with open(f"/proc/{main_pid()}/status") as file:
        status = file.read()
    check(re.search(r"^CapEff:\s*0*400$", status, re.M) is not None, "one capability, for port 53")
    check(re.search(r"^Uid:\s*0\b", status, re.M) is None, "no root")
    check(re.search(r"^Seccomp:\s*2$", status, re.M) is not None, "a filter of system calls")
    sandbox = re.findall(r"sandbox files=.*", journal())
    check(sandbox and "calls=enforced" in sandbox[-1] and "not" not in sandbox[-1], "its own sandbox inside of the unit's", "".join(sandbox[-1:]))
    done = subprocess.run(["dotward", "status", "--control", "/run/dotward/control.sock"], capture_output=True, text=True)
    check(done.returncode == 0, "dotward status as root, at the socket the manual names", done.stderr.strip())


class Asking:
    """Asks for names all the time, one after the other, each question once; counts those without an answer."""

    def __init__(self):
        self.over = threading.Event()
        self.answered, self.lost = 0, 0
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self):
        number = 0
        while not self.over.is_set():
            number += 1
            name = b"".join(bytes([len(label)]) + label for label in (b"n%d" % number, b"example")) + b"\0"
            message = number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(8)
                client.connect(("127.0.0.1", 53))
                try:
                    client.send(message)
                    reply = client.recv(512)
                    good = reply[:2] == message[:2] and reply[3] & 15 == 0
                except OSError:
                    good = False
            if good:
                self.answered += 1
            else:
                self.lost += 1

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.answered, self.lost


def check_reload():
    asking, pid = Asking(), main_pid()
    configure(2)
    do("reload", "dotward.service")
    check(dig("which.test") == "192.0.2.2", "a changed file is in force when systemctl reload returns")
    configure(3, "nonsense = 1\n")
    check(systemctl("reload", "dotward.service")[0] != 0, "systemctl reload fails for a bad file")
    wait_until(lambda: "nonsense" in journal(), 5, "the fault is not in the journal")
    check(dig("which.test") == "192.0.2.2" and shown("ActiveState") == "active", "a bad file changes nothing, and the journal says what is wrong")
    configure(2)
    do("reload", "dotward.service")
    answered, lost = asking.stop()
    check(lost == 0 and main_pid() == pid, "no question is lost by it", f"{answered} answered, {lost} not")


def check_restarts():
    before = main_pid()
    os.kill(before, signal.SIGKILL)
    took = wait_until(lambda: shown("ActiveState") == "active" and main_pid() not in (0, before), 10, "not started again after kill -9")
    check(dig("again.example") != "", "started again after kill -9", f"{took:.1f} s")
    check(shown("NRestarts") == "1", "once", shown("NRestarts"))

    os.makedirs(f"{UNITS}/dotward.service.d", exist_ok=True)
    with open(f"{UNITS}/dotward.service.d/watchdog.conf", "w") as file:
        file.write("[Service]\nWatchdogSec=2s\n")
    do("daemon-reload")
    do("restart", "dotward.service")
    before = main_pid()
    time.sleep(6)  # a wait that is the check: three times what systemd waits for a word
    check(main_pid() == before, "it tells systemd that it lives")
    os.kill(before, signal.SIGSTOP)
    took = wait_until(lambda: main_pid() not in (0, before) and shown("ActiveState") == "active", 15, "a stopped process is not replaced")
    check("watchdog timeout" in subprocess.run(["journalctl", "--no-pager"], capture_output=True, text=True).stdout.lower(),
          "a process that does not turn is replaced", f"{took:.1f} s")
    check(dig("awake.example") != "", "and the next one answers")
    os.remove(f"{UNITS}/dotward.service.d/watchdog.conf")
    do("daemon-reload")


def check_faults():
    """What keeps it from starting: for a while, or until somebody mends it."""
    configure(3, "nonsense = 1\n")
    systemctl("stop", "dotward.service")
    check(systemctl("start", "dotward.service")[0] != 0, "a bad file keeps it from starting")
    check((shown("ActiveState"), shown("NRestarts")) == ("failed", "0"), "and is not tried again and again")
    configure(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 53))
        systemctl("start", "--no-block", "dotward.service")
        wait_until(lambda: int(shown("NRestarts")) > 6, 30, "it is not tried again")
    wait_until(lambda: shown("ActiveState") == "active", 5, "not started when the port was free")
    check(dig("free.example") != "", "a port that somebody has is tried until it is free", f"{shown('NRestarts')} times")


def check_stop():
    do("stop", "dotward.service")
    check((shown("Result"), shown("ExecMainStatus")) == ("success", "0"), "it ends in order", f"{shown('Result')} {shown('ExecMainStatus')}")


def check_sockets():
    shutil.copy("/checks/units/dotward.socket", UNITS)
    shutil.copytree("/checks/units/dotward.service.d", f"{UNITS}/dotward.service.d", dirs_exist_ok=True)
    do("daemon-reload")
    for arguments in ((), ("+tcp",)):
        do("stop", "dotward.service", "dotward.socket")
        do("start", "dotward.socket")
        check(shown("ActiveState") == "inactive", "nothing runs")
        answer = dig(*arguments, f"activated{len(arguments)}.example")
        check(answer != "", f"the question that starts it is answered, over {'TCP' if arguments else 'UDP'}", answer)
    with open(f"/proc/{main_pid()}/status") as file:
        status = file.read()
    check(re.search(r"^CapEff:\s*0+$", status, re.M) is not None, "no capability at all")
    asking = Asking()
    for _ in range(5):
        do("restart", "dotward.service")
    answered, lost = asking.stop()
    check(lost == 0 and answered > 0, "no question is lost by five restarts", f"{answered} answered, {lost} not")
    do("stop", "dotward.service", "dotward.socket")


def check_resolved():
    """`dotward setup systemd-resolved` on a system that lives."""
    if not os.path.exists("/lib/systemd/systemd-resolved"):
        print("left out: there is no systemd-resolved here")
        return
    # It asks nobody while no interface but loopback is up.
    for command in ("link add lan0 type veth peer name lan1", "address add 192.0.2.1/24 dev lan0", "link set lan0 up", "link set lan1 up"):
        subprocess.run(["ip", *command.split()], check=True)
    do("start", "dotward.service")
    do("restart", "systemd-resolved.service")
    ask = lambda: subprocess.run(["dig", "+short", "+time=2", "+tries=1", "@127.0.0.53", "which.test"], capture_output=True, text=True).stdout.strip()
    check(ask() != "192.0.2.2", "systemd-resolved does not know dotward")
    setup = lambda *words: subprocess.run(["dotward", "setup", "systemd-resolved", *words], capture_output=True, text=True)
    printed = setup()
    check(printed.returncode == 0 and not os.path.exists("/etc/systemd/resolved.conf.d/dotward.conf"), "dotward setup prints and changes nothing")
    done = setup("--apply")
    check(done.returncode == 0, "dotward setup systemd-resolved --apply", (done.stdout + done.stderr).strip().replace("\n", " | "))
    do("restart", "systemd-resolved.service")
    check(ask() == "192.0.2.2", "systemd-resolved asks dotward", ask())
    done = setup("--undo")
    check(done.returncode == 0, "dotward setup systemd-resolved --undo", (done.stdout + done.stderr).strip().replace("\n", " | "))
    do("restart", "systemd-resolved.service")
    check(ask() != "192.0.2.2", "and does not any more")
    do("stop", "dotward.service")


def main():
    furnish()
    for part in (check_start, check_reload, check_restarts, check_faults, check_stop, check_resolved, check_sockets):
        print(f"---- {part.__name__.removeprefix('check_')}", flush=True)
        try:
            part()
        except (TimeoutError, OSError, ValueError, subprocess.SubprocessError) as error:
            check(False, f"{error}")
            print("\n".join(journal().splitlines()[-20:]), flush=True)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
