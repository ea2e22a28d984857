//! The TOML file, walked along the table of settings.
//!
//! Syntax errors, unknown keys and wrong types are all collected; what can be read is read, so that
//! one pass tells every fault. Values stay texts here: `layers` parses them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Clash, Fault, Problem};
use super::layers::Given;
use super::place::{Place, SourceFile, Spot};
use super::suggest::nearest;
use crate::settings::{Id, Kind, SETTINGS, Setting};

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct FileSettings {
    /// Settings outside repeated tables; the place is that of the whole value.
    pub(crate) settings: Vec<(Id, Place, Vec<Given>)>,
    /// The upstreams, if the file speaks of them, and where it does.
    pub(crate) upstreams: Option<(Place, Vec<Item>)>,
    /// The routes likewise.
    pub(crate) routes: Option<(Place, Vec<Item>)>,
    /// The `[[local]]` tables.
    pub(crate) locals: Vec<Entry>,
}

/// One upstream or route of the file.
#[derive(Debug)]
pub(crate) enum Item {
    /// On one line.
    Line(Given),
    /// An `[[upstream]]` or `[[route]]` table.
    Table(Entry),
}

/// One repeated table.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it begins.
    pub(crate) place: Place,
    /// As people write it: `[[upstream]] "quad9"`.
    pub(crate) label: String,
    /// What stands in it.
    pub(crate) settings: BTreeMap<Id, Vec<Given>>,
    /// Whether a key or type in it was at fault, so that what is missing may only be misspelt.
    pub(crate) faulty: bool,
}

/// Reads a file; what is wrong with it is added to `faults`.
pub(crate) fn read(source: &Arc<SourceFile>, faults: &mut Vec<Fault>) -> FileSettings {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let (mut of_syntax, mut of_walk) = (Vec::new(), Vec::new());
    let place = |span| Spot {
        source: Arc::clone(source),
        span,
    };
    for error in errors {
        let spot = place(error.span().unwrap_or_default());
        let problem = match error.message() {
            "duplicate key" => duplicate(&spot, table.get_ref()).into(),
            message => Problem::Syntax {
                message: message.replace('\n', ", "),
            },
        };
        of_syntax.push((spot.line(), Fault::new(&Place::File(spot), problem)));
    }
    let read = Walk {
        source,
        faults: &mut of_walk,
    }
    .root(table.get_ref());
    // What the parser made up for a line it could not read is not blamed again.
    let on_broken_line = |fault: &Fault| match &fault.place {
        Place::File(spot) => of_syntax.iter().any(|(line, _)| *line == spot.line()),
        Place::Default | Place::Variable(_) | Place::Flag(_) => false,
    };
    of_walk.retain(|fault| !on_broken_line(fault));
    // Nor are the lines below a table whose heading is broken.
    let headings = of_syntax.iter().filter(|(line, _)| {
        let text = source.text.lines().nth(line.saturating_sub(1));
        text.is_some_and(|text| text.trim_start().starts_with('['))
    });
    if let Some((broken, _)) = headings.min_by_key(|(line, _)| *line) {
        let is_below = |fault: &Fault| match (&fault.place, &fault.problem) {
            (Place::File(spot), Problem::UnknownKey { inside, .. }) => {
                inside.is_empty() && spot.line() > *broken
            }
            (_, _) => false,
        };
        of_walk.retain(|fault| !is_below(fault));
    }
    faults.extend(of_syntax.into_iter().map(|(_, fault)| fault));
    faults.extend(of_walk);
    read
}

/// What is given for the second time at `spot`, and where it stands first.
fn duplicate(spot: &Spot, table: &DeTable<'_>) -> Clash {
    let written = spot.source.text.get(spot.span.clone()).unwrap_or_default();
    let key = written.trim_matches(['"', '\'']);
    let (line, _) = spot.excerpt();
    let is_table = line.trim_start().starts_with('[');
    let mut first = None;
    last_before(table, key, spot.span.start, !is_table, &mut first);
    let first = first.map(|span| {
        let source = Arc::clone(&spot.source);
        Spot { source, span }.line()
    });
    // What has both may be read with neither of its headings in it.
    let heading = |line: &str| line.trim().trim_matches(['[', ']']).trim() == key;
    let first = first.or_else(|| {
        let mut above = spot.source.text.lines().take(spot.line() - 1);
        let place = above.position(|line| line.trim_start().starts_with('[') && heading(line));
        place.filter(|_| is_table).map(|place| place + 1)
    });
    Clash::Key {
        key: key.escape_debug().to_string(),
        first,
        is_table,
    }
}

