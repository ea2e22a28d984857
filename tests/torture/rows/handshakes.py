"""Between TCP and the first query: handshakes that stop or lie, and certificates that prove nothing."""


import upstreams
from lab import certificates
from play import AFTER, LEAD, row
from rows.paths import beside_and_alone

#: The first questions of all wait as long as a hedge may: 400 ms, and a handshake with the other upstream.
HEDGE_MS = 450
#: Seconds after which a handshake without an end is given up, and some for the machine.
HANDSHAKE_GIVEN_UP = 3.5
#: A pin that no key has.
NO_PIN = "sha256/" + "A" * 43 + "="


def stuck(play, mode):
    """The handshake never ends."""
    u1, u2 = play.both(mode)
    play.silent.add(1)
    beside_and_alone(play, u1, u2, HEDGE_MS, (22, 23))
    # Nobody asks any more; what is being opened is given up, before a probe opens the next.
    reached = u1.tell(f"wait closed {HANDSHAKE_GIVEN_UP}s") is not None
    play.expect("handshake given up in 3 s", reached, "still open")


@row("T08", "TCP accepts, TLS never starts", "U2, max 450 ms; alone SERVFAIL; given up in 3 s", needs=("network",), seconds=15)
def accept_only(play):
    stuck(play, "accept-only")


@row("T09", "ServerHello, then silence", "U2, max 450 ms; alone SERVFAIL; given up in 3 s", needs=("network",), seconds=15,
     peers=True)
def server_hello_only(play):
    stuck(play, "server-hello-only")


@row("T10", "garbage in place of the ServerHello", "U2; alone SERVFAIL EDE 23; max 50 ms", seconds=8)
def garbage(play):
    u1, u2 = play.both("garbage-hello")
    play.silent.add(1)
    beside_and_alone(play, u1, u2, 50, (23,), 50)


@row("T11", "DNS in the clear where TLS should be", "U2; alone SERVFAIL EDE 23; nothing sent in the clear", seconds=8)
def clear(play):
    u1, u2 = play.both("plain-text")
    play.silent.add(1)
    beside_and_alone(play, u1, u2, 50, (23,))


def bad_certificates(play, kinds, pinned=()):
    u1, u2 = play.both()
    play.silent.add(1)
    for kind in kinds:
        u1 = play.upstream(1, f"certificate={kind}")
        u1.more = f"&pin={NO_PIN}" if kind in pinned else ""
        alone = beside_and_alone(play, u1, u2, 100, (23,), 100, seconds=LEAD / 2)
        said = alone.ede_texts and all(text.startswith("tls:") for text in alone.ede_texts)
        play.expect(f"{kind}: the extended error says that it is TLS", said, sorted(alone.ede_texts))
        counters = u1.counters()
        octets = counters["octets_after_handshake"]
        play.expect(f"{kind}: no DNS octet", octets == 0, octets, law=True)
        play.notes[-1] = f"{kind}: {', '.join(sorted(alone.ede_texts))}"


@row("T30", "expired certificate", "U2; alone SERVFAIL EDE 23; max 100 ms; no DNS octet", seconds=8)
def expired(play):
    bad_certificates(play, ["expired"])


@row("T31", "wrong name; CN only; address in a DNS name", "U2; alone SERVFAIL EDE 23; max 100 ms; no DNS octet", seconds=15)
def wrong_name(play):
    bad_certificates(play, ["wrong-name", "cn-only", "ip-in-dns-san"])


@row("T32", "unknown CA; self-signed; pin mismatch; missing intermediate; wrong usage",
     "U2; alone SERVFAIL EDE 23; max 100 ms; no DNS octet", seconds=25)
def untrusted(play):
    bad_certificates(play, ["unknown-ca", "self-signed", "good", "missing-intermediate", "wrong-usage"], pinned=["good"])


@row("T34", "certificate turns bad while connections live", "live ones serve on, then U2; 0 lost", seconds=10)
def turns_bad(play):
    u1, u2 = play.both()
    play.start(u1, u2)
    with play.load() as load:
        play.sleep(LEAD)
        u1.tell("mode-fresh certificate=expired")
        turned, before = play.moment(), u1.counters()["queries"]
        play.sleep(LEAD)
        served = u1.counters()["queries"] - before
        u1.tell("close fin")
        play.sleep(AFTER)
    play.all_good(load.history)
    play.within(load.history.since(turned), 100)
    play.expect("live connections serve on", served > 0, served)
    play.expect("U2 takes over", u2.counters()["queries"] > 0, u2.counters()["queries"])


#: What rustls would not do, openssl does: (what, options, RSA bits of the key).
OLD_TLS = (
    ("TLS 1.0", ("-tls1", "-cipher", "ALL:@SECLEVEL=0"), None),
    ("TLS 1.1", ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), None),
    ("RSA key exchange", ("-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"), 2048),
    ("weak key", ("-cipher", "ALL:@SECLEVEL=0"), 1024),
)


@row("T35", "TLS 1.0 or 1.1 only; RSA key exchange only; weak key", "refused: U2; alone SERVFAIL EDE 23",
     needs=("network", "openssl"), seconds=20)
def old_tls(play):
    u2 = play.upstream(2)
    authority = certificates.Authority(play.ground.scratch, "old")
    for place, (what, options, bits) in enumerate(OLD_TLS):
        identity = authority.issue(f"old{place}", [f"DNS:{upstreams.NAME}"], rsa_bits=bits)
        old = upstreams.OpenSsl(play.ground, authority, 1, options, identity)
        beside_and_alone(play, old, u2, 100, (23,), 100, seconds=LEAD / 2)
        old.stop()
        # It logs what it is sent inside TLS; a handshake that fails leaves complaints only.
        told = [line for line in old.program.output().splitlines() if ":error:" not in line and line not in ("ERROR", "")]
        play.expect(f"{what}: no DNS octet", not told, told[:2], law=True)
        play.notes[-1] = what


