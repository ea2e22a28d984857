//! What a client's EDNS options ask of its reply, and what the reply says to them.
//!
//! [`AskedOptions`] is what one walk over a query's options found; [`ReplyOptions`] is what goes back. They belong to one client: nothing of
//! them is part of a question, is cached or goes upstream (RFC 6891 section 6.2.6).
//!
//! Ruled by RFC 5001 (NSID), RFC 7828 (edns-tcp-keepalive), RFC 7830 and RFC 8467 (padding), RFC 7873 (cookies).
//!
//! Deliberately absent: what a cookie holds and whether it is good (see [`front`](crate::front)).

use std::sync::Arc;

use super::edns::{OPTION_HEADER_LEN, OptWriter, OptionCode};

/// Octets of a client cookie (RFC 7873 section 4).
pub const CLIENT_COOKIE_LEN: usize = 8;

/// Octets of the COOKIE option in a reply: a client cookie and a server cookie of the form of RFC 9018 section 4.
pub const COOKIE_LEN: usize = CLIENT_COOKIE_LEN + 16;

/// Octets to which replies over TLS are padded (RFC 8467 section 4.1).
pub const REPLY_PADDING_BLOCK: usize = 468;

/// The options of a query that shape its reply. Of an option that comes twice the first one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedOptions<'a> {
    /// The data of the COOKIE option, of any length.
    pub cookie: Option<&'a [u8]>,
    /// NSID: tell me which server you are.
    pub nsid: bool,
    /// Edns-tcp-keepalive: tell me how long the connection may be idle. What a client puts into it is ignored.
    pub keepalive: bool,
    /// The query is padded, and so should the reply be.
    pub padding: bool,
}

impl<'a> AskedOptions<'a> {
    pub(super) fn note(&mut self, code: OptionCode, data: &'a [u8]) {
        match code {
            OptionCode::COOKIE => {
                self.cookie.get_or_insert(data);
            }
            OptionCode::NSID => self.nsid = true,
            OptionCode::KEEPALIVE => self.keepalive = true,
            OptionCode::PADDING => self.padding = true,
            _ => {}
        }
    }
}

/// The COOKIE option of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyCookie {
    /// The client's cookie and ours behind it.
    pub octets: [u8; COOKIE_LEN],
    /// Whether the query bore a good server cookie: who sent it can read what is sent to its address (RFC 7873 section 5.2.5).
    pub proven: bool,
}

/// The options of one client's reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyOptions {
    /// COOKIE.
    pub cookie: Option<ReplyCookie>,
    /// NSID: which server this is.
    pub nsid: Option<Arc<[u8]>>,
    /// Edns-tcp-keepalive, in units of 100 ms: how long the connection may be idle.
    pub keepalive: Option<u16>,
    /// Pad the reply to a multiple of [`REPLY_PADDING_BLOCK`] octets.
    pub padded: bool,
}

impl ReplyOptions {
    /// No options.
    pub const NONE: Self = Self {
        cookie: None,
        nsid: None,
        keepalive: None,
        padded: false,
    };

    /// Leaves out what makes a reply longer than it must be when its client may not be who asked. The cookie is what proves the next query.
    pub(crate) fn keep_cookie_only(&mut self) {
        *self = Self {
            cookie: self.cookie,
            ..Self::NONE
        };
    }

    /// Octets they take, without padding.
    #[must_use]
    pub fn len(&self) -> usize {
        const COOKIE: usize = OPTION_HEADER_LEN + COOKIE_LEN;
        const KEEPALIVE: usize = OPTION_HEADER_LEN + 2;
        let nsid = self.nsid.as_deref();
        nsid.map_or(0, |nsid| OPTION_HEADER_LEN.saturating_add(nsid.len()))
            .saturating_add(self.cookie.map_or(0, |_| COOKIE))
            .saturating_add(self.keepalive.map_or(0, |_| KEEPALIVE))
    }

    /// Whether there are none, and no padding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Writes all but the padding, which comes last (RFC 7830 section 3).
    pub(super) fn write(&self, opt: &mut OptWriter<'_>) {
        if let Some(cookie) = &self.cookie {
            opt.push(OptionCode::COOKIE, &[&cookie.octets]);
        }
        if let Some(nsid) = &self.nsid {
            opt.push(OptionCode::NSID, &[nsid]);
        }
        if let Some(timeout) = self.keepalive {
            opt.push(OptionCode::KEEPALIVE, &[&timeout.to_be_bytes()]);
        }
    }
}
