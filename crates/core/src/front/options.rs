//! How the EDNS options of a client are answered.
//!
//! | option | answered | source |
//! |---|---|---|
//! | COOKIE | with a server cookie, on every transport; of a wrong length: FORMERR | RFC 7873 section 5.2 |
//! | NSID | when the configuration has one | RFC 5001 section 2.2 |
//! | edns-tcp-keepalive | on streams, with how long the connection may be idle | RFC 7828 section 3.3.2 |
//! | padding | over TLS, with padding | RFC 8467 section 4.1 |
//! | anything else | not at all | RFC 6891 section 6.1.2 |
//!
//! Who sends none costs nothing here.

use std::sync::Arc;

use super::{Client, CookieSecrets};
use crate::outcome::Refusal;
use crate::time::WallSeconds;
use crate::wire::edns::{Edns, UDP_PAYLOAD_MAX};
use crate::wire::{
    Asker, CLIENT_COOKIE_LEN, Header, Rcode, ReplyOptions, Transport, WireError, write_cookie,
};

/// What is done about cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// They are ignored, like any unknown option.
    Off,
    /// A client's cookie is answered with ours.
    #[default]
    Answer,
    /// As well, and over UDP a query that bears a cookie, but no good one of ours, gets BADCOOKIE and a good one instead of an answer
    /// (RFC 7873 section 5.2.3). Queries without a cookie are answered.
    Require,
}

/// How options are answered.
#[derive(Clone, Debug)]
pub struct OptionsConfig {
    /// What is done about cookies.
    pub cookies: Cookies,
    /// What cookies are made with; `None` for no cookies.
    pub secrets: Option<CookieSecrets>,
    /// Which server this is, for who asks: 1 to [`NSID_MAX`](crate::limits::NSID_MAX) octets.
    pub nsid: Option<Arc<[u8]>>,
    /// The longest reply over UDP, in octets.
    pub udp_max: u16,
}

impl Default for OptionsConfig {
    /// No cookies, no NSID, replies over UDP of at most [`UDP_PAYLOAD_MAX`].
    fn default() -> Self {
        Self {
            cookies: Cookies::Off,
            secrets: None,
            nsid: None,
            udp_max: UDP_PAYLOAD_MAX,
        }
    }
}

impl OptionsConfig {
    /// Adds what a client's options are answered with; padding is there already when it is to be.
    ///
    /// # Errors
    ///
    /// [`WireError::CookieLength`]: the query is malformed.
    pub(super) fn answer(
        &self,
        edns: &Edns<'_>,
        client: &Client,
        wall: WallSeconds,
        options: &mut ReplyOptions,
    ) -> Result<(), WireError> {
        let asked = edns.asked();
        if let (Some(cookie), Some(secrets)) = (asked.cookie, self.secrets()) {
            options.cookie = Some(secrets.judge(cookie, client.address.ip(), wall)?);
        }
        if asked.nsid {
            options.nsid.clone_from(&self.nsid);
        }
        if asked.keepalive && client.transport != Transport::Udp {
            options.keepalive = Some(tenths(client));
        }
        Ok(())
    }

    /// Writes the reply to a query without a question that is about cookies (RFC 7873 section 5.4). `false` when it is not.
    pub(super) fn answer_alone(
        &self,
        header: &Header,
        edns: &Edns<'_>,
        client: &Client,
        wall: WallSeconds,
        reply: &mut Vec<u8>,
    ) -> bool {
        let (Some(asked), Some(secrets)) = (edns.asked().cookie, self.secrets()) else {
            return false;
        };
        let Ok(cookie) = secrets.judge(asked, client.address.ip(), wall) else {
            return false;
        };
        // Whoever asks for a first cookie has not failed; whoever shows a bad one has.
        let failed = asked.len() > CLIENT_COOKIE_LEN && !cookie.proven;
        let rcode = if failed {
            Refusal::BadCookie.told().rcode
        } else {
            Rcode::NOERROR
        };
        write_cookie(header, rcode, cookie, reply);
        true
    }

    fn secrets(&self) -> Option<&CookieSecrets> {
        self.secrets
            .as_ref()
            .filter(|_| self.cookies != Cookies::Off)
    }

    /// Whether the client has to come again with a good cookie.
    pub(super) fn wants_cookie<Q>(&self, asker: &Asker<Q>) -> bool {
        self.cookies == Cookies::Require
            && asker.transport == Transport::Udp
            && asker.options.cookie.is_some_and(|cookie| !cookie.proven)
    }
}

/// How long a client's connection may be idle, in units of 100 ms.
fn tenths(client: &Client) -> u16 {
    u16::try_from(client.idle.as_millis() / 100).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
