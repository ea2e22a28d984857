//! The lines a start prints, and the list of providers.

use dotward::commands::list::write_list;
use dotward::presets::{PRESETS, start_lines};

use crate::{Files, good};

#[test]
fn the_start_line_names_the_provider_and_how_to_choose_another() {
    let line = |arguments: &[&str]| {
        let lines = start_lines(&good(arguments, &[], &Files::default()).config);
        assert_eq!(lines.len(), 1);
        lines.concat()
    };
    assert_eq!(
        line(&[]),
        "queries go to cloudflare (Cloudflare, Inc., United States); \
         choose another with --upstream NAME, see dotward upstream list"
    );
    let two = ["-u", "quad9", "-u", "tls://dot.example@192.0.2.1"];
    let line_of_two = line(&two);
    let expected = "quad9 (Quad9 Foundation, Switzerland) and dot.example";
    assert!(line_of_two.contains(expected), "{line_of_two}");
    let ordered = line(&[&two[..], &["--strategy", "ordered"]].concat());
    assert!(
        ordered.contains("Switzerland), then dot.example"),
        "{ordered}"
    );
}

#[test]
fn tiers_and_routes_have_their_words_and_lines() {
    let text = "[[upstream]]\npreset = \"google\"\ntier = 2\n[[upstream]]\npreset = \"quad9\"\n\
                [[route]]\nsuffix = [\"corp.example\", \"10.0.0.0/8\"]\nto = \"udp://10.0.0.53\"\n\
                [[route]]\nsuffix = \"lab.example\"\nto = \"mullvad\"\nfallback = true\n";
    let files = Files::default().with("x.toml", text);
    let lines = start_lines(&good(&["-c", "x.toml"], &[], &files).config);
    assert_eq!(
        lines,
        [
            "queries go to quad9 (Quad9 Foundation, Switzerland); while none of these is well to google \
             (Google LLC, United States)",
            "about mullvad: Mullvad announced the end of this service for 2 November 2026 and sponsors quad9 instead",
            "those below corp.example, 10.0.0.0/8 go to udp://10.0.0.53:53 (unencrypted)",
            "those below lab.example go to mullvad (Mullvad VPN AB, Sweden), and where all others go when \
             that fails",
        ]
    );
}

fn list(config: &dotward::config::Config) -> (String, serde_json::Value) {
    let written = |json| {
        let mut out = Vec::new();
        write_list(&mut out, Some(config), json).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let json = serde_json::from_str(&written(true)).expect("JSON");
    (written(false), json)
}

#[test]
fn the_list_shows_every_preset_in_both_forms() {
    let (text, json) = list(&good(&[], &[], &Files::default()).config);
    assert_eq!(json["default"], "cloudflare");
    for (index, preset) in PRESETS.iter().enumerate() {
        for fact in [
            preset.name,
            preset.tls_name,
            preset.jurisdiction,
            preset.policy,
        ] {
            assert!(text.contains(fact), "{fact}");
        }
        assert_eq!(json["presets"][index]["tls_name"], preset.tls_name);
        let addresses = json["presets"][index]["addresses"]
            .as_array()
            .expect("a list");
        assert_eq!(addresses.len(), preset.addresses().count());
    }
}

#[test]
fn the_list_shows_who_is_asked_about_what() {
    let arguments = ["-u", "quad9", "--route", "corp.example=udp://10.0.0.53"];
    let (text, json) = list(&good(&arguments, &[], &Files::default()).config);
    for line in [
        "configured, strategy fastest\n  tier 1  tls  quad9 ",
        "route corp.example, strategy fastest, never falls back\n  tier 1  udp  10.0.0.53 ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let null = serde_json::Value::Null;
    let (configured, groups) = (&json["configured"], &json["groups"]);
    assert_eq!(
        (&configured[0]["name"], &configured[0]["tier"]),
        (&"quad9".into(), &1.into())
    );
    assert_eq!(
        (&configured[1]["protocol"], &configured[1]["tier"]),
        (&"udp".into(), &null)
    );
    assert_eq!(
        (&groups[0]["route"], &groups[0]["upstreams"][0]),
        (&null, &"quad9".into())
    );
    assert_eq!(groups[1]["route"][0], "corp.example");
    assert_eq!(groups[1]["fallback"], false);
}