/// The last place before `end` where `key` stands, in `table` and, if `deep`, in the tables within.
fn last_before(
    table: &DeTable<'_>,
    key: &str,
    end: usize,
    deep: bool,
    found: &mut Option<Range<usize>>,
) {
    for (name, value) in table {
        let span = name.span();
        let is_later = found.as_ref().is_none_or(|found| found.start < span.start);
        if name.get_ref() == key && span.start < end && is_later {
            *found = Some(span);
        }
        match value.get_ref() {
            DeValue::Table(inner) if deep => last_before(inner, key, end, deep, found),
            DeValue::Array(elements) if deep => {
                let tables = elements.iter().filter_map(|it| it.get_ref().as_table());
                tables.for_each(|inner| last_before(inner, key, end, deep, found));
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {}
        }
    }
}

struct Walk<'a> {
    source: &'a Arc<SourceFile>,
    faults: &'a mut Vec<Fault>,
}

impl Walk<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place::File(Spot {
            source: Arc::clone(self.source),
            span,
        })
    }

    fn fault(&mut self, span: Range<usize>, problem: Problem) {
        let fault = Fault::new(&self.place(span), problem);
        self.faults.push(fault);
    }

    fn root(&mut self, table: &DeTable<'_>) -> FileSettings {
        let mut read = FileSettings::default();
        for (key, value) in table {
            let name: &str = key.get_ref();
            match Setting::of_key("", name) {
                Some(setting) if setting.id == Id::Upstream => {
                    read.upstreams = self.items(name, setting, value);
                }
                Some(setting) if setting.id == Id::Route => {
                    read.routes = self.items(name, setting, value);
                }
                Some(setting) => read.settings.extend(self.setting(setting, value)),
                None => match section(name) {
                    Some(true) => read.locals = self.entries(name, value),
                    Some(false) => read.settings.extend(self.section(name, value)),
                    None => self.unknown("", String::new(), key),
                },
            }
        }
        read
    }

    fn section(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<(Id, Place, Vec<Given>)> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(name, format!("a table: [{name}]"), value);
            return Vec::new();
        };
        let mut read = Vec::new();
        for (key, value) in table {
            match Setting::of_key(name, key.get_ref()) {
                Some(setting) => read.extend(self.setting(setting, value)),
                None => self.unknown(name, format!("[{name}]"), key),
            }
        }
        read
    }

    fn setting(
        &mut self,
        setting: &Setting,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<(Id, Place, Vec<Given>)> {
        let texts = self.texts(setting, value)?;
        Some((setting.id, self.place(value.span()), texts))
    }

    /// What may be a list of lines, or a table for each.
    fn items(
        &mut self,
        name: &str,
        setting: &Setting,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<(Place, Vec<Item>)> {
        if value.get_ref().is_str() {
            let line = self.text(setting, value).map(Item::Line);
            return Some((self.place(value.span()), line.into_iter().collect()));
        }
        let Some(array) = value.get_ref().as_array() else {
            let example = setting.example.split(", ").next().unwrap_or_default();
            let expected = format!("`{name} = [{example}]` or [[{name}]], with two brackets");
            self.wrong_type(name, expected, value);
            return None;
        };
        let mut items = Vec::new();
        for element in array {
            if let DeValue::Table(table) = element.get_ref() {
                let entry = self.entry(name, table, element.span());
                items.push(Item::Table(entry));
            } else {
                items.extend(self.text(setting, element).map(Item::Line));
            }
        }
        Some((self.place(value.span()), items))
    }

    fn entries(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Vec<Entry> {
        let expected = || format!("[[{name}]], with two brackets");
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(name, expected(), value);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for element in array {
            if let DeValue::Table(table) = element.get_ref() {
                entries.push(self.entry(name, table, element.span()));
            } else {
                self.wrong_type(name, expected(), element);
            }
        }
        entries
    }

    fn entry(&mut self, table: &str, content: &DeTable<'_>, span: Range<usize>) -> Entry {
        let label = label(table, content);
        let before = self.faults.len();
        let mut settings = BTreeMap::new();
        for (key, value) in content {
            match Setting::of_key(table, key.get_ref()) {
                Some(setting) => {
                    if let Some(texts) = self.texts(setting, value) {
                        settings.insert(setting.id, texts);
                    }
                }
                None => self.unknown(table, label.clone(), key),
            }
        }
        let faulty = self.faults.len() > before;
        Entry {
            place: self.place(span),
            label,
            settings,
            faulty,
        }
    }

    /// The texts of a value; `None` after a fault.
    fn texts(&mut self, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Option<Vec<Given>> {
        if let (DeValue::Array(array), true) = (value.get_ref(), setting.many) {
            // All elements are looked at before one fault ends the list.
            let texts: Vec<_> = array
                .iter()
                .map(|element| self.text(setting, element))
                .collect();
            return texts.into_iter().collect();
        }
        self.text(setting, value).map(|given| vec![given])
    }

    fn text(&mut self, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Option<Given> {
        let text = match (value.get_ref(), setting.kind) {
            (DeValue::String(text), kind) if takes_strings(kind) => text.to_string(),
            (DeValue::Boolean(value), Kind::YesNo | Kind::Padding) => value.to_string(),
            (
                DeValue::Integer(number),
                Kind::Port
                | Kind::Seconds { .. }
                | Kind::Number { .. }
                | Kind::Size
                | Kind::Workers
                | Kind::Padding,
            ) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                decimal.map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
            }
            (_, _) => {
                let key = setting.key.map_or("", |key| key.name);
                self.wrong_type(key, expected(setting), value);
                return None;
            }
        };
        Some(Given {
            text,
            place: self.place(value.span()),
        })
    }

    fn wrong_type(&mut self, key: &str, expected: String, value: &Spanned<DeValue<'_>>) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let problem = Problem::WrongType {
            key: key.to_owned(),
            expected,
            found,
        };
        self.fault(value.span(), problem);
    }

    fn unknown(&mut self, table: &str, inside: String, key: &Spanned<Cow<'_, str>>) {
        let suggestion = suggestion(table, key.get_ref());
        let key_text = key.get_ref().escape_debug().to_string();
        self.fault(
            key.span(),
            Problem::UnknownKey {
                key: key_text,
                inside,
                suggestion,
            },
        );
    }
}

fn takes_strings(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Port | Kind::Number { .. } | Kind::YesNo | Kind::Padding
    )
}

fn expected(setting: &Setting) -> String {
    match (setting.kind, setting.many) {
        (Kind::YesNo, _) => "`true` or `false`, without quotes".into(),
        (Kind::Padding, _) => "`true`, `false`, or a number such as 128".into(),
        (Kind::Port | Kind::Seconds { .. } | Kind::Number { .. }, _) => {
            format!("a number such as {}", setting.example)
        }
        (Kind::Workers, _) => "a number such as 2, or \"auto\"".into(),
        (_, true) => format!("a list of strings such as [{}]", setting.example),
        (_, false) => format!("a string such as {}", setting.example),
    }
}

/// Whether a table of this name is repeated; `None` if there is none.
fn section(name: &str) -> Option<bool> {
    let mut keys = SETTINGS.iter().filter_map(|setting| setting.key);
    keys.find(|key| key.table == name).map(|key| key.repeated)
}

/// The nearest key of the same table, else the nearest of a plain table, else the same word in a
/// repeated one.
fn suggestion(table: &str, word: &str) -> Option<String> {
    let keys = || SETTINGS.iter().filter_map(|setting| setting.key);
    let mut here: Vec<_> = keys()
        .filter(|key| key.table == table)
        .map(|key| key.name)
        .collect();
    if table.is_empty() {
        here.extend(
            keys()
                .map(|key| key.table)
                .filter(|table| !table.is_empty()),
        );
    }
    if let Some(near) = nearest(word, here) {
        return Some(near.to_owned());
    }
    let plain = || keys().filter(|key| !key.repeated);
    let near = nearest(word, plain().map(|key| key.name));
    let key = match near {
        Some(near) => plain().find(|key| key.name == near),
        None => keys().find(|key| key.name == word),
    };
    key.map(|key| key.to_string())
}

/// A table as people would point at it: by its name, else by its first address.
fn label(table: &str, content: &DeTable<'_>) -> String {
    let address = || {
        let value = content.get("address")?.get_ref();
        let first = || value.as_array()?.iter().next()?.get_ref().as_str();
        value.as_str().or_else(first)
    };
    let name = content.get("name").and_then(|name| name.get_ref().as_str());
    match name.or_else(address) {
        Some(word) => format!("[[{table}]] \"{}\"", word.escape_debug()),
        None => format!("[[{table}]]"),
    }
}
