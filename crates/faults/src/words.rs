//! The table of all words a mode is written with: one line each, used by the parser, the help and the README.

use crate::mode::{
    Choice, Cut, EdnsAnswer, Framing, Junk, LetterCase, LieAbout, Mode, Opening, Order, Tickets,
    TlsVersions, Writing,
};
use crate::script::{
    Effect, Word, batch, certificate, close_after, cuts, duration, ending, extra, keepalive, late,
    lie, number, or, positive,
};

const fn alone(word: &'static str, meaning: &'static str, set: fn(&mut Mode)) -> Word {
    Word {
        word,
        parameter: "",
        meaning,
        effect: Effect::Alone(set),
    }
}

const fn with(
    word: &'static str,
    parameter: &'static str,
    meaning: &'static str,
    set: fn(&mut Mode, &str) -> Option<()>,
) -> Word {
    Word {
        word,
        parameter,
        meaning,
        effect: Effect::With(set),
    }
}

const fn maybe(
    word: &'static str,
    parameter: &'static str,
    meaning: &'static str,
    set: fn(&mut Mode, Option<&str>) -> Option<()>,
) -> Word {
    Word {
        word,
        parameter,
        meaning,
        effect: Effect::Maybe(set),
    }
}

fn set<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

/// The value a parameter stands for.
fn one_of<T: Clone>(given: &str, choices: &[(&str, T)]) -> Option<T> {
    choices
        .iter()
        .find(|(word, _)| *word == given)
        .map(|(_, value)| value.clone())
}

const CERTIFICATES: &str = "=good|chained|other-key|expires-in-DAYS|wrong-name|cn-only|\
    ip-in-dns-san|ip-san|expired|not-yet-valid|self-signed|unknown-ca|missing-intermediate|\
    wrong-usage";

