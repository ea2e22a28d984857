//! What is known of trust, upstream by upstream: for log lines, metrics and the status.

use std::rc::Rc;

use dotward_core::time::Moment;
use dotward_core::upstream::UpstreamId;
use rustls::Connection;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::expiry::Expiry;
use crate::tls::certificate::pin_text;
use crate::tls::client::UpstreamTls;

/// What is known of one upstream.
#[derive(Debug, Default)]
pub(crate) struct UpstreamTrust {
    name: String,
    /// The certificate it showed last.
    pub(crate) theirs: Expiry,
    /// The certificate we show it.
    pub(crate) ours: Expiry,
    /// Handshakes whose key was none of the pinned ones, where that is only reported.
    pub(crate) unpinned: u64,
    /// Whether the last handshake's was, which is told when it changes.
    is_unpinned: bool,
}

/// What is known of all.
#[derive(Debug, Default)]
pub(crate) struct TrustStatus {
    upstreams: Vec<UpstreamTrust>,
    /// The certificate of the TLS listeners.
    listener: Expiry,
}

impl TrustStatus {
    /// Nothing known yet of the upstreams called `names`, but what is shown to them.
    pub(crate) fn new(names: Vec<String>, upstreams: &[Option<Rc<UpstreamTls>>]) -> Self {
        let mut status = Self::default();
        for (name, tls) in names.into_iter().zip(upstreams) {
            let mut trust = UpstreamTrust {
                name,
                ..UpstreamTrust::default()
            };
            trust
                .ours
                .set(tls.as_ref().and_then(|tls| tls.identity().first()));
            status.upstreams.push(trust);
        }
        status
    }

    /// `upstream` is another one than before; nothing is known of it yet but what is shown to it.
    pub(crate) fn replace(
        &mut self,
        upstream: UpstreamId,
        name: String,
        tls: Option<&UpstreamTls>,
    ) {
        let mut trust = UpstreamTrust {
            name,
            ..UpstreamTrust::default()
        };
        trust.ours.set(tls.and_then(|tls| tls.identity().first()));
        if self.upstreams.len() <= upstream.0 {
            self.upstreams
                .resize_with(upstream.0 + 1, UpstreamTrust::default);
        }
        if let Some(place) = self.upstreams.get_mut(upstream.0) {
            *place = trust;
        }
    }

    /// What is known of `upstream`.
    pub(crate) fn of(&self, upstream: UpstreamId) -> Option<&UpstreamTrust> {
        self.upstreams.get(upstream.0)
    }

    /// When the certificate of the TLS listeners ends, in seconds since 1970.
    pub(crate) fn listener_ends(&self) -> Option<i64> {
        self.listener.ends()
    }

    /// What `upstream` is called.
    pub(crate) fn name(&self, upstream: UpstreamId) -> &str {
        self.of(upstream).map_or("?", |trust| trust.name.as_str())
    }

    /// A handshake succeeded.
    pub(crate) fn handle_handshake(
        &mut self,
        upstream: UpstreamId,
        tls: &UpstreamTls,
        connection: &Connection,
        now: Moment,
    ) {
        let Some(trust) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        let certificates = connection.peer_certificates().unwrap_or_default();
        trust.theirs.set(certificates.first());
        trust.report_pins(tls, connection);
        trust.tell_ends(today(), now);
    }

    /// Another certificate is shown to `upstream`, or none.
    pub(crate) fn set_identity(
        &mut self,
        upstream: UpstreamId,
        certificate: Option<&CertificateDer<'_>>,
        now: Moment,
    ) {
        if let Some(trust) = self.upstreams.get_mut(upstream.0) {
            trust.ours.set(certificate);
            trust.tell_ends(today(), now);
        }
    }

    /// Another certificate is shown to clients, or none.
    pub(crate) fn set_listener(&mut self, certificate: Option<&CertificateDer<'_>>, now: Moment) {
        self.listener.set(certificate);
        self.tell_listener(today(), now);
    }

    /// Tells of every certificate whose end is near.
    pub(crate) fn tell_ends(&mut self, now: Moment) {
        let date = today();
        self.tell_listener(date, now);
        for trust in &mut self.upstreams {
            trust.tell_ends(date, now);
        }
    }

    fn tell_listener(&mut self, date: i64, now: Moment) {
        if let Some(days_left) = self.listener.tell(date, now) {
            tracing::warn!(
                days_left,
                "the certificate of the TLS listeners ends; put a new one in the place of its file, it is read within seconds"
            );
        }
    }
}

impl UpstreamTrust {
    fn report_pins(&mut self, tls: &UpstreamTls, connection: &Connection) {
        let Some(mismatch) = tls.reported(connection) else {
            return;
        };
        let was = std::mem::replace(&mut self.is_unpinned, mismatch.is_some());
        self.unpinned += u64::from(mismatch.is_some());
        match mismatch {
            Some(mismatch) if !was => tracing::warn!(
                upstream = self.name,
                pin = format!("sha256/{}", pin_text(&mismatch.seen)),
                "the upstream's key is none of the pinned ones; pin_mode = \"enforce\" would refuse it. If the key is right, add the pin"
            ),
            None if was => {
                tracing::info!(
                    upstream = self.name,
                    "the upstream's key is a pinned one again"
                );
            }
            Some(_) | None => {}
        }
    }

    fn tell_ends(&mut self, date: i64, now: Moment) {
        if let Some(days_left) = self.theirs.tell(date, now) {
            tracing::warn!(
                upstream = self.name,
                days_left,
                "the upstream's certificate ends; once it has, the upstream is refused. Its operator has to renew it"
            );
        }
        if let Some(days_left) = self.ours.tell(date, now) {
            tracing::warn!(
                upstream = self.name,
                days_left,
                "the client certificate for the upstream ends; put a new one in the place of its file, it is read within seconds"
            );
        }
    }
}

/// The date, in seconds since 1970.
fn today() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}
