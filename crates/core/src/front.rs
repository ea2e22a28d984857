//! The near side: from a client's octets to a reply, or to a question for the engine.
//!
//! A [`Front`] never changes after it was made, but for what it counts of rates, so any number of workers share one without a lock.
//! The access list comes before everything else (RFC 5625 section 6.2). Nothing here waits: the time is needed only for rates and for
//! the age of what is kept, the wall clock for that of cookies.
//!
//! Deliberately absent: sockets and framing (the shell's), and everything about upstreams (the engine's).

mod cookie;
mod identity;
mod options;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use identity::Identity;

pub use cookie::{COOKIE_SECRET_LEN, CookieSecrets};
pub use options::{Cookies, OptionsConfig};

use crate::cache::{Answered, Cache};
use crate::exchange::{Asked, Request, SignedQuery, Source};
use crate::outcome::{Failure, Refusal};
use crate::policy::{Acl, Decision, Policy, PolicyConfig};
use crate::rate::{Pace, RateConfig, RateLimiter};
use crate::time::{Moment, WallSeconds};
use crate::upstream::GroupId;
use crate::wire::{
    Asker, QueryFault, QueryView, QuestionRef, RecordType, ReplyOrigin, ResponseView, Transport,
    WireError, render_reply, truncate_reply, write_error, write_fault, write_truncated,
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
    /// What the others get.
    pub deny: Deny,
    /// What is answered here, and who is asked about the rest.
    pub policy: PolicyConfig,
    /// Answers that are kept; the engine stores them in the same one.
    pub cache: Arc<Cache>,
    /// How the EDNS options of clients are answered.
    pub options: OptionsConfig,
    /// Whether who does not ask for recursion is told what is kept.
    pub tells_kept: bool,
    /// How much one client network gets over UDP; `None`: as much as it asks for.
    pub rate: Option<RateConfig>,
}

impl FrontConfig {
    /// A front that refuses whoever is not in `allow`, answers no options, keeps nothing, and counts nobody.
    #[must_use]
    pub fn new(allow: Acl, policy: PolicyConfig) -> Self {
        Self {
            allow,
            deny: Deny::default(),
            policy,
            options: OptionsConfig::default(),
            cache: Arc::new(Cache::off()),
            tells_kept: true,
            rate: None,
        }
    }
}

/// What clients get that may not ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deny {
    /// REFUSED, which tells an honest client at once.
    #[default]
    Refuse,
    /// Nothing, which tells nobody that there is somebody.
    Silence,
}

/// What becomes of a client's message.
#[derive(Debug)]
pub enum Verdict {
    /// The reply is written; send it.
    Reply,
    /// The same, and it was kept from before.
    Cached,
    /// The reply is written; send it, and have the engine refresh what it was made of.
    ReplyAndRefresh(Asked),
    /// Say nothing, and count why.
    Drop(DropReason),
    /// Ask an upstream: give this to the engine.
    Forward(Request),
    /// The client's network asks more than its rate, or has had as many octets: count it.
    Limited {
        /// A reply that tells to come over TCP is written; send it. Without it say nothing.
        reply: bool,
    },
}

/// Why a message gets no reply at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// From a client that may not ask, and malformed, or one too many for a refusal, or refusals are not given.
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
    deny: Deny,
    policy: Policy,
    cache: Arc<Cache>,
    options: OptionsConfig,
    tells_kept: bool,
    rate: Option<Arc<RateLimiter>>,
}

impl Front {
    /// A front with this configuration.
    #[must_use]
    pub fn new(config: FrontConfig) -> Self {
        Self {
            allow: config.allow,
            deny: config.deny,
            policy: Policy::new(config.policy),
            cache: config.cache,
            options: config.options,
            tells_kept: config.tells_kept,
            rate: config.rate.map(|rate| Arc::new(RateLimiter::new(rate))),
        }
    }

    /// A front with another configuration in the place of this one. What is counted of rates goes on where their bounds are the same.
    #[must_use]
    pub fn successor(&self, config: FrontConfig) -> Self {
        let known = self.rate.as_ref();
        let known = known.filter(|it| Some(it.config()) == config.rate.as_ref());
        let known = known.cloned();
        let mut successor = Self::new(config);
        if known.is_some() {
            successor.rate = known;
        }
        successor
    }

