//! The names of the programs this one replaces. They work, one line each, and each used one is told
//! its replacement once.
//!
//! What they mean together (which variable goes with which, `DOT_PORT`) is in `config::older`.

/// One older name.
#[derive(Debug)]
pub struct OlderName {
    /// As it is written, without dashes.
    pub name: &'static str,
    /// Option or variable.
    pub form: OlderForm,
    /// The letter of the program it comes from.
    pub from: char,
    /// What it says.
    pub meaning: &'static str,
    /// What is written instead.
    pub instead: &'static str,
}

/// Option or variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OlderForm {
    /// On the command line, with a value.
    Flag,
    /// In the environment.
    Variable,
}

impl OlderName {
    /// As it is written.
    pub fn written(&self) -> String {
        match self.form {
            OlderForm::Flag => format!("--{}", self.name),
            OlderForm::Variable => self.name.to_owned(),
        }
    }
}

const fn flag(
    from: char,
    name: &'static str,
    meaning: &'static str,
    instead: &'static str,
) -> OlderName {
    OlderName {
        name,
        form: OlderForm::Flag,
        from,
        meaning,
        instead,
    }
}

const fn variable(
    from: char,
    name: &'static str,
    meaning: &'static str,
    instead: &'static str,
) -> OlderName {
    OlderName {
        name,
        form: OlderForm::Variable,
        from,
        meaning,
        instead,
    }
}

/// Every older name.
pub static OLDER_NAMES: &[OlderName] = &[
    flag('A', "listen-ip", "listening address", "--listen IP"),
    flag(
        'A',
        "tcp-port",
        "listening port of TCP",
        "--listen tcp://IP:PORT",
    ),
    flag(
        'A',
        "udp-port",
        "listening port of UDP",
        "--listen udp://IP:PORT",
    ),
    flag(
        'A',
        "upstream-server",
        "the upstream, by name or address",
        "--upstream SPEC",
    ),
    flag(
        'A',
        "upstream-port",
        "the upstream's port",
        "--upstream tls://NAME:PORT",
    ),
    variable(
        'B',
        "BIND_ADDRESS",
        "listening address",
        "DOTWARD_LISTEN=IP",
    ),
    variable('B', "BIND_PORT", "listening port", "DOTWARD_LISTEN=IP:PORT"),
    variable(
        'B',
        "PROTO",
        "udp or tcp, in any letter case",
        "DOTWARD_PROTO",
    ),
    variable(
        'B',
        "DOT_ADDRESS",
        "the upstream's address",
        "DOTWARD_UPSTREAM=SPEC",
    ),
    variable(
        'B',
        "DOT_PORT",
        "the upstream's port",
        "DOTWARD_UPSTREAM=tls://NAME@IP:PORT",
    ),
    variable(
        'B',
        "LOG_LEVEL",
        "least severe level written",
        "DOTWARD_LOG_LEVEL",
    ),
    variable(
        'C',
        "DOT_PORT",
        "listening port, on all addresses",
        "DOTWARD_LISTEN=0.0.0.0:PORT",
    ),
    variable(
        'C',
        "DNS_SERVER_IP",
        "the upstream's address",
        "DOTWARD_UPSTREAM=SPEC",
    ),
    variable(
        'C',
        "DNS_SERVER_PORT",
        "the upstream's port",
        "DOTWARD_UPSTREAM=tls://NAME@IP:PORT",
    ),
    flag(
        'E',
        "backend-hostname",
        "the upstream's TLS name",
        "--upstream tls://NAME",
    ),
    flag(
        'E',
        "backend-port",
        "the upstream's port",
        "--upstream tls://NAME:PORT",
    ),
];
