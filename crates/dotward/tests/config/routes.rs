//! Routes: who says which, whom they name, and what is explained about names.

use dotward::cli::ExplainArgs;
use dotward::commands::explain::write_explanation;
use dotward::config::{Config, Protocol};

use crate::{Files, faults, good, upstreams};

const OFFICE: &str = "
[[upstream]]
preset = \"quad9\"

[[upstream]]
name = \"office\"
address = \"10.1.0.53\"
tls_name = \"dns.corp.example\"

[[route]]
suffix = [\"corp.example\", \"10.0.0.0/8\"]
to = \"office\"
";

fn office() -> Files {
    Files::default().with("x.toml", OFFICE)
}

/// Suffixes and upstreams of each route.
fn routes(config: &Config) -> String {
    let route = |route| {
        let route: &dotward::config::RouteSettings = route;
        let members = config.upstreams_of(Some(route));
        let members: Vec<_> = members.iter().map(|it| it.name.as_str()).collect();
        format!("{} -> {}", route.names(), members.join(", "))
    };
    let routes: Vec<_> = config.routes.iter().map(route).collect();
    routes.join("; ")
}

fn general(config: &Config) -> Vec<&str> {
    let upstreams = config.upstreams_of(None).into_iter();
    upstreams.map(|it| it.name.as_str()).collect()
}

#[test]
fn an_upstream_with_a_table_and_without_a_tier_serves_the_route_that_names_it_alone() {
    let config = good(&["-c", "x.toml"], &[], &office()).config;
    assert_eq!(general(&config), ["quad9"]);
    assert_eq!(routes(&config), "corp.example, 10.0.0.0/8 -> office");
    let with_tier = OFFICE.replace("name = \"office\"", "name = \"office\"\ntier = 1");
    let files = Files::default().with("x.toml", with_tier);
    let config = good(&["-c", "x.toml"], &[], &files).config;
    assert_eq!(general(&config), ["quad9", "office"]);
}

#[test]
fn an_upstream_of_the_plain_list_stays_general_when_a_route_names_it() {
    let arguments = ["-u", "quad9", "--route", "corp.example=quad9"];
    let config = good(&arguments, &[], &Files::default()).config;
    assert_eq!(general(&config), ["quad9"]);
    assert_eq!(routes(&config), "corp.example -> quad9");
    assert_eq!(config.upstreams.len(), 1);
    let config = good(
        &["--route", "corp.example=cloudflare"],
        &[],
        &Files::default(),
    )
    .config;
    assert_eq!(general(&config), ["cloudflare"]);
}

#[test]
fn routes_of_the_file_may_name_its_upstreams_when_other_general_ones_are_given() {
    let config = good(&["-c", "x.toml", "-u", "mullvad"], &[], &office()).config;
    assert_eq!(general(&config), ["mullvad"]);
    assert_eq!(routes(&config), "corp.example, 10.0.0.0/8 -> office");
    assert_eq!(config.upstreams.len(), 2, "quad9 is of no use to anybody");
}

#[test]
fn stronger_routes_replace_those_of_the_file() {
    let variable = [(
        "DOTWARD_ROUTE",
        "lab.example=udp://10.0.0.1,udp://10.0.0.2, b.example=office",
    )];
    let config = good(&["-c", "x.toml"], &variable, &office()).config;
    assert_eq!(
        routes(&config),
        "lab.example -> 10.0.0.1, 10.0.0.2; b.example -> office"
    );
    let flag = ["-c", "x.toml", "--route", "c.example=tcp://10.0.0.3"];
    let config = good(&flag, &variable, &office()).config;
    assert_eq!(routes(&config), "c.example -> 10.0.0.3");
    assert_eq!(
        general(&config),
        ["quad9"],
        "the office does not become general by an option"
    );
}

#[test]
fn faults_of_routes_are_told_even_where_they_are_overruled() {
    let text = OFFICE.replace("10.0.0.0/8", "10.0.0.1/8");
    let files = Files::default().with("x.toml", text);
    let told = faults(&["-c", "x.toml", "--route", "a.example=b"], &[], &files);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("beyond the prefix length"), "{told:?}");
    assert!(
        told[1].starts_with("--route: no upstream is called \"b\""),
        "{told:?}"
    );
}

