"""How upstreams limit and end their connections."""

from play import AFTER, LEAD, row

#: (idle seconds after which the upstream closes, questions a second, questions): asked about when it closes.
IDLE = ((0.1, 9, 30), (1, 0.98, 7), (4, 0.24, 4))
IDLE_FULL = (*IDLE, (10, 0.099, 6))
#: Questions at once that make an upstream of 200 a second slow (T40).
BURST = 120
#: Queries that are left unanswered at each close (T37).
PENDING = 3


@row("T36", "U closes after each reply", "NOERROR; 0 lost; 1.1 connections per query")
def close_each(play):
    u1 = play.upstream(1, "close-each")
    play.start(u1)
    with play.load() as load:
        play.sleep(2 * AFTER)
    play.all_good(load.history)
    seen = u1.counters()
    share = seen["connections_accepted"] / len(load.history)
    play.expect("at most 1.1 connections per question", share <= 1.1, f"{share:.2f}")
    play.note(f"{share:.2f} connections per question")


@row("T37", "U closes after 1 to 50 replies with others pending", "NOERROR; 0 lost", seconds=20)
def close_pending(play):
    u1, u2 = play.both()
    # Alone: what is sent again goes first, so an upstream that answers at least as many as it leaves serves everybody.
    for where, ups, counts in (("with U2", (u1, u2), (1, 2, 5, 20, 50)), ("alone", (u1,), (5, 20, 50))):
        for replies in counts:
            play.start(*ups)
            u1.mode(f"close-after={replies}/{PENDING},ending={'reset' if replies % 2 else 'notify'}")
            with play.load(rate=200) as load:
                play.sleep(LEAD)
                # The last ones would wait for others to come.
                u1.mode("normal")
                play.sleep(0.5)
            play.all_good(load.history, f"{where}, {replies} replies: ")


@row("T38", "U closes idle connections after 0.1, 1, 4 s (--full: 10 s)", "NOERROR; 0 lost, max 50 ms", seconds=30, full=90, peers=True)
def idle_close(play):
    u1, u2 = play.both()
    for seconds, rate, questions in IDLE_FULL if play.full else IDLE:
        for up in (u1, u2):
            up.mode(f"idle-close={int(seconds * 1000)}ms")
        play.start(u1, u2)
        with play.load(rate=rate, limit=questions, repeated=False) as load:
            load.join()
        play.all_good(load.history, f"{seconds} s: ")
        play.within(load.history, 50, f"{seconds} s: ")


@row("T39", "U sends edns-tcp-keepalive 0", "NOERROR; 0 lost")
def keepalive_zero(play):
    u1 = play.upstream(1, "keepalive=0s")
    play.start(u1)
    with play.load() as load:
        play.sleep(AFTER)
    play.all_good(load.history)
    play.within(load.history, 100)
    play.note(f"{u1.counters()['connections_accepted']} connections for {len(load.history)} questions")


@row("T40", "U accepts one connection and resets the next ones", "NOERROR; 0 lost; works on the one, no log line per try")
def one_connection(play):
    u1 = play.upstream(1, "connections=1,in-flight=16,delay=80ms")
    play.start(u1)
    with play.load(rate=100, repeated=False) as load:
        for _ in range(3):
            play.sleep(LEAD)
            # What queues there makes a second connection wanted.
            with play.load(rate=2000, limit=BURST, repeated=False) as burst:
                burst.join()
    play.all_good(load.history)
    refused = u1.counters()["connections_refused"]
    play.expect("a second connection was wanted", refused > 0, refused)
    play.expect("and not at every question", refused <= 10, refused)
    with open(play.subject.log) as file:
        complaints = file.read().count('"WARN"')
    play.expect("no complaint: it works", complaints == 0, f"{complaints} warnings")
    play.note(f"{refused} further ones reset")


@row("T41", "U serves one query at a time", "NOERROR; 0 lost, p99 500 ms; pool within its bound")
def serial(play):
    u1 = play.upstream(1, "serial,delay=10ms")
    play.start(u1)
    with play.load(rate=150, repeated=False) as load:
        play.sleep(2 * AFTER)
        most = u1.counters()["connections_open"]
    play.all_good(load.history)
    play.p99(load.history, 500)
    play.expect("at most 4 connections", most <= 4, most)
    play.note(f"{most} connections")
