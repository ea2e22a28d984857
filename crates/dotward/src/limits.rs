//! Every bound of the shell: what it holds, how long it waits, how much it does before others get their turn.
//!
//! The bounds of questions, connections and retries are in `dotward_core::limits`; here are those of sockets.

use std::time::Duration;

/// Octets read from one upstream before the other tasks of the worker get their turn. Two TLS records and more: lower
/// costs turns under load, higher lets one busy peer hold up everybody else.
pub(crate) const READ_PER_TURN: usize = 64 * 1024;

/// The same of one client: about a hundred queries, since each of thousands of clients who send all they can gets such a turn before anybody
/// gets the next, and whoever asks over UDP waits for all of these.
pub(crate) const CLIENT_READ_PER_TURN: usize = 4 * 1024;

/// Clients among whom that is not shared out yet. From there on each gets so much less that all of them together read no more in a round of
/// turns, but never less than [`CLIENT_READ_LEAST`].
pub(crate) const CLIENTS_READ_IN_FULL: usize = 128;

/// A handful of queries: less would cost a system call for each.
pub(crate) const CLIENT_READ_LEAST: usize = 512;

/// Octets read from one client for the last time, when the order to stop has come: what it may have sent in one go before that.
pub(crate) const CLIENT_READ_LAST: usize = 64 * 1024;

/// Octets of the one buffer all streams of a worker read into: a whole TLS record with its header (RFC 8446
/// section 5.2). Shared, so that an idle connection owns none.
pub(crate) const READ_BUFFER: usize = 17 * 1024;

/// Octets of write buffer an idle stream keeps: a usual answer needs no new one. With as much again for queries an idle client over TCP
/// stays below 8 KiB.
pub(crate) const IDLE_WRITE_BUFFER: usize = 2048;

/// Octets of queries handed to one upstream stream at a time; more waits in the engine until the socket took these.
pub(crate) const TRANSMIT_CHUNK: usize = 64 * 1024;

/// A client stream ends when no whole query came for this long (RFC 7766 section 6.2.3 asks for seconds; unbound 30,
/// dnsdist 2, BIND 30). Octets that complete no message do not count, so a client that drips is not kept; neither is one
/// that never reads its replies, because reading its queries stops at [`CLIENT_BACKLOG`].
pub(crate) const CLIENT_IDLE: Duration = Duration::from_secs(10);

/// Octets of replies a client stream may owe before nothing more is read from it: two of the largest messages.
pub(crate) const CLIENT_BACKLOG: usize = 2 * 65_537;

/// The same while all together owe more than half of [`CLIENTS_BACKLOG`]: two thousand who do not read take the other half.
pub(crate) const CLIENT_BACKLOG_SCARCE: usize = 8 * 1024;

/// Octets of memory that messages which clients have not sent whole may take of a worker, beyond the [`IDLE_CAPACITY`] of a stream that all
/// of them have: no message that UDP would take needs more than that. Beyond it those that hold most are closed until an eighth is free, so
/// that looking for them is paid for by two million octets that had to come.
///
/// [`IDLE_CAPACITY`]: dotward_core::wire::frame::IDLE_CAPACITY
pub(crate) const CLIENTS_UNREAD: usize = 16 * 1024 * 1024;

/// Octets of replies all client streams of a worker may owe together. Beyond it the stream that owes most is closed: its client asked a lot
/// and does not read. What TLS holds comes on top, [`CLIENT_TLS_BUFFER`] each.
pub(crate) const CLIENTS_BACKLOG: usize = 32 * 1024 * 1024;

/// Octets that the TLS library takes of what is owed to a client before the socket takes them: one record (RFC 8446 section 5.1).
pub(crate) const CLIENT_TLS_BUFFER: usize = 16 * 1024;

/// Queries of one client stream in flight before nothing more is read from it. Ample for a pipelining resolver behind
/// us (RFC 7766 section 6.2.1.1), small beside what all clients share.
pub(crate) const CLIENT_IN_FLIGHT: usize = 512;