#[test]
fn one_upstream_given_to_several_routes_is_one() {
    let arguments = [
        "--route",
        "a.example=udp://10.0.0.1",
        "--route",
        "b.example=udp://10.0.0.1:53,tcp://10.0.0.1",
    ];
    let config = good(&arguments, &[], &Files::default()).config;
    assert!(
        upstreams(&config).ends_with(" 10.0.0.1=udp://10.0.0.1:53 10.0.0.1-2=tcp://10.0.0.1:53"),
        "{}",
        upstreams(&config)
    );
    assert_eq!(config.upstreams[1].protocol, Protocol::Udp);
}

#[test]
fn roots_and_certificates_for_all_are_not_for_the_unencrypted() {
    let files = Files::default().with("ca.pem", crate::identities::certificate());
    let arguments = ["--ca-file", "ca.pem", "--route", "a.example=udp://10.0.0.1"];
    let config = good(&arguments, &[], &files).config;
    assert!(config.upstreams[0].ca_file.is_some() && config.upstreams[1].ca_file.is_none());
}

#[test]
fn addresses_are_not_asked_of_upstreams_that_serve_routes_only() {
    let text = OFFICE.replace("preset = \"quad9\"", "tls_name = \"dot.example\"");
    let files = Files::default().with("x.toml", text);
    let config = good(&["-c", "x.toml"], &[], &files).config;
    let asked: Vec<_> = config.bootstrap.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(asked, ["cloudflare"]);
    let arguments = [
        "--route",
        "corp.example=tls://dns.corp.example",
        "--bootstrap",
        "quad9",
    ];
    let config = good(&arguments, &[], &Files::default()).config;
    assert_eq!(config.bootstrap.len(), 1, "whom to ask was said");
}

#[test]
fn an_upstream_that_is_this_program_is_refused() {
    let cases: &[(&[&str], bool)] = &[
        (
            &["-l", "127.0.0.1:853", "-u", "tls://a.example@127.0.0.1"],
            true,
        ),
        (
            &[
                "-l",
                "udp://127.0.0.1:853",
                "-u",
                "tls://a.example@127.0.0.1",
            ],
            false,
        ),
        (
            &["-l", "0.0.0.0:53", "--route", "a.example=udp://127.0.0.53"],
            true,
        ),
        (
            &["-l", "[::]:53", "--route", "a.example=udp://127.0.0.53"],
            false,
        ),
        (
            &[
                "-l",
                "127.0.0.1:53",
                "--route",
                "a.example=udp://127.0.0.53",
            ],
            false,
        ),
        (
            &["-l", "tcp://[::1]:53", "--route", "a.example=udp://[::1]"],
            false,
        ),
        (
            &["-l", "tcp://[::1]:53", "--route", "a.example=tcp://[::1]"],
            true,
        ),
        (
            &[
                "-l",
                "127.0.0.1:0",
                "--route",
                "a.example=udp://127.0.0.1:53",
            ],
            false,
        ),
    ];
    for (arguments, refused) in cases {
        let loaded = crate::load_with(arguments, &[], &Files::default());
        assert_eq!(loaded.is_err(), *refused, "{arguments:?}");
    }
}

