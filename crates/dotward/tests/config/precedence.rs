//! Default, file, older variable, variable, older option, option: the stronger replaces the weaker.

use std::ffi::OsString;

use dotward::config::{control_path, load};

use crate::{Files, faults, good, listeners, upstreams, warnings};

const FILE: &str = "upstream = [\"quad9\"]\n[listen]\ndns = [\"127.0.0.1:1\"]\n\
                    tls = []\n[log]\nlevel = \"error\"\n";

/// For one setting: how each level says it, weakest first, and what shows that it was heard.
struct Case {
    levels: [Level; 6],
    heard: fn(&crate::Config) -> String,
}

/// What a level adds, and what is heard when it is the strongest.
struct Level {
    file: &'static str,
    variable: Option<(&'static str, &'static str)>,
    arguments: &'static [&'static str],
    heard: &'static str,
}

const fn level(heard: &'static str) -> Level {
    Level {
        file: "",
        variable: None,
        arguments: &[],
        heard,
    }
}

const fn variable(name: &'static str, value: &'static str, heard: &'static str) -> Level {
    Level {
        variable: Some((name, value)),
        ..level(heard)
    }
}

const fn arguments(arguments: &'static [&'static str], heard: &'static str) -> Level {
    Level {
        arguments,
        ..level(heard)
    }
}

fn cases() -> [Case; 3] {
    let file = |heard| Level {
        file: FILE,
        ..level(heard)
    };
    let first_listener = |config: &crate::Config| config.listeners[0].address.port().to_string();
    [
        Case {
            heard: first_listener,
            levels: [
                level("53"),
                file("1"),
                variable("BIND_PORT", "2", "2"),
                variable("DOTWARD_LISTEN", "127.0.0.1:3", "3"),
                arguments(&["--udp-port", "4"], "4"),
                arguments(&["--listen", "127.0.0.1:5"], "5"),
            ],
        },
        Case {
            heard: |config| config.upstreams[0].name.clone(),
            levels: [
                level("cloudflare"),
                file("quad9"),
                variable("DOT_ADDRESS", "8.8.8.8", "google"),
                variable("DOTWARD_UPSTREAM", "adguard", "adguard"),
                arguments(&["--upstream-server", "194.242.2.2"], "mullvad"),
                arguments(&["--upstream", "dns4eu"], "dns4eu"),
            ],
        },
        Case {
            heard: |config| config.log.level.to_string(),
            levels: [
                level("info"),
                file("error"),
                variable("LOG_LEVEL", "WARNING", "warn"),
                variable("DOTWARD_LOG_LEVEL", "trace", "trace"),
                arguments(&["-d"], "debug"),
                arguments(&["--log-level", "off"], "off"),
            ],
        },
    ]
}

#[test]
fn of_every_two_levels_the_stronger_is_heard() {
    for Case { levels, heard } in &cases() {
        for strong in 0..levels.len() {
            for weak in 0..=strong {
                let said = [&levels[weak], &levels[strong]];
                assert_eq!(
                    heard(&said_by(&said).config),
                    levels[strong].heard,
                    "{weak} {strong}"
                );
            }
        }
        let all: Vec<_> = levels.iter().collect();
        assert_eq!(heard(&said_by(&all).config), levels[5].heard);
    }
}

fn said_by(levels: &[&Level]) -> crate::Loaded {
    let file = levels
        .iter()
        .map(|level| level.file)
        .find(|file| !file.is_empty());
    let files = Files::default().with("x.toml", file.unwrap_or_default());
    let mut variables: Vec<_> = levels.iter().filter_map(|level| level.variable).collect();
    variables.dedup();
    let mut arguments = vec!["-c", "x.toml"];
    let mut said: Vec<_> = levels.iter().map(|level| level.arguments).collect();
    said.dedup();
    said.into_iter().for_each(|more| arguments.extend(more));
    good(&arguments, &variables, &files)
}

#[test]
fn a_list_replaces_the_whole_list_below_it() {
    let files = Files::default().with("x.toml", FILE);
    let loaded = good(
        &["-c", "x.toml", "-u", "google,adguard", "-u", "mullvad"],
        &[],
        &files,
    );
    let names: Vec<_> = loaded
        .config
        .upstreams
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["google", "adguard", "mullvad"]);
}

