//! The rows. Order: by group, as help and manual print them; one file for a group or a few.
//!
//! `Change::Restart` stands where a changed value takes a new start: what is bound, opened or given up then, and what no file says
//! (`reload::needs_restart`).

mod answers;
mod cache;
mod limits;
mod listen;
mod rest;
mod upstreams;

use super::{Change, Default, Group, Id, Key, Kind, Setting};
use crate::config::{STRATEGIES, strategy_word};

const fn top(name: &'static str) -> Option<Key> {
    Some(Key {
        table: "",
        repeated: false,
        name,
    })
}

const fn key(table: &'static str, name: &'static str) -> Option<Key> {
    Some(Key {
        table,
        repeated: false,
        name,
    })
}

const fn field(table: &'static str, name: &'static str) -> Option<Key> {
    Some(Key {
        table,
        repeated: true,
        name,
    })
}

const STRATEGY_WORDS: [&str; STRATEGIES.len()] = {
    let mut words = [""; STRATEGIES.len()];
    let mut place = 0;
    while place < words.len() {
        words[place] = strategy_word(STRATEGIES[place]);
        place += 1;
    }
    words
};
const PIN_MODES: Kind = Kind::Choice(&["enforce", "report"]);

/// What a row does not say.
const ROW: Setting = Setting {
    id: Id::Listen,
    key: None,
    flag: None,
    short: None,
    variable: None,
    kind: Kind::Path,
    many: false,
    default: Default::Nothing("none"),
    example: "",
    group: Group::Expert,
    help: "",
    detail: "",
    change: Change::Reload,
    rare: false,
};

const PARTS: [&[Setting]; 6] = [
    listen::ROWS,
    limits::ROWS,
    answers::ROWS,
    upstreams::ROWS,
    cache::ROWS,
    rest::ROWS,
];

const COUNT: usize = PARTS[0].len()
    + PARTS[1].len()
    + PARTS[2].len()
    + PARTS[3].len()
    + PARTS[4].len()
    + PARTS[5].len();

/// Puts the parts one after the other; at compile time, so that the table stays one plain array.
const fn joined() -> [Setting; COUNT] {
    let mut all = [ROW; COUNT];
    let (mut part, mut next) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            all[next] = PARTS[part][row];
            next += 1;
            row += 1;
        }
        part += 1;
    }
    all
}

static ALL: [Setting; COUNT] = joined();

/// Every setting there is.
pub static SETTINGS: &[Setting] = &ALL;