    /// What this front decides about names; for people who ask why.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The answers that are kept.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Takes one message of a client. After [`Verdict::Reply`], [`Verdict::Cached`], [`Verdict::ReplyAndRefresh`] and a [`Verdict::Limited`]
    /// with a reply, `reply` holds the whole reply without a length prefix, within the size the client takes; otherwise its content means
    /// nothing. It is taken to be sent: its octets are counted.
    pub fn handle_query(
        &self,
        message: &[u8],
        client: &Client,
        now: Moment,
        wall: WallSeconds,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        let mut counted = client.transport == Transport::Udp;
        let verdict = self.judge(message, client, (now, wall), reply, &mut counted);
        if let Some(rate) = self.rate.as_ref().filter(|_| counted) {
            match verdict {
                Verdict::Reply
                | Verdict::Cached
                | Verdict::ReplyAndRefresh(_)
                | Verdict::Limited { reply: true } => {
                    rate.charge(client.address.ip(), reply.len(), now);
                }
                Verdict::Limited { reply: false } | Verdict::Drop(_) | Verdict::Forward(_) => {}
            }
        }
        verdict
    }

    /// Decides what becomes of a message. Its reply is not `counted` when its client has proven to be at its address, or may not ask, for
    /// which there is another bound.
    #[inline]
    fn judge(
        &self,
        message: &[u8],
        client: &Client,
        (now, wall): (Moment, WallSeconds),
        reply: &mut Vec<u8>,
        counted: &mut bool,
    ) -> Verdict {
        let allowed = self.allow.contains(client.address.ip());
        *counted &= allowed;
        if !allowed && self.turns_away(client, now) {
            return Verdict::Drop(DropReason::NotAllowed);
        }
        let query = match QueryView::parse(message) {
            Ok(query) => query,
            // The reply to a fault may be what a forger wants: above the rate there is none.
            Err(_) if allowed && self.pace(client, now) != Pace::Within => {
                return Verdict::Limited { reply: false };
            }
            Err(fault) => return self.refuse_fault(&fault, client, allowed, reply, wall),
        };
        let mut asker = Asker::new(&query, client.transport, self.options.udp_max);
        if let Some(edns) = query.edns().filter(|_| allowed)
            && let Err(error) = self.options.answer(edns, client, wall, &mut asker.options)
        {
            if self.pace(client, now) != Pace::Within {
                return Verdict::Limited { reply: false };
            }
            return refuse_cookie(&query, error, reply);
        }
        // A good cookie proves the address (RFC 7873 section 5.2.5), so there is nobody to protect.
        *counted &= !asker.options.cookie.is_some_and(|cookie| cookie.proven);
        if *counted {
            match self.pace(client, now) {
                Pace::Within => {}
                Pace::Truncate => {
                    // Who may be a victim gets no more than it takes. A cookie is what ends the truncation.
                    asker.options.keep_cookie_only();
                    write_truncated(&asker, reply);
                    return Verdict::Limited { reply: true };
                }
                Pace::Silence => return Verdict::Limited { reply: false },
            }
        }
        let decision = if !allowed {
            Decision::Refuse(Refusal::NotAllowed)
        } else if self.options.wants_cookie(&asker) {
            Decision::Refuse(Refusal::BadCookie)
        } else if let Some(identity) = identity::asked(query.question()) {
            return self.identify(&asker, identity, reply);
        } else {
            self.policy.decide(&query)
        };
        match decision {
            Decision::Forward { .. } if is_any_over_udp(&asker, &query) => {
                write_truncated(&asker, reply);
                Verdict::Reply
            }
            Decision::Forward { group, route: _ } => {
                let signed = SignedQuery::of(&query);
                let source = Source::of(client.address.ip());
                self.answer_or_forward(&asker, (group, source), signed, now, reply)
            }
            Decision::Local | Decision::Special { .. } => {
                self.reply_locally(&asker, decision, reply)
            }
            Decision::Refuse(refusal) => refuse(refusal, &asker, reply),
        }
    }

