//! `testdata/config/good/*.toml`: what each means stands beside it.

use std::fmt::Write as _;

use dotward::config::{
    Binding, Config, Cookies, Deny, LimitSettings, LocalData, PinMode, strategy_word,
};

use crate::{Files, assert_file, good, listeners, samples};

#[test]
fn every_good_file_means_what_its_text_says() {
    for (path, name, text) in samples("good") {
        let loaded = good(&["-c", &name], &[], &Files::default().with(&name, text));
        assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
        assert_file(&path.with_extension("txt"), &shown(&loaded.config));
    }
}

fn privacy(config: &Config) -> String {
    let mut text = String::new();
    for domain in &config.forward_special {
        writeln!(text, "forward {domain}").expect("a string");
    }
    for domain in config.private_domains.iter().flatten() {
        writeln!(text, "private addresses of {domain}").expect("a string");
    }
    if config.refuse_snooping {
        text.push_str("what is kept is told to nobody who asks without recursion\n");
    }
    text
}

fn shown(config: &Config) -> String {
    let mut text = format!("listeners {}\n", listeners(config));
    let allow: Vec<_> = config.allow.iter().map(ToString::to_string).collect();
    text.push_str(&format!("allow {}\n", allow.join(" ")));
    if (config.deny, &config.limits) != (Deny::default(), &LimitSettings::default()) {
        writeln!(text, "deny {:?} {:?}", config.deny, config.limits).expect("a string");
    }
    if !config.proxy_from.is_empty() {
        let from: Vec<_> = config.proxy_from.iter().map(ToString::to_string).collect();
        writeln!(text, "proxy from {}", from.join(" ")).expect("a string");
    }
    let kept = (&config.control, &config.snapshot, &config.shared_cache);
    if kept != (&None, &None, &None) {
        writeln!(text, "{kept:?}").expect("a string");
    }
    let answers = &config.answers;
    if (answers.udp_size, answers.cookies) != (1232, Cookies::Answer) || answers.nsid.is_some() {
        writeln!(text, "{answers:?}").expect("a string");
    }
    let both = [
        ("upstream", &config.upstreams),
        ("bootstrap", &config.bootstrap),
    ];
    for (word, list) in both {
        for it in list {
            let preset = it.preset.map_or("-", |preset| preset.name);
            let (name, spec) = (&it.name, it.spec());
            text.push_str(&format!("{word} {name} = {spec} preset {preset}"));
            if (it.tier, it.weight, it.keep_warm) != (Some(1), 1, 0) {
                let (tier, weight, warm) = (it.tier, it.weight, it.keep_warm);
                write!(text, " tier {tier:?} weight {weight} warm {warm}").expect("a string");
            }
            text.push('\n');
            if (it.edns, it.padding) != (true, 128) {
                writeln!(text, "  edns {}, padding {}", it.edns, it.padding).expect("a string");
            }
            let (mode, binding) = (it.pin_mode, &it.binding);
            if mode != PinMode::default() || *binding != Binding::default() {
                writeln!(text, "  pins {mode:?}, {binding:?}").expect("a string");
            }
        }
    }
    writeln!(text, "strategy {}", strategy_word(config.strategy)).expect("a string");
    for route in &config.routes {
        let members = config.upstreams_of(Some(route));
        let members: Vec<_> = members.iter().map(|it| it.name.as_str()).collect();
        writeln!(
            text,
            "route {} = {}; {}, fallback {}",
            route.names(),
            members.join(", "),
            strategy_word(route.strategy),
            route.fallback
        )
        .expect("a string");
    }
    text.push_str(&privacy(config));
    for record in &config.local {
        let data = match &record.data {
            LocalData::A(address) => format!("A {address}"),
            LocalData::Aaaa(address) => format!("AAAA {address}"),
            LocalData::Cname(name) => format!("CNAME {name}"),
            LocalData::Txt(octets) => format!("TXT {}", octets.escape_ascii()),
            LocalData::Ptr(name) => format!("PTR {name}"),
        };
        text.push_str(&format!("local {} {} {data}\n", record.name, record.ttl));
    }
    let log = &config.log;
    writeln!(text, "log {} {:?} {:?}", log.level, log.format, log.file).expect("a string");
    writeln!(text, "cache {:?}", config.cache).expect("a string");
    writeln!(text, "drain {:?}", config.drain).expect("a string");
    if let Some(address) = config.admin {
        let requires = config.ready_requires;
        writeln!(text, "admin {address}, ready requires {requires:?}").expect("a string");
    }
    writeln!(text, "workers {:?}", config.workers).expect("a string");
    text
}
