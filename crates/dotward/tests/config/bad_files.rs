//! `testdata/config/bad/*.toml`: each has the expected report beside it.

use std::collections::BTreeSet;

use dotward::config::fault::Fault;
use dotward::config::report::write_faults;
use dotward::config::{InForce, Style};

use crate::{Files, assert_file, load_with, samples};

#[test]
fn every_bad_file_is_reported_as_its_message_file_says() {
    for (path, name, text) in samples("bad") {
        let files = Files::default()
            .with(&name, text)
            .with("garbage.pem", "no PEM");
        let refused = load_with(&["-c", &name], &[], &files).expect_err(&name);
        let mut report = Vec::new();
        let style = Style::Terminal { colour: false };
        write_faults(&mut report, &refused.faults, style).expect("written");
        let report = String::from_utf8(report).expect("UTF-8");
        assert_file(&path.with_extension("txt"), &report);
    }
}

#[test]
fn every_message_file_belongs_to_a_sample() {
    let names = |extension: &str| -> BTreeSet<_> {
        let directory = crate::repository("testdata/config/bad");
        let entries = std::fs::read_dir(directory).expect("there");
        let paths = entries.map(|entry| entry.expect("readable").path());
        let paths = paths.filter(|path| path.extension().is_some_and(|it| it == extension));
        paths
            .filter_map(|path| path.file_stem().map(ToOwned::to_owned))
            .collect()
    };
    assert_eq!(names("toml"), names("txt"));
}

#[test]
fn each_fault_in_one_line_names_place_problem_and_remedy() {
    for (_, name, text) in samples("bad") {
        let files = Files::default()
            .with(&name, text)
            .with("garbage.pem", "no PEM");
        let refused = load_with(&["-c", &name], &[], &files).expect_err(&name);
        for fault in &refused.faults {
            let line = fault.to_string();
            assert!(!line.contains('\n'), "{line}");
            let place = fault.place.to_string();
            assert!(line.starts_with(&format!("{place}: ")), "{line}");
            let problem = fault.problem.to_string();
            assert!(
                line.contains(&problem) && line.ends_with(&fault.problem.remedy()),
                "{line}"
            );
            assert!(
                problem.len() > 5 && fault.problem.remedy().len() > 5,
                "{line}"
            );
        }
    }
}

#[test]
fn a_file_that_is_no_configuration_does_not_fill_the_terminal() {
    let files = Files::default().with("x.toml", "domain 53/udp\n".repeat(300));
    let refused = load_with(&["-c", "x.toml"], &[], &files).expect_err("bad");
    for style in [Style::Line, Style::Terminal { colour: false }] {
        let mut report = Vec::new();
        write_faults(&mut report, &refused.faults, style).expect("written");
        let report = String::from_utf8(report).expect("UTF-8");
        assert!(report.ends_with("\n… and 260 more\n"), "{report}");
    }
}

#[test]
fn colour_is_used_only_when_asked_for() {
    let files = Files::default().with("x.toml", "levle = 1\n");
    let refused = load_with(&["-c", "x.toml"], &[], &files).expect_err("bad");
    let report = |style| {
        let mut report = Vec::new();
        write_faults(&mut report, &refused.faults, style).expect("written");
        report
    };
    assert!(report(Style::Terminal { colour: true }).contains(&0x1b));
    assert!(!report(Style::Terminal { colour: false }).contains(&0x1b));
    assert!(!report(Style::Line).contains(&0x1b));
    assert_eq!(
        report(Style::Line)
            .iter()
            .filter(|octet| **octet == b'\n')
            .count(),
        1
    );
}

#[test]
fn faults_of_file_environment_and_command_line_are_told_in_one_go() {
    let files = Files::default().with("x.toml", "levle = \"info\"\n[log]\nlevel = \"loud\"\n");
    let arguments = [
        "-c",
        "x.toml",
        "--listen",
        "somewhere-far-away",
        "--drain",
        "1",
        "--ca-file",
        "ca.pem",
    ];
    let variables = [
        ("DOTWARD_UPSTREAM", "nobody"),
        ("BIND_PORT", "0"),
        ("DOTWARD_PROTO", "sctp"),
    ];
    let faults = crate::faults(&arguments, &variables, &files);
    let heads: Vec<_> = faults
        .iter()
        .filter_map(|fault| fault.split(": ").next())
        .collect();
    assert_eq!(
        heads,
        [
            "x.toml:1:1",
            "x.toml:3:9",
            "BIND_PORT",
            "DOTWARD_PROTO",
            "DOTWARD_UPSTREAM",
            "--ca-file",
            "--drain",
            "--listen",
        ]
    );
}