    fn answer_or_forward(
        &self,
        asker: &Asker<QuestionRef<'_>>,
        (group, source): (GroupId, Source),
        signed: Option<SignedQuery>,
        now: Moment,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        // Said in the same words as when nothing is kept.
        if !self.tells_kept && !asker.flags.recursion_desired() {
            return refuse(Refusal::RecursionNotDesired, asker, reply);
        }
        // What is kept is not signed.
        let kept = match signed {
            Some(_) => Answered::No,
            None => self.cache.answer(asker, group, now, reply),
        };
        let stale = match kept {
            Answered::Yes => return Verdict::Cached,
            Answered::AndRefresh => return Verdict::ReplyAndRefresh(Asked::new(asker, group)),
            Answered::Stale => true,
            Answered::No => false,
        };
        if !asker.flags.recursion_desired() {
            return refuse(Refusal::RecursionNotDesired, asker, reply);
        }
        Verdict::Forward(Request {
            asker: asker.to_owned(),
            group,
            source,
            since: now,
            stale,
            signed,
        })
    }

    /// Writes the reply to a question that could not be given to the engine because too many wait for it already: what is kept past its time,
    /// or that there is no room.
    pub fn refuse_overloaded(&self, request: &Request, now: Moment, reply: &mut Vec<u8>) {
        let Request { asker, group, .. } = request;
        if !request.stale || !self.cache.answer_stale(asker, *group, now, reply) {
            let told = Failure::Overloaded.told();
            write_error(asker, told.rcode, Some(told.error), reply);
        }
    }

    /// Whether a reply that comes later than its query may go to `client` over UDP; counts it, or what goes in its place. After
    /// [`Pace::Truncate`] that is in `shorter`. Who has `proven` to be at its address gets what it asked for.
    pub fn pace_reply(
        &self,
        (client, proven): (IpAddr, bool),
        reply: &[u8],
        now: Moment,
        shorter: &mut Vec<u8>,
    ) -> Pace {
        let Some(rate) = self.rate.as_ref().filter(|_| !proven) else {
            return Pace::Within;
        };
        match rate.admit_reply(client, reply.len(), now) {
            Pace::Truncate if truncate_reply(reply, shorter) => {
                rate.charge(client, shorter.len(), now);
                Pace::Truncate
            }
            Pace::Within => Pace::Within,
            Pace::Truncate | Pace::Silence => Pace::Silence,
        }
    }

    /// Whether a client that may not ask gets nothing, not even a refusal.
    fn turns_away(&self, client: &Client, now: Moment) -> bool {
        let refusals = self
            .rate
            .as_ref()
            .filter(|_| client.transport == Transport::Udp);
        self.deny == Deny::Silence
            || refusals.is_some_and(|rate| !rate.admit_refusal(client.address.ip(), now))
    }

    fn pace(&self, client: &Client, now: Moment) -> Pace {
        match &self.rate {
            Some(rate) if client.transport == Transport::Udp => {
                rate.admit(client.address.ip(), now)
            }
            Some(_) | None => Pace::Within,
        }
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
        reply_from(&message, asker, reply)
    }

