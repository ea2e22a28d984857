//! Whether each upstream can be reached, and what it means when not.

use std::io;

use dotward_core::wire::ResponseView;
use rustls::{CertificateError, Error};

use super::Finding;
use crate::commands::query::{connection_words, day};
use crate::commands::survey::{Tested, certificate, millis};
use crate::upstream::one_shot::{OneShot, OneShotError, Stage};

pub(super) fn findings(tested: &[Tested]) -> Vec<Finding> {
    let mut findings: Vec<_> = tested.iter().map(of_upstream).collect();
    if !tested.is_empty() && !tested.iter().any(Tested::works) {
        findings.push(
            Finding::wrong("upstreams", "none of them answers")
                .means("every question that is not kept gets SERVFAIL, or a stale answer"),
        );
    }
    findings
}

fn of_upstream(tested: &Tested) -> Finding {
    let topic = format!("upstream {}", tested.upstream.name);
    if let Some(fault) = &tested.fault {
        return Finding::note(topic, fault.as_str());
    }
    let works = tested.trials.iter();
    let mut works = works.filter_map(|it| Some((it.endpoint, it.outcome.as_ref().ok()?)));
    let failed = tested.trials.iter();
    let failed: Vec<_> = failed
        .filter_map(|it| Some((it.endpoint, it.outcome.as_ref().err()?)))
        .collect();
    let told: Vec<_> = failed
        .iter()
        .map(|(endpoint, error)| format!("{endpoint}: {error}"))
        .collect();
    match (works.next(), failed.first()) {
        (Some((endpoint, answer)), first) => {
            let fact = format!("{endpoint}: {}", answer_words(answer));
            match first {
                None => Finding::good(topic, fact),
                Some(_) => Finding::note(topic, fact)
                    .means(format!("not at every address: {}", told.join("; "))),
            }
        }
        (None, Some((_, error))) => {
            let (meaning, remedy) = advice(error);
            Finding::wrong(topic, told.join("; "))
                .means(meaning)
                .mended_by(remedy)
        }
        (None, None) => Finding::note(topic, "was not asked"),
    }
}

fn answer_words(answer: &OneShot) -> String {
    let facts = &answer.facts;
    let status = ResponseView::parse(&answer.response).map_or_else(
        |_| "a malformed response".to_owned(),
        |view| view.rcode().to_string(),
    );
    let until = certificate(facts).map(|it| format!(", certificate until {}", day(it.not_after)));
    format!(
        "{status} in {} (TCP {}, TLS {}); {}{}",
        millis(facts.answer),
        millis(facts.tcp),
        millis(facts.tls),
        connection_words(facts),
        until.unwrap_or_default()
    )
}

/// What a failure means, and what to do.
fn advice(error: &OneShotError) -> (&'static str, &'static str) {
    const CLOCK: (&str, &str) = (
        "its certificate does not hold at the time this machine believes it is",
        "look at the clock above; if it is right, the upstream has to renew its certificate",
    );
    const BLOCKED: (&str, &str) = (
        "something on the way drops TCP port 853, or the address is wrong",
        "let TCP port 853 out, or use an upstream on another port (tls://NAME@ADDR:443)",
    );
    match error {
        OneShotError::TimedOut(Stage::Tcp) => BLOCKED,
        OneShotError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => (
            "the host is there, and nothing listens at that port; or a firewall refuses for it",
            "look at address and port; let TCP port 853 out",
        ),
        OneShotError::Connect(error) if error.kind() == io::ErrorKind::TimedOut => BLOCKED,
        OneShotError::Connect(_) => (
            "this machine has no way to that address",
            "look at the network: ip route get ADDRESS",
        ),
        OneShotError::Tls(Error::InvalidCertificate(fault)) => certificate_advice(fault, CLOCK),
        OneShotError::Tls(_) => (
            "what answers there does not speak TLS as a resolver does",
            "look at the port; on port 853 something in between may answer for it",
        ),
        OneShotError::TimedOut(Stage::Tls)
        | OneShotError::Closed(Stage::Tls | Stage::Tcp)
        | OneShotError::Broken(Stage::Tls | Stage::Tcp, _) => (
            "TCP works and TLS does not: something on the way lets no TLS through, or large packets are lost",
            "try another network; compare with openssl s_client -connect ADDRESS:853",
        ),
        OneShotError::TimedOut(Stage::Answer)
        | OneShotError::Closed(Stage::Answer)
        | OneShotError::Broken(Stage::Answer, _)
        | OneShotError::Datagram(_)
        | OneShotError::NoAnswer => (
            "it proved who it is and does not answer questions",
            "ask it by hand: dotward query --via SPEC example.com; if that fails too, it is the provider's",
        ),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls adds variants; all others are about trust"
)]
fn certificate_advice(
    fault: &CertificateError,
    clock: (&'static str, &'static str),
) -> (&'static str, &'static str) {
    match fault {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => clock,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "something between you and the upstream answers on port 853, or tls_name is wrong; no question is sent there",
            "try another network; look at what it shows: dotward upstream test",
        ),
        CertificateError::UnknownIssuer => (
            "its certificate was signed by nobody who is trusted: something in between, or a private CA",
            "for a private CA give its roots (ca_file); otherwise try another network",
        ),
        _ => (
            "what it shows is not what this configuration expects",
            "compare pins and names: dotward upstream pin SPEC without the pin",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let certificate = |fault| OneShotError::Tls(Error::InvalidCertificate(fault));
        let cases = [
            (OneShotError::TimedOut(Stage::Tcp), "drops TCP port 853"),
            (OneShotError::TimedOut(Stage::Tls), "large packets"),
            (OneShotError::NoAnswer, "does not answer questions"),
            (
                OneShotError::Connect(io::ErrorKind::ConnectionRefused.into()),
                "nothing listens",
            ),
            (
                OneShotError::Connect(io::ErrorKind::NetworkUnreachable.into()),
                "no way",
            ),
            (
                certificate(CertificateError::NotValidYet),
                "at the time this machine believes",
            ),
            (
                certificate(CertificateError::NotValidForName),
                "answers on port 853",
            ),
            (certificate(CertificateError::UnknownIssuer), "private CA"),
        ];
        for (error, meaning) in cases {
            let (told, remedy) = advice(&error);
            assert!(told.contains(meaning), "{error}: {told}");
            assert!(!remedy.is_empty());
        }
    }
}