#[test]
fn a_file_that_was_named_must_be_there_and_the_default_need_not() {
    let files = Files::default();
    let told = crate::faults(&["-c", "none.toml"], &[], &files);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("--config: cannot read `--config` none.toml"),
        "{told:?}"
    );
    let told = crate::faults(&[], &[("DOTWARD_CONFIG", "none.toml")], &files);
    assert!(
        told[0].starts_with("DOTWARD_CONFIG: cannot read `--config` none.toml"),
        "{told:?}"
    );
    let told = crate::faults(&["check", "none.toml"], &[], &files);
    assert!(
        told[0].starts_with("check FILE: cannot read `FILE` none.toml"),
        "{told:?}"
    );
    assert!(crate::good(&[], &[], &files).file.is_none());
    let files = files.with("/etc/dotward/dotward.toml", "[log]\nlevel = \"warn\"\n");
    let loaded = crate::good(&[], &[], &files);
    assert_eq!(
        loaded.file.as_deref(),
        Some("/etc/dotward/dotward.toml".as_ref())
    );
    assert_eq!(loaded.config.log.level.to_string(), "warn");
}

#[test]
fn the_default_file_has_to_be_there_where_it_was_read_before() {
    let path = "/etc/dotward/dotward.toml";
    let again =
        |files: &Files| crate::load_where_with(&["--cookies", "x"], &[], files, InForce::File);
    let refused = again(&Files::default()).unwrap_err();
    let told: Vec<String> = refused.faults.iter().map(Fault::to_string).collect();
    assert_eq!(told.len(), 2, "with every other fault: {told:?}");
    assert!(
        told[0].contains(path) && told[0].contains("is gone"),
        "{told:?}"
    );
    let files = Files::default().with(path, "[log]\nlevel = \"warn\"\n");
    let refused = again(&files).unwrap_err();
    assert_eq!(refused.faults.len(), 1);
}

#[test]
fn an_empty_file_is_the_defaults_until_settings_were_read_from_it() {
    let named = |text: &str, in_force| {
        let files = Files::default().with("x.toml", text);
        crate::load_where_with(&["-c", "x.toml"], &[], &files, in_force)
    };
    for empty in ["", "\n", " \n\t\n"] {
        let loaded = named(empty, InForce::WithoutFile).unwrap();
        assert_eq!(loaded.in_force, InForce::EmptyFile, "fine at the start");
        let loaded = named(empty, InForce::EmptyFile).unwrap();
        assert_eq!(loaded.in_force, InForce::EmptyFile, "and as it was before");
        let refused = named(empty, InForce::File).unwrap_err();
        let told: Vec<String> = refused.faults.iter().map(Fault::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("x.toml is empty"), "{told:?}");
    }
    for text in ["# nothing", "[log]\nlevel = \"warn\"\n"] {
        for before in [InForce::WithoutFile, InForce::EmptyFile, InForce::File] {
            let loaded = named(text, before).unwrap();
            assert_eq!(loaded.in_force, InForce::File, "{text:?} after {before:?}");
        }
    }
    let default = Files::default().with("/etc/dotward/dotward.toml", "");
    let refused = crate::load_where_with(&[], &[], &default, InForce::File);
    assert_eq!(refused.unwrap_err().faults.len(), 1);
    let loaded = crate::good(&[], &[], &Files::default());
    assert_eq!(loaded.in_force, InForce::WithoutFile);
}

#[test]
fn a_file_that_is_too_large_or_not_text_is_refused() {
    let files = Files::default().with("big.toml", vec![b'#'; 1024 * 1024 + 1]);
    assert!(crate::faults(&["-c", "big.toml"], &[], &files)[0].contains("larger than 1 MiB"));
    let files = Files::default().with("latin.toml", vec![b'#', 0xe9]);
    assert!(crate::faults(&["-c", "latin.toml"], &[], &files)[0].contains("is not UTF-8"));
}
