//! Records answered here, from the `[[local]]` tables.
//!
//! An alias stands alone at its name (RFC 1034 section 3.6.2), over all tables together, and leads to another local name: stub
//! resolvers do not follow aliases themselves (RFC 1034 section 5.3.1). The same record twice counts once.

use std::collections::BTreeMap;

use super::fault::{Fault, Problem};
use super::file::Entry;
use super::layers::{Parsed, Values, parse_all};
use super::place::Place;
use super::value::Value;
use super::{LocalData, LocalRecord, Name};
use crate::settings::Id;

/// The TTL of records that name none: long enough to spare questions, short enough to move a host.
const TTL: u32 = 300;

const DATA: [Id; 5] = [
    Id::LocalA,
    Id::LocalAaaa,
    Id::LocalTxt,
    Id::LocalPtr,
    Id::LocalCname,
];

/// All records; what is wrong with a table is added to `faults`.
pub(crate) fn build(entries: &[Entry], faults: &mut Vec<Fault>) -> Vec<LocalRecord> {
    let mut records: Vec<(LocalRecord, Place)> = Vec::new();
    for entry in entries {
        for (record, place) in records_of(entry, faults) {
            let known = records.iter().any(|(known, _)| {
                known.name.eq_ignore_case(&record.name) && known.data == record.data
            });
            if !known {
                records.push((record, place));
            }
        }
    }
    refuse_aliases_beside_others(&records, faults);
    refuse_aliases_that_lead_out(&records, faults);
    records.into_iter().map(|(record, _)| record).collect()
}

fn records_of(entry: &Entry, faults: &mut Vec<Fault>) -> Vec<(LocalRecord, Place)> {
    let before = faults.len();
    let values: BTreeMap<_, _> = entry
        .settings
        .iter()
        .map(|(id, given)| (*id, parse_all(*id, given, faults)))
        .collect();
    let values = Values::of(values);
    if entry.faulty || faults.len() > before {
        return Vec::new();
    }
    let Some(name) = owner(&values) else {
        faults.push(Fault::new(
            &entry.place,
            Problem::LocalIncomplete { missing: "name" },
        ));
        return Vec::new();
    };
    let ttl = match values.one(Id::LocalTtl).map(|parsed| &parsed.value) {
        Some(Value::Seconds(ttl)) => *ttl,
        Some(_) | None => TTL,
    };
    let mut records = Vec::new();
    for parsed in DATA
        .iter()
        .flat_map(|id| values.all(*id).iter().map(move |it| (*id, it)))
    {
        let (id, Parsed { value, place }) = parsed;
        if let Some(data) = data(id, value) {
            records.push((
                LocalRecord {
                    name: name.clone(),
                    data,
                    ttl,
                },
                place.clone(),
            ));
        }
    }
    if records.is_empty() {
        faults.push(Fault::new(
            &entry.place,
            Problem::LocalIncomplete { missing: "value" },
        ));
    }
    records
}

fn owner(values: &Values) -> Option<Name> {
    if let Value::Name(name) = &values.one(Id::LocalName)?.value {
        Some(name.clone())
    } else {
        None
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds of the five keys yield no others"
)]
fn data(id: Id, value: &Value) -> Option<LocalData> {
    match value {
        Value::Ipv4(address) => Some(LocalData::A(*address)),
        Value::Ipv6(address) => Some(LocalData::Aaaa(*address)),
        Value::Text(text) => Some(LocalData::Txt(text.clone().into_bytes())),
        Value::Name(name) if id == Id::LocalPtr => Some(LocalData::Ptr(name.clone())),
        Value::Name(name) => Some(LocalData::Cname(name.clone())),
        _ => None,
    }
}

fn refuse_aliases_beside_others(records: &[(LocalRecord, Place)], faults: &mut Vec<Fault>) {
    for (index, (alias, place)) in records.iter().enumerate() {
        let mut others = records
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        let beside = others.any(|(_, (other, _))| other.name.eq_ignore_case(&alias.name));
        if matches!(alias.data, LocalData::Cname(_)) && beside {
            let name = alias.name.to_string();
            faults.push(Fault::new(place, Problem::AliasBesideOthers { name }));
        }
    }
}

fn refuse_aliases_that_lead_out(records: &[(LocalRecord, Place)], faults: &mut Vec<Fault>) {
    for (alias, place) in records {
        let LocalData::Cname(target) = &alias.data else {
            continue;
        };
        if !records
            .iter()
            .any(|(record, _)| record.name.eq_ignore_case(target))
        {
            let (name, target) = (alias.name.to_string(), target.to_string());
            faults.push(Fault::new(place, Problem::AliasLeadsOut { name, target }));
        }
    }
}
