use super::*;

const PIN: &str = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// `name | endpoints | port | pins | preset`, as far as they are there.
fn shape(spec: &Spec) -> String {
    let name = spec
        .tls_name
        .as_ref()
        .map_or_else(|| "-".into(), |name| name.to_str().into_owned());
    let endpoints: Vec<_> = spec.endpoints.iter().map(SocketAddr::to_string).collect();
    let preset = spec.preset.map_or("-", |preset| preset.name);
    format!(
        "{name} | {} | {} | {} | {preset}",
        endpoints.join(" "),
        spec.port,
        spec.pins.len()
    )
}

fn assert_shapes(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let spec = parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(shape(&spec), *expected, "{text}");
    }
}

#[test]
fn good_spellings() {
    let google = "dns.google | 8.8.8.8:853 8.8.4.4:853 [2001:4860:4860::8888]:853 \
                  [2001:4860:4860::8844]:853 | 853 | 0 | google";
    let cases = [
        ("google", google),
        ("Google", google),
        (
            "tls://dot.example@192.0.2.1",
            "dot.example | 192.0.2.1:853 | 853 | 0 | -",
        ),
        (
            "TLS://DOT.Example.@192.0.2.1/",
            "dot.example | 192.0.2.1:853 | 853 | 0 | -",
        ),
        (
            "tls://dot.example@192.0.2.1,[2001:db8::1]:8853",
            "dot.example | 192.0.2.1:8853 [2001:db8::1]:8853 | 8853 | 0 | -",
        ),
        (
            "tls://dot.example@192.0.2.1:853,[2001:db8::1]:8853",
            "dot.example | 192.0.2.1:853 [2001:db8::1]:8853 | 8853 | 0 | -",
        ),
        (
            "tls://dot.example@[2001:db8::1]",
            "dot.example | [2001:db8::1]:853 | 853 | 0 | -",
        ),
        ("tls://dot.example", "dot.example |  | 853 | 0 | -"),
        ("tls://dns.quad9.net", "dns.quad9.net |  | 853 | 0 | -"),
        ("tls://dot.example:8853", "dot.example |  | 8853 | 0 | -"),
        ("tls://localhost", "localhost |  | 853 | 0 | -"),
        ("tls://192.0.2.1", "192.0.2.1 | 192.0.2.1:853 | 853 | 0 | -"),
        (
            "tls://192.0.2.1:8853",
            "192.0.2.1 | 192.0.2.1:8853 | 8853 | 0 | -",
        ),
        (
            "tls://[2001:db8::1]:8853",
            "2001:db8::1 | [2001:db8::1]:8853 | 8853 | 0 | -",
        ),
        (
            "tls://192.0.2.9@192.0.2.1",
            "192.0.2.9 | 192.0.2.1:853 | 853 | 0 | -",
        ),
    ];
    assert_shapes(&cases);
}

#[test]
fn good_spellings_of_other_programs_and_of_preset_addresses() {
    let cases = [
        (
            "9.9.9.9@853#dns.quad9.net",
            "dns.quad9.net | 9.9.9.9:853 | 853 | 0 | -",
        ),
        (
            "9.9.9.9:8853#dns.quad9.net",
            "dns.quad9.net | 9.9.9.9:8853 | 8853 | 0 | -",
        ),
        (
            "9.9.9.9#dns.quad9.net",
            "dns.quad9.net | 9.9.9.9:853 | 853 | 0 | -",
        ),
        (
            "2620:fe::fe@853#dns.quad9.net",
            "dns.quad9.net | [2620:fe::fe]:853 | 853 | 0 | -",
        ),
        (
            "[2620:fe::fe]:853#dns.quad9.net",
            "dns.quad9.net | [2620:fe::fe]:853 | 853 | 0 | -",
        ),
        (
            "2620:fe::fe#dns.quad9.net",
            "dns.quad9.net | [2620:fe::fe]:853 | 853 | 0 | -",
        ),
        ("9.9.9.9", "dns.quad9.net | 9.9.9.9:853 | 853 | 0 | quad9"),
        (
            "1.0.0.1:8853",
            "cloudflare-dns.com | 1.0.0.1:8853 | 8853 | 0 | cloudflare",
        ),
        (
            "2620:fe::fe",
            "dns.quad9.net | [2620:fe::fe]:853 | 853 | 0 | quad9",
        ),
    ];
    assert_shapes(&cases);
}

