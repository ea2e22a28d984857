//! From the text of one value to the value, by its kind.
//!
//! The same parser serves file, environment and command line, so that a spelling which is good in
//! one is good in all. Parsers look at nothing but the text: no file is opened, no other setting
//! is consulted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::{Name, Suffix, Workers};
use crate::presets::Preset;
use crate::settings::Kind;

mod fault;
mod listen;
mod network;
mod route;
mod scalar;
mod spec;
mod store;
mod suffix;

pub use fault::{Family, ValueFault};
pub use listen::{ListenPlace, ListenText};
pub use network::{LOOPBACK, PRIVATE};
pub use route::RouteText;
pub use spec::Spec;
pub(crate) use store::OFF as STORE_OFF;

pub(crate) use scalar::port;
pub(crate) use spec::{known_preset, parse_of_route, preset_of, tls_name, written};

/// A parsed value. Which variant a [`Kind`] yields is fixed by [`parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Listen(ListenText),
    Admin(Option<SocketAddr>),
    Networks(Vec<IpNet>),
    Spec(Box<Spec>),
    Route(Box<RouteText>),
    Suffix(Suffix),
    YesNo(bool),
    Path(PathBuf),
    Word(&'static str),
    Duration(Duration),
    Port(u16),
    Seconds(u32),
    Size(u64),
    Text(String),
    Preset(&'static Preset),
    Name(Name),
    TlsName(ServerName<'static>),
    Pin([u8; 32]),
    Endpoint(Endpoint),
    Ip(IpAddr),
    Number(u32),
    Workers(Workers),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Switch,
}

/// An address of an upstream, with a port if one was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

/// Reads one value.
pub(crate) fn parse(kind: Kind, text: &str) -> Result<Value, ValueFault> {
    let text = text.trim();
    if text.is_empty() && kind != Kind::Text && kind != Kind::Switch {
        return Err(ValueFault::Empty);
    }
    match kind {
        Kind::Listen => listen::parse(text).map(Value::Listen),
        Kind::ListenTls => listen::parse_tls(text).map(Value::Listen),
        Kind::Admin => listen::parse_admin(text).map(Value::Admin),
        Kind::Network => network::parse(text).map(Value::Networks),
        Kind::Spec => spec::parse(text).map(Box::new).map(Value::Spec),
        Kind::Route => route::parse(text).map(Box::new).map(Value::Route),
        Kind::Suffix => suffix::parse(text).map(Value::Suffix),
        Kind::Domain => suffix::parse_domain(text).map(Value::Name),
        Kind::Target => Ok(Value::Text(text.to_owned())),
        Kind::YesNo => scalar::yes_no(text).map(Value::YesNo),
        Kind::Padding => scalar::padding(text).map(Value::Number),
        Kind::Path => Ok(Value::Path(PathBuf::from(text))),
        Kind::Choice(words) => scalar::choice(words, text).map(Value::Word),
        Kind::Duration { min, max } => scalar::duration(text, min, max).map(Value::Duration),
        Kind::Port => port(text).map(Value::Port),
        Kind::Seconds { max } => scalar::seconds(text, max).map(Value::Seconds),
        Kind::Size => scalar::size(text).map(Value::Size),
        Kind::Label => scalar::label(text).map(Value::Text),
        Kind::Preset => spec::preset(text).map(Value::Preset),
        Kind::Text => scalar::record_text(text).map(Value::Text),
        Kind::DomainName => scalar::domain_name(text).map(Value::Name),
        Kind::TlsName => tls_name(text).map(Value::TlsName),
        Kind::Pin => spec::pin(text).map(Value::Pin),
        Kind::Endpoint => spec::endpoint(text).map(Value::Endpoint),
        Kind::Ip => scalar::ip(text).map(Value::Ip),
        Kind::Interface => scalar::interface(text).map(Value::Text),
        Kind::Number { min, max } => scalar::number(text, min, max).map(Value::Number),
        Kind::Workers => scalar::workers(text).map(Value::Workers),
        Kind::Ipv4 => scalar::ipv4(text).map(Value::Ipv4),
        Kind::Ipv6 => scalar::ipv6(text).map(Value::Ipv6),
        Kind::Store => store::parse(text).map(Value::Text),
        Kind::Switch => Ok(Value::Switch),
    }
}

/// Cuts the text of an option or variable that holds a list. A comma or white space ends an
/// element; inside `tls://NAME@ADDR` a comma before an address continues the list of its addresses.
pub(crate) fn split_list(kind: Kind, text: &str) -> Vec<String> {
    let mut elements: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut continues = false;
        for piece in word.split(',') {
            match elements.last_mut() {
                Some(last) if continues && joins(kind, last, piece) => {
                    last.push(',');
                    last.push_str(piece);
                }
                Some(_) | None if piece.is_empty() => {}
                Some(_) | None => elements.push(piece.to_owned()),
            }
            continues = true;
        }
    }
    elements
}

/// Whether `piece`, found behind a comma, belongs to the element before the comma.
fn joins(kind: Kind, before: &str, piece: &str) -> bool {
    let of_spec = kind == Kind::Spec && spec::continues(before, piece);
    let of_route = kind == Kind::Route && !piece.is_empty() && route::continues(piece);
    of_spec || of_route
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_at_commas_and_white_space() {
        let cases: &[(&str, &[&str])] = &[
            ("quad9,cloudflare", &["quad9", "cloudflare"]),
            ("quad9, cloudflare ,", &["quad9", "cloudflare"]),
            ("1.1.1.1,9.9.9.9", &["1.1.1.1", "9.9.9.9"]),
            (
                "tls://n.example@9.9.9.9,1.1.1.1:853",
                &["tls://n.example@9.9.9.9,1.1.1.1:853"],
            ),
            (
                "tls://n.example@9.9.9.9,[::1]?pin=x,quad9",
                &["tls://n.example@9.9.9.9,[::1]?pin=x", "quad9"],
            ),
            (
                "tls://n.example@9.9.9.9 1.1.1.1",
                &["tls://n.example@9.9.9.9", "1.1.1.1"],
            ),
            ("tls://n.example,9.9.9.9", &["tls://n.example", "9.9.9.9"]),
            (
                "tls://n.example@9.9.9.9?pin=x,1.1.1.1",
                &["tls://n.example@9.9.9.9?pin=x", "1.1.1.1"],
            ),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(split_list(Kind::Spec, text), *expected, "{text}");
        }
        assert_eq!(
            split_list(
                Kind::Route,
                "corp.example=tls://n@10.0.0.1,10.0.0.2?pin=x,quad9,fd00::/8=udp://[fd00::53]"
            ),
            [
                "corp.example=tls://n@10.0.0.1,10.0.0.2?pin=x,quad9",
                "fd00::/8=udp://[fd00::53]"
            ]
        );
        assert_eq!(split_list(Kind::Listen, "127.0.0.1:53,[::1]:53").len(), 2);
    }
}
