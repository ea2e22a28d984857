"""What the operator does while questions come: another configuration, good and bad."""

import os
import re
import signal
import urllib.request

from lab.processes import wait_until
from play import LEAD, row

ADMIN = "127.0.0.1:5380"
#: Changes of the configuration one after the other (T59).
CHANGES = 100
#: Seconds until one is read, on a machine that has other things to do.
READ = 5


def reloads(outcome):
    """How often the configuration was read again, by what became of it."""
    with urllib.request.urlopen(f"http://{ADMIN}/metrics", timeout=2) as page:
        found = re.search(rf'^dotward_config_reloads_total{{outcome="{outcome}"}} (\S+)$', page.read().decode(), re.MULTILINE)
    return int(float(found.group(1)))


def configuration(number, more=""):
    """A file that shows by a local record and a route that it is in force."""
    return (f'[[local]]\nname = "which.example"\na = ["192.0.2.{number}"]\n'
            f'[[route]]\nsuffix = ["n{number % 3}.invalid"]\nto = ["udp://127.0.0.1:9"]\n{more}')


def put(play, text):
    """Puts a file in the place of the one there is, as an editor does."""
    new = play.subject.write("new.toml", text)
    os.rename(new, os.path.join(play.subject.directory, "dotward.toml"))


def reload(play, outcome):
    before = reloads(outcome)
    os.kill(play.subject.program.pid, signal.SIGHUP)
    wait_until(lambda: reloads(outcome) > before, READ, f"no reload was {outcome}", every=0.005)


def in_force(play):
    return play.ask("which.example").addresses[0][-1]


def begin(play, u1):
    file = play.subject.write("dotward.toml", configuration(1))
    play.start(u1, more=("--config", file, "--admin", ADMIN))


@row("T58", "HUP with a syntax error, an unknown key, a missing certificate, a directory in place of the file",
     "0 lost, max 100 ms; the old configuration stays and every fault is told", seconds=12)
def bad_configuration(play):
    u1 = play.upstream(1)
    begin(play, u1)
    bad = (configuration(2, "[cache\n"), configuration(2, "[cache]\ncolour = 1\n"), configuration(2, '[tls]\nca_file = "none.pem"\n'))
    with play.load() as load:
        play.sleep(LEAD)
        for text in bad:
            put(play, text)
            reload(play, "refused")
        file = os.path.join(play.subject.directory, "dotward.toml")
        os.unlink(file)
        os.mkdir(file)
        reload(play, "refused")
        play.expect("the old one is in force", in_force(play) == 1, in_force(play), law=True)
        os.rmdir(file)
        put(play, configuration(3))
        reload(play, "applied")
        play.expect("a good one is applied after them", in_force(play) == 3, in_force(play), law=True)
        play.sleep(LEAD)
    play.all_good(load.history)
    play.within(load.history, 100)
    told = play.subject.program.output()
    for part in ("not TOML", "colour", "none.pem", "is a directory"):
        play.expect(f"{part} is told", part in told, law=True)


@row("T59", f"HUP {CHANGES} times, each with another configuration", "0 lost, max 100 ms; no descriptor and no memory is left behind", seconds=20)
def many_configurations(play):
    u1 = play.upstream(1)
    begin(play, u1)
    with play.load() as load:
        play.sleep(LEAD)
        for number in range(CHANGES):
            put(play, configuration(1 + number))
            reload(play, "applied")
        play.expect("the last one is in force", in_force(play) == CHANGES, in_force(play), law=True)
        play.sleep(LEAD)
    play.all_good(load.history)
    play.within(load.history, 100)
