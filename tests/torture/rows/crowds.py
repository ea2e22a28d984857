"""More questions at once than IDs on a connection, or than the program takes."""

import time

from play import row

#: Questions that are in flight together and all answered: below the bound of what is taken at once (20,000). The first of them may have
#: waited for all the others when the last answer comes, and two seconds is all it has: the short form leaves half of that to the machine.
TOGETHER, TOGETHER_RATE = 8_192, 8_000
TOGETHER_FULL, TOGETHER_RATE_FULL = 16_384, 12_000
#: Questions, most of them given up by then, that the upstream still owes: more than a connection has IDs.
OWED, OWED_RATE = 70_000, 6_000
MEMORY = 96 * 1024 * 1024


@row("T63", "65,536 queries unanswered at one upstream, then all answered in reverse",
     "every answer to its asker; 0 lost", seconds=35, alone=True)
def all_ids(play):
    u1 = play.upstream(1, "hold")
    play.resident_allowance = MEMORY
    play.start(u1)
    together, rate = (TOGETHER_FULL, TOGETHER_RATE_FULL) if play.full else (TOGETHER, TOGETHER_RATE)
    with play.load(rate=rate, limit=together, repeated=False, sockets=8) as load:
        while len(load.asked) < together:
            time.sleep(0.01)
        held = u1.counters()["queries"]
        u1.tell("release")
        u1.mode("normal")
        load.join()
    play.note(f"{held} held together: {load.history.good} good, {load.history.servfails} SERVFAIL")
    play.all_good(load.history, f"{together} together: ")
    u1.mode("hold")
    with play.load(rate=OWED_RATE, limit=OWED, repeated=False, sockets=8) as load:
        while len(load.asked) < OWED:
            time.sleep(0.05)
        owed = u1.counters()["queries"]
        u1.tell("release")
        u1.mode("normal")
        load.join()
    history = load.history
    play.expect("every answer good or SERVFAIL", history.good + history.servfails == len(history), history.bad)
    play.note(f"{owed} sent in all: {history.good} good, {history.servfails} SERVFAIL")
    with play.load() as load:
        play.sleep(1)
    play.all_good(load.history, "afterwards: ")