/// Of so many client streams one may be of a client that has not asked anything yet, when somebody has to make room. Fewer would push out who
/// has just come and is about to ask; more, those who ask now and then.
pub(crate) const PLACES_PER_SILENT: usize = 8;

/// Descriptors kept from clients for ourselves: standard streams, the event loops of the threads beside the workers, signals, netlink, log,
/// and files that are read again; 20 of a process at rest. Those of listeners, upstreams, and who asks for metrics or controls come on top.
pub(crate) const DESCRIPTORS_OF_OUR_OWN: usize = 32;

/// Connections the kernel keeps for us until they are accepted; capped by `net.core.somaxconn`.
pub(crate) const LISTEN_BACKLOG: i32 = 1024;

/// Pause after an accept that failed for want of descriptors or memory. The connection stays in the kernel's queue, so a
/// loop without pause would spin; longer keeps clients waiting after the shortage is over.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts that failed in a row after which any error makes the pause: clients that are gone before they are accepted hardly come in such a
/// row, and an error that lasts (a firewall that refuses) would make a loop without pause spin.
pub(crate) const ACCEPT_FAILURES: u32 = 16;

/// Pause after receiving over UDP failed again with nothing received in between. One error mostly concerns one datagram; one
/// that lasts would make a loop without pause spin.
pub(crate) const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// How long a reply waits for room in a UDP socket. Whoever asked is about to ask again, and a queue that is full for so long only grows old.
pub(crate) const ROOM_WAIT_MAX: Duration = Duration::from_millis(500);

/// Of replies that wait for room in a UDP socket, one of so many gives way to those that come.
pub(crate) const ROOM_MADE_OF: usize = 8;

/// Pause before a UDP socket that was said to have room, and took nothing, is tried again.
pub(crate) const ROOM_PAUSE: Duration = Duration::from_millis(10);

/// Octets of receive buffer asked for each UDP socket: about 5000 queries that arrive while the worker does something
/// else. The kernel grants at most `net.core.rmem_max`.
pub(crate) const UDP_RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// How long a worker that is busy forwarding pauses before it looks at its sockets again, so that it finds more at once (`gather`). The longest a
/// message waits for that; the network to an upstream takes longer. With 40 µs a forwarded answer took a fifth less processor time, with 80
/// little less than with 40.
pub(crate) const GATHER_PAUSE: Duration = Duration::from_micros(40);

/// Questions forwarded and answers of upstreams in a second from which on a worker pauses: 25,000 of each. With fewer a pause would not
/// bring two, and costs as much as the look it saves.
pub(crate) const GATHER_RATE: u64 = 50_000;

/// Messages found at one look that are enough: the next look is made at once.
pub(crate) const GATHER_ENOUGH: u64 = 16;

/// How long messages are counted for before the rate is judged anew: many pauses, and too short for anybody to notice.
pub(crate) const GATHER_WINDOW: Duration = Duration::from_millis(1);

/// How long a datagram has waited in its socket, by a reading of the wall clock that may be [`WALL_CLOCK_KEPT`] old, before the clock is read
/// again to know better: what is set in smaller steps than this makes no difference to a client.
pub(crate) const WAIT_NOTICED: Duration = Duration::from_millis(10);

/// Times the sockets are looked at before what is long overdue is done. A look reads what fits into a buffer of each of them; the answers
/// of a pause of the process are mostly no more than that.
pub(crate) const LOOKS_BEFORE_OVERDUE: usize = 4;

/// Full batches taken from UDP sockets when the order to stop comes, so that what had arrived is answered.
pub(crate) const LAST_BATCHES: usize = 64;

/// Workers there may be. Each costs a thread, a UDP socket per address and some memory; one answers some hundred thousand queries per
/// second, so more than this is a mistake.
pub(crate) const WORKERS_MAX: usize = 64;

