//! What was said about each setting, by whom, and whose word counts.
//!
//! Weakest first: default, file, older variables, variables, older options, options. The strongest
//! level that says anything about a setting replaces all weaker ones, lists included. Every value
//! of every level is parsed, so that a fault is told even where a stronger level overrules it.

use std::collections::BTreeMap;

use super::fault::{Fault, Problem};
use super::place::Place;
use super::value::{self, Value, ValueFault};
use crate::settings::{Default, Id, SETTINGS, Setting};

/// One value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// Who says it; the greater counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Default,
    File,
    OlderVariable,
    Variable,
    OlderFlag,
    Flag,
}

/// What one level says about one setting: a list may be there and empty.
#[derive(Debug)]
struct Said {
    place: Place,
    values: Vec<Given>,
}

/// Everything that was said.
#[derive(Debug)]
pub(crate) struct Layers(BTreeMap<(Id, Level), Said>);

impl Layers {
    pub(crate) fn of_defaults() -> Self {
        let mut layers = Self(BTreeMap::new());
        for setting in SETTINGS {
            if let Default::Values(texts) = setting.default {
                let given = |text: &&str| Given {
                    text: (*text).to_owned(),
                    place: Place::Default,
                };
                let values = texts.iter().map(given).collect();
                layers.put(setting.id, Level::Default, &Place::Default, values);
            }
        }
        layers
    }

    /// Adds to what a level says about a setting.
    pub(crate) fn put(&mut self, id: Id, level: Level, place: &Place, values: Vec<Given>) {
        let fresh = || Said {
            place: place.clone(),
            values: Vec::new(),
        };
        self.0
            .entry((id, level))
            .or_insert_with(fresh)
            .values
            .extend(values);
    }

    /// What one level says about a setting.
    pub(crate) fn said(&self, id: Id, level: Level) -> &[Given] {
        self.0.get(&(id, level)).map_or(&[], |said| &said.values)
    }

    /// The strongest level that speaks about a setting, and where.
    pub(crate) fn strongest(&self, id: Id) -> Option<(Level, &Place)> {
        let mut levels = self.0.range((id, Level::Default)..=(id, Level::Flag));
        levels
            .next_back()
            .map(|((_, level), said)| (*level, &said.place))
    }

    /// The texts that count.
    pub(crate) fn texts(&self, id: Id) -> &[Given] {
        let mut levels = self.0.range((id, Level::Default)..=(id, Level::Flag));
        levels.next_back().map_or(&[], |(_, said)| &said.values)
    }

    /// Parses everything; what counts is returned, what does not parse becomes a fault.
    pub(crate) fn parse(&self, faults: &mut Vec<Fault>) -> Values {
        let mut values = BTreeMap::new();
        for ((id, _), said) in &self.0 {
            // Levels of one setting follow each other from weak to strong: the last stays.
            values.insert(*id, parse_all(*id, &said.values, faults));
        }
        Values(values)
    }
}

/// Parses the values of one setting; what does not parse becomes a fault.
pub(crate) fn parse_all(id: Id, given: &[Given], faults: &mut Vec<Fault>) -> Vec<Parsed> {
    let setting = Setting::of(id);
    let mut parsed = Vec::new();
    for Given { text, place } in given {
        match value::parse(setting.kind, text) {
            Ok(value) => parsed.push(Parsed {
                value,
                place: place.clone(),
            }),
            Err(fault) => {
                // A secret is not told again.
                let secret = fault == ValueFault::PasswordInUrl;
                let value = if secret {
                    "…".to_owned()
                } else {
                    text.clone()
                };
                let key = setting.title();
                faults.push(Fault::new(place, Problem::BadValue { key, value, fault }));
            }
        }
    }
    parsed
}

/// One value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// The values that count.
#[derive(Debug)]
pub(crate) struct Values(BTreeMap<Id, Vec<Parsed>>);

impl Values {
    pub(crate) fn of(values: BTreeMap<Id, Vec<Parsed>>) -> Self {
        Self(values)
    }

    pub(crate) fn all(&self, id: Id) -> &[Parsed] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The value of a setting that is no list; the last, if it was said more than once.
    pub(crate) fn one(&self, id: Id) -> Option<&Parsed> {
        self.all(id).last()
    }

    /// The word of a setting that is a choice.
    pub(crate) fn word(&self, id: Id) -> Option<&'static str> {
        if let Value::Word(word) = self.one(id)?.value {
            Some(word)
        } else {
            None
        }
    }
}
