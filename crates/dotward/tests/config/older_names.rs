//! Every name of the older proxies: what it becomes, and the one warning it gets.

use dotward::settings::OLDER_NAMES;

use crate::{Files, faults, good, listeners, upstreams, warnings};

const CLOUDFLARE: &str = "cloudflare=tls://cloudflare-dns.com@1.1.1.1:853,1.0.0.1:853,\
                          [2606:4700:4700::1111]:853,[2606:4700:4700::1001]:853";
const QUAD9: &str = "quad9=tls://dns.quad9.net@9.9.9.9:853,149.112.112.112:853,\
                     [2620:fe::fe]:853,[2620:fe::9]:853";
const QUAD9_8853: &str = "dns.quad9.net=tls://dns.quad9.net@9.9.9.9:8853,149.112.112.112:8853,\
                          [2620:fe::fe]:8853,[2620:fe::9]:8853";
const LOOPBACK: &str = "udp://127.0.0.1:53 tcp://127.0.0.1:53 udp://[::1]:53 tcp://[::1]:53";
const EVERYWHERE: &str = "udp://0.0.0.0:53 tcp://0.0.0.0:53 udp://[::]:53 tcp://[::]:53";

/// Arguments and variables, and what they become: listeners, upstreams, what is written instead.
struct Case {
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    listeners: &'static str,
    upstreams: &'static str,
    instead: &'static [&'static str],
}

const NOTHING: Case = Case {
    arguments: &[],
    variables: &[],
    listeners: LOOPBACK,
    upstreams: CLOUDFLARE,
    instead: &[],
};

fn check(cases: &[Case]) {
    for case in cases {
        let loaded = good(case.arguments, case.variables, &Files::default());
        let said = (case.arguments, case.variables);
        assert_eq!(listeners(&loaded.config), case.listeners, "{said:?}");
        assert_eq!(upstreams(&loaded.config), case.upstreams, "{said:?}");
        let told = warnings(&loaded);
        assert_eq!(told.len(), case.instead.len(), "{said:?}: {told:#?}");
        for (told, instead) in told.iter().zip(case.instead) {
            assert!(
                told.ends_with(&format!("write `{instead}`")),
                "{told} / {instead}"
            );
        }
    }
}

#[test]
fn proxy_a_listens_where_its_options_say() {
    check(&[
        Case {
            arguments: &["--listen-ip", "192.0.2.1"],
            listeners: "udp://192.0.2.1:53 tcp://192.0.2.1:53",
            instead: &["--listen 192.0.2.1:53"],
            ..NOTHING
        },
        Case {
            arguments: &[
                "--listen-ip",
                "::",
                "--tcp-port",
                "5300",
                "--udp-port",
                "5300",
            ],
            listeners: "udp://[::]:5300 tcp://[::]:5300",
            instead: &["--listen [::]:5300"; 3],
            ..NOTHING
        },
        Case {
            arguments: &[
                "--listen-ip",
                "0.0.0.0",
                "--tcp-port",
                "5301",
                "--udp-port",
                "5300",
            ],
            listeners: "udp://0.0.0.0:5300 tcp://0.0.0.0:5301",
            instead: &["--listen udp://0.0.0.0:5300,tcp://0.0.0.0:5301"; 3],
            ..NOTHING
        },
    ]);
}

#[test]
fn the_upstream_of_proxy_a_becomes_a_preset_or_stands_for_itself() {
    check(&[
        Case {
            arguments: &["run", "--upstream-server", "9.9.9.9"],
            upstreams: QUAD9,
            instead: &["--upstream quad9"],
            ..NOTHING
        },
        Case {
            arguments: &[
                "--upstream-server",
                "DNS.Quad9.net",
                "--upstream-port",
                "853",
            ],
            upstreams: QUAD9,
            instead: &["--upstream quad9"; 2],
            ..NOTHING
        },
        Case {
            arguments: &[
                "--upstream-server",
                "dns.quad9.net",
                "--upstream-port",
                "8853",
            ],
            upstreams: QUAD9_8853,
            instead: &["--upstream tls://dns.quad9.net@9.9.9.9,149.112.112.112,[2620:fe::fe],\
                        [2620:fe::9]:8853"; 2],
            ..NOTHING
        },
        Case {
            arguments: &["--upstream-server", "dot.example"],
            upstreams: "dot.example=tls://dot.example:853",
            instead: &["--upstream tls://dot.example"],
            ..NOTHING
        },
        Case {
            arguments: &["--upstream-server", "192.0.2.53", "--upstream-port", "8853"],
            upstreams: "192.0.2.53=tls://192.0.2.53@192.0.2.53:8853",
            instead: &["--upstream tls://192.0.2.53:8853"; 2],
            ..NOTHING
        },
        Case {
            arguments: &["--upstream-server", "2001:db8::53"],
            upstreams: "2001:db8::53=tls://2001:db8::53@[2001:db8::53]:853",
            instead: &["--upstream tls://[2001:db8::53]"],
            ..NOTHING
        },
        Case {
            arguments: &["--upstream-port", "853"],
            instead: &["--upstream cloudflare"],
            ..NOTHING
        },
    ]);
}

