//! The example file: what `config example` prints.

use dotward::settings::example::example;
use dotward::settings::{SETTINGS, Setting};

use crate::{Files, faults, good};

#[test]
fn the_example_file_parses_to_the_defaults() {
    let defaults = good(&[], &[], &Files::default()).config;
    let files = Files::default().with("example.toml", example());
    assert_eq!(good(&["-c", "example.toml"], &[], &files).config, defaults);
}

#[test]
fn every_commented_key_of_the_example_is_known() {
    let text: Vec<_> = example()
        .lines()
        .filter(|line| !line.starts_with("# ") && !is_list_of_tables(line))
        .map(|line| line.trim_start_matches('#').to_owned())
        .collect();
    let files = Files::default().with("example.toml", text.join("\n"));
    let told = faults(&["-c", "example.toml"], &[], &files);
    // Keys that exclude each other and files that are not there: nothing else is at fault.
    for fault in told {
        let expected = ["together", "cannot read", "beside other records"];
        assert!(
            expected.iter().any(|words| fault.contains(words)),
            "{fault}"
        );
    }
}

/// Whether the line is the other form of what the example shows as tables.
fn is_list_of_tables(line: &str) -> bool {
    let line = line.trim_start_matches('#');
    line.starts_with("upstream =") || line.starts_with("route =")
}

#[test]
fn every_default_of_the_table_parses() {
    // Loading parses the default of every setting, so no fault means all are good.
    let loaded = good(&[], &[], &Files::default());
    let keys: Vec<_> = loaded
        .origins
        .iter()
        .map(|origin| origin.key.as_str())
        .collect();
    let plain = |setting: &&Setting| setting.key.is_none_or(|key| !key.repeated);
    for setting in SETTINGS.iter().filter(plain) {
        let title = setting.title();
        // Without an upstream given by name, nobody is asked for bootstrap.
        let shown = title == "bootstrap" || keys.iter().any(|key| key.starts_with(&title));
        assert!(shown, "{title} has no origin");
    }
}
