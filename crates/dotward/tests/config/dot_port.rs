//! `DOT_PORT`: whose it is, for every company it can be in and every word of `DOTWARD_COMPAT`.

use crate::{Files, faults, warnings};

type Names = Vec<(&'static str, &'static str)>;

/// What `DOT_PORT=853` becomes beside other names.
#[derive(Debug, Clone, Copy, PartialEq)]
enum DotPort {
    Upstream,
    Listen,
    Ignored,
    Refused,
}

#[test]
fn dot_port_is_decided_by_its_company_and_never_by_its_value() {
    use DotPort::{Ignored, Listen, Refused, Upstream};
    let b = [
        ("DOT_ADDRESS", "9.9.9.9"),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("BIND_PORT", "54"),
        ("PROTO", "udp"),
    ];
    let c = [("DNS_SERVER_IP", "9.9.9.9"), ("DNS_SERVER_PORT", "8853")];
    let mut companies: Vec<(Names, [DotPort; 4])> = vec![
        (vec![], [Refused, Upstream, Listen, Ignored]),
        (
            vec![("LOG_LEVEL", "info")],
            [Refused, Upstream, Listen, Ignored],
        ),
    ];
    companies.extend(
        b.iter()
            .map(|one| (vec![*one], [Upstream, Upstream, Listen, Ignored])),
    );
    companies.extend(
        c.iter()
            .map(|one| (vec![*one], [Listen, Upstream, Listen, Ignored])),
    );
    for one in b {
        companies.extend(
            c.iter()
                .map(|other| (vec![one, *other], [Refused, Upstream, Listen, Ignored])),
        );
    }
    companies.push((b.to_vec(), [Upstream, Upstream, Listen, Ignored]));
    companies.push((c.to_vec(), [Listen, Upstream, Listen, Ignored]));
    companies.push((
        [b.as_slice(), &c].concat(),
        [Refused, Upstream, Listen, Ignored],
    ));
    for (company, expected) in companies {
        for (compat, expected) in ["", "b", "c", "off"].into_iter().zip(expected) {
            for port in ["53", "853", "5353"] {
                let mut variables = company.clone();
                variables.extend([("DOT_PORT", port), ("DOTWARD_COMPAT", compat)]);
                assert_eq!(outcome(&variables, port), expected, "{variables:?}");
            }
        }
    }
}

fn outcome(variables: &[(&str, &str)], port: &str) -> DotPort {
    let Ok(loaded) = crate::load_with(&[], variables, &Files::default()) else {
        let told = faults(&[], variables, &Files::default());
        assert_eq!(told.len(), 1, "{told:?}");
        let readings = [
            "DOT_PORT",
            port,
            "upstream's port",
            "listening port",
            "DOTWARD_COMPAT=b",
        ];
        assert!(
            readings.iter().all(|words| told[0].contains(words)),
            "{told:?}"
        );
        return DotPort::Refused;
    };
    let told = warnings(&loaded);
    let about: Vec<_> = told
        .iter()
        .filter(|told| told.starts_with("`DOT_PORT`"))
        .collect();
    let Some(about) = about.first() else {
        return DotPort::Ignored;
    };
    let everywhere = loaded
        .config
        .listeners
        .iter()
        .all(|it| it.address.ip().is_unspecified());
    if about.contains("DOTWARD_LISTEN") {
        let ports = loaded
            .config
            .listeners
            .iter()
            .map(|it| it.address.port().to_string());
        assert!(
            everywhere && ports.into_iter().all(|it| it == port),
            "{variables:?}"
        );
        DotPort::Listen
    } else {
        let ports = loaded
            .config
            .upstreams
            .iter()
            .flat_map(|it| it.endpoints.iter());
        assert!(
            ports.map(|it| it.port().to_string()).all(|it| it == port),
            "{variables:?}"
        );
        assert!(about.contains("DOTWARD_UPSTREAM"), "{about}");
        DotPort::Upstream
    }
}