#[test]
fn d_means_debug_and_is_told_nothing() {
    for flag in ["-d", "--debug"] {
        let loaded = good(&[flag], &[], &Files::default());
        assert_eq!(loaded.config.log.level.to_string(), "debug");
        assert!(loaded.warnings.is_empty());
    }
}

#[test]
fn proxy_b_is_moved_over_by_its_variables() {
    check(&[
        Case {
            variables: &[("BIND_ADDRESS", "0.0.0.0"), ("BIND_PORT", "5300")],
            listeners: "udp://0.0.0.0:5300 tcp://0.0.0.0:5300",
            instead: &["DOTWARD_LISTEN=0.0.0.0:5300"; 2],
            ..NOTHING
        },
        Case {
            variables: &[("BIND_ADDRESS", "0.0.0.0"), ("PROTO", "UDP")],
            listeners: "udp://0.0.0.0:53",
            instead: &["DOTWARD_LISTEN=0.0.0.0:53", "DOTWARD_PROTO=udp"],
            ..NOTHING
        },
        Case {
            variables: &[("PROTO", "Tcp")],
            listeners: "tcp://127.0.0.1:53 tcp://[::1]:53",
            instead: &["DOTWARD_PROTO=tcp"],
            ..NOTHING
        },
        Case {
            variables: &[("DOT_ADDRESS", "9.9.9.9"), ("DOT_PORT", "853")],
            upstreams: QUAD9,
            instead: &["DOTWARD_UPSTREAM=quad9"; 2],
            ..NOTHING
        },
        Case {
            variables: &[
                ("BIND_PORT", "53"),
                ("DOT_PORT", "8853"),
                ("LOG_LEVEL", "INFO"),
            ],
            upstreams: "cloudflare-dns.com=tls://cloudflare-dns.com@1.1.1.1:8853,1.0.0.1:8853,\
                        [2606:4700:4700::1111]:8853,[2606:4700:4700::1001]:8853",
            instead: &[
                "DOTWARD_LISTEN=127.0.0.1:53,[::1]:53",
                "DOTWARD_UPSTREAM=tls://cloudflare-dns.com@1.1.1.1,1.0.0.1,\
                 [2606:4700:4700::1111],[2606:4700:4700::1001]:8853",
                "DOTWARD_LOG_LEVEL=info",
            ],
            ..NOTHING
        },
    ]);
}

#[test]
fn levels_of_other_programs_are_understood() {
    let levels = [
        ("DEBUG", "debug"),
        ("Warning", "warn"),
        ("CRITICAL", "error"),
        ("fatal", "error"),
        ("info", "info"),
    ];
    for (older, level) in levels {
        let loaded = good(&[], &[("LOG_LEVEL", older)], &Files::default());
        assert_eq!(loaded.config.log.level.to_string(), level);
        assert_eq!(
            warnings(&loaded),
            [format!(
                "`LOG_LEVEL` is an older name; write `DOTWARD_LOG_LEVEL={level}`"
            )]
        );
    }
}

#[test]
fn proxy_c_listens_on_all_addresses() {
    check(&[
        Case {
            variables: &[("DNS_SERVER_IP", "9.9.9.9")],
            listeners: EVERYWHERE,
            upstreams: QUAD9,
            instead: &["DOTWARD_UPSTREAM=quad9` and `DOTWARD_LISTEN=0.0.0.0:53,[::]:53"],
            ..NOTHING
        },
        Case {
            variables: &[
                ("DOT_PORT", "5300"),
                ("DNS_SERVER_IP", "dot.example"),
                ("DNS_SERVER_PORT", "8853"),
            ],
            listeners: "udp://0.0.0.0:5300 tcp://0.0.0.0:5300 udp://[::]:5300 tcp://[::]:5300",
            upstreams: "dot.example=tls://dot.example:8853",
            instead: &[
                "DOTWARD_UPSTREAM=tls://dot.example:8853",
                "DOTWARD_UPSTREAM=tls://dot.example:8853",
                "DOTWARD_LISTEN=0.0.0.0:5300,[::]:5300",
            ],
            ..NOTHING
        },
        Case {
            variables: &[("DNS_SERVER_PORT", "853")],
            listeners: EVERYWHERE,
            instead: &["DOTWARD_UPSTREAM=cloudflare` and `DOTWARD_LISTEN=0.0.0.0:53,[::]:53"],
            ..NOTHING
        },
    ]);
}

