//! What an `[[upstream]]` table says, apart from the files it names.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;

use crate::config::layers::Values;
use crate::config::value::{Endpoint, Value};
use crate::config::{Binding, PinMode};
use crate::presets::Preset;
use crate::settings::Id;

/// The fields of an `[[upstream]]` table that are no files.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) name: Option<String>,
    pub(super) preset: Option<&'static Preset>,
    pub(super) addresses: Vec<Endpoint>,
    pub(super) port: Option<u16>,
    pub(super) tls_name: Option<ServerName<'static>>,
    pub(super) pins: Vec<[u8; 32]>,
    pub(super) pin_mode: Option<PinMode>,
    pub(super) tier: Option<u8>,
    pub(super) weight: Option<u8>,
    pub(super) keep_warm: Option<u8>,
    pub(super) edns: Option<bool>,
    pub(super) padding: Option<usize>,
    pub(super) binding: Binding,
}

impl Fields {
    pub(super) fn of(values: &Values) -> Self {
        let mut fields = Self::default();
        if let Some(Value::Text(name)) = value(values, Id::UpstreamName) {
            fields.name = Some(name.clone());
        }
        if let Some(Value::Preset(preset)) = value(values, Id::UpstreamPreset) {
            fields.preset = Some(preset);
        }
        if let Some(Value::Port(port)) = value(values, Id::UpstreamPort) {
            fields.port = Some(*port);
        }
        if let Some(Value::TlsName(name)) = value(values, Id::UpstreamTlsName) {
            fields.tls_name = Some(name.clone());
        }
        for parsed in values.all(Id::UpstreamAddress) {
            if let Value::Endpoint(endpoint) = parsed.value {
                fields.addresses.push(endpoint);
            }
        }
        for parsed in values.all(Id::UpstreamPin) {
            if let Value::Pin(pin) = parsed.value {
                fields.pins.push(pin);
            }
        }
        fields.tier = number(values, Id::UpstreamTier);
        fields.weight = number(values, Id::UpstreamWeight);
        fields.keep_warm = number(values, Id::UpstreamKeepWarm);
        if let Some(Value::YesNo(edns)) = value(values, Id::UpstreamEdns) {
            fields.edns = Some(*edns);
        }
        if let Some(Value::Number(block)) = value(values, Id::UpstreamPadding) {
            fields.padding = usize::try_from(*block).ok();
        }
        fields.pin_mode = pin_mode(values, Id::UpstreamPinMode);
        fields.binding = binding(values);
        fields
    }

    pub(super) fn endpoints(&self, port: u16) -> Vec<SocketAddr> {
        let with_port = |it: &Endpoint| SocketAddr::new(it.ip, it.port.unwrap_or(port));
        self.addresses.iter().map(with_port).collect()
    }
}

fn binding(values: &Values) -> Binding {
    let mut binding = Binding::default();
    for parsed in values.all(Id::UpstreamSource) {
        if let Value::Ip(address) = parsed.value {
            binding.source.push(address);
        }
    }
    if let Some(Value::Text(name)) = value(values, Id::UpstreamInterface) {
        binding.interface = Some(name.clone());
    }
    if let Some(Value::Number(mark)) = value(values, Id::UpstreamMark) {
        binding.mark = Some(*mark);
    }
    binding
}

/// What is said about pins under `id`.
pub(super) fn pin_mode(values: &Values, id: Id) -> Option<PinMode> {
    let word = values.word(id)?;
    Some(if word == "report" {
        PinMode::Report
    } else {
        PinMode::Enforce
    })
}

/// A number whose kind allows only small ones.
fn number(values: &Values, id: Id) -> Option<u8> {
    if let Value::Number(number) = value(values, id)? {
        u8::try_from(*number).ok()
    } else {
        None
    }
}

fn value(values: &Values, id: Id) -> Option<&Value> {
    values.one(id).map(|parsed| &parsed.value)
}