/// Every word, in the order of the life of a connection.
pub static WORDS: &[Word] = &[
    alone(
        "normal",
        "a correct server; forgets the words before it",
        |m| *m = Mode::default(),
    ),
    // Opening
    alone("accept-only", "TCP is accepted, TLS never starts", |m| {
        m.opening = Opening::AcceptOnly;
    }),
    alone(
        "server-hello-only",
        "the ServerHello record, then silence",
        |m| {
            m.opening = Opening::ServerHelloOnly;
        },
    ),
    alone(
        "garbage-hello",
        "octets that are no TLS in place of the ServerHello",
        |m| {
            m.opening = Opening::Garbage;
        },
    ),
    alone(
        "plain-text",
        "DNS in clear, even to a client that begins TLS",
        |m| {
            m.opening = Opening::PlainText;
        },
    ),
    alone("reset-hello", "RST straight after the accept", |m| {
        m.opening = Opening::Reset;
    }),
    alone("close-hello", "FIN straight after the ClientHello", |m| {
        m.opening = Opening::Close;
    }),
    with(
        "handshake-delay",
        "=DURATION",
        "pause before the first octet of TLS",
        |m, p| set(&mut m.handshake_delay, duration(p)),
    ),
    with(
        "connections",
        "=N",
        "resets each connection beyond N open ones",
        |m, p| set(&mut m.connections_max, number(p).map(Some)),
    ),
    // TLS
    with(
        "certificate",
        CERTIFICATES,
        "shows this certificate",
        |m, p| set(&mut m.certificate, certificate(p)),
    ),
    with(
        "tls",
        "=1.2|1.3|all",
        "speaks these versions only",
        |m, p| {
            let versions = [
                ("1.2", TlsVersions::Only12),
                ("1.3", TlsVersions::Only13),
                ("all", TlsVersions::All),
            ];
            set(&mut m.versions, one_of(p, &versions))
        },
    ),
    with(
        "tickets",
        "=own|shared|none",
        "resumes sessions of one certificate, any, none",
        |m, p| {
            let tickets = [
                ("own", Tickets::Own),
                ("shared", Tickets::Shared),
                ("none", Tickets::Refused),
            ];
            set(&mut m.tickets, one_of(p, &tickets))
        },
    ),
    alone(
        "client-certificate",
        "demands a client certificate of the same CA",
        |m| {
            m.client_certificate = true;
        },
    ),
    // Which queries, when, in which order
    alone("mute", "queries are read and never answered", |m| {
        m.choice = Choice::Mute;
    }),
    with(
        "answer-one-of",
        "=N",
        "answers the first of every N queries",
        |m, p| set(&mut m.choice, positive(p).map(Choice::OneOf)),
    ),
    with(
        "mute-after",
        "=N",
        "answers N queries per connection, then none",
        |m, p| set(&mut m.choice, number(p).map(Choice::First)),
    ),
    with(
        "delay",
        "=DURATION",
        "every response comes this much later",
        |m, p| set(&mut m.delay, duration(p)),
    ),
    with(
        "late",
        "=DURATION[/N]",
        "one response of every N (10) comes this much later",
        |m, p| set(&mut m.late, late(p).map(Some)),
    ),
    alone(
        "hold",
        "keeps responses until `release` or another mode; then the last comes first",
        |m| {
            m.order = Order::Hold;
        },
    ),
    with(
        "reverse",
        "=N[/DURATION]",
        "batches of N leave last first, smaller ones in time",
        |m, p| set(&mut m.order, batch(p).map(Order::Reversed)),
    ),
    with(
        "shuffle",
        "=N[/DURATION]",
        "batches of N leave in disorder, smaller ones in time",
        |m, p| set(&mut m.order, batch(p).map(Order::Shuffled)),
    ),
    alone("serial", "one query in service at a time", |m| {
        m.in_flight_max = Some(1);
    }),
    with(
        "in-flight",
        "=N",
        "N queries in service at a time, per connection",
        |m, p| set(&mut m.in_flight_max, positive(p).map(Some)),
    ),
    alone("deaf", "reads nothing after the handshake", |m| {
        m.deaf = true;
    }),
    // Lies
    maybe(
        "stray",
        "[=N]",
        "N (1) responses with foreign IDs before the right one",
        |m, p| set(&mut m.strays, extra(p)),
    ),
    maybe(
        "wrong-id",
        "[=first]",
        "a foreign ID; with `first` the right response follows",
        |m, p| set(&mut m.lie, lie(LieAbout::Id, p).map(Some)),
    ),
    maybe(
        "wrong-name",
        "[=first]",
        "another name is asked and answered",
        |m, p| set(&mut m.lie, lie(LieAbout::Name, p).map(Some)),
    ),
    maybe(
        "wrong-type",
        "[=first]",
        "another type is asked and answered",
        |m, p| set(&mut m.lie, lie(LieAbout::Type, p).map(Some)),
    ),
    maybe(
        "wrong-class",
        "[=first]",
        "another class is asked and answered",
        |m, p| set(&mut m.lie, lie(LieAbout::Class, p).map(Some)),
    ),
    maybe(
        "empty-question",
        "[=first]",
        "an answer without a question",
        |m, p| set(&mut m.lie, lie(LieAbout::Question, p).map(Some)),
    ),
    maybe("not-a-response", "[=first]", "QR=0", |m, p| {
        set(&mut m.lie, lie(LieAbout::Direction, p).map(Some))
    }),
    with(
        "case",
        "=upper|lower|invert|keep",
        "letter case of the question sent back",
        |m, p| {
            let cases = [
                ("upper", LetterCase::Upper),
                ("lower", LetterCase::Lower),
                ("invert", LetterCase::Inverted),
                ("keep", LetterCase::Kept),
            ];
            set(&mut m.letter_case, one_of(p, &cases))
        },
    ),
    maybe(
        "duplicate",
        "[=N]",
        "N (1) further copies of every response",
        |m, p| set(&mut m.copies, extra(p)),
    ),
    with(
        "junk",
        "=stream|frame|loop|counts",
        "noise without prefix; noise after the ID; an owner that points to itself; a missing answer",
        |m, p| {
            let junk = [
                ("stream", Junk::Stream),
                ("frame", Junk::Frame),
                ("loop", Junk::Loop),
                ("counts", Junk::Counts),
            ];
            set(&mut m.junk, one_of(p, &junk).map(Some))
        },
    ),
    // Content
    alone("servfail", "SERVFAIL for all", |m| m.rcode = Some(2)),
    alone("refused", "REFUSED for all", |m| m.rcode = Some(5)),
    with("rcode", "=N", "this RCODE for all, at most 4095", |m, p| {
        set(
            &mut m.rcode,
            number(p).filter(|rcode| *rcode <= 4_095).map(Some),
        )
    }),
    alone("tc", "TC=1 and no answer", |m| m.truncated = true),
    with(
        "size",
        "=N",
        "every response has N octets, at most 65535",
        |m, p| set(&mut m.size, number(p).map(Some)),
    ),
    with("ttl", "=SECONDS", "TTL of all records (300)", |m, p| {
        set(&mut m.ttl, number(p))
    }),
    alone("aa", "AA=1", |m| m.authoritative = true),
    alone("ad", "AD=1", |m| m.authentic = true),
    alone("no-ra", "RA=0", |m| m.recursion_available = false),
    alone("no-opt", "the OPT record is left out", |m| {
        m.edns = EdnsAnswer::Removed;
    }),
    alone(
        "formerr-opt",
        "a query with OPT gets FORMERR without OPT",
        |m| {
            m.edns = EdnsAnswer::FormErr;
        },
    ),
    with(
        "keepalive",
        "=DURATION",
        "edns-tcp-keepalive with this timeout, to 6553.5s",
        |m, p| set(&mut m.keepalive, keepalive(p).map(Some)),
    ),
    // Octets
    maybe(
        "length-too-large",
        "[=N]",
        "the prefix says N (100) octets too many; then the end",
        |m, p| set(&mut m.framing, or(p, 100).map(Framing::TooLong)),
    ),
    with(
        "length",
        "=N",
        "the prefix says N, and at most N octets follow",
        |m, p| set(&mut m.framing, number(p).map(Framing::Exactly)),
    ),
    maybe(
        "abort",
        "[=N]",
        "FIN without close_notify after N octets (half) of a frame",
        |m, p| {
            let cut = p.map_or(Some(Cut::Half), |p| number(p).map(Cut::After));
            set(&mut m.framing, cut.map(Framing::Abort))
        },
    ),
    alone("split", "every octet in a TLS record of its own", |m| {
        m.writing = Writing::Octets;
    }),
    with(
        "cut",
        "=N/N/...",
        "TLS records end after these octets of a frame",
        |m, p| set(&mut m.writing, cuts(p).map(Writing::Cuts)),
    ),
    with("drip", "=DURATION", "an octet per DURATION", |m, p| {
        set(&mut m.writing, duration(p).map(Writing::Drip))
    }),
    alone(
        "coalesce",
        "responses ready together share a TLS record",
        |m| {
            m.writing = Writing::Coalesced;
        },
    ),
    with(
        "tcp-chunk",
        "=N",
        "at most N octets in one write to the TCP socket",
        |m, p| set(&mut m.tcp_chunk, positive(p).map(Some)),
    ),
    // The end
    alone("close-each", "closes after each response", |m| {
        m.closing = crate::mode::Closing::EachReply;
    }),
    with(
        "close-after",
        "=K[/N]",
        "closes after K responses, once N more queries wait",
        |m, p| set(&mut m.closing, close_after(p)),
    ),
    with(
        "idle-close",
        "=DURATION",
        "closes an idle connection",
        |m, p| set(&mut m.idle, duration(p).map(Some)),
    ),
    with(
        "lifetime",
        "=DURATION",
        "closes a connection of this age",
        |m, p| set(&mut m.lifetime, duration(p).map(Some)),
    ),
    with(
        "ending",
        "=notify|fin|reset",
        "how connections are closed",
        |m, p| set(&mut m.ending, ending(p).map(Some)),
    ),
];
