"""More questions at once than IDs on a connection, or than the program takes."""

import time

from play import row

#: Clients who ask: as many as it takes to get most of the room there is (20,000), of which one gets half.
CLIENTS = 8
#: Questions that are in flight together and all answered. The first of them may have waited for all the others when the last answer comes,
#: and two seconds is all it has.
TOGETHER, TOGETHER_RATE = 16_384, 12_000
#: Questions, most of them given up by then, that the upstream still owes: more than a connection has IDs.
OWED, OWED_RATE = 70_000, 8_000
MEMORY = 96 * 1024 * 1024


@row("T63", "65,536 queries unanswered at one upstream, then all answered in reverse",
     "every answer to its asker; 0 lost", seconds=35, alone=True)
def all_ids(play):
    u1 = play.upstream(1, "hold")
    play.resident_allowance = MEMORY
    play.start(u1)
    with play.load(rate=TOGETHER_RATE, limit=TOGETHER, repeated=False, sockets=CLIENTS) as load:
        while len(load.asked) < TOGETHER:
            time.sleep(0.01)
        held = u1.counters()["queries"]
        u1.tell("release")
        u1.mode("normal")
        load.join()
    play.note(f"{held} held together: {load.history.good} good, {load.history.servfails} SERVFAIL")
    play.all_good(load.history, f"{TOGETHER} together: ")
    u1.mode("hold")
    with play.load(rate=OWED_RATE, limit=OWED, repeated=False, sockets=CLIENTS) as load:
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
