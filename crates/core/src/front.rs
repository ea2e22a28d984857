//! The near side: from a client's octets to a reply, or to a question for the engine.
//!
//! A [`Front`] never changes after it was made, so any number of workers share one without a lock. Nothing here waits: the time is needed
//! only for the age of what is kept, the wall clock for that of cookies.
//!
//! Deliberately absent: sockets and framing (the shell's), and everything about upstreams (the engine's).

mod cookie;
mod options;

use core::net::SocketAddr;
use core::time::Duration;

pub use cookie::{COOKIE_SECRET_LEN, CookieSecrets};
pub use options::{Cookies, OptionsConfig};

use crate::exchange::Request;
use crate::outcome::{Failure, Refusal};
use crate::policy::{Acl, Decision, Policy, PolicyConfig};
use crate::time::{Moment, WallSeconds};
use crate::wire::{
    Asker, QueryFault, QueryView, QuestionRef, ReplyOrigin, ResponseView, Transport, WireError,
    render_reply, write_error, write_fault,
};

/// Who asks, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address as its datagram or connection bears it.
    pub address: SocketAddr,
    /// How it reached us.
    pub transport: Transport,
    /// How long its connection may be idle from here on; zero when it had better close it (RFC 7828 section 3.2.2). Of no meaning for
    /// a datagram.
    pub idle: Duration,
}

/// What a [`Front`] works from.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Who may ask.
    pub allow: Acl,
    /// What is answered here, and who is asked about the rest.
    pub policy: PolicyConfig,
    /// How the EDNS options of clients are answered.
    pub options: OptionsConfig,
}

/// What becomes of a client's message.
#[derive(Debug)]
pub enum Verdict {
    /// The reply is written; send it.
    Reply,
    /// Say nothing, and count why.
    Drop(DropReason),
    /// Ask an upstream: give this to the engine.
    Forward(Request),
}

/// Why a message gets no reply at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Malformed, from a client that may not ask anyway.
    NotAllowed,
    /// A response: answering it would make a loop.
    Response,
    /// Shorter than a header.
    Runt,
}

/// The near side.
#[derive(Debug)]
pub struct Front {
    allow: Acl,
    policy: Policy,
    options: OptionsConfig,
}

impl Front {
    /// A front with this configuration.
    #[must_use]
    pub fn new(config: FrontConfig) -> Self {
        Self {
            allow: config.allow,
            policy: Policy::new(config.policy),
            options: config.options,
        }
    }

    /// What this front decides about names; for people who ask why.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes one message of a client. After [`Verdict::Reply`], `reply` holds the whole reply without a length prefix, within
    /// the size the client takes; otherwise its content means nothing.
    pub fn handle_query(
        &self,
        message: &[u8],
        client: &Client,
        now: Moment,
        wall: WallSeconds,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        let allowed = self.allow.contains(client.address.ip());
        let query = match QueryView::parse(message) {
            Ok(query) => query,
            Err(fault) => return self.refuse_fault(&fault, client, allowed, reply, wall),
        };
        let mut asker = Asker::new(&query, client.transport, self.options.udp_max);
        if let Some(edns) = query.edns().filter(|_| allowed)
            && let Err(error) = self.options.answer(edns, client, wall, &mut asker.options)
        {
            return refuse_cookie(&query, error, reply);
        }
        let decision = if !allowed {
            Decision::Refuse(Refusal::NotAllowed)
        } else if self.options.wants_cookie(&asker) {
            Decision::Refuse(Refusal::BadCookie)
        } else {
            self.policy.decide(&query)
        };
        match decision {
            Decision::Forward { group, route: _ } => {
                let _ = now;
                let asker = asker.to_owned();
                Verdict::Forward(Request { asker, group })
            }
            Decision::Local | Decision::Special { .. } => {
                self.reply_locally(&asker, decision, reply)
            }
            Decision::Refuse(refusal) => {
                let told = refusal.told();
                write_error(&asker, told.rcode, Some(told.error), reply);
                Verdict::Reply
            }
        }
    }

    /// Writes the reply to a question that could not be given to the engine because too many wait for it already.
    pub fn refuse_overloaded(&self, request: &Request, reply: &mut Vec<u8>) {
        let told = Failure::Overloaded.told();
        write_error(&request.asker, told.rcode, Some(told.error), reply);
    }

    fn reply_locally(
        &self,
        asker: &Asker<QuestionRef<'_>>,
        decision: Decision<'_>,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        let message = self
            .policy
            .respond(&asker.question.to_owned(), decision)
            .unwrap_or_default();
        let Ok(response) = ResponseView::parse(&message) else {
            debug_assert!(false, "a message of our own is well-formed");
            return Verdict::Drop(DropReason::Runt);
        };
        render_reply(&response, asker, ReplyOrigin::Local, reply);
        Verdict::Reply
    }

