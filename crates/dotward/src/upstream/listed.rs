//! The upstreams as the configuration lists them. The engine names them by numbers of its own, which stay when the list changes.

use dotward_core::upstream::{Protocol, UpstreamId};

use crate::config::{Config, UpstreamSettings};

/// An upstream of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: UpstreamId,
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) tier: Option<u8>,
}

impl Listed {
    /// The upstreams of `config`, called `ids`.
    pub(crate) fn of(config: &Config, ids: &[UpstreamId]) -> Vec<Self> {
        let listed = |(settings, id): (&UpstreamSettings, &UpstreamId)| Self {
            id: *id,
            name: settings.name.clone(),
            protocol: settings.protocol,
            tier: settings.tier,
        };
        config.upstreams.iter().zip(ids).map(listed).collect()
    }
}