#[test]
fn parameters_are_read_and_a_pin_stands_in_for_the_name_of_an_address() {
    let cases = [
        (
            format!("tls://dot.example@192.0.2.1?pin={PIN}"),
            "dot.example | 192.0.2.1:853 | 853 | 1 | -",
        ),
        (
            format!("tls://dot.example?pin={PIN}&pin={PIN}"),
            "dot.example |  | 853 | 2 | -",
        ),
        (
            format!("192.0.2.1?pin={PIN}"),
            "- | 192.0.2.1:853 | 853 | 1 | -",
        ),
        (
            format!("192.0.2.1@8853?pin={PIN}"),
            "- | 192.0.2.1:8853 | 8853 | 1 | -",
        ),
        (
            format!("tls://192.0.2.1?pin={PIN}"),
            "- | 192.0.2.1:853 | 853 | 1 | -",
        ),
        (
            format!("tls://192.0.2.1@192.0.2.1?pin={PIN}"),
            "192.0.2.1 | 192.0.2.1:853 | 853 | 1 | -",
        ),
        (
            format!("tls://@192.0.2.1,192.0.2.2?pin={PIN}"),
            "- | 192.0.2.1:853 192.0.2.2:853 | 853 | 1 | -",
        ),
        (
            format!("9.9.9.9?pin={PIN}"),
            "dns.quad9.net | 9.9.9.9:853 | 853 | 1 | quad9",
        ),
    ];
    for (text, expected) in cases {
        let spec = parse(&text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(shape(&spec), expected, "{text}");
    }
    let spec = parse("tls://dot.example?ca_file=/etc/ca.pem").expect("good");
    assert_eq!(spec.ca_file, Some(PathBuf::from("/etc/ca.pem")));
}

#[test]
fn bad_spellings_say_what_is_wrong() {
    let cases = [
        (
            "udp://9.9.9.9",
            "queries would leave this machine unencrypted",
        ),
        (
            "TCP://9.9.9.9:53",
            "queries would leave this machine unencrypted",
        ),
        (
            "https://dns.quad9.net/dns-query",
            "`https://` is not supported here",
        ),
        (
            "192.0.2.1",
            "nothing says whose certificate 192.0.2.1 must show",
        ),
        (
            "192.0.2.1:853",
            "nothing says whose certificate 192.0.2.1:853 must show",
        ),
        (
            "2001:db8::1",
            "nothing says whose certificate [2001:db8::1] must show",
        ),
        ("dns.quad9.net", "neither a known provider nor an address"),
        ("quad", "neither a known provider nor an address"),
        ("tls://", "`` is not a name a certificate can carry"),
        (
            "tls://@192.0.2.1",
            "`` is not a name a certificate can carry",
        ),
        ("tls://dot.example@", "`` is not an IP address"),
        (
            "tls://dot.example@dot2.example",
            "`dot2.example` is not an IP address",
        ),
        (
            "tls://dot.example@300.0.0.1",
            "`300.0.0.1` is not an IP address",
        ),
        (
            "tls://dot.example@0.0.0.0",
            "0.0.0.0 is not the address of one host",
        ),
        ("tls://dot.example@192.0.2.1:0", "`0` is not a port"),
        ("tls://dot.example@192.0.2.1:dot", "`dot` is not a port"),
        ("tls://dot.example:dot", "`dot` is not a port"),
        (
            "tls://dot.example@2620:fe::9:853",
            "an IPv6 address stands in brackets here",
        ),
        (
            "tls://2620:fe::9",
            "an IPv6 address stands in brackets here",
        ),
        (
            "tls://*.example@192.0.2.1",
            "`*.example` is not a name a certificate can carry",
        ),
        ("tls://256.1.1.1", "`256.1.1.1` is not an IP address"),
        ("9.9.9.9@853#", "`` is not a name a certificate can carry"),
        (
            "9.9.9.9:853@853#dns.quad9.net",
            "`9.9.9.9:853` is not an IP address",
        ),
        ("tls://dot.example?pin=AAAA", "not a pin"),
        ("tls://dot.example?pin=sha256/AAAA", "not a pin"),
        ("tls://dot.example?spki=x", "unknown parameter `spki`"),
        ("tls://dot.example?ca_file=", "unknown parameter `ca_file`"),
    ];
    for (text, expected) in cases {
        let fault = parse(text).expect_err(text);
        assert_eq!(fault.to_string(), expected, "{text}");
        assert!(!fault.remedy().is_empty(), "{text}");
    }
}

#[test]
fn near_misses_are_told_what_was_meant() {
    let suggestion = |text| match parse(text) {
        Err(ValueFault::UnknownUpstream { suggestion }) => suggestion,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(suggestion("cloudfare").as_deref(), Some("cloudflare"));
    assert_eq!(suggestion("quad").as_deref(), Some("quad9"));
    assert_eq!(
        suggestion("dot.example").as_deref(),
        Some("tls://dot.example")
    );
    assert_eq!(suggestion("resolver"), None);
}
