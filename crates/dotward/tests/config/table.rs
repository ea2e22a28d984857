//! Completeness: every setting can be set in each of the ways its row names.

use dotward::reload::needs_restart;
use dotward::settings::{Change, Id, Kind, SETTINGS, Setting};

use crate::{Files, assert_file, good};

/// The values of the example of a row, without quotes.
fn values(setting: &Setting) -> String {
    setting.example.replace(['"', ' '], "")
}

fn identity_files() -> Files {
    crate::identities::files_for(&["/etc/dotward/server", "/etc/dotward/client"])
        .with("/etc/dotward/corp-ca.pem", crate::identities::certificate())
        .with("/etc/dotward/clients.pem", crate::identities::certificate())
        .with(
            "/etc/dotward/cookie-secrets",
            "e5e973e5a6b2a43f48e7dc849e37bfcf\n",
        )
        .with("/etc/dotward/cache-password", "secret\n")
        .with("/etc/dotward/sentinel-password", "secret\n")
        .with("dotward.toml", "")
}

/// What must stand beside a setting so that it means something.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others need nothing beside them"
)]
fn company(id: Id) -> &'static [&'static str] {
    match id {
        Id::ListenCertificate => &["--listen-key", "/etc/dotward/server.key"],
        Id::ListenKey => &["--listen-cert", "/etc/dotward/server.pem"],
        Id::ListenTls => &[
            "--listen-key",
            "/etc/dotward/server.key",
            "--listen-cert",
            "/etc/dotward/server.pem",
        ],
        Id::ListenClientCa => &[
            "--listen-key",
            "/etc/dotward/server.key",
            "--listen-cert",
            "/etc/dotward/server.pem",
        ],
        Id::RunGroup => &["--user", "dotward"],
        Id::ClientCert => &["--client-key", "/etc/dotward/client.key"],
        Id::ClientKey => &["--client-cert", "/etc/dotward/client.pem"],
        _ => &[],
    }
}

/// Where a loaded configuration says the value of a setting comes from.
fn place_of(loaded: &crate::Loaded, setting: &Setting) -> Option<String> {
    let title = setting.title();
    let key = |key: &str| key == title || key.starts_with(&format!("{title} \""));
    loaded
        .origins
        .iter()
        .find(|origin| key(&origin.key))
        .map(|origin| origin.place.to_string())
}

/// An upstream given by name, so that bootstrap has something to do.
const BY_NAME: [&str; 2] = ["-u", "tls://by-name.example"];

fn with_company<'a>(setting: &Setting, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = more.to_vec();
    arguments.extend(company(setting.id));
    if setting.id == Id::Bootstrap {
        arguments.extend(BY_NAME);
    }
    arguments
}

#[test]
fn every_option_is_heard() {
    for setting in SETTINGS.iter().filter(|setting| setting.flag.is_some()) {
        let flag = format!("--{}", setting.flag.expect("filtered"));
        let value = values(setting);
        let own: &[&str] = if setting.kind == Kind::Switch {
            &[&flag]
        } else {
            &[&flag, &value]
        };
        let loaded = good(&with_company(setting, own), &[], &identity_files());
        assert_eq!(place_of(&loaded, setting).as_deref(), Some(flag.as_str()));
        if let Some(short) = setting.short {
            let short = format!("-{short}");
            let own: &[&str] = if setting.kind == Kind::Switch {
                &[&short]
            } else {
                &[&short, &value]
            };
            let again = good(&with_company(setting, own), &[], &identity_files());
            assert_eq!(again.config, loaded.config);
        }
    }
}

#[test]
fn every_variable_is_heard() {
    for setting in SETTINGS {
        let Some(variable) = setting.variable else {
            continue;
        };
        let pairs = [(variable, values(setting))];
        let pairs = pairs
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let loaded = good(&with_company(setting, &[]), &pairs, &identity_files());
        assert_eq!(place_of(&loaded, setting).as_deref(), Some(variable));
    }
}

#[test]
fn every_key_of_a_plain_table_is_heard() {
    for setting in SETTINGS {
        let Some(key) = setting.key.filter(|key| !key.repeated) else {
            continue;
        };
        let value = if setting.many {
            format!("[{}]", setting.example)
        } else {
            setting.example.to_owned()
        };
        let table = if key.table.is_empty() {
            String::new()
        } else {
            format!("[{}]\n", key.table)
        };
        let files = identity_files().with("x.toml", format!("{table}{} = {value}\n", key.name));
        let loaded = good(&with_company(setting, &["-c", "x.toml"]), &[], &files);
        let place = place_of(&loaded, setting).unwrap_or_default();
        assert!(place.starts_with("x.toml:"), "{key}: {place}");
    }
}

