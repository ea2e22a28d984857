//! Commands, their arguments, and help.

use std::ffi::OsString;

use clap::error::ErrorKind;
use dotward::cli::{self, Command, Invocation};
use dotward::settings::{OLDER_NAMES, OlderForm, SETTINGS};

use crate::{Files, good};

fn parse(arguments: &[&str]) -> Result<Invocation, clap::Error> {
    cli::parse(["dotward"].iter().chain(arguments).map(OsString::from))
}

fn command(arguments: &[&str]) -> Command {
    parse(arguments)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
        .command
}

#[test]
fn without_a_command_it_runs() {
    assert_eq!(command(&[]), Command::Run);
    assert_eq!(command(&["run"]), Command::Run);
    assert_eq!(command(&["-u", "quad9", "run"]), Command::Run);
}

#[test]
fn commands_and_their_arguments_are_read() {
    assert_eq!(command(&["demo"]), Command::Demo { listen: None });
    let listen = Some("127.0.0.1:5300".parse().expect("an address"));
    assert_eq!(
        command(&["demo", "--listen", "127.0.0.1:5300"]),
        Command::Demo { listen }
    );
    assert_eq!(command(&["config", "example"]), Command::ConfigExample);
    assert_eq!(
        command(&["upstream", "list"]),
        Command::UpstreamList { json: false }
    );
    assert_eq!(
        command(&["upstream", "list", "--json"]),
        Command::UpstreamList { json: true }
    );
    assert_eq!(
        command(&["version", "--json"]),
        Command::Version { json: true }
    );
    let Command::Check(check) = command(&["check", "x.toml", "--show-origin"]) else {
        panic!("no check")
    };
    assert_eq!(check.file.as_deref(), Some("x.toml".as_ref()));
    assert!(check.show_origin);
}

#[test]
fn a_question_is_read_with_the_upstream_it_names() {
    let arguments = [
        "query",
        "example.com",
        "aaaa",
        "--via",
        "quad9",
        "--json",
        "-u",
        "google",
    ];
    let invocation = parse(&arguments).expect("good");
    let Command::Query(query) = &invocation.command else {
        panic!("no query")
    };
    assert_eq!(query.name.to_string(), "example.com");
    assert_eq!(query.qtype, dotward::config::RecordType::AAAA);
    assert_eq!(query.via.as_deref(), Some("quad9"));
    assert!(query.json);
    let Command::Query(query) = command(&["query", "."]) else {
        panic!("no query")
    };
    assert_eq!(query.qtype, dotward::config::RecordType::A);
}

#[test]
fn wrong_usage_ends_with_code_2() {
    let cases: &[&[&str]] = &[
        &["--cache-size", "64MiB"],
        &["--admin-port", "9853"],
        &["--threads", "2"],
        &["--upstrem", "quad9"],
        &["serve"],
        &["query"],
        &["query", "a..b"],
        &["query", "example.com", "NOTYPE"],
        &["explain"],
        &["explain", "a..b"],
        &["demo", "--listen", "localhost"],
        &["demo", "--upstream", "quad9"],
        &["top", "--every", "5ms"],
        &["setup"],
        &["setup", "windows"],
        &["setup", "docker", "--apply", "--undo"],
        &["upstream", "rank", "-n", "0"],
        &["upstream", "rank", "-n", "1001"],
        &["check", "x.toml", "--config", "y.toml"],
        &["upstream"],
        &["config"],
        &["version", "--listen", "127.0.0.1"],
        &["--listen"],
    ];
    for arguments in cases {
        let error = parse(arguments).expect_err(&format!("{arguments:?}"));
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn the_version_is_printed_in_both_forms() {
    assert_eq!(parse(&["--version"]).expect_err("version").exit_code(), 0);
    let written = |json| {
        let mut out = Vec::new();
        dotward::commands::version::write_version(&mut out, json).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let version = env!("CARGO_PKG_VERSION");
    assert!(written(false).starts_with(&format!("dotward {version} ")));
    let json: serde_json::Value = serde_json::from_str(&written(true)).expect("JSON");
    assert_eq!(json["version"], version);
}

fn help(arguments: &[&str]) -> String {
    let error = parse(arguments).expect_err("help");
    let kinds = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    assert!(kinds.contains(&error.kind()), "{arguments:?}: {error}");
    error.to_string()
}

#[test]
fn short_help_fits_one_screen_and_ends_with_three_examples() {
    let commands: [&[&str]; 25] = [
        &[],
        &["run"],
        &["demo"],
        &["check"],
        &["query"],
        &["explain"],
        &["upstream", "list"],
        &["upstream", "test"],
        &["upstream", "rank"],
        &["upstream", "pin"],
        &["config", "example"],
        &["config", "show"],
        &["config", "schema"],
        &["doctor"],
        &["setup"],
        &["version"],
        &["status"],
        &["top"],
        &["log-level"],
        &["reload"],
        &["drain"],
        &["cache"],
        &["cache", "stats"],
        &["cache", "get"],
        &["cache", "flush"],
    ];
    for command in commands {
        let text = help(&[command, &["-h"]].concat());
        assert!(
            text.lines().count() <= 40,
            "{command:?}: {} lines",
            text.lines().count()
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        for text in [text, help(&[command, &["--help"]].concat())] {
            let last: Vec<_> = text.trim_end().lines().rev().take(4).collect();
            assert_eq!(last[3], "Examples:", "{text}");
            assert!(
                last[..3].iter().all(|line| line.starts_with("  dotward ")),
                "{text}"
            );
        }
    }
}

#[test]
fn long_help_shows_every_option_with_default_and_variable() {
    let text = help(&["--help"]);
    // Lines are wrapped: words count, not lines.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        let Some(flag) = setting.flag else { continue };
        assert!(words.contains(&format!("--{flag}")), "{flag}");
        assert!(words.contains(setting.help), "{flag}");
        assert!(
            words.contains(&format!("[default: {}]", setting.default_text())),
            "{flag}"
        );
        if let Some(variable) = setting.variable {
            assert!(words.contains(&format!("[env: {variable}]")), "{flag}");
        }
        assert!(
            text.contains(&format!("\n{}:\n", setting.group.title())),
            "{flag}"
        );
    }
    for older in OLDER_NAMES
        .iter()
        .filter(|older| older.form == OlderForm::Flag)
    {
        assert!(words.contains(&older.written()), "{}", older.name);
    }
}

#[test]
fn the_examples_of_help_are_good_commands() {
    let commands: [&[&str]; 6] = [
        &[],
        &["run"],
        &["demo"],
        &["check"],
        &["query"],
        &["upstream", "list"],
    ];
    for command in commands {
        let text = help(&[command, &["-h"]].concat());
        let (_, examples) = text.split_once("Examples:\n").expect("examples");
        for line in examples.lines() {
            let arguments: Vec<_> = line.split_whitespace().skip(1).collect();
            assert!(parse(&arguments).is_ok(), "{line}");
        }
    }
}

#[test]
fn believing_everybody_to_be_a_load_balancer_is_warned_about() {
    for (networks, warned) in [
        ("any", true),
        ("192.0.2.1,::/0", true),
        ("192.0.2.1", false),
    ] {
        let loaded = good(&["--proxy-from", networks], &[], &Files::default());
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), usize::from(warned), "{warnings:?}");
        for warning in warnings {
            assert!(warning.starts_with("--proxy-from: "), "{warning}");
        }
    }
}
