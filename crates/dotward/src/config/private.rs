//! Which names may have private addresses.

use super::Name;
use super::build::values_yes;
use super::layers::{Parsed, Values};
use super::report::Warning;
use super::value::Value;
use crate::settings::Id;

/// Domains that may have private addresses; `None` when all may. Domains that change nothing are told.
pub(super) fn domains(values: &Values, warnings: &mut Vec<Warning>) -> Option<Vec<Name>> {
    let domains = values.all(Id::PrivateDomain);
    if values_yes(values, Id::BlockPrivate) {
        return Some(domains.iter().filter_map(name).collect());
    }
    if let Some(Parsed { place, .. }) = domains.first() {
        let place = place.clone();
        warnings.push(Warning::PrivateDomainUnused { place });
    }
    None
}

fn name(parsed: &Parsed) -> Option<Name> {
    if let Value::Name(name) = &parsed.value {
        Some(name.clone())
    } else {
        None
    }
}