#[test]
fn every_key_of_a_repeated_table_changes_the_configuration() {
    let bases = [
        (
            "upstream",
            "tls_name = \"dot.example\"\naddress = [\"192.0.2.1\"]\n",
        ),
        ("local", "name = \"a.example\"\na = [\"192.0.2.1\"]\n"),
        (
            "route",
            "suffix = [\"a.example\"]\nto = [\"udp://192.0.2.1\"]\n",
        ),
    ];
    for setting in SETTINGS {
        let Some(key) = setting.key.filter(|key| key.repeated) else {
            continue;
        };
        let (_, base) = bases
            .iter()
            .find(|(table, _)| *table == key.table)
            .expect("a base");
        let value = if setting.many {
            format!("[{}]", setting.example)
        } else {
            setting.example.into()
        };
        let line = match key.name {
            "port" => "port = 8853".to_owned(),
            "ttl" => "ttl = 60".to_owned(),
            // The example is the name of the example of `[[upstream]]`.
            "to" => "to = [\"quad9\"]".to_owned(),
            // These need their other half.
            "client_cert" | "client_key" => "client_cert = \"/etc/dotward/client.pem\"\n\
                                             client_key = \"/etc/dotward/client.key\""
                .to_owned(),
            // An alias leads to a name of its own.
            "cname" => format!("cname = {value}\n[[local]]\nname = {value}\na = \"192.0.2.9\""),
            name => format!("{name} = {value}"),
        };
        let excluded: &[&str] = match key.name {
            "preset" => &["tls_name", "address"],
            "cname" => &["a"],
            name => &[name],
        };
        let rest: Vec<_> = base
            .lines()
            .filter(|line| {
                !excluded
                    .iter()
                    .any(|name| line.starts_with(&format!("{name} ")))
            })
            .collect();
        let text = format!("[[{}]]\n{}\n{line}\n", key.table, rest.join("\n"));
        let of = |text: String| {
            good(
                &["-c", "x.toml"],
                &[],
                &identity_files().with("x.toml", text),
            )
            .config
        };
        let without = of(format!("[[{}]]\n{base}", key.table));
        assert_ne!(of(text), without, "{key}");
    }
}

#[test]
fn what_a_row_says_about_a_change_is_what_a_reload_does() {
    let mut equal: Vec<Id> = Vec::new();
    for setting in SETTINGS {
        let Some(key) = setting.key.filter(|key| !key.repeated) else {
            continue;
        };
        let value = if setting.many {
            format!("[{}]", setting.example)
        } else {
            setting.example.to_owned()
        };
        let table = match key.table {
            "" => String::new(),
            table => format!("[{table}]\n"),
        };
        let text = format!("{table}{} = {value}\n", key.name);
        let of = |text: String, arguments: &[&str]| {
            let files = identity_files().with("x.toml", text);
            good(arguments, &[], &files).config
        };
        let mut alone = vec!["-c", "x.toml"];
        if setting.id == Id::Bootstrap {
            alone.extend(BY_NAME);
        }
        let after = of(text, &with_company(setting, &["-c", "x.toml"]));
        let before = of(String::new(), &alone);
        let restart = needs_restart(&before, &after);
        match setting.change {
            Change::Reload => assert_eq!(restart, [], "{key}"),
            Change::Restart if before == after => equal.push(setting.id),
            // An address of the list of TLS listeners is one of the list of all.
            Change::Restart if setting.id == Id::ListenTls => assert_eq!(restart, [Id::Listen]),
            // Beside it are those it cannot be without.
            Change::Restart => assert!(restart.contains(&setting.id), "{key}: {restart:?}"),
        }
    }
    // Where there is no snapshot and no shared cache, these say nothing.
    let of_another = [
        Id::CacheSnapshotEvery,
        Id::SharedCachePasswordFile,
        Id::SharedCacheSentinelPasswordFile,
        Id::SharedCacheCaFile,
    ];
    assert_eq!(equal, of_another, "examples that change nothing");
}

#[test]
fn show_origin_prints_every_setting() {
    let loaded = crate::load_with(&["check", "--show-origin"], &[], &Files::default());
    let mut out = Vec::new();
    let style = dotward::config::Style::Line;
    let form = dotward::commands::check::Form {
        show_origin: true,
        json: false,
        style,
    };
    let good = dotward::commands::check::write_check(&mut out, &loaded, form);
    assert!(good.expect("written"));
    let text = String::from_utf8(out).expect("UTF-8");
    assert_file(&crate::repository("testdata/config/show-origin.txt"), &text);
}
