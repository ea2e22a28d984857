//! An upstream on one line.
//!
//! ```text
//! quad9                                    a preset
//! tls://NAME@ADDR[,ADDR…][:PORT][?PARAMS]  name to verify, where to connect
//! tls://NAME[:PORT][?PARAMS]               addresses found through bootstrap
//! tls://IP[:PORT]                          the certificate must carry the address itself
//! IP[@PORT|:PORT]#NAME                     as unbound and systemd-resolved write it
//! IP[:PORT]                                an address of a preset: verified by the preset's name
//! udp://IP[:PORT], tcp://IP[:PORT]         unencrypted; of routes only
//! PARAMS                                   pin=sha256/BASE64 (repeat), ca_file=PATH, joined by &
//! ```
//!
//! Promise (RFC 8310 section 5.1, strict profile): what comes out has a name or a pin. With a pin,
//! an address given without a name (`tls://IP?pin=…`, `IP?pin=…`, `tls://@ADDR,ADDR?pin=…`) is
//! verified by the pin alone; `tls://IP@IP?pin=…` demands both. An unencrypted upstream has neither and is refused outside routes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dotward_core::upstream::Protocol;
use rustls::pki_types::ServerName;

use super::{Endpoint, Family, ValueFault, scalar};
use crate::config::suggest::nearest;
use crate::config::{DNS_PORT, DOT_PORT};
use crate::presets::{PRESETS, Preset};

/// An upstream as one line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The preset, if the line named one or one of its addresses.
    pub preset: Option<&'static Preset>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where to connect; empty if that is to be found through bootstrap.
    pub endpoints: Vec<SocketAddr>,
    /// The port of addresses found through bootstrap.
    pub port: u16,
    /// What the certificate must carry; `None` only with pins, and where there is no certificate.
    pub tls_name: Option<ServerName<'static>>,
    /// SHA-256 of each acceptable public key.
    pub pins: Vec<[u8; 32]>,
    /// Roots for this upstream only.
    pub ca_file: Option<PathBuf>,
}

/// The preset of that name, in any letter case.
pub(crate) fn preset_of(name: &str) -> Option<&'static Preset> {
    PRESETS
        .iter()
        .find(|preset| preset.name.eq_ignore_ascii_case(name))
}

/// The preset that has this address, or whose certificate carries this name.
pub(crate) fn known_preset(host: &str) -> Option<&'static Preset> {
    match host.parse() {
        Ok(ip) => preset_of_address(ip),
        Err(_) => PRESETS
            .iter()
            .find(|preset| preset.tls_name.eq_ignore_ascii_case(host)),
    }
}

fn preset_of_address(ip: IpAddr) -> Option<&'static Preset> {
    PRESETS
        .iter()
        .find(|preset| preset.addresses().any(|address| address == ip))
}

pub(super) fn preset(text: &str) -> Result<&'static Preset, ValueFault> {
    preset_of(text).ok_or_else(|| unknown(text))
}

/// The SPEC of a route's upstream, which may be unencrypted.
pub(crate) fn parse_of_route(text: &str) -> Result<Spec, ValueFault> {
    let (place, parameters) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = place.split_once("://").unwrap_or_default();
    let protocol = match scheme.to_ascii_lowercase().as_str() {
        "udp" => Protocol::Udp,
        "tcp" => Protocol::Tcp,
        _ => {
            let spec = parse(text);
            if let Err(ValueFault::AddressWithoutName { address }) = spec {
                return Err(ValueFault::AddressWithoutScheme { address });
            }
            return spec;
        }
    };
    if !parameters.is_empty() {
        return Err(ValueFault::NothingToVerify {
            scheme: scheme.to_ascii_lowercase(),
        });
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Endpoint { ip, port } = address_like(rest)?.ok_or_else(|| ValueFault::NotAnAddress {
        family: Family::Any,
        found: rest.split(':').next().unwrap_or(rest).to_owned(),
    })?;
    let port = port.unwrap_or(DNS_PORT);
    Ok(Spec {
        protocol,
        ..new_spec(None, vec![SocketAddr::new(ip, port)], port)
    })
}

pub(super) fn parse(text: &str) -> Result<Spec, ValueFault> {
    let (place, parameters) = text.split_once('?').unwrap_or((text, ""));
    let parameters = Parameters::parse(parameters)?;
    let mut spec = match place.split_once("://") {
        Some((scheme, rest)) => with_scheme(scheme, rest, &parameters)?,
        None => without_scheme(place, &parameters)?,
    };
    spec.pins = parameters.pins;
    spec.ca_file = parameters.ca_file;
    Ok(spec)
}

/// Whether `piece`, found behind a comma, is one more address of the SPEC before the comma.
pub(super) fn continues(before: &str, piece: &str) -> bool {
    let host = piece.split('?').next().unwrap_or(piece);
    let with_addresses = before
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("tls://"))
        && before.contains('@')
        && !before.contains('?');
    with_addresses && (host.parse::<IpAddr>().is_ok() || endpoint(host).is_ok())
}

