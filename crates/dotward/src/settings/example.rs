//! The example file: every key, those with a default at that default, the others commented out.

use std::io::{self, Write};

use super::{Default, Key, SETTINGS, Setting, is_bare};

const HEAD: &str = "\
# dotward.toml - every key has a default; keep only what you change.   Check it:  dotward check dotward.toml
";

/// Writes the example file.
///
/// # Errors
///
/// Those of `out`.
pub fn write_example(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(example().as_bytes())
}

/// The example file.
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    let mut tables: Vec<Key> = Vec::new();
    for key in SETTINGS.iter().filter_map(|setting| setting.key) {
        if !tables
            .iter()
            .any(|known| (known.table, known.repeated) == (key.table, key.repeated))
        {
            tables.push(key);
        }
    }
    // Keys of no table come first in TOML; repeated tables are set apart at the end.
    tables.sort_by_key(|key| (!key.table.is_empty(), key.repeated));
    for table in tables {
        push_table(&mut text, table);
    }
    text
}

fn push_table(text: &mut String, table: Key) {
    match (table.table, table.repeated) {
        ("", _) => {}
        (name, false) => text.push_str(&format!("\n[{name}]\n")),
        (name, true) => {
            text.push('\n');
            if is_given_above(name) {
                text.push_str(&format!(
                    "# In the place of `{name}` above: a file has that line or these tables. Remove it with the first of them.\n"
                ));
            }
            text.push_str(&format!("#[[{name}]]\n"));
        }
    }
    for setting in SETTINGS {
        let Some(key) = setting.key else { continue };
        if (key.table, key.repeated) == (table.table, table.repeated) {
            push_setting(text, setting, key);
        }
    }
}

/// Whether the example has a line of the same name that is not commented out.
fn is_given_above(table: &str) -> bool {
    Setting::of_key("", table).is_some_and(|it| matches!(it.default, Default::Values(_)))
}

fn push_setting(text: &mut String, setting: &Setting, key: Key) {
    if !key.repeated {
        text.push_str(&format!("\n# {}\n", setting.help));
    }
    let many = |values: &str| {
        if setting.many {
            format!("[{values}]")
        } else {
            values.to_owned()
        }
    };
    let line = match setting.default {
        Default::Values(values) => {
            let quoted: Vec<_> = values.iter().map(|value| quoted(setting, value)).collect();
            format!("{} = {}", key.name, many(&quoted.join(", ")))
        }
        Default::Nothing(_) => format!("#{} = {}", key.name, many(setting.example)),
    };
    let note = match setting.default {
        Default::Values(_) => String::new(),
        Default::Nothing(words) if key.repeated => {
            format!("  # {}; default: {words}", setting.help)
        }
        Default::Nothing(words) => format!("  # default: {words}"),
    };
    text.push_str(&format!("{line}{note}\n"));
}

/// A value as it stands in the file.
fn quoted(setting: &Setting, value: &str) -> String {
    if is_bare(setting.kind, value) {
        value.to_owned()
    } else {
        format!("\"{value}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_shown_once() {
        let example = example();
        for key in SETTINGS.iter().filter_map(|setting| setting.key) {
            let line = format!("{} = ", key.name);
            let lines = example.lines().map(|it| it.trim_start_matches('#'));
            assert!(lines.clone().any(|it| it.starts_with(&line)), "{key}");
        }
    }
}
