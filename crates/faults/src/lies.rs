//! From a query and a mode to the messages that are sent for it: the right one, and what is false around it.
//!
//! Promises: every false record carries the poison of [`crate::answers`]; every foreign ID is one that is not in
//! flight on the connection. What a client has to make of them: RFC 5452 section 9.1, RFC 7766 section 7, RFC 7858
//! section 3.3.

use crate::answers::{self, Steering};
use crate::dns::{self, Query, Question, Record, Response};
use crate::mode::{Junk, LetterCase, Lie, LieAbout, Mode};

/// What is sent for one query, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A message that gets a true length prefix whatever the mode says of framing.
    Aside(Vec<u8>),
    /// A message to be framed as the mode says.
    Message(Vec<u8>),
    /// Octets that get no prefix.
    Raw(Vec<u8>),
}

/// All parts sent for a query. `foreign` are IDs not in flight, `mode.strays` of them and one more.
pub(crate) fn compose(
    query: &Query,
    steering: &Steering,
    mode: &Mode,
    foreign: &[u16],
) -> Vec<Part> {
    let right = answers::respond(query, steering, mode);
    let mut parts = Vec::new();
    for id in foreign.iter().take(mode.strays) {
        let stray = Response {
            id: *id,
            ..poisoned(&right, &query.question, mode)
        };
        parts.push(Part::Aside(stray.encode()));
    }
    if let Some(lie) = mode.lie {
        let false_one = lie_about(lie.about, &right, &query.question, mode, foreign);
        parts.push(Part::Aside(false_one.encode()));
    }
    if mode.lie.is_some_and(|Lie { then_right, .. }| !then_right) {
        return parts;
    }
    for _ in 0..=mode.copies {
        parts.push(match mode.junk {
            Some(junk) => rubbish(junk, &right),
            None => Part::Message(recased(&right, mode.letter_case).encode()),
        });
    }
    parts
}

/// The response with false records under the question it would have.
fn poisoned(right: &Response, question: &Question, mode: &Mode) -> Response {
    let Question {
        name,
        qtype,
        qclass,
    } = question;
    Response {
        rcode: dns::NOERROR,
        question: Some(question.clone()),
        answers: vec![answers::poison(name, *qtype, *qclass, mode.ttl)],
        authorities: Vec::new(),
        additionals: Vec::new(),
        ..right.clone()
    }
}

fn lie_about(
    about: LieAbout,
    right: &Response,
    asked: &Question,
    mode: &Mode,
    foreign: &[u16],
) -> Response {
    let mut told = asked.clone();
    match about {
        LieAbout::Name => told.name = other_name(&asked.name),
        LieAbout::Type => {
            told.qtype = if asked.qtype == dns::A {
                dns::AAAA
            } else {
                dns::A
            }
        }
        LieAbout::Class => {
            told.qclass = if asked.qclass == dns::CH {
                dns::IN
            } else {
                dns::CH
            }
        }
        LieAbout::Id | LieAbout::Question | LieAbout::Direction => {}
    }
    let mut response = poisoned(right, &told, mode);
    match about {
        LieAbout::Id => response.id = foreign.last().copied().unwrap_or(!right.id),
        LieAbout::Question => response.question = None,
        LieAbout::Direction => response.flags &= !dns::QR,
        LieAbout::Name | LieAbout::Type | LieAbout::Class => {}
    }
    response
}

/// A name that differs even for a client which looks at the end of names only.
fn other_name(name: &[u8]) -> Vec<u8> {
    let longer = dns::prefixed(b"poison", name);
    if longer == name {
        dns::name_of([b"poison".as_slice()])
    } else {
        longer
    }
}

fn recased(right: &Response, letter_case: LetterCase) -> Response {
    let mut response = right.clone();
    if let Some(question) = &mut response.question {
        let asked = question.name.clone();
        // Length octets are below 64, where no letters are.
        for octet in &mut question.name {
            *octet = match letter_case {
                LetterCase::Kept => *octet,
                LetterCase::Lower => octet.to_ascii_lowercase(),
                LetterCase::Upper => octet.to_ascii_uppercase(),
                LetterCase::Inverted if octet.is_ascii_alphabetic() => *octet ^ 0x20,
                LetterCase::Inverted => *octet,
            };
        }
        for record in &mut response.answers {
            if record.owner == asked {
                record.owner.clone_from(&question.name);
            }
        }
    }
    response
}

fn rubbish(junk: Junk, right: &Response) -> Part {
    match junk {
        Junk::Stream => Part::Raw(noise()),
        Junk::Frame => {
            let mut frame = noise();
            frame[..2].copy_from_slice(&right.id.to_be_bytes());
            Part::Message(frame)
        }
        Junk::Loop => {
            let mut looped = Response {
                answers: Vec::new(),
                authorities: Vec::new(),
                additionals: Vec::new(),
                opt: None,
                ..right.clone()
            };
            let [high, low] = u16::try_from(looped.encode().len())
                .unwrap_or_default()
                .to_be_bytes();
            let rdata = answers::POISON_A.octets().to_vec();
            let owner = vec![0xc0 | high, low];
            looped.answers.push(Record {
                owner,
                rtype: dns::A,
                class: dns::IN,
                ttl: 300,
                rdata,
            });
            looped.opt.clone_from(&right.opt);
            Part::Message(looped.encode())
        }
        Junk::Counts => Part::Message(
            Response {
                answers_claimed: 1,
                ..right.clone()
            }
            .encode(),
        ),
    }
}

/// 64 octets without meaning, the same each time.
pub(crate) fn noise() -> Vec<u8> {
    (0..64u8)
        .map(|place| place.wrapping_mul(167) ^ 0xa5)
        .collect()
}