#[derive(Default)]
struct Parameters {
    pins: Vec<[u8; 32]>,
    ca_file: Option<PathBuf>,
}

impl Parameters {
    fn parse(text: &str) -> Result<Self, ValueFault> {
        let mut parameters = Self::default();
        for parameter in text.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("pin", value)) => parameters.pins.push(pin(value)?),
                Some(("ca_file", value)) if !value.is_empty() => {
                    parameters.ca_file = Some(PathBuf::from(value));
                }
                Some((name, _)) => {
                    return Err(ValueFault::UnknownParameter {
                        found: name.to_owned(),
                    });
                }
                None => {
                    return Err(ValueFault::UnknownParameter {
                        found: parameter.to_owned(),
                    });
                }
            }
        }
        Ok(parameters)
    }
}

fn new_spec(tls_name: Option<ServerName<'static>>, endpoints: Vec<SocketAddr>, port: u16) -> Spec {
    Spec {
        preset: None,
        protocol: Protocol::Tls,
        endpoints,
        port,
        tls_name,
        pins: Vec::new(),
        ca_file: None,
    }
}

fn from_preset(preset: &'static Preset) -> Spec {
    let endpoints = preset
        .addresses()
        .map(|ip| SocketAddr::new(ip, DOT_PORT))
        .collect();
    let tls_name = Some(preset.server_name());
    Spec {
        preset: Some(preset),
        ..new_spec(tls_name, endpoints, DOT_PORT)
    }
}

