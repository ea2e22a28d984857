//! Certificates, keys and roots: looked into before anything starts. Keys are made on the spot.

use crate::{Files, faults, good, warnings};

struct Pair {
    certificate: String,
    key: String,
}

fn pair() -> Pair {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(["dot.example".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("signed");
    Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// A certificate nobody has the key of.
pub(crate) fn certificate() -> String {
    pair().certificate
}

/// For each stem, `STEM.pem` and its `STEM.key`.
pub(crate) fn files_for(stems: &[&str]) -> Files {
    let mut files = Files::default();
    for stem in stems {
        let Pair { certificate, key } = pair();
        files = files
            .with(&format!("{stem}.pem"), certificate)
            .with(&format!("{stem}.key"), key);
    }
    files
}

const LISTEN: [&str; 6] = [
    "--listen",
    "tls://127.0.0.1",
    "--listen-cert",
    "a.pem",
    "--listen-key",
    "a.key",
];

#[test]
fn a_tls_listener_gets_its_certificate() {
    let config = good(&LISTEN, &[], &files_for(&["a"])).config;
    let identity = config.listen_tls.expect("an identity");
    assert_eq!(identity.certificate_file.to_str(), Some("a.pem"));
    assert_eq!(identity.key_file.to_str(), Some("a.key"));
}

#[test]
fn a_certificate_no_listener_shows_is_a_warning() {
    let loaded = good(&LISTEN[2..], &[], &files_for(&["a"]));
    assert_eq!(warnings(&loaded).len(), 1);
    assert!(warnings(&loaded)[0].starts_with("--listen-cert: a certificate for clients"));
}

#[test]
fn what_is_wrong_with_a_pair_is_told_under_the_right_setting() {
    let certificate = || pair().certificate;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let good_key = pair().key;
    let cases = [
        (
            certificate(),
            good_key.clone(),
            "--listen-key: `listen.key` a.key is not the key of",
        ),
        (
            broken.into(),
            good_key.clone(),
            "--listen-cert: `listen.certificate` a.pem holds a cert",
        ),
        (
            cut.into(),
            good_key.clone(),
            "--listen-cert: `listen.certificate` a.pem holds a cert",
        ),
        (
            good_key.clone(),
            good_key.clone(),
            "--listen-cert: `listen.certificate` a.pem holds no",
        ),
        (
            certificate(),
            certificate(),
            "--listen-key: `listen.key` a.key holds no private key",
        ),
        (
            certificate(),
            no_key.into(),
            "--listen-key: `listen.key` a.key holds a key that TLS",
        ),
    ];
    for (certificate, key, expected) in cases {
        let files = Files::default()
            .with("a.pem", certificate)
            .with("a.key", key);
        let told = faults(&LISTEN, &[], &files);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(expected), "{told:?} / {expected}");
    }
}

#[test]
fn half_a_pair_is_a_fault() {
    let told = faults(&LISTEN[..4], &[], &files_for(&["a"]));
    assert_eq!(
        told,
        ["--listen-cert: `listen.certificate` without `listen.key`; \
                       give `listen.key` too"]
    );
    let told = faults(&["--client-key", "a.key"], &[], &files_for(&["a"]));
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn roots_and_client_certificates_hold_for_all_that_do_not_say_otherwise() {
    let text = "[[upstream]]\npreset = \"quad9\"\n[[upstream]]\ntls_name = \"dot.example\"\n\
                ca_file = \"own.pem\"\nclient_cert = \"b.pem\"\nclient_key = \"b.key\"\n";
    let files = files_for(&["a", "b", "own", "ca"]).with("x.toml", text);
    let arguments = [
        "-c",
        "x.toml",
        "--ca-file",
        "ca.pem",
        "--client-cert",
        "a.pem",
    ];
    let variables = [("DOTWARD_CLIENT_KEY", "a.key")];
    let config = good(&arguments, &variables, &files).config;
    let of = |index: usize| {
        let upstream: &dotward::config::UpstreamSettings = &config.upstreams[index];
        let identity = upstream.client_identity.as_ref().expect("an identity");
        let roots = upstream.ca_file.as_ref().expect("roots");
        (
            roots.to_str(),
            identity.certificate_file.to_str(),
            identity.key_file.to_str(),
        )
    };
    assert_eq!(of(0), (Some("ca.pem"), Some("a.pem"), Some("a.key")));
    assert_eq!(of(1), (Some("own.pem"), Some("b.pem"), Some("b.key")));
    assert_eq!(config.bootstrap, config.upstreams[..1]);
}

#[test]
fn the_default_provider_asked_for_addresses_is_verified_by_the_bundled_roots() {
    let arguments = ["-u", "tls://dot.example", "--ca-file", "ca.pem"];
    let config = good(&arguments, &[], &files_for(&["ca"])).config;
    assert!(config.upstreams[0].ca_file.is_some());
    assert!(config.bootstrap[0].ca_file.is_none());
}
