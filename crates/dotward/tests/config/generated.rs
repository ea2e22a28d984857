//! What is made of the table of settings and of a loaded configuration: the schema, and the file that is in effect.

use dotward::commands::show::write_config;
use dotward::config::Config;
use dotward::settings::schema::schema;
use dotward::settings::{Default, SETTINGS, Setting};
use serde_json::{Value, json};

use crate::{Files, Loaded, good, samples};

/// The schema of a key.
fn of_key<'a>(schema: &'a Value, table: &str, name: &str, repeated: bool) -> &'a Value {
    let properties = &schema["properties"];
    if table.is_empty() {
        return &properties[name];
    }
    let table = &properties[table];
    match (repeated, table["anyOf"].is_array()) {
        (false, _) => &table["properties"][name],
        (true, false) => &table["items"]["properties"][name],
        (true, true) => &table["anyOf"][1]["items"]["anyOf"][1]["properties"][name],
    }
}

/// Whether a value is of the types a schema takes; patterns are looked at by the check of the example file in `ci/operable`.
fn takes(schema: &Value, value: &Value) -> bool {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|one| takes(one, value));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value);
    }
    if !schema["const"].is_null() {
        return schema["const"] == *value;
    }
    match (schema["type"].as_str(), value) {
        (Some("array"), Value::Array(items)) => items.iter().all(|it| takes(&schema["items"], it)),
        (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) => true,
        (Some("integer"), Value::Number(number)) => {
            let within = |key: &str, least: bool| {
                let (bound, number) = (schema[key].as_u64(), number.as_u64());
                bound
                    .zip(number)
                    .is_none_or(|(bound, it)| if least { it >= bound } else { it <= bound })
            };
            within("minimum", true) && within("maximum", false)
        }
        (_, _) => false,
    }
}

/// An example of the table as JSON, which for what stands in examples is written like TOML.
fn example(setting: &Setting) -> Value {
    let text = match setting.many {
        true => format!("[{}]", setting.example),
        false => setting.example.to_owned(),
    };
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_schema_knows_every_key_and_takes_its_default_and_its_example() {
    let schema = schema();
    let mut keys = 0;
    for setting in SETTINGS {
        let Some(key) = setting.key else { continue };
        let of_key = of_key(&schema, key.table, key.name, key.repeated);
        let help = of_key["description"].as_str().unwrap_or_default();
        assert!(help.starts_with(setting.help), "{key}: {of_key}");
        let is_table = ["upstream", "route"].contains(&key.name) && key.table.is_empty();
        if let (Default::Values(_), false) = (setting.default, is_table) {
            assert!(takes(of_key, &of_key["default"]), "{key}: {of_key}");
        }
        assert!(takes(of_key, &example(setting)), "{key}: {of_key}");
        keys += 1;
    }
    assert!(keys > 50, "{keys}");
}

#[test]
fn the_schema_knows_nothing_else() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], json!(false));
    for (name, table) in schema["properties"].as_object().expect("an object") {
        let known = SETTINGS.iter().filter_map(|setting| setting.key);
        assert!(
            known
                .clone()
                .any(|key| key.table == name || (key.table.is_empty() && key.name == name))
        );
        if let Some(properties) = table["properties"].as_object() {
            assert_eq!(table["additionalProperties"], json!(false), "{name}");
            let count = known
                .filter(|key| key.table == name && !key.repeated)
                .count();
            assert_eq!(properties.len(), count, "{name}");
        }
    }
}

#[test]
fn listeners_at_interfaces_are_shown_too() {
    for listen in [
        "eth9:53,127.0.0.1:53",
        "eth9",
        "[fe80::1%lo]:53",
        "udp://eth9:54,tcp://127.0.0.1:54",
    ] {
        let loaded = good(&["--listen", listen], &[], &Files::default());
        let again = again(&loaded).config;
        assert_eq!(loaded.config.interfaces, again.interfaces, "{listen}");
        assert_eq!(loaded.config.listeners, again.listeners, "{listen}");
        assert!(!again.interfaces.is_empty());
    }
}

fn shown(loaded: &Loaded) -> String {
    let mut out = Vec::new();
    write_config(&mut out, loaded, false).expect("written");
    String::from_utf8(out).expect("UTF-8")
}