#[test]
fn options_count_before_and_after_the_command() {
    let loaded = good(
        &["-u", "quad9", "run", "-u", "google"],
        &[],
        &Files::default(),
    );
    let names: Vec<_> = loaded
        .config
        .upstreams
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["quad9", "google"]);
    let loaded = good(
        &["--drain", "1s", "run", "--drain", "3s"],
        &[],
        &Files::default(),
    );
    assert_eq!(loaded.config.drain.as_secs(), 3);
}

#[test]
fn the_option_and_the_variable_for_listening_replace_tls_listeners_of_the_file_too() {
    let text = "[listen]\ndns = []\ntls = [\"127.0.0.1:853\"]\n";
    let files = Files::default().with("x.toml", text);
    let told = faults(&["-c", "x.toml"], &[], &files);
    assert!(
        told[0].contains("listener tls://127.0.0.1:853 has no certificate"),
        "{told:?}"
    );
    let loaded = good(
        &["-c", "x.toml"],
        &[("DOTWARD_LISTEN", "udp://127.0.0.1:53")],
        &files,
    );
    assert_eq!(listeners(&loaded.config), "udp://127.0.0.1:53");
}

#[test]
fn a_fault_is_told_even_where_a_stronger_level_overrules_it() {
    let files = Files::default().with("x.toml", "upstream = [\"nobody\"]\n");
    let told = faults(
        &["-c", "x.toml", "-u", "quad9"],
        &[("DOTWARD_PROTO", "x")],
        &files,
    );
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn the_protocol_goes_for_addresses_without_a_prefix() {
    let at = |arguments: &[&str]| listeners(&good(arguments, &[], &Files::default()).config);
    let list = "127.0.0.1:53,tcp://127.0.0.1:54";
    assert_eq!(
        at(&["-l", list, "--proto", "UDP"]),
        "udp://127.0.0.1:53 tcp://127.0.0.1:54"
    );
    assert_eq!(at(&["--proto", "tcp"]), "tcp://127.0.0.1:53 tcp://[::1]:53");
    assert_eq!(
        at(&[]),
        "udp://127.0.0.1:53 tcp://127.0.0.1:53 udp://[::1]:53 tcp://[::1]:53"
    );
    assert_eq!(
        at(&["-l", "udp://[::1]:0", "-l", "udp://[::1]:0"]),
        "udp://[::1]:0 udp://[::1]:0"
    );
}

#[test]
fn paths_in_the_file_are_relative_to_its_directory() {
    let text = "upstream = [\"tls://dot.example@192.0.2.1?ca_file=a.pem\"]\n\
                [tls]\nca_file = \"b.pem\"\n[log]\nfile = \"x.log\"\n";
    let files = Files::default().with("conf/x.toml", text);
    let told = faults(&["-c", "conf/x.toml"], &[], &files);
    assert!(
        told[0].contains("conf/a.pem") && told[1].contains("conf/b.pem"),
        "{told:?}"
    );
    let told = faults(&["--ca-file", "b.pem"], &[], &Files::default());
    assert!(
        told[0].contains("cannot read `tls.ca_file` b.pem"),
        "{told:?}"
    );
    let files = Files::default().with("conf/x.toml", "[log]\nfile = \"x.log\"\n");
    let loaded = good(&["-c", "conf/x.toml"], &[], &files);
    assert_eq!(
        loaded.config.log.file.as_deref(),
        Some("conf/x.log".as_ref())
    );
}

#[test]
fn implied_bootstrap_is_never_more_than_was_trusted() {
    let config = good(
        &["-u", "tls://dot.example", "-u", "quad9"],
        &[],
        &Files::default(),
    )
    .config;
    assert_eq!(config.bootstrap, config.upstreams[1..]);
    let config = good(&["-u", "tls://dot.example"], &[], &Files::default()).config;
    assert_eq!(config.bootstrap.len(), 1);
    assert_eq!(config.bootstrap[0].name, "cloudflare");
    assert!(
        good(&["-u", "quad9"], &[], &Files::default())
            .config
            .bootstrap
            .is_empty()
    );
    let arguments = ["-u", "tls://dot.example", "--bootstrap", "google"];
    let config = good(&arguments, &[], &Files::default()).config;
    assert_eq!(config.bootstrap[0].name, "google");
}

#[test]
fn names_that_only_happen_to_be_alike_are_numbered() {
    let loaded = good(&["-u", "1.1.1.1,1.0.0.1"], &[], &Files::default());
    assert_eq!(
        upstreams(&loaded.config),
        "cloudflare=tls://cloudflare-dns.com@1.1.1.1:853 \
         cloudflare-2=tls://cloudflare-dns.com@1.0.0.1:853"
    );
    let told = faults(&["-u", "quad9,quad9"], &[], &Files::default());
    assert!(
        told[0].contains("upstream \"quad9\" is there twice"),
        "{told:?}"
    );
}

#[test]
fn each_value_knows_where_it_came_from() {
    let files = Files::default().with("x.toml", FILE);
    let arguments = ["-c", "x.toml", "--udp-port", "4"];
    let loaded = good(&arguments, &[("DOTWARD_LOG_LEVEL", "warn")], &files);
    let place = |key: &str| {
        let origin = loaded
            .origins
            .iter()
            .find(|origin| origin.key == key)
            .expect(key);
        format!("{} @ {}", origin.value, origin.place)
    };
    assert_eq!(
        place("listen.dns"),
        "udp://127.0.0.1:4, tcp://127.0.0.1:53, udp://[::1]:4, tcp://[::1]:53 @ --udp-port"
    );
    assert_eq!(place("log.level"), "warn @ DOTWARD_LOG_LEVEL");
    assert_eq!(place("log.format"), "text @ default");
    assert_eq!(place("--config"), "x.toml @ --config");
    assert!(place("upstream \"quad9\"").ends_with(" @ x.toml:1:13"));
    assert_eq!(warnings(&loaded).len(), 1);
}

#[test]
fn an_upstream_that_is_there_twice_is_told_even_where_the_list_is_overruled() {
    let files = Files::default().with("x.toml", "upstream = [\"quad9\", \"quad9\"]\n");
    let told = faults(&["-c", "x.toml", "-u", "google"], &[], &files);
    assert_eq!(told.len(), 1, "{told:?}");
}

/// Where the commands look for the control socket, and where the program would make it.
fn control(arguments: &[&str], variables: &[(&str, &str)], file: &str) -> [Option<String>; 2] {
    let files = Files::default().with("/etc/x/x.toml", file);
    let all = ["dotward"].iter().chain(arguments).map(OsString::from);
    let options = dotward::cli::parse(all).expect("good").options;
    let given = || {
        variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
    };
    let looked = control_path(&options, given(), &files).expect("good");
    let made = load(&options, given(), &files).ok();
    let made = made.and_then(|loaded| loaded.config.control);
    [looked, made].map(|path| path.map(|path| path.display().to_string()))
}

#[test]
fn program_and_commands_agree_on_the_control_socket() {
    let both = |path: &str| [Some(path.to_owned()), Some(path.to_owned())];
    let nowhere = [Some("/run/dotward/control.sock".to_owned()), None];
    assert_eq!(control(&[], &[], ""), nowhere);
    let runtime = ("RUNTIME_DIRECTORY", "/run/a:/run/b");
    assert_eq!(control(&[], &[runtime], ""), both("/run/a/control.sock"));
    let file = "[listen]\ncontrol = \"c.sock\"\n";
    let config = ["-c", "/etc/x/x.toml"];
    assert_eq!(control(&config, &[runtime], file), both("/etc/x/c.sock"));
    let variable = ("DOTWARD_CONTROL", "/v.sock");
    assert_eq!(
        control(&config, &[runtime, variable], file),
        both("/v.sock")
    );
    let off = ["--control", "off"];
    assert_eq!(control(&off, &[runtime, variable], file), [None, None]);
    // A fault elsewhere keeps nobody from asking.
    let broken = format!("{file}[[upstream]]\nnonsense = 1\n");
    let status = ["status", "-c", "/etc/x/x.toml"];
    let looked = Some("/etc/x/c.sock".to_owned());
    assert_eq!(control(&status, &[], &broken), [looked, None]);
}
