//! Upstreams as they may be: what becomes of a dial, and what of a query, on a good day and in a storm.

use core::time::Duration;

use dotward_core::upstream::{CloseReason, TlsFault};
use dotward_core::wire::{Class, Flags, HEADER_LEN, Header, Question, Rcode};

use super::chance::Chance;

/// What becomes of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// It succeeds after a while.
    Open,
    /// It fails after a while.
    Fail(CloseReason),
    /// Nothing ever comes back.
    Hang,
    /// Each time something else.
    Mixed,
}

/// How an upstream behaves for some time. Shares are in a hundred queries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) dial: Dial,
    dial_max: u64,
    delay_max: u64,
    silence: u8,
    wrong_id: u8,
    wrong_question: u8,
    garbled: u8,
    poor: u8,
    twice: u8,
    hang_up: u8,
}

/// An answer, or what stands for one, on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) after: Duration,
    pub(super) message: Vec<u8>,
}

impl Weather {
    /// Everything works, and quickly.
    pub(super) const FINE: Self = Self {
        dial: Dial::Open,
        dial_max: 20,
        delay_max: 20,
        silence: 0,
        wrong_id: 0,
        wrong_question: 0,
        garbled: 0,
        poor: 0,
        twice: 0,
        hang_up: 0,
    };

    /// Some mixture of faults.
    pub(super) fn storm(chance: &mut Chance<'_>) -> Self {
        let dials = [
            Dial::Open,
            Dial::Open,
            Dial::Mixed,
            Dial::Hang,
            Dial::Fail(CloseReason::Refused),
            Dial::Fail(CloseReason::NoResources),
            Dial::Fail(CloseReason::Tls(TlsFault::Expired)),
        ];
        let share = |chance: &mut Chance<'_>| chance.pick(&[0, 0, 0, 2, 10, 50, 100]);
        Self {
            dial: chance.pick(&dials),
            dial_max: chance.pick(&[1, 20, 200, 1_500, 5_000]),
            delay_max: chance.pick(&[1, 20, 100, 700, 3_000, 10_000]),
            silence: share(chance),
            wrong_id: share(chance),
            wrong_question: share(chance),
            garbled: share(chance),
            poor: share(chance),
            twice: share(chance),
            hang_up: share(chance),
        }
    }

    /// Whether a dial goes well, and when that is known; `None` when it never is.
    pub(super) fn dial(&self, chance: &mut Chance<'_>) -> Option<(Duration, Option<CloseReason>)> {
        let after = chance.millis(1..=self.dial_max);
        match self.dial {
            Dial::Open => Some((after, None)),
            Dial::Fail(reason) => Some((after, Some(reason))),
            Dial::Hang => None,
            Dial::Mixed => match chance.number(0..=3) {
                0 | 1 => Some((after, None)),
                2 => Some((after, Some(CloseReason::Reset))),
                _ => None,
            },
        }
    }

    /// Whether the upstream closes the connection after this query, and when.
    pub(super) fn hang_up(&self, chance: &mut Chance<'_>) -> Option<Duration> {
        chance
            .percent(self.hang_up)
            .then(|| chance.millis(0..=self.delay_max))
    }

    /// What is sent for a query.
    pub(super) fn answers(
        &self,
        chance: &mut Chance<'_>,
        id: u16,
        question: &Question,
    ) -> Vec<Sent> {
        let mut messages = Vec::new();
        if chance.percent(self.wrong_id) {
            messages.push(good(id ^ 0x0101, question));
        }
        if chance.percent(self.wrong_question) {
            messages.push(wrong(chance, id, question));
        }
        if chance.percent(self.garbled) {
            messages.push(garbled(chance, id, question));
        }
        if !chance.percent(self.silence) {
            let message = if chance.percent(self.poor) {
                poor(chance, id, question)
            } else {
                good(id, question)
            };
            if chance.percent(self.twice) {
                messages.push(message.clone());
            }
            messages.push(message);
        }
        let sent = |message| Sent {
            after: chance.millis(1..=self.delay_max),
            message,
        };
        messages.into_iter().map(sent).collect()
    }
}

/// Data that only this question has: 64 bits of a hash over its name (letter case aside), type and class.
pub(super) fn data(question: &Question) -> [u8; 8] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let folded = question.qname().folded();
    let numbers = [question.qtype().0, question.qclass().0];
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    for octet in folded.as_octets().iter().copied().chain(numbers) {
        hash = (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.to_be_bytes()
}

fn message(id: u16, flags: Flags, question: &Question, records: u16) -> Vec<u8> {
    let header = Header {
        id,
        flags: flags
            .with_response(true)
            .with_recursion_available(true)
            .with_recursion_desired(true),
        questions: 1,
        answers: records,
        authorities: 0,
        additionals: 0,
    };
    let mut message = header.octets().to_vec();
    message.extend_from_slice(question.octets());
    for _ in 0..records {
        message.extend_from_slice(b"\xc0\x0c\xff\x01\x00\x01\x00\x00\x00\x3c\x00\x08");
        message.extend_from_slice(&data(question));
    }
    message
}

/// The answer, with the question's letters in upper case: an upstream may do that.
pub(super) fn good(id: u16, question: &Question) -> Vec<u8> {
    message(id, Flags::NONE, &crate::laws::swapped_case(question), 1)
}

fn wrong(chance: &mut Chance<'_>, id: u16, question: &Question) -> Vec<u8> {
    let name = question.qname();
    let other = match chance.number(0..=2) {
        0 => "other.example".parse().unwrap_or_else(|_| name.clone()),
        _ => name,
    };
    let class = chance.pick(&[Class::IN, Class::CH]);
    let rtype = dotward_core::wire::RecordType(question.qtype().0 ^ 1);
    let asked = Question::new(&other, rtype, class);
    message(id, Flags::NONE, &asked, 1)
}

fn poor(chance: &mut Chance<'_>, id: u16, question: &Question) -> Vec<u8> {
    let rcode = chance.pick(&[Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTIMP]);
    message(id, Flags::NONE.with_rcode_low(rcode), question, 0)
}

fn garbled(chance: &mut Chance<'_>, id: u16, question: &Question) -> Vec<u8> {
    let mut message = good(id, question);
    match chance.number(0..=2) {
        0 => message.truncate(chance.size(0..=message.len() - 1)),
        1 => {
            // Somewhere in the question: any other octet might make it another answer to the same.
            let at = chance.size(HEADER_LEN..=HEADER_LEN + question.octets().len() - 1);
            message[at] ^= 0xff;
        }
        _ => message.extend_from_slice(&[0; 700]),
    }
    message
}