/// What is shown, read again.
fn again(loaded: &Loaded) -> Loaded {
    let files = Files::default().with("shown.toml", shown(loaded));
    good(&["-c", "shown.toml"], &[], &files)
}

/// One address of a preset is shown by address and name; that it is of a preset is told only to people.
fn without_presets(mut config: Config) -> Config {
    let upstreams = config.upstreams.iter_mut().chain(&mut config.bootstrap);
    upstreams.for_each(|it| it.preset = None);
    config
}

#[test]
fn what_is_shown_means_what_was_loaded() {
    let mut all = vec![("defaults".to_owned(), good(&[], &[], &Files::default()))];
    for (_, name, text) in samples("good") {
        let files = Files::default().with(&name, text);
        all.push((name.clone(), good(&["-c", &name], &[], &files)));
    }
    let arguments = [
        "--proto",
        "udp",
        "--listen",
        "127.0.0.1:5300,tls://[::1]:853",
        "--listen-cert",
        "/etc/dotward/server.pem",
        "--listen-key",
        "/etc/dotward/server.key",
        "--cache",
        "off",
        "--debug",
        "--no-sandbox",
        "-u",
        "quad9",
        "--route",
        "corp.example=udp://10.0.0.53,tcp://10.0.0.54",
        "--workers",
        "2",
        "--nsid",
        "a.b",
    ];
    let files = crate::identities::files_for(&["/etc/dotward/server"]);
    let said = good(&arguments, &[("DOTWARD_STALE", "2d")], &files);
    for (name, loaded) in &all {
        let [again, first] = [again(loaded).config, loaded.config.clone()].map(without_presets);
        assert_eq!(again, first, "{name}:\n{}", shown(loaded));
    }
    let files = files.with("shown.toml", shown(&said));
    let again = good(&["-c", "shown.toml"], &[], &files);
    assert_eq!(again.config, said.config, "{}", shown(&said));
}

#[test]
fn what_is_shown_says_where_each_value_came_from() {
    let files = Files::default().with(
        "dir/x.toml",
        "[log]\nlevel = \"warn\"\n[tls]\nca_file = \"ca.pem\"\n",
    );
    let files = files.with("dir/ca.pem", crate::identities::certificate());
    let arguments = ["-c", "dir/x.toml", "--cache", "1GiB", "-u", "quad9"];
    let text = shown(&good(&arguments, &[("DOTWARD_STALE", "2d")], &files));
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start} in\n{text}"))
            .to_owned()
    };
    assert!(line("size = \"1GiB\"").ends_with("# --cache"), "{text}");
    assert!(
        line("stale = \"2d\"").ends_with("# DOTWARD_STALE"),
        "{text}"
    );
    assert!(
        line("level = \"warn\"").ends_with("# dir/x.toml:2:9"),
        "{text}"
    );
    assert!(
        line("ca_file = \"dir/ca.pem\"").contains("# dir/x.toml:4:11"),
        "{text}"
    );
    assert!(
        line("dns = [\"127.0.0.1:53\", \"[::1]:53\"]").ends_with("# default"),
        "{text}"
    );
    assert!(line("[[upstream]]").ends_with("# --upstream"), "{text}");
    let mut out = Vec::new();
    let loaded = good(&arguments[2..4], &[], &Files::default());
    write_config(&mut out, &loaded, true).expect("written");
    let list: Value = serde_json::from_slice(&out).expect("JSON");
    let size = list
        .as_array()
        .and_then(|list| list.iter().find(|it| it["key"] == "cache.size"));
    assert_eq!(size.expect("there")["from"], "--cache");
    let value = |key: &str| {
        let list = list.as_array().expect("a list");
        let row = list.iter().find(|it| it["key"] == key);
        row.unwrap_or_else(|| panic!("no {key}"))["value"].clone()
    };
    assert_eq!(value("listen.dns"), json!(["127.0.0.1:53", "[::1]:53"]));
    assert_eq!(value("listen.certificate"), Value::Null);
    assert_eq!(value("cache.prefetch"), true);
    assert_eq!(value("cache.min_ttl"), 0);
}