    fn refuse_fault(
        &self,
        fault: &QueryFault<'_>,
        client: &Client,
        allowed: bool,
        reply: &mut Vec<u8>,
        wall: WallSeconds,
    ) -> Verdict {
        match fault {
            QueryFault::Runt => Verdict::Drop(DropReason::Runt),
            QueryFault::Response => Verdict::Drop(DropReason::Response),
            QueryFault::NoQuestion {
                header,
                edns: Some(edns),
            } if allowed => {
                if !self.options.answer_alone(header, edns, client, wall, reply) {
                    return written(write_fault(fault, reply));
                }
                Verdict::Reply
            }
            QueryFault::NotImplemented { .. }
            | QueryFault::Malformed { .. }
            | QueryFault::NoQuestion { .. }
            | QueryFault::BadVersion { .. } => written(allowed && write_fault(fault, reply)),
        }
    }
}

/// A cookie of a length there is not.
fn refuse_cookie(query: &QueryView<'_>, error: WireError, reply: &mut Vec<u8>) -> Verdict {
    let fault = QueryFault::Malformed {
        header: *query.header(),
        question: Some(query.question()),
        edns: true,
        error,
    };
    written(write_fault(&fault, reply))
}

fn written(replied: bool) -> Verdict {
    if replied {
        Verdict::Reply
    } else {
        Verdict::Drop(DropReason::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LocalData, LocalRecord, LocalRecords};
    use crate::wire::{Class, QueryOptions, Question, Rcode, RecordType, write_query};

    fn front() -> Front {
        let record = LocalRecord {
            name: "here.example".parse().unwrap(),
            ttl: 60,
            data: LocalData::A([192, 0, 2, 1].into()),
        };
        let allow = Acl::new(&["127.0.0.0/8".parse().unwrap()]);
        Front::new(FrontConfig {
            allow,
            policy: PolicyConfig {
                local: LocalRecords::new([record]),
                ..PolicyConfig::default()
            },
            options: OptionsConfig::default(),
        })
    }

    fn query(name: &str, qtype: RecordType) -> Vec<u8> {
        let question = Question::new(&name.parse().unwrap(), qtype, Class::IN);
        let options = QueryOptions {
            checking_disabled: false,
            dnssec_ok: false,
            keepalive: false,
            padding: None,
        };
        let mut message = Vec::new();
        write_query(question.view(), options, &mut message);
        message
    }

    fn client(address: &str) -> Client {
        Client {
            address: address.parse().unwrap(),
            transport: Transport::Udp,
            idle: Duration::ZERO,
        }
    }

    #[test]
    fn a_question_for_others_is_forwarded_with_what_its_reply_needs() {
        let mut reply = Vec::new();
        let message = query("www.Example", RecordType::AAAA);
        let verdict = front().handle_query(
            &message,
            &client("127.0.0.1:4000"),
            Moment::ZERO,
            WallSeconds(0),
            &mut reply,
        );
        let Verdict::Forward(request) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(request.asker.question.to_string(), "www.Example IN AAAA");
    }

    #[test]
    fn a_local_name_is_answered_with_authority() {
        let mut reply = Vec::new();
        let message = query("hErE.example", RecordType::A);
        let verdict = front().handle_query(
            &message,
            &client("127.0.0.1:4000"),
            Moment::ZERO,
            WallSeconds(0),
            &mut reply,
        );
        assert!(matches!(verdict, Verdict::Reply));
        let view = ResponseView::parse(&reply).unwrap();
        assert!(view.header().flags.authoritative());
        assert_eq!(view.question().unwrap().to_string(), "hErE.example IN A");
        assert_eq!(
            view.records().next().unwrap().unwrap().rdata,
            [192, 0, 2, 1]
        );
    }

    #[test]
    fn strangers_are_refused_and_their_garbage_is_dropped() {
        let mut reply = Vec::new();
        let stranger = client("198.51.100.1:4000");
        let message = query("here.example", RecordType::A);
        assert!(matches!(
            front().handle_query(
                &message,
                &stranger,
                Moment::ZERO,
                WallSeconds(0),
                &mut reply
            ),
            Verdict::Reply
        ));
        let view = ResponseView::parse(&reply).unwrap();
        assert_eq!(view.rcode(), Rcode::REFUSED);
        assert_eq!(view.extended_errors().next().unwrap().code.0, 18);
        assert!(matches!(
            front().handle_query(
                &message[..20],
                &stranger,
                Moment::ZERO,
                WallSeconds(0),
                &mut reply
            ),
            Verdict::Drop(DropReason::NotAllowed)
        ));
    }

    #[test]
    fn every_message_with_a_header_and_qr_clear_gets_a_reply_or_is_forwarded() {
        let mut reply = Vec::new();
        let whole = query("www.example", RecordType::A);
        for length in 0..whole.len() {
            let verdict = front().handle_query(
                &whole[..length],
                &client("127.0.0.1:1"),
                Moment::ZERO,
                WallSeconds(0),
                &mut reply,
            );
            match verdict {
                Verdict::Drop(reason) => {
                    assert_eq!((reason, length < 12), (DropReason::Runt, true));
                }
                Verdict::Reply => assert!(reply.len() >= 12 && reply[2] & 0x80 != 0),
                Verdict::Forward(_) => panic!("cut at {length} is no query"),
            }
        }
    }
}
