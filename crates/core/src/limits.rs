//! Every bound of the core, with its unit, its reason, and what others use.
//!
//! Reaching a bound is ordinary and has an answer: a question gets SERVFAIL with an extended error, a connection takes no
//! more, the oldest event is dropped and counted.

use core::time::Duration;

/// How long a client waits for its reply at most. Stub resolvers ask again after 5 s (glibc) or sooner (2–3 s in phones), so an
/// answer after 2 s is often nobody's; unbound discards at 1.9 s, CoreDNS gives up after 5 s.
pub const QUESTION_BUDGET: Duration = Duration::from_secs(2);

/// How late a deadline may be noticed, and a reply over UDP leave: beyond it this process did not run (it was stopped, its machine suspended, or
/// given no time), so that what is missing may lie in its sockets and says nothing about upstreams. Far above what a busy event loop takes.
pub const LATENESS_MAX: Duration = Duration::from_millis(250);

/// How long opening a connection, TLS included, may take before it is given up. The operating system would wait 60–120 s
/// (RFC 9210 section 4.1); dnsdist waits 5 s. Another upstream is asked long before, see [`IMPATIENCE`].
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long after the second dial that hangs a third is begun beside them, and so on: the connections there may be are spread over
/// [`DIAL_TIMEOUT`], so that a network that comes back is noticed within about a second.
pub const DIAL_BESIDE_AFTER: Duration = Duration::from_millis(700);

/// The shortest wait before a question is sent a second time, elsewhere: below it, ordinary jitter of a good upstream would cost
/// everybody double traffic.
pub const HEDGE_AFTER_MIN: Duration = Duration::from_millis(75);

/// The longest wait before a second try of a question on a silent connection, or of one whose answer is overdue. No hedge budget can
/// delay it beyond this.
pub const IMPATIENCE: Duration = Duration::from_millis(400);

/// An answer is overdue after this many times the usual response time of its upstream. Below it a question on a living connection is
/// tried again only as far as the hedge budget goes, unless another upstream is likely to answer sooner.
pub const OVERDUE_FACTOR: u32 = 2;

/// An answer is overdue after this in any case: another upstream needs what is left of [`QUESTION_BUDGET`] to do better.
pub const OVERDUE_AFTER_MAX: Duration = Duration::from_millis(1_200);

/// A question is sent again early when the answer has taken this many times the usual response time.
pub const HEDGE_RTT_FACTOR: u32 = 3;

/// Early second tries as a share of traffic: one for this many questions, so that a slow upstream is not asked twice as much.
pub const QUESTIONS_PER_HEDGE: u32 = 10;

/// Early second tries that may come in a burst, before the share above applies: a path that dies with many questions in flight.
pub const HEDGE_BURST: u32 = 64;

/// How long an upstream has been in doubt, which takes [`IMPATIENCE`], when its next response ends an outage: a question that waited may have failed by
/// then, or been answered from what was past its time ([`STALE_AFTER`]).
pub const OUTAGE_AFTER: Duration = STALE_AFTER.saturating_sub(IMPATIENCE);

/// Times one question is sent to one upstream (RFC 9520 section 3.1: at most 3).
pub const SENDS_PER_UPSTREAM_MAX: u8 = 3;

/// Times one question is sent for one group, whatever the number of upstreams: what a client can make us send is bounded. A group's
/// fallback has as many of its own.
pub const SENDS_MAX: usize = 6;

/// How long a group that has a fallback may be silent about a question before the fallback is asked too. Longer than a lost datagram
/// and its repetition, because the answer of the fallback to a private name is a wrong one; short enough to leave the fallback time.
pub const FALLBACK_AFTER: Duration = Duration::from_secs(1);

/// Questions in flight for all clients. About 2 kB each (CoreDNS: unlimited, unbound: 2,048 per thread): 40 MB at most.
pub const EXCHANGES_MAX: usize = 20_000;

/// How long a question has been in flight before it may give way to a new one when there is no room: longer than upstreams that work take,
/// so that in a flood of names nobody answers the others still are (unbound's `jostle-timeout`).
pub const SHED_AFTER: Duration = Duration::from_millis(200);

/// Clients waiting on one question in flight: everybody behind a large site's resolver who asks for a popular name while its answer is on its way.
/// A quarter of [`WAITERS_MAX`], and one client gets half of it. What they are owed leaves in pieces ([`TOLD_AT_ONCE`]), so that one answer is no
/// avalanche (CVE-2024-33655).
pub const WAITERS_PER_EXCHANGE_MAX: usize = 16_384;

/// Clients who wait together with others, over all questions in flight, those who are being told included. About 600 octets each: 40 MB at most.
pub const WAITERS_MAX: usize = 65_536;