/// Questions of one further worker that wait for the engine: a fifth of what the engine takes in all. Beyond it clients are told
/// that there are too many (SERVFAIL), because the engine would only tell them later.
pub(crate) const HANDED_OVER: usize = 4096;

/// Clients that wait for one further worker to admit them. It takes all of them in one turn; with more it does not keep up.
pub(crate) const PLACED_STREAMS: usize = 64;

/// Turns of a worker between two looks at its processor time, which cost a system call. A worker that is busy turns some thousand times
/// per second, so this is seldom and still soon.
pub(crate) const BUSY_TURNS: u32 = 512;

/// Shortest time over which a share of processor time means something: several ticks of a kernel that counts by ticks.
pub(crate) const BUSY_LOOK: Duration = Duration::from_millis(100);

/// Share of their time that active workers spend working before another one joins. Below it queues stay short; at 1 queries are
/// lost already.
pub(crate) const BUSY_SHARE: f32 = 0.7;

/// Share of their time that all workers but one would spend working, at which that one leaves. Well below [`BUSY_SHARE`], so that it is
/// not called back at once.
pub(crate) const IDLE_SHARE: f32 = 0.45;

/// How long that has to hold before it leaves, and how often it is looked at. A worker too many costs some wake-ups.
pub(crate) const LEAVE_AFTER: Duration = Duration::from_secs(5);
pub(crate) const LEAVE_LOOK: Duration = Duration::from_secs(1);

/// Data that an upstream's host does not acknowledge for this long ends the connection (`TCP_USER_TIMEOUT`). The engine
/// judges silence much earlier; this frees the socket.
pub(crate) const UPSTREAM_UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Pause before workers that could not be had, or could not read their sockets, are tried again, and sockets that nobody could be made to
/// read. What is missing then (memory, places in event loops) is the machine's, and comes back in seconds or with somebody's help.
pub(crate) const WORKERS_AGAIN: Duration = Duration::from_secs(10);

/// TLS sessions kept per upstream for resumption: a few tickets for each of a few addresses.
pub(crate) const TLS_SESSIONS: usize = 32;

/// A client that connected has this long for what comes before its first query: a PROXY header where one is due, and the TLS
/// handshake. Two round trips to the moon; dnsdist gives 5 s.
pub(crate) const CLIENT_OPENING: Duration = Duration::from_secs(5);

/// TLS handshakes that one listener begins in a second; more clients wait to be accepted. About a fifth of a core; a process that starts
/// anew has all of its usual clients back within four seconds.
pub(crate) const HANDSHAKES: u32 = 500;

/// How many of those it begins at once: a burst that holds up answers for less than a tenth of a second.
pub(crate) const HANDSHAKES_AT_ONCE: u32 = 100;

/// What a listener is behind at most when many handshakes began at once: who is accepted next waits no longer for them.
pub(crate) const HANDSHAKES_OWED: Duration = Duration::from_secs(1);

/// A key makes session tickets for this long and opens them for as long again. Within it a key that leaks opens what was said
/// (RFC 9325 section 3.4 asks for a change at least every week); shorter costs clients that come now and then a full handshake. No longer
/// than rustls's own keys, which change after six hours.
pub(crate) const TICKET_KEY_LIFE: Duration = Duration::from_secs(6 * 3600);

/// Pause between looks at the files of certificates and keys: a renewed certificate is in use after that and a tenth. Shorter wakes
/// an idle machine for nothing; tools that renew leave hours.
pub(crate) const TRUST_FILES_LOOK: Duration = Duration::from_secs(10);

/// Pause between looks at the certificates of living connections. Connections are replaced after an hour anyway, so this finds
/// what expires in the meantime.
pub(crate) const CERTIFICATES_LOOK: Duration = Duration::from_secs(3600);

