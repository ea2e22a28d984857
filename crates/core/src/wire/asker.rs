//! What must be remembered of a query to reply to it: its ID, flags, spelling of the name, EDNS and transport.
//!
//! One response can go to many askers; each gets it rendered for itself (see [`render_reply`](super::render_reply)).

use super::edns::{OPT_LEN, UDP_PAYLOAD_MIN};
use super::frame::MESSAGE_LEN_MAX;
use super::header::Flags;
use super::options::ReplyOptions;
use super::query::QueryView;
use super::question::{Question, QuestionRef};

/// How a client reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
}

/// The EDNS part of a query that shapes the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskerEdns {
    /// The largest UDP payload the client takes, as it said or as much less as we send.
    pub udp_size: u16,
    /// DO (RFC 3225).
    pub dnssec_ok: bool,
}

/// A query waiting for its reply, without its octets. `Q` is the question: its own copy, or borrowed from the query for a reply that is
/// given at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker<Q = Question> {
    /// Message ID.
    pub id: u16,
    /// The query's flags; RD, AD and CD matter.
    pub flags: Flags,
    /// The question as the client spelled it.
    pub question: Q,
    /// Present when the query had an OPT record.
    pub edns: Option<AskerEdns>,
    /// What its options are answered with; none without `edns`.
    pub options: ReplyOptions,
    /// The way the reply will go.
    pub transport: Transport,
}

impl<'a> Asker<QuestionRef<'a>> {
    /// Remembers what matters of `query`. `udp_max` is the longest reply we send over UDP. Padding is met with padding where nobody can
    /// read along, and nowhere else (RFC 7830 section 6); the other options are decided by who knows more.
    #[must_use]
    pub fn new(query: &QueryView<'a>, transport: Transport, udp_max: u16) -> Self {
        let padded = query.edns().is_some_and(|edns| edns.asked().padding);
        Self {
            id: query.header().id,
            flags: query.header().flags,
            question: query.question(),
            edns: query.edns().map(|edns| AskerEdns {
                udp_size: edns.udp_size.min(udp_max),
                dnssec_ok: edns.dnssec_ok,
            }),
            options: ReplyOptions {
                padded: padded && transport == Transport::Tls,
                ..ReplyOptions::NONE
            },
            transport,
        }
    }

    /// The same with a question of its own, for a reply that comes later.
    #[must_use]
    pub fn to_owned(&self) -> Asker {
        Asker {
            id: self.id,
            flags: self.flags,
            question: self.question.to_owned(),
            edns: self.edns,
            options: self.options.clone(),
            transport: self.transport,
        }
    }
}

impl<Q> Asker<Q> {
    /// The longest reply in octets: over UDP the client's size between 512 and our own bound (RFC 6891 section 6.2.3), which is in it,
    /// 512 without EDNS (RFC 1035 section 4.2.1); on a stream what a frame holds, whatever size was announced (RFC 7766 section 5).
    #[must_use]
    pub fn reply_len_max(&self) -> usize {
        match (self.transport, self.edns) {
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_size.max(UDP_PAYLOAD_MIN)),
            (Transport::Udp, None) => usize::from(UDP_PAYLOAD_MIN),
            (Transport::Tcp | Transport::Tls, _) => MESSAGE_LEN_MAX,
        }
    }

    /// Octets the OPT record of the reply takes, without an extended error and padding.
    #[must_use]
    pub(super) fn opt_len(&self) -> usize {
        match self.edns {
            Some(_) => self.options.len().saturating_add(OPT_LEN),
            None => 0,
        }
    }

    /// DO: the client wants DNSSEC records.
    #[must_use]
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client wants to know if the data is authentic: AD or DO in the query (RFC 6840 sections 5.7 and 5.8).
    #[must_use]
    pub fn wants_authentic_data(&self) -> bool {
        self.flags.authentic_data() || self.dnssec_ok()
    }
}
