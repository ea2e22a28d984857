//! A route on one line: `SUFFIX=SPEC[,SPEC…]`.

use super::{ValueFault, split_list, suffix};
use crate::config::Suffix;
use crate::settings::Kind;

/// A route as one line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteText {
    /// The names it is about.
    pub suffix: Suffix,
    /// Who is asked: names of upstreams and SPECs, at least one.
    pub to: Vec<String>,
}

pub(super) fn parse(text: &str) -> Result<RouteText, ValueFault> {
    let (suffix, to) = text.split_once('=').ok_or(ValueFault::NotARoute)?;
    let suffix = suffix::parse(suffix.trim())?;
    let to = split_list(Kind::Spec, to);
    match to.is_empty() {
        true => Err(ValueFault::Empty),
        false => Ok(RouteText { suffix, to }),
    }
}

/// Whether `piece`, found behind a comma, is one more upstream of the route before the comma: an `=` stands in its parameters only.
pub(super) fn continues(piece: &str) -> bool {
    let before = piece.split_once('=').map(|(before, _)| before);
    before.is_none_or(|before| before.contains("://") || before.contains(['?', '@', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_its_suffix_and_whom_to_ask() {
        let route = parse("corp.example=office,udp://10.0.0.53").expect("a route");
        assert_eq!(route.suffix.to_string(), "corp.example");
        assert_eq!(route.to, ["office", "udp://10.0.0.53"]);
        assert_eq!(parse("corp.example"), Err(ValueFault::NotARoute));
        assert_eq!(parse("corp.example="), Err(ValueFault::Empty));
        assert!(matches!(
            parse("10.1.1.1/8=x"),
            Err(ValueFault::HostBits { .. })
        ));
    }
}