/// The end of a certificate is told from this long before it on, and again after each [`EXPIRY_REPEAT`].
pub(crate) const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 24 * 3600);
pub(crate) const EXPIRY_REPEAT: Duration = Duration::from_secs(24 * 3600);

/// The clock that counts while the machine sleeps gets ahead of the one that does not by more than this: it slept. Reading
/// the two takes nanoseconds; a nap that short kills no connection.
pub(crate) const SLEEP_NOTICED: Duration = Duration::from_secs(1);

/// Pause between two log lines about want of descriptors, ports or memory for connections to upstreams.
pub(crate) const SHORTAGE_REPEAT: Duration = Duration::from_secs(60);

/// How long the wall clock is reckoned from one reading of it. Cookies count in seconds; before a datagram is
/// discarded for its age the clock is read again.
pub(crate) const WALL_CLOCK_KEPT: Duration = Duration::from_secs(1);

/// Pause between the first news of a change in the network and the look at what it means. A change comes as a volley of
/// messages (link, addresses, routes); longer keeps connections that are dead already.
pub(crate) const NETWORK_SETTLE: Duration = Duration::from_millis(100);

/// Octets of one read from netlink; the kernel sends no larger messages to readers of this size.
pub(crate) const NETLINK_READ: usize = 32 * 1024;

/// Reads from netlink before others get their turn; what is left wakes the task again.
pub(crate) const NETLINK_READS: usize = 64;

/// Times the addresses of interfaces are asked for in one go when they change while they are told.
pub(crate) const NETLINK_DUMP_TRIES: u32 = 4;

/// Addresses of one interface that are listened on at most, for each transport: each takes a socket for every worker there may be.
/// Hosts have a handful; the kernel stops giving itself IPv6 addresses at 16.
pub(crate) const INTERFACE_ADDRESSES: usize = 64;

/// Pause before an address of an interface that could not be listened on is tried again, when nothing is heard of the interface.
pub(crate) const LISTEN_RETRY: Duration = Duration::from_secs(10);

/// Network interfaces whose state is remembered. Beyond it a lost carrier is noticed by its routes only.
pub(crate) const INTERFACES: usize = 1024;

/// Longest that one question of our own may take, from TCP to answer (`dotward query`, bootstrap).
pub(crate) const ONE_SHOT: Duration = Duration::from_secs(5);

/// A datagram of such a question is sent again after this long: it, or its answer, may be lost.
pub(crate) const ONE_SHOT_AGAIN: Duration = Duration::from_secs(1);

/// Questions of `dotward upstream rank` for one upstream. More would measure nothing better, and are asked of other people's servers.
pub(crate) const RANK_QUESTIONS: u32 = 1000;

/// Shortest and longest pause between two looks of `dotward top`. Each is a turn of the worker and a response over the control socket.
pub(crate) const TOP_PAUSE: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(60));

/// IPv4 addresses, and IPv6 addresses, that are taken from one answer about an upstream. A question has time for two or three of them, and each
/// is told of in the metrics.
pub(crate) const BOOTSTRAP_ADDRESSES: usize = 8;

/// First and longest pause between tries to find an upstream's address.
pub(crate) const BOOTSTRAP_PAUSE: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30));

/// Longest such pause while no address is known because nobody could be asked: until then questions fail, and the network may be back
/// without any news (a router that lost its own line).
pub(crate) const BOOTSTRAP_UNREACHED: Duration = Duration::from_secs(1);

/// A try that is under way when there is news of the network has this long to end before it begins anew: it may wait for somebody
/// who was out of reach when it began.
pub(crate) const BOOTSTRAP_OVERTAKEN: Duration = Duration::from_secs(1);

/// Bounds of the time a found address is kept before it is looked up again; in between its TTL decides.
pub(crate) const BOOTSTRAP_KEPT: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(3600));

/// Errands of other threads that wait for a worker's turn. Metrics, health and the control socket have one each on their way; more
/// means that the worker does not turn, and then none of them helps.
pub(crate) const ERRANDS: usize = 16;