    /// Says which server this is, if it is to be said.
    fn identify(
        &self,
        asker: &Asker<QuestionRef<'_>>,
        identity: Identity,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        match &self.options.nsid {
            Some(nsid) if identity == Identity::Server => {
                let message = identity::respond(&asker.question.to_owned(), nsid);
                reply_from(&message, asker, reply)
            }
            Some(_) | None => refuse(Refusal::Identity, asker, reply),
        }
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

fn reply_from(message: &[u8], asker: &Asker<QuestionRef<'_>>, reply: &mut Vec<u8>) -> Verdict {
    let Ok(response) = ResponseView::parse(message) else {
        debug_assert!(false, "a message of our own is well-formed");
        return Verdict::Drop(DropReason::Runt);
    };
    render_reply(&response, asker, ReplyOrigin::Local, reply);
    Verdict::Reply
}

/// Everything there is about a name is for those who have shown their address: over UDP ANY amplifies what a forger sends (RFC 8482
/// section 4). Of a signed query the answer has a bound, and is not ours to withhold.
fn is_any_over_udp<Q>(asker: &Asker<Q>, query: &QueryView<'_>) -> bool {
    asker.transport == Transport::Udp
        && query.question().qtype() == RecordType::ANY
        && query.signature().is_none()
}

fn refuse(refusal: Refusal, asker: &Asker<QuestionRef<'_>>, reply: &mut Vec<u8>) -> Verdict {
    let told = refusal.told();
    write_error(asker, told.rcode, Some(told.error), reply);
    Verdict::Reply
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
    use crate::wire::edns::OptionCode;
    use crate::wire::{Class, QueryOptions, Question, Rcode, write_query};

    fn front() -> Front {
        let record = LocalRecord {
            name: "here.example".parse().unwrap(),
            ttl: 60,
            data: LocalData::A([192, 0, 2, 1].into()),
        };
        let allow = Acl::new(&["127.0.0.0/8".parse().unwrap()]);
        let policy = PolicyConfig {
            local: LocalRecords::new([record]),
            ..PolicyConfig::default()
        };
        Front::new(FrontConfig::new(allow, policy))
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
    fn any_is_sent_to_a_stream_and_asked_for_there() {
        let mut reply = Vec::new();
        let message = query("www.example", RecordType::ANY);
        let mut who = client("127.0.0.1:4000");
        let verdict =
            front().handle_query(&message, &who, Moment::ZERO, WallSeconds(0), &mut reply);
        assert!(matches!(verdict, Verdict::Reply));
        let view = ResponseView::parse(&reply).unwrap();
        assert!(view.header().flags.truncated() && view.records().count() == 1);
        who.transport = Transport::Tcp;
        let verdict =
            front().handle_query(&message, &who, Moment::ZERO, WallSeconds(0), &mut reply);
        assert!(matches!(verdict, Verdict::Forward(_)));
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
                Verdict::Cached
                | Verdict::Forward(_)
                | Verdict::ReplyAndRefresh(_)
                | Verdict::Limited { .. } => {
                    panic!("cut at {length} is no query")
                }
            }
        }
    }

    /// A query of one client cookie, and of what a server made of it.
    fn query_with_cookie(cookie: &[u8]) -> Vec<u8> {
        let mut message = query("www.example", RecordType::A);
        // The OPT record stands last; it has no options, and 11 octets.
        let length = u8::try_from(cookie.len()).unwrap();
        let end = message.len() - 2;
        message.truncate(end);
        message.extend([0, length + 4, 0, 10, 0, length]);
        message.extend(cookie);
        message
    }

    #[test]
    fn who_shows_a_good_cookie_of_its_own_is_not_limited() {
        let front = Front::new(FrontConfig {
            options: OptionsConfig {
                cookies: Cookies::Answer,
                secrets: CookieSecrets::new(&[[7; COOKIE_SECRET_LEN]]),
                ..OptionsConfig::default()
            },
            ..limited_config(Deny::Refuse)
        });
        let mut reply = Vec::new();
        let mut ask = |from: &str, cookie: &[u8]| {
            let (message, from) = (query_with_cookie(cookie), client(from));
            front.handle_query(&message, &from, Moment::ZERO, WallSeconds(9), &mut reply)
        };
        let Verdict::Forward(first) = ask("127.0.0.1:4000", &[3; 8]) else {
            panic!("the first query is within the rate");
        };
        let cookie = first.asker.options.cookie.unwrap().octets;
        for _ in 0..1_000 {
            let verdict = ask("127.0.0.1:4000", &cookie);
            assert!(matches!(verdict, Verdict::Forward(_)));
        }
        // Neither somebody else's cookie nor one that was made up buys anything.
        for (from, cookie) in [("127.0.0.2:4000", cookie), ("127.0.0.3:4000", [3; 24])] {
            let mut limited = 0;
            for _ in 0..10 {
                limited += u32::from(matches!(ask(from, &cookie), Verdict::Limited { .. }));
            }
            assert_eq!(limited, 8, "{from}");
        }
    }

    #[test]
    fn what_goes_to_who_shows_a_good_cookie_is_not_counted_against_its_network() {
        let record = LocalRecord {
            name: "www.example".parse().unwrap(),
            ttl: 60,
            data: LocalData::A([192, 0, 2, 1].into()),
        };
        let front = Front::new(FrontConfig {
            options: OptionsConfig {
                cookies: Cookies::Answer,
                secrets: CookieSecrets::new(&[[7; COOKIE_SECRET_LEN]]),
                ..OptionsConfig::default()
            },
            policy: PolicyConfig {
                local: LocalRecords::new([record]),
                ..PolicyConfig::default()
            },
            rate: limited_config(Deny::Refuse).rate.map(|rate| RateConfig {
                queries: 0,
                octets: 1_000,
                ..rate
            }),
            ..limited_config(Deny::Refuse)
        });
        let (from, now, mut reply) = (client("127.0.0.1:4000"), Moment::ZERO, Vec::new());
        let mut ask = |message: &[u8]| {
            let verdict = front.handle_query(message, &from, now, WallSeconds(9), &mut reply);
            (verdict, reply.clone())
        };
        let (first, reply) = ask(&query_with_cookie(&[3; 8]));
        assert!(matches!(first, Verdict::Reply));
        let view = ResponseView::parse(&reply).unwrap();
        let option = view.edns().unwrap().option(OptionCode::COOKIE);
        let with_good_cookie = query_with_cookie(option.unwrap());
        for _ in 0..1_000 {
            assert!(matches!(ask(&with_good_cookie).0, Verdict::Reply));
        }
        let neighbour = query("www.example", RecordType::A);
        assert!(matches!(ask(&neighbour).0, Verdict::Reply));
        let of_many = (0..100).filter(|_| matches!(ask(&neighbour).0, Verdict::Reply));
        assert!((10..30).contains(&of_many.count()));
    }

    fn limited_front(deny: Deny) -> Front {
        Front::new(limited_config(deny))
    }

    fn limited_config(deny: Deny) -> FrontConfig {
        let rate = RateConfig {
            queries: 2,
            octets: 0,
            slip: 1,
            prefix_v4: 32,
            prefix_v6: 56,
            exempt: Acl::new(&[]),
            key: [1; 16],
        };
        let allow = Acl::new(&["127.0.0.0/8".parse().unwrap()]);
        FrontConfig {
            deny,
            rate: Some(rate),
            ..FrontConfig::new(allow, PolicyConfig::default())
        }
    }

    #[test]
    fn above_the_rate_a_query_is_told_to_come_over_tcp_and_garbage_gets_nothing() {
        let front = limited_front(Deny::Refuse);
        let mut reply = Vec::new();
        let message = query("www.Example", RecordType::A);
        let over = |transport, message: &[u8], reply: &mut Vec<u8>| {
            let client = Client {
                transport,
                ..client("127.0.0.1:4000")
            };
            front.handle_query(message, &client, Moment::ZERO, WallSeconds(0), reply)
        };
        for _ in 0..2 {
            let verdict = over(Transport::Udp, &message, &mut reply);
            assert!(matches!(verdict, Verdict::Forward(_)));
        }
        let verdict = over(Transport::Udp, &message, &mut reply);
        assert!(matches!(verdict, Verdict::Limited { reply: true }));
        assert!(reply.len() <= message.len());
        let view = ResponseView::parse(&reply).unwrap();
        assert!(view.header().flags.truncated() && view.header().answers == 0);
        assert_eq!(view.question().unwrap().to_string(), "www.Example IN A");
        let verdict = over(Transport::Udp, &message[..20], &mut reply);
        assert!(matches!(verdict, Verdict::Limited { reply: false }));
        let verdict = over(Transport::Tcp, &message, &mut reply);
        assert!(matches!(verdict, Verdict::Forward(_)));
    }

    #[test]
    fn above_the_rate_a_reply_is_longer_than_its_query_by_a_server_cookie_at_most() {
        let front = Front::new(FrontConfig {
            options: OptionsConfig {
                cookies: Cookies::Answer,
                secrets: CookieSecrets::new(&[[7; COOKIE_SECRET_LEN]]),
                nsid: Some([b'x'; crate::limits::NSID_MAX].into()),
                ..OptionsConfig::default()
            },
            ..limited_config(Deny::Refuse)
        });
        // A cookie of the client alone, and NSID asked for.
        let mut with_nsid = query_with_cookie(&[3; 8]);
        with_nsid.extend([0, 3, 0, 0]);
        let length_at = with_nsid.len() - 18;
        with_nsid[length_at..][..2].copy_from_slice(&[0, 16]);
        let mut reply = Vec::new();
        let mut length = |message: &[u8], reply_wanted| {
            let client = client("127.0.0.1:4000");
            let now = Moment::ZERO;
            let verdict = front.handle_query(message, &client, now, WallSeconds(9), &mut reply);
            assert_eq!(
                matches!(verdict, Verdict::Limited { reply: true }),
                reply_wanted
            );
            reply.len()
        };
        length(&with_nsid, false);
        length(&with_nsid, false);
        assert!(length(&with_nsid, true) <= with_nsid.len() + 16);
        let bare = query("www.example", RecordType::A);
        assert!(length(&bare, true) <= bare.len());
    }

    #[test]
    fn replies_that_come_together_are_cut_to_what_a_query_above_the_rate_gets() {
        let front = Front::new(FrontConfig {
            options: OptionsConfig {
                cookies: Cookies::Answer,
                secrets: CookieSecrets::new(&[[7; COOKIE_SECRET_LEN]]),
                nsid: Some([b'x'; crate::limits::NSID_MAX].into()),
                ..OptionsConfig::default()
            },
            rate: limited_config(Deny::Refuse).rate.map(|rate| RateConfig {
                queries: 0,
                octets: 1_000,
                ..rate
            }),
            ..limited_config(Deny::Refuse)
        });
        let (from, now, mut reply) = (client("127.0.0.1:4000"), Moment::ZERO, Vec::new());
        let mut message = query_with_cookie(&[3; 8]);
        message.extend([0, 3, 0, 0]);
        let length_at = message.len() - 18;
        message[length_at..][..2].copy_from_slice(&[0, 16]);
        let verdict = front.handle_query(&message, &from, now, WallSeconds(9), &mut reply);
        let Verdict::Forward(request) = verdict else {
            panic!("{verdict:?}")
        };
        assert!(!request.is_proven());
        let (mut whole, mut shorter) = (Vec::new(), Vec::new());
        write_error(&request.asker, Rcode::NXDOMAIN, None, &mut whole);
        assert!(whole.len() > message.len() + 16);
        let who = (from.address.ip(), false);
        let mut leave = |who| front.pace_reply(who, &whole, now, &mut shorter);
        for _ in 0..=1_000 / whole.len() {
            assert_eq!(leave(who), Pace::Within);
        }
        assert_eq!(leave(who), Pace::Truncate);
        assert_eq!(leave((who.0, true)), Pace::Within);
        let mut expected = Vec::new();
        let mut asker = request.asker.clone();
        asker.options.keep_cookie_only();
        write_truncated(&asker, &mut expected);
        assert_eq!(shorter, expected);
        assert!(shorter.len() <= message.len() + 16);
    }

    #[test]
    fn strangers_are_refused_a_few_times_a_second_or_never() {
        let message = query("www.example", RecordType::A);
        let stranger = client("198.51.100.1:4000");
        let mut reply = Vec::new();
        let front = limited_front(Deny::Refuse);
        let mut ask = || {
            front.handle_query(
                &message,
                &stranger,
                Moment::ZERO,
                WallSeconds(0),
                &mut reply,
            )
        };
        for _ in 0..crate::limits::REFUSALS_PER_SECOND {
            assert!(matches!(ask(), Verdict::Reply));
        }
        // What turns them away is no rate of queries, so none is to be raised.
        assert!(matches!(ask(), Verdict::Drop(DropReason::NotAllowed)));
        let front = limited_front(Deny::Silence);
        assert!(matches!(
            front.handle_query(
                &message,
                &stranger,
                Moment::ZERO,
                WallSeconds(0),
                &mut reply
            ),
            Verdict::Drop(DropReason::NotAllowed)
        ));
    }
}
