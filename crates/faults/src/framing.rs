//! From messages to pieces of a stream: the length prefix (RFC 1035 section 4.2.2, RFC 7858 section 3.3), true or
//! not, and the places at which writing is interrupted.

use std::time::Duration;

use crate::lies::Part;
use crate::mode::{Cut, Ending, Framing, Writing};

/// Octets that are written in one go, with the pause after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) octets: Vec<u8>,
    pub(crate) pause: Duration,
}

/// A response as octets, and how the connection ends after it, if the framing fault implies an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Framed {
    pub(crate) octets: Vec<u8>,
    pub(crate) then: Option<Ending>,
}

pub(crate) fn frame(part: Part, framing: Framing) -> Framed {
    let (message, framing) = match part {
        Part::Raw(octets) => return Framed { octets, then: None },
        Part::Aside(message) => (message, Framing::Honest),
        Part::Message(message) => (message, framing),
    };
    let honest = u16::try_from(message.len()).unwrap_or(u16::MAX);
    match framing {
        Framing::Honest => prefixed(honest, &message, None),
        Framing::TooLong(by) => prefixed(honest.saturating_add(by), &message, Some(Ending::Notify)),
        Framing::Exactly(length) => {
            let kept = message.len().min(usize::from(length));
            prefixed(length, &message[..kept], None)
        }
        Framing::Abort(cut) => {
            let mut framed = prefixed(honest, &message, Some(Ending::Fin));
            let last = framed.octets.len() - 1;
            framed.octets.truncate(match cut {
                Cut::Half => last / 2,
                Cut::After(octets) => octets.min(last),
            });
            framed
        }
    }
}

fn prefixed(length: u16, message: &[u8], then: Option<Ending>) -> Framed {
    let mut octets = Vec::with_capacity(message.len() + 2);
    octets.extend(length.to_be_bytes());
    octets.extend(message);
    Framed { octets, then }
}

/// Cuts a frame where the mode says.
pub(crate) fn pieces(octets: Vec<u8>, writing: &Writing) -> Vec<Piece> {
    let at_once = |octets: Vec<u8>| Piece {
        octets,
        pause: Duration::ZERO,
    };
    let each = |pause: Duration, octets: Vec<u8>| {
        octets
            .into_iter()
            .map(|octet| Piece {
                octets: vec![octet],
                pause,
            })
            .collect()
    };
    match writing {
        Writing::Whole | Writing::Coalesced => vec![at_once(octets)],
        Writing::Octets => each(Duration::ZERO, octets),
        Writing::Drip(pause) => each(*pause, octets),
        Writing::Cuts(cuts) => {
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.iter().copied().chain([octets.len()]) {
                let to = cut.min(octets.len());
                if to > from {
                    pieces.push(at_once(octets[from..to].to_vec()));
                    from = to;
                }
            }
            pieces
        }
    }
}