/// Connections to the admin listener at a time. A few scrapers and probes; the next one waits in the kernel's queue.
pub(crate) const ADMIN_CONNECTIONS: usize = 16;

/// How long a connection to the admin listener may last, whatever it does. Scrapers that keep one open open another.
pub(crate) const ADMIN_CONNECTION: Duration = Duration::from_secs(120);

/// How long the header of a request may take to arrive.
pub(crate) const ADMIN_HEADER: Duration = Duration::from_secs(5);

/// Octets of the header of a request.
pub(crate) const ADMIN_BUFFER: usize = 8192;

/// How long a worker is waited for when it is asked how it does. Far longer than a turn, and shorter than the second a kubelet waits
/// for an answer.
pub(crate) const WORKER_ANSWERS: Duration = Duration::from_millis(500);

/// A worker that has not turned for this long is stuck: the process is better started again. Long enough for a machine that swaps.
pub(crate) const WORKER_STUCK: Duration = Duration::from_secs(5);

/// Pause between looks at upstreams while readiness depends on them, and the time after which one that was quiet is asked whether it
/// works. Twice this and [`UPSTREAM_ANSWERS`] bound how long the loss of all of them goes unnoticed: less than two seconds.
pub(crate) const UPSTREAM_LOOK: Duration = Duration::from_millis(400);

/// An upstream that leaves such a question unanswered for this long does not work, as far as readiness is concerned.
pub(crate) const UPSTREAM_ANSWERS: Duration = Duration::from_millis(800);

/// Kinds of TLS handshakes told apart for one upstream: versions, groups, and whether a session was resumed. What an upstream
/// can make us negotiate is a handful.
pub(crate) const HANDSHAKE_KINDS: usize = 16;

/// How long `dotward healthcheck` waits for one answer. Shorter than the time container engines give the whole of it.
pub(crate) const HEALTHCHECK: Duration = Duration::from_secs(1);

/// Log lines that wait for the writer thread. More than a burst of state changes; beyond it lines are dropped and
/// counted, because a full disk or a stopped terminal must not stop answers.
pub(crate) const LOG_LINES: usize = 4096;

/// Longest that the end of the process waits for the log to take what is left. A disk that works needs milliseconds.
pub(crate) const LOG_END: Duration = Duration::from_secs(1);

/// Pause between lines about something that happens again and again, such as queries above a rate: enough to see it last, too few to
/// fill a disk.
pub(crate) const REPEATS_TOLD: Duration = Duration::from_secs(60);

/// Octets of one request over the control socket: the longest name in presentation form (1004 characters, RFC 1035 section 5.1) with the
/// words around it.
pub(crate) const CONTROL_REQUEST: usize = 4096;

/// Control connections open at once. Operators are few; a monitor that forgets to hang up must not keep them out for longer than
/// [`CONTROL_READ`].
pub(crate) const CONTROL_CONNECTIONS: usize = 16;

/// Longest that a control connection may take to send its request, or to take its response.
pub(crate) const CONTROL_READ: Duration = Duration::from_secs(2);

/// Longest that the control socket waits for the worker. One that turns answers within milliseconds, under full load too; longer than
/// this it is stuck, and that is the answer.
pub(crate) const CONTROL_PATIENCE: Duration = Duration::from_secs(2);

/// Longest that a command waits for the response: what the server allows itself, and time on a busy machine.
pub(crate) const CONTROL_WAIT: Duration = Duration::from_secs(6);

/// Reloads that may be asked for while one is under way. Each reads what is there when its turn comes, so more would do nothing more.
pub(crate) const RELOAD_CALLS: usize = 16;

/// Longest that the control socket waits for a reload. The slow part is reading files; a file system that takes longer hangs.
pub(crate) const RELOAD_PATIENCE: Duration = Duration::from_secs(30);

/// Routes for which there is room beside those of the start, those that were removed a moment ago included: 8 octets each.
pub(crate) const ROUTES_TO_COME: usize = 1_024;