#[test]
fn proxy_e_is_found_through_bootstrap() {
    check(&[
        Case {
            arguments: &["--backend-hostname", "dns.quad9.net"],
            upstreams: "dns.quad9.net=tls://dns.quad9.net:853",
            instead: &["--upstream tls://dns.quad9.net"],
            ..NOTHING
        },
        Case {
            arguments: &[
                "--backend-hostname",
                "dot.example",
                "--backend-port",
                "8853",
            ],
            upstreams: "dot.example=tls://dot.example:8853",
            instead: &["--upstream tls://dot.example:8853"; 2],
            ..NOTHING
        },
        Case {
            arguments: &["--backend-port", "853"],
            instead: &["--upstream cloudflare"],
            ..NOTHING
        },
    ]);
    let loaded = good(
        &["--backend-hostname", "dot.example"],
        &[],
        &Files::default(),
    );
    assert_eq!(loaded.config.bootstrap[0].name, "cloudflare");
}

#[test]
fn compat_chooses_whose_variables_are_read() {
    let variables = [
        ("BIND_PORT", "5300"),
        ("DNS_SERVER_IP", "9.9.9.9"),
        ("LOG_LEVEL", "debug"),
    ];
    let with = |compat| {
        let mut variables = variables.to_vec();
        variables.push(("DOTWARD_COMPAT", compat));
        let loaded = good(&[], &variables, &Files::default());
        let heard = (
            listeners(&loaded.config),
            loaded.config.upstreams[0].name.clone(),
        );
        (
            heard.0,
            heard.1,
            loaded.config.log.level.to_string(),
            loaded.warnings.len(),
        )
    };
    let b = "udp://127.0.0.1:5300 tcp://127.0.0.1:5300 udp://[::1]:5300 tcp://[::1]:5300";
    assert_eq!(
        with("b"),
        (b.into(), "cloudflare".into(), "debug".into(), 2)
    );
    assert_eq!(
        with("C"),
        (EVERYWHERE.into(), "quad9".into(), "info".into(), 1)
    );
    assert_eq!(
        with("off"),
        (LOOPBACK.into(), "cloudflare".into(), "info".into(), 0)
    );
    // Without it each name is read for what only it can mean.
    assert_eq!(with(""), (b.into(), "quad9".into(), "debug".into(), 3));
    let told = faults(&[], &[("DOTWARD_COMPAT", "a")], &Files::default());
    assert!(
        told[0].starts_with("DOTWARD_COMPAT: ") && told.len() == 1,
        "{told:?}"
    );
}

#[test]
fn older_options_are_refused_rather_than_ignored_when_older_names_are_off() {
    let off = [("DOTWARD_COMPAT", "off")];
    let told = faults(&["--upstream-server", "9.9.9.9"], &off, &Files::default());
    assert_eq!(
        told,
        [
            "--upstream-server: an older name, and DOTWARD_COMPAT=off ignores those; \
                       write `--upstream SPEC`"
        ]
    );
}

#[test]
fn an_overruled_older_name_is_told_once_and_has_no_effect() {
    let loaded = good(
        &["-u", "quad9", "--upstream-server", "8.8.8.8"],
        &[],
        &Files::default(),
    );
    assert_eq!(upstreams(&loaded.config), QUAD9);
    assert_eq!(
        warnings(&loaded),
        [
            "`--upstream-server` is an older name for `--upstream google` \
                                    and overruled by --upstream; remove it"
        ]
    );
}

#[test]
fn bad_values_of_older_names_are_told_under_their_own_name() {
    let variables = [
        ("BIND_ADDRESS", "here"),
        ("BIND_PORT", "dns"),
        ("DOT_ADDRESS", "no host"),
    ];
    let told = faults(
        &["--tcp-port", "0", "--backend-hostname", "*"],
        &variables,
        &Files::default(),
    );
    let heads: Vec<_> = told
        .iter()
        .filter_map(|fault| fault.split(": ").next())
        .collect();
    let expected = [
        "BIND_ADDRESS",
        "BIND_PORT",
        "DOT_ADDRESS",
        "--backend-hostname",
        "--tcp-port",
    ];
    assert_eq!(heads, expected, "{told:#?}");
}

#[test]
fn every_older_name_gets_exactly_one_warning() {
    for older in OLDER_NAMES {
        let value = match older.name {
            "PROTO" => "udp",
            "LOG_LEVEL" => "info",
            name if name.to_lowercase().contains("port") => "853",
            name if name.to_lowercase().contains("hostname") => "dot.example",
            _ => "9.9.9.9",
        };
        let written = older.written();
        let compat = if older.from == 'C' { "c" } else { "b" };
        let loaded = if written.starts_with("--") {
            good(&[&written, value], &[], &Files::default())
        } else {
            let variables = [(older.name, value), ("DOTWARD_COMPAT", compat)];
            good(&[], &variables, &Files::default())
        };
        let told = warnings(&loaded);
        assert_eq!(told.len(), 1, "{written}: {told:?}");
        assert!(
            told[0].starts_with(&format!("`{written}` is an older name; write `")),
            "{told:?}"
        );
        let names = older.instead.split(['=', ' ']).next().expect("a name");
        assert!(told[0].contains(names), "{told:?} / {}", older.instead);
    }
}