/// Clients of one question who are told in one go, about a millisecond; the others of them after all who have their turn meanwhile.
pub const TOLD_AT_ONCE: usize = 1_024;

/// Octets of replies to the clients of one question in one go. Over streams each may be owed the largest message, 64 KiB.
pub const TOLD_OCTETS_AT_ONCE: usize = 1 << 20;

/// Queries in flight on one connection before another is opened. A connection carries thousands well; the point is to
/// open few (RFC 7766 section 6.2.2). knot-resolver stops at 100, unbound at 200.
pub const IN_FLIGHT_BEFORE_GROWTH: usize = 1_024;

/// Queries in flight on one connection before another is opened because they queue: some servers work on one at a time.
pub const IN_FLIGHT_BEFORE_CONGESTION: usize = 16;

/// Responses that take this many times the shortest of late are a sign of a queue at the other end.
pub const CONGESTION_FACTOR: u32 = 4;

/// How long no connection is opened beside one that works after the last try failed. Upstreams bound the connections of a client
/// (dnsdist's default has none, resolvers at home often allow one or a few), and dialing for every question would be an attack.
pub const GROWTH_PAUSE: Duration = Duration::from_secs(5);

/// Queries in flight on one connection, unanswered ones that nobody waits for any more included. Half the ID space, so that a
/// random free ID is found in two tries on average and IDs stay hard to guess.
pub const IN_FLIGHT_PER_CONNECTION_MAX: usize = 32_768;

/// Connections to one upstream (RFC 7766 section 6.2.2: as few as possible).
pub const CONNECTIONS_PER_UPSTREAM_MAX: usize = 4;

/// Answers to a question nobody asked with an ID somebody did, on one connection, before it is closed. One can be a bug of the
/// upstream; ten are a connection whose answers cannot be told apart.
pub const MISMATCHES_MAX: u32 = 10;

/// Datagrams without its ID on the sockets of one question before it is asked over a stream instead and nothing of it is kept. Each socket has one query,
/// so that hardly any comes by mistake; who guesses an ID whose port is known needs thousands (RFC 5452 section 7.2).
pub const GUESSES_MAX: u8 = 4;

/// Datagram sockets open to one upstream at a time: each query has its own, so that port and ID are both random (RFC 5452 section
/// 9.2). Beyond it questions go over TCP.
pub const DATAGRAMS_PER_UPSTREAM_MAX: usize = 512;

/// How long a datagram may be on its way before it counts as lost. Resolvers inside a network answer in milliseconds, or have
/// to ask outside themselves.
pub const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection without a query in flight is kept at most. Public resolvers close after about 10 s by themselves, and
/// that is learned; unbound keeps connections for 60 s, dnsdist for 300 s.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The shortest idle limit that is learned: an upstream that closes after every response has none worth undercutting.
pub const IDLE_LIMIT_MIN: Duration = Duration::from_millis(50);

/// Connections retired within the learned limit before the limit is stretched, to see whether it still holds.
pub const IDLE_TRUST: u32 = 16;

/// The same once a stretched limit has held: what was learned is wrong, and each connection retired too early is a handshake too many.
pub const IDLE_TRUST_STRETCHED: u32 = 2;

/// A connection closed within this many usual response times of its last answer was not closed for being idle: the upstream does not want
/// to answer more on it.
pub const IDLE_RTT_FACTOR: u32 = 2;

/// How long a connection lives in all, give or take a tenth: addresses move behind one name, and TLS keys should not live for
/// ever (RFC 9325 section 4.4). CoreDNS has the same idea as `max_age`.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3600);

/// Connections to one upstream that take no more questions and wait for their last responses; when one more is opened the oldest give way.
pub const DRAINING_PER_UPSTREAM_MAX: usize = 4;

/// How long a connection is being opened before a second address is tried beside it (RFC 8305 section 5).
pub const DIAL_HEAD_START: Duration = Duration::from_millis(250);

/// How long an address of an upstream that was of no use is dialed after the others; it doubles each time in a row. An address that was slow
/// or lost a datagram once is soon preferred again.
pub const ADDRESS_AGAIN_MIN: Duration = Duration::from_secs(10);

/// The longest such pause. The connection that finds out costs the question that needs it [`DIAL_HEAD_START`], or [`IMPATIENCE`] when the
/// address is mute.
pub const ADDRESS_AGAIN_MAX: Duration = Duration::from_secs(600);

/// Idle connections kept open to one upstream at most, whatever `keep_warm` says.
pub const KEEP_WARM_MAX: usize = 2;

/// Connections are not kept open to an upstream that ends idle ones sooner than this: it would be dialed without end.
pub const KEEP_WARM_IDLE_MIN: Duration = Duration::from_secs(1);