fn explained(config: &Config, name: &str, qtype: &str) -> (String, serde_json::Value) {
    let written = |json| {
        let args = ExplainArgs {
            name: name.parse().expect("a name"),
            qtype: qtype.parse().expect("a type"),
            json,
        };
        let mut out = Vec::new();
        write_explanation(&mut out, config, &args).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let json = serde_json::from_str(&written(true)).expect("JSON");
    (written(false), json)
}

#[test]
fn explain_tells_each_decision_and_its_reason() {
    let text = format!(
        "{OFFICE}\n[[route]]\nsuffix = \"lab.corp.example\"\nto = \"udp://10.2.0.53\"\nfallback = true\n\
         [[local]]\nname = \"nas.corp.example\"\na = \"192.0.2.1\"\n"
    );
    let files = Files::default().with("x.toml", text);
    let config = good(&["-c", "x.toml"], &[], &files).config;
    let cases = [
        (
            "db.Corp.example",
            "A",
            "route",
            "asked where the route of corp.example. leads",
        ),
        (
            "db.corp.example",
            "MX",
            "route",
            "upstream  office, tier 1: tls://dns.corp.example@10.1.0.53:853",
        ),
        ("db.corp.example", "A", "route", "never falls back"),
        (
            "x.lab.corp.example",
            "A",
            "route",
            "falls back to the configured upstreams",
        ),
        (
            "x.lab.corp.example",
            "A",
            "route",
            "upstream  10.2.0.53, tier 1: udp://10.2.0.53:53",
        ),
        (
            "4.3.2.10.in-addr.arpa",
            "PTR",
            "route",
            "route     corp.example, 10.0.0.0/8",
        ),
        (
            "nas.corp.example",
            "A",
            "local",
            "nas.corp.example. 300 A 192.0.2.1",
        ),
        ("printer.local", "A", "special", "RFC 6762 section 22.1"),
        ("printer.local", "A", "special", "NXDOMAIN, no record"),
        (
            "1.1.168.192.in-addr.arpa",
            "PTR",
            "special",
            "RFC 6303 section 4",
        ),
        ("www.example", "A", "default", "no route claims it"),
        ("notcorp.example", "A", "default", "upstream  quad9, tier 1"),
        ("www.example", "AXFR", "refused", "REFUSED: zone transfers"),
    ];
    for (name, qtype, decision, part) in cases {
        let (text, json) = explained(&config, name, qtype);
        assert_eq!(json["decision"], decision, "{name} {qtype}");
        assert!(
            text.contains(part),
            "{name} {qtype}: no {part:?} in\n{text}"
        );
    }
    let (_, json) = explained(&config, "x.lab.corp.example", "AAAA");
    assert_eq!(json["name"], "x.lab.corp.example.");
    assert_eq!(json["domain"], "lab.corp.example.");
    assert_eq!(json["group"]["fallback"], true);
    assert_eq!(json["upstreams"][0]["protocol"], "udp");
    let (_, json) = explained(&config, "nas.corp.example", "A");
    assert_eq!(json["answer"]["rcode"], "NOERROR");
}

#[test]
fn explain_tells_what_becomes_of_private_addresses() {
    let options = ["-c", "x.toml", "--private-domain", "plex.direct"];
    let guarded = [&options[..], &["--block-private", "true"]].concat();
    let config = good(&guarded, &[], &office()).config;
    for (name, part, json) in [
        ("www.example", "private addresses are withheld", "withheld"),
        (
            "a.Plex.direct",
            "because plex.direct. may have them",
            "told",
        ),
        ("db.corp.example", "because a route leads there", "told"),
    ] {
        let (text, explained) = explained(&config, name, "A");
        assert!(text.contains(part), "{name}: no {part:?} in\n{text}");
        assert_eq!(explained["private_addresses"], json, "{name}");
    }
    let loaded = good(&options, &[], &office());
    let (text, explained) = explained(&loaded.config, "www.example", "A");
    assert!(!text.contains("private addresses"), "{text}");
    assert_eq!(explained["private_addresses"], "told");
    // A list of exceptions to nothing.
    let [warning] = &loaded.warnings[..] else {
        panic!("{:?}", loaded.warnings);
    };
    let warning = warning.to_string();
    assert!(
        warning.starts_with("--private-domain: a domain"),
        "{warning}"
    );
}