fn with_scheme(scheme: &str, rest: &str, parameters: &Parameters) -> Result<Spec, ValueFault> {
    match scheme.to_ascii_lowercase().as_str() {
        "tls" => {}
        "udp" | "tcp" => return Err(ValueFault::Plaintext),
        _ => {
            let allowed = "`tls://NAME@ADDR` or a preset (dotward upstream list)";
            return Err(ValueFault::Scheme {
                found: scheme.to_owned(),
                allowed,
            });
        }
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    match rest.split_once('@') {
        Some((name, addresses)) => {
            let (endpoints, port) = endpoint_list(addresses)?;
            let by_pin_alone = name.is_empty() && !parameters.pins.is_empty();
            let name = if by_pin_alone {
                None
            } else {
                Some(tls_name(name)?)
            };
            Ok(new_spec(name, endpoints, port))
        }
        None => by_host(rest, parameters),
    }
}

/// `tls://HOST[:PORT]`.
fn by_host(text: &str, parameters: &Parameters) -> Result<Spec, ValueFault> {
    if let Some(Endpoint { ip, port }) = address_like(text)? {
        let port = port.unwrap_or(DOT_PORT);
        let name = parameters
            .pins
            .is_empty()
            .then(|| ServerName::IpAddress(ip.into()));
        return Ok(new_spec(name, vec![SocketAddr::new(ip, port)], port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, scalar::port(port)?),
        None => (text, DOT_PORT),
    };
    Ok(new_spec(Some(tls_name(host)?), Vec::new(), port))
}

fn without_scheme(text: &str, parameters: &Parameters) -> Result<Spec, ValueFault> {
    if let Some((address, name)) = text.split_once('#') {
        let Endpoint { ip, port } = known_elsewhere(address)?;
        let port = port.unwrap_or(DOT_PORT);
        return Ok(new_spec(
            Some(tls_name(name)?),
            vec![SocketAddr::new(ip, port)],
            port,
        ));
    }
    if let Some(preset) = preset_of(text) {
        return Ok(from_preset(preset));
    }
    let Ok(Endpoint { ip, port }) = known_elsewhere(text) else {
        return Err(unknown(text));
    };
    let given = port;
    let port = port.unwrap_or(DOT_PORT);
    let endpoints = vec![SocketAddr::new(ip, port)];
    match preset_of_address(ip) {
        Some(preset) => {
            let spec = new_spec(Some(preset.server_name()), endpoints, port);
            Ok(Spec {
                preset: Some(preset),
                ..spec
            })
        }
        None if !parameters.pins.is_empty() => Ok(new_spec(None, endpoints, port)),
        None => Err(ValueFault::AddressWithoutName {
            address: given.map_or_else(|| written(ip), |port| format!("{}:{port}", written(ip))),
        }),
    }
}

/// An address as a SPEC writes it.
pub(crate) fn written(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn unknown(text: &str) -> ValueFault {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let suggestion = match nearest(text, PRESETS.iter().map(|preset| preset.name)) {
        Some(name) => Some(name.to_owned()),
        None if host.contains('.') && tls_name(host).is_ok() => Some(format!("tls://{text}")),
        None => None,
    };
    ValueFault::UnknownUpstream { suggestion }
}

/// `IP[@PORT]` besides the spellings of [`endpoint`]; a bare IPv6 address has no port behind it.
fn known_elsewhere(text: &str) -> Result<Endpoint, ValueFault> {
    match text.rsplit_once('@') {
        Some((address, port)) => {
            let Endpoint { ip, port: twice } = endpoint(address)?;
            match twice {
                None => Ok(Endpoint {
                    ip,
                    port: Some(scalar::port(port)?),
                }),
                Some(_) => Err(ValueFault::NotAnAddress {
                    family: Family::Any,
                    found: address.to_owned(),
                }),
            }
        }
        None => endpoint(text),
    }
}

/// `ADDR[:PORT],ADDR[:PORT]…`: the port of the last is that of all which name none.
fn endpoint_list(text: &str) -> Result<(Vec<SocketAddr>, u16), ValueFault> {
    let mut endpoints = Vec::new();
    for piece in text.split(',') {
        match address_like(piece)? {
            Some(endpoint) => endpoints.push(endpoint),
            None => {
                let host = piece.split(':').next().unwrap_or(piece);
                return Err(ValueFault::NotAnAddress {
                    family: Family::Any,
                    found: host.to_owned(),
                });
            }
        }
    }
    let port = endpoints
        .last()
        .and_then(|last| last.port)
        .unwrap_or(DOT_PORT);
    let with_port = |it: &Endpoint| SocketAddr::new(it.ip, it.port.unwrap_or(port));
    Ok((endpoints.iter().map(with_port).collect(), port))
}

/// An address with or without port, IPv6 in brackets; `None` if it does not look like one.
fn address_like(text: &str) -> Result<Option<Endpoint>, ValueFault> {
    if text.parse::<Ipv6Addr>().is_ok() {
        // `2620:fe::9:853` is an address; whoever wrote it may have meant a port.
        return Err(ValueFault::Unbracketed {
            found: text.to_owned(),
        });
    }
    let dotted = text.split(':').next().is_some_and(|host| {
        host.bytes()
            .all(|octet| octet.is_ascii_digit() || octet == b'.')
            && !host.is_empty()
    });
    if dotted || text.starts_with('[') {
        endpoint(text).map(Some)
    } else {
        Ok(None)
    }
}

/// `IP`, `IPv4:PORT` or `[IPv6]:PORT`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, ValueFault> {
    let (ip, port) = split_endpoint(text)?;
    let ip: IpAddr = ip.parse().map_err(|_| ValueFault::NotAnAddress {
        family: Family::Any,
        found: ip.to_owned(),
    })?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(ValueFault::NotOneHost {
            found: ip.to_string(),
        });
    }
    let port = port.map(scalar::port).transpose()?;
    Ok(Endpoint { ip, port })
}

fn split_endpoint(text: &str) -> Result<(&str, Option<&str>), ValueFault> {
    if let Some(rest) = text.strip_prefix('[') {
        let no_address = || ValueFault::NotAnAddress {
            family: Family::Any,
            found: text.to_owned(),
        };
        let (ip, port) = rest.split_once(']').ok_or_else(no_address)?;
        if ip.parse::<Ipv6Addr>().is_err() {
            return Err(no_address());
        }
        return match port.strip_prefix(':') {
            Some(port) => Ok((ip, Some(port))),
            None if port.is_empty() => Ok((ip, None)),
            None => Err(no_address()),
        };
    }
    match text.split_once(':') {
        Some((ip, port)) if !port.contains(':') => Ok((ip, Some(port))),
        Some(_) | None => Ok((text, None)),
    }
}

pub(crate) fn tls_name(text: &str) -> Result<ServerName<'static>, ValueFault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    let fault = || ValueFault::NotATlsName {
        found: text.to_owned(),
    };
    let name = ServerName::try_from(bare.to_ascii_lowercase()).map_err(|_| fault())?;
    // Digits and dots alone are a mistyped address, not a host name.
    let digits = bare
        .bytes()
        .all(|octet| octet.is_ascii_digit() || octet == b'.');
    if digits && matches!(name, ServerName::DnsName(_)) {
        Err(fault())
    } else {
        Ok(name)
    }
}

pub(super) fn pin(text: &str) -> Result<[u8; 32], ValueFault> {
    let encoded = text.strip_prefix("sha256/").ok_or(ValueFault::NotAPin)?;
    let octets = STANDARD.decode(encoded).map_err(|_| ValueFault::NotAPin)?;
    octets.try_into().map_err(|_| ValueFault::NotAPin)
}

#[cfg(test)]
mod tests;
