//! Clock, certificate files, IPv6.

use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Finding, Machine};
use crate::commands::query::day;
use crate::config::Config;
use crate::limits::EXPIRY_NOTICE;
use crate::tls::certificate::CertificateFacts;

/// A clock before this is wrong: no version of this program is older. 2026-01-01, in seconds since 1970.
const OLDEST_TIME: i64 = 1_767_225_600;

/// Where certificates that hold now are gone: 2100-01-01.
const LATEST_TIME: i64 = 4_102_444_800;

pub(super) fn findings(machine: &Machine, config: &Config) -> Vec<Finding> {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since_1970.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX));
    let mut findings = vec![clock(now)];
    findings.extend(certificates(config));
    findings.push(ipv6(machine));
    findings
}

fn clock(now: i64) -> Finding {
    let fact = format!("it is {}", day(now));
    if (OLDEST_TIME..LATEST_TIME).contains(&now) {
        return Finding::good("clock", fact);
    }
    Finding::wrong("clock", fact)
        .means("no certificate holds at that time: no upstream is believed")
        .mended_by("set the clock (timedatectl, date -s); a machine without a clock needs its time server by address, because names need DNS")
}

/// Every file of certificates that is named, and the bundled roots where they count.
fn certificates(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let upstreams = || config.upstreams.iter().chain(&config.bootstrap);
    if upstreams().any(|it| it.tls_name.is_some() && it.ca_file.is_none()) {
        let roots = webpki_roots::TLS_SERVER_ROOTS.len();
        findings.push(Finding::good(
            "roots",
            format!("{roots} bundled with the program; the system's are not needed"),
        ));
    }
    let roots = upstreams().filter_map(|it| it.ca_file.as_deref());
    let own = upstreams().filter_map(|it| it.client_identity.as_ref());
    let own = own.map(|it| it.certificate_file.as_path());
    let listeners = config.listen_tls.iter();
    let shown = listeners.clone().map(|it| it.certificate_file.as_path());
    let clients = listeners.filter_map(|it| it.client_ca_file.as_deref());
    let all = [
        ("roots of upstreams", roots.collect::<Vec<_>>()),
        ("certificate for upstreams", own.collect()),
        ("certificate of listeners", shown.collect()),
        ("roots of clients", clients.collect()),
    ];
    for (topic, mut files) in all {
        files.sort();
        files.dedup();
        findings.extend(files.into_iter().map(|file| certificate_file(topic, file)));
    }
    findings
}

fn certificate_file(topic: &str, file: &Path) -> Finding {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = match read {
        Ok(certificates) => certificates,
        Err(error) => {
            return Finding::wrong(topic, format!("{}: {error}", file.display()))
                .mended_by("give a PEM file that this user may read");
        }
    };
    let mut facts: Vec<_> = certificates
        .iter()
        .filter_map(CertificateFacts::read)
        .collect();
    facts.sort_by_key(|it| it.not_after);
    let Some(first) = facts.first() else {
        return Finding::wrong(topic, format!("{}: no certificate in it", file.display()));
    };
    let fact = format!(
        "{}: {} certificates, the first to end at {} ({})",
        file.display(),
        facts.len(),
        day(first.not_after),
        first.subject,
    );
    let notice = i64::try_from(EXPIRY_NOTICE.as_secs() / 86_400).unwrap_or(i64::MAX);
    match first.days_left {
        days if days < 0 => Finding::wrong(topic, fact)
            .means("it is over: nobody believes it")
            .mended_by("renew it; the file is read again within seconds"),
        days if days < notice => {
            Finding::note(topic, fact).means(format!("it ends in {days} days"))
        }
        _ => Finding::good(topic, fact),
    }
}

fn ipv6(machine: &Machine) -> Finding {
    // Address, index, prefix, scope (00 is global), flags, name.
    let addresses = machine.read("/proc/net/if_inet6").unwrap_or_default();
    let global = addresses.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, _, _, "00", _, name] if *name != "lo")
    });
    // Destination and its prefix first, the name of the interface last.
    let routes = machine.read("/proc/net/ipv6_route").unwrap_or_default();
    let default = routes.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [destination, "00", .., name]
            if destination.bytes().all(|it| it == b'0') && *name != "lo")
    });
    match (global, default) {
        (true, true) => Finding::good("IPv6", "an address and a default route"),
        (true, false) => Finding::note("IPv6", "an address, but no default route")
            .means("IPv6 addresses of upstreams fail; their IPv4 addresses are used"),
        (false, _) => Finding::note("IPv6", "none that leads out")
            .means("IPv6 addresses of upstreams fail; their IPv4 addresses are used"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Level;
    use crate::commands::doctor::tests::machine;

    #[test]
    fn a_clock_that_was_never_set_is_wrong() {
        assert_eq!(clock(0).level, Level::Wrong);
        assert!(clock(0).fact.contains("1970-01-01"), "{:?}", clock(0));
        assert_eq!(clock(OLDEST_TIME).level, Level::Good);
        assert_eq!(clock(LATEST_TIME).level, Level::Wrong);
    }

    #[test]
    fn ipv6_needs_an_address_and_a_route() {
        let address = "20010db8000000000000000000000001 02 40 00 80 eth0\n";
        let link = "fe800000000000000000000000000001 02 40 20 80 eth0\n";
        let zeros = "0".repeat(32);
        let route =
            format!("{zeros} 00 {zeros} 00 fe80 00000400 00000001 00000000 00000003 eth0\n");
        let of = |addresses: &str, routes: &str| {
            let files = [
                ("proc/net/if_inet6", addresses),
                ("proc/net/ipv6_route", routes),
            ];
            let (_directory, machine) = machine(&files);
            ipv6(&machine)
        };
        assert_eq!(of(address, &route).level, Level::Good);
        assert!(of(address, "").fact.contains("no default route"));
        assert_eq!(of(link, &route).level, Level::Note);
        assert_eq!(of("", "").level, Level::Note);
    }

    #[test]
    fn files_of_certificates_are_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.pem");
        assert_eq!(certificate_file("x", &file).level, Level::Wrong);
        let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        for (end, level) in [(2020, Level::Wrong), (2090, Level::Good)] {
            parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(end, 1, 1);
            let certificate = parameters.self_signed(&key).unwrap();
            std::fs::write(&file, certificate.pem()).unwrap();
            let finding = certificate_file("x", &file);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.fact.contains(&end.to_string()), "{finding:?}");
        }
    }
}