/// How long no connection that is to be kept open is opened after one could not be, or ended before it was of any use; it doubles each time.
pub const KEEP_WARM_AGAIN_MIN: Duration = Duration::from_secs(1);

/// The longest such pause, but for a quarter by chance: nobody waits for these connections, and a question that comes opens its own.
pub const KEEP_WARM_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Responses that queue for less than this are no reason for another connection: answers from a cache and answers that had to be
/// looked up differ by as much.
pub const CONGESTION_MIN: Duration = Duration::from_millis(100);

/// The shortest pause between two probes of an upstream that does not work and that no question tries.
pub const PROBE_AFTER_MIN: Duration = Duration::from_secs(1);

/// While nobody of a group is up and those who ask are given what is past its time, one that is away is probed after this part of the time it has
/// been: that it is back is noticed within about a tenth of its absence.
pub const PROBE_AWAY_SHARE: u32 = 10;

/// How long a probe may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest pause before a failed upstream is tried again.
pub const RETRY_AFTER_MIN: Duration = Duration::from_millis(250);

/// The longest pause before a failed upstream is tried again (RFC 2308 section 7 allows 5 minutes; stubby waits up to an hour,
/// which is an hour without DNS).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// The longest pause while no upstream works at all: recovery is noticed within it.
pub const RETRY_AFTER_ALONE_MAX: Duration = Duration::from_millis(800);

/// A response time is believed half as long after this time without a new one: an upstream that was slow once deserves another
/// look, but not so often that clients feel it.
pub const RTT_HALF_LIFE: Duration = Duration::from_secs(30);

/// How long an upstream that answered without EDNS what it had refused with it is asked without (unbound: 15 minutes).
pub const WITHOUT_EDNS: Duration = Duration::from_secs(900);

/// Records in one query beside its question. Real ones carry an OPT record, a signature, and for a zone transfer a SOA; each record costs a
/// walk through its name.
pub const QUERY_RECORDS_MAX: usize = 16;

/// How long an upstream or a group that is part of the configuration no longer keeps its name, so that a question that was decided before
/// the change means what it meant: several times [`QUESTION_BUDGET`].
pub const RETIRED_KEPT: Duration = Duration::from_secs(10);

/// Questions that the passing of time, or the end of a connection, moves or ends before others get their turn: about a quarter of a millisecond. An
/// upstream that falls silent may leave [`EXCHANGES_MAX`] of them behind, and who asks for what is kept does not wait for all of these.
pub const QUESTIONS_PER_TURN: usize = 64;

/// Events kept for a shell that does not fetch them.
pub const EVENTS_MAX: usize = 1_024;

/// Octets to which queries are padded (RFC 8467 section 4.1), unless the configuration says otherwise.
pub const QUERY_PADDING_BLOCK: usize = 128;

/// Octets to which queries may be padded at most: a block that most queries already fill several times over.
pub const QUERY_PADDING_BLOCK_MAX: usize = 512;

/// Aliases followed inside local records.
pub const LOCAL_ALIASES_MAX: usize = 8;

/// Shards of the cache: each is locked alone, and with so many the workers of a large machine seldom meet.
pub const CACHE_SHARDS_MAX: usize = 64;

/// The least a shard of the cache holds: its memory comes in pieces of 80 KiB, a few of which are being filled.
pub const CACHE_SHARD_OCTETS_MIN: usize = 4 << 20;

/// Segments of 80 KiB emptied for one answer in which those much asked for are spared; then they are not. Storing takes bounded time, a tenth of
/// a millisecond.
pub const CACHE_EMPTIED_MAX: u32 = 4;

/// The longest time an answer is kept, in seconds: a day. RFC 8767 section 4 recommends at most a week; unbound's default is a day.
pub const TTL_MAX: u32 = 86_400;

/// The longest time a negative answer is kept, in seconds: three hours (RFC 2308 section 5).
pub const NEGATIVE_TTL_MAX: u32 = 10_800;

/// Octets for failures where no answers are kept: some thousand of them. The ones that matter come again within seconds.
pub const FAILURES_OCTETS: usize = 1 << 20;

/// How long a failure is kept at first, in seconds (RFC 9520 section 3.2: at least 1).
pub const FAILURE_KEPT_MIN: u32 = 1;

/// How long a failure that repeats is kept at most, in seconds (RFC 9520 section 3.2: at most 300). BIND: 1 to 30.
pub const FAILURE_KEPT_MAX: u32 = 30;

/// How long data is kept past its lifetime (RFC 8767 section 5: 1 to 3 days).
pub const STALE_KEPT: Duration = Duration::from_secs(86_400);

/// The TTL of stale data, in seconds (RFC 8767 section 4).
pub const STALE_TTL: u32 = 30;