/// Octets of a response a command reads: thousands of upstreams.
pub(crate) const CONTROL_RESPONSE: u64 = 16 * 1024 * 1024;

/// Answers of one name shown over the control socket: all types with all flags there are in practice, and a bound for the rest.
pub(crate) const CONTROL_ANSWERS: usize = 256;

/// Lookups and writes on their way to the thread that speaks with the shared cache. Beyond it lookups fail at once and writes are dropped.
pub(crate) const SHARED_JOBS: usize = 2_048;

/// Batches of outcomes on their way back.
pub(crate) const SHARED_ANSWERS: usize = 64;

/// Lookups and writes in one pipeline. More would make the first ones wait for the last.
pub(crate) const SHARED_BATCH: usize = 128;

/// Lookups under way at a time: sixteen such pipelines.
pub(crate) const SHARED_COMMANDS: usize = 16 * SHARED_BATCH;

/// Sentinels, or nodes of a cluster, in the URL of the shared cache. They name the others.
pub(crate) const SHARED_SEEDS: usize = 16;

/// How often a command is sent again to where a cluster says that its key is. More would try a node that is gone again and again, and the
/// others' answers wait for that.
pub(crate) const SHARED_REDIRECTS: u32 = 1;

/// Threads that look for the address of the shared cache's name. The system may take half a minute for one.
pub(crate) const SHARED_RESOLVERS: usize = 2;

/// Longest that asking sentinels for the master, and connecting to it, may take.
pub(crate) const SHARED_SEARCH: Duration = Duration::from_secs(3);

/// How often sentinels are asked whether the master is still the one. One that was replaced while it lives goes on for ten seconds.
pub(crate) const SHARED_SEARCH_AGAIN: Duration = Duration::from_secs(2);

/// Pause before sentinels are asked again; it doubles while they name nobody who works. A failover takes seconds.
pub(crate) const SHARED_SEARCH_PAUSE: Duration = Duration::from_millis(250);

/// The longest such pause.
pub(crate) const SHARED_SEARCH_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Longest that connecting to the shared cache may take.
pub(crate) const SHARED_CONNECT: Duration = Duration::from_secs(1);

/// Longest that the shared cache may take to respond. Questions wait a few milliseconds only (`dotward_core::limits`); this is when it is
/// given up.
pub(crate) const SHARED_RESPONSE: Duration = Duration::from_millis(500);

/// Octets read of a value: the longest message with the label and numbers before it. A longer one is none of ours.
pub(crate) const SHARED_VALUE: usize = 65_535 + 1_024;

/// Octets of one answer in a snapshot, likewise.
pub(crate) const SNAPSHOT_ENTRY: usize = 65_535 + 1_024;

/// Longest that the end waits for the last snapshot. A disk that works takes seconds for a full cache; one that hangs must not keep the
/// process, and what it wrote before is still good.
pub(crate) const SNAPSHOT_END: Duration = Duration::from_secs(20);

/// Pause between looks whether the process that writes the last snapshot before ours has ended; much less than what clients see of it.
pub(crate) const SNAPSHOT_PREDECESSOR_LOOK: Duration = Duration::from_millis(20);

/// Answers of a snapshot put back before others get their turn: about a millisecond.
pub(crate) const SNAPSHOT_SLICE: usize = 512;

/// Pause after each such slice: with it, reading takes a part of one core and no more.
pub(crate) const SNAPSHOT_PAUSE: Duration = Duration::from_millis(2);

/// Octets of the path of a Unix socket: `sun_path` has 108, the last of them NUL (unix(7)).
pub(crate) const SOCKET_PATH_MAX: usize = 107;

/// Faults of a configuration that are written; of more, how many. Nobody makes as many by hand: a file that is no configuration has one in each
/// line.
pub(crate) const FAULTS_WRITTEN: usize = 40;
