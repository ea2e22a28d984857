//! The words of a scenario for what the core tells, and comparing them.

use dotward_core::engine::Event;
use dotward_core::upstream::{CloseReason, TlsFault};

pub(super) fn event_name(event: &Event) -> &'static str {
    match event {
        Event::AnswerWithheld => "withheld",
        Event::ConnectionOpening { .. } => "opening",
        Event::ConnectionReady { .. } => "ready",
        Event::ConnectionClosed { .. } => "closed",
        Event::ResponseDisputed { .. } => "disputed",
        Event::ResponseStray { .. } => "stray",
        Event::UpstreamUp { .. } => "up",
        Event::UpstreamSuspect { .. } => "suspect",
        Event::UpstreamWithoutEdns { .. } => "without-edns",
        Event::UpstreamDown { .. } => "down",
    }
}

pub(super) fn reason(word: &str) -> Result<CloseReason, String> {
    Ok(match word {
        "refused" => CloseReason::Refused,
        "unreachable" => CloseReason::Unreachable,
        "no-resources" => CloseReason::NoResources,
        "ended" => CloseReason::Ended,
        "reset" => CloseReason::Reset,
        "tls-wrong-name" => CloseReason::Tls(TlsFault::WrongName),
        "tls-expired" => CloseReason::Tls(TlsFault::Expired),
        "tls-protocol" => CloseReason::Tls(TlsFault::Protocol),
        _ => {
            return Err(format!("no reason {word}"));
        }
    })
}

pub(super) fn addresses(words: &[&str]) -> Result<Vec<core::net::SocketAddr>, String> {
    let parse = |word: &&str| word.parse().map_err(|_| format!("not an address: {word}"));
    words.iter().map(parse).collect()
}

pub(super) fn equal(wanted: &str, found: &str) -> Result<(), String> {
    if wanted == found {
        Ok(())
    } else {
        Err(format!("got {found}"))
    }
}

pub(super) fn expected<T: PartialEq + Copy + core::fmt::Debug>(
    wanted: Option<T>,
    found: T,
) -> Result<(), String> {
    match wanted {
        Some(wanted) if wanted != found => Err(format!("got {found:?}, not {wanted:?}")),
        _ => Ok(()),
    }
}