/// How long a client waits for newer data before it is given the stale (RFC 8767 section 5): within the patience of stub resolvers, and
/// before [`QUESTION_BUDGET`].
pub const STALE_AFTER: Duration = Duration::from_millis(1_800);

/// How long after data could not be refreshed the next try is made (RFC 8767 section 5).
pub const STALE_RECHECK: Duration = Duration::from_secs(30);

/// How long after data could not be refreshed it is given at once: twice [`STALE_RECHECK`], so that whoever asks for a busy name while it is
/// tried again does not wait for the outcome.
pub const STALE_AT_ONCE: Duration = Duration::from_secs(60);

/// Hits within its lifetime that make an answer worth refreshing before its end. It is also what bounds the traffic of it: at most one question in
/// so many.
pub const PREFETCH_HITS: u8 = 10;

/// The last part of its lifetime in which an answer is refreshed: a tenth, as unbound does.
pub const PREFETCH_SHARE: u64 = 10;

/// The shortest lifetime, in seconds, of answers that are refreshed ahead of time: below it a tenth is less than a question takes.
pub const PREFETCH_LIFETIME_MIN: u32 = 10;

/// Aliases followed to find out whether an answer answers. BIND and unbound follow 16 and 11.
pub const ALIASES_MAX: usize = 16;

/// How long a question waits for the cache that several instances share before its upstream is asked. An answer from a store nearby takes
/// well under a millisecond and one from an upstream ten or more, so waiting this long is seldom noticed; a store that takes longer
/// is of no use, and [`SHARED_FAILURES_MAX`] such answers turn it off.
pub const SHARED_HEAD_START: Duration = Duration::from_millis(4);

/// Failures of the shared cache in a row, late answers among them, after which it is not asked for a while.
pub const SHARED_FAILURES_MAX: u32 = 8;

/// The shortest pause before a shared cache that failed is tried again; it doubles with each trial that fails.
pub const SHARED_PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest such pause.
pub const SHARED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long the trial may go without an outcome.
pub const SHARED_TRIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Lookups in the shared cache at a time. With a store that answers within [`SHARED_HEAD_START`] that is a quarter of a million a second;
/// beyond it questions go out at once.
pub const SHARED_LOOKUPS_MAX: usize = 1_024;

/// Answers that wait to be written to the shared cache; beyond it they are dropped: somebody else will write them.
pub const SHARED_WRITES_MAX: usize = 1_024;

/// Octets they may take together.
pub const SHARED_WRITE_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// Octets of the label of a route, by which kept answers are told apart outside of this process.
pub const ROUTE_LABEL_MAX: usize = 64;

/// Sets of four client networks whose rate over UDP is counted: 131,072 networks in 2 MiB. A network says something only while its bucket
/// has not leaked out, which is a millisecond after a query at 1,000 a second; so far more than this many can ask.
pub const RATE_SETS: usize = 32_768;

/// How long octets above the bound are remembered at most: the last reply within it may be a long one, and each query above it may be told
/// to come over TCP, which leaves a network in debt; nobody should be held to one that a forger made for longer than a client is patient.
pub const RATE_DEBT_MAX: Duration = Duration::from_secs(4);

/// Refusals per second to one client network over UDP: ample to be told, and useless to whoever forges addresses.
pub const REFUSALS_PER_SECOND: u32 = 10;
/// How long a server cookie is good, in seconds (RFC 9018 section 4.3: one hour).
pub const COOKIE_AGE_MAX: i32 = 3600;

/// How far in the future a cookie may be from, in seconds: the clocks of a fleet differ (RFC 9018 section 4.3: five minutes).
pub const COOKIE_AHEAD_MAX: i32 = 300;

/// From which age on a good cookie is replaced by a new one, in seconds (RFC 9018 section 4.3: half an hour).
pub const COOKIE_RENEWED_AFTER: i32 = 1800;

/// Secrets whose cookies are accepted: the one in use, and those of the steps of a change (RFC 9018 section 5).
pub const COOKIE_SECRETS_MAX: usize = 4;

/// Octets of an NSID (RFC 5001 sets no bound): a name or an address, in every reply that asks for it.
pub const NSID_MAX: usize = 64;

/// Octets of a signed query that is passed on. The longest signatures in use (RSA of 4,096 bits, 512 octets) with the longest names are
/// far below; a client must not have us keep 65,535.
pub const SIGNED_QUERY_MAX: usize = 4_096;

/// Octets of a query that goes in a datagram; longer ones take a stream (RFC 9715).
pub const DATAGRAM_QUERY_MAX: usize = 1_232;

/// Signed queries in flight, each kept whole because it may have to be sent again: 4 MB at most. They are rare; stub resolvers do not sign.
pub const SIGNED_EXCHANGES_MAX: usize = 1_000;
