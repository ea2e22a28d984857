//! The line a start prints, and the list of providers.

use dotward::presets::{PRESETS, start_line, write_list};

use crate::{Files, good};

#[test]
fn the_start_line_names_the_provider_and_how_to_choose_another() {
    let line =
        |arguments: &[&str]| start_line(&good(arguments, &[], &Files::default()).config.upstreams);
    assert_eq!(
        line(&[]),
        "queries go to cloudflare (Cloudflare, Inc., United States); \
         choose another with --upstream NAME, see dotward upstream list"
    );
    let line = line(&["-u", "quad9", "-u", "tls://dot.example@192.0.2.1"]);
    assert!(
        line.contains("quad9 (Quad9 Foundation, Switzerland), then dot.example;"),
        "{line}"
    );
}

#[test]
fn the_list_shows_every_preset_in_both_forms() {
    let configured = good(&["-u", "quad9"], &[], &Files::default())
        .config
        .upstreams;
    let written = |json| {
        let mut out = Vec::new();
        write_list(&mut out, &configured, json).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let (text, json) = (written(false), written(true));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["default"], "cloudflare");
    assert_eq!(json["configured"][0]["name"], "quad9");
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
