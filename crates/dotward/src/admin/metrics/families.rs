//! Every family there is.

use std::fmt;
use std::time::SystemTime;

use dotward_core::counts::Histogram;
use dotward_core::upstream::HealthState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Facts;
use super::writer::{NANOS, ONE, Page, as_f64, count_f64, yes_no};
use crate::admin::board::UpstreamReport;
use crate::admin::health::state_word;
use crate::logging;
use crate::tally::HandshakeFacts;
use crate::upstream::addresses::AddressReport;

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.questions(&mut page)?;
        self.engine(&mut page)?;
        self.cache(&mut page)?;
        self.upstream_questions(&mut page)?;
        self.upstream_health(&mut page)?;
        self.addresses(&mut page)?;
        self.connections(&mut page)?;
        self.handshakes(&mut page)?;
        self.certificates(&mut page)?;
        self.configuration(&mut page)?;
        self.build(&mut page)?;
        self.process(&mut page)
    }
}

impl Facts {
    fn questions(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut family = page.counter("dotward_dns_requests", "Messages of clients")?;
        for (proto, address, qtype, number) in self.report.totals.queries() {
            let labels = [("proto", proto), ("family", address), ("type", qtype)];
            family.counter(labels, number)?;
        }
        let mut family = page.counter("dotward_dns_responses", "Replies to clients")?;
        for (proto, rcode, source, number) in self.report.totals.responses() {
            let labels = [("proto", proto), ("rcode", rcode), ("source", source)];
            family.counter(labels, number)?;
        }
        let help = "From the reading of a query to its reply being written";
        let mut family = page.histogram("dotward_dns_request_duration_seconds", help)?;
        for (source, durations) in self.report.totals.durations() {
            family.histogram([("source", source)], durations, NANOS)?;
        }
        let help = "Messages of clients that got no reply";
        let mut family = page.counter("dotward_dns_requests_dropped", help)?;
        for (reason, number) in self.report.totals.dropped() {
            family.counter([("reason", reason)], number)?;
        }
        let help = "Replies that the system would not send";
        let mut family = page.counter("dotward_dns_responses_lost", help)?;
        family.counter([], self.report.totals.lost)?;
        let help = "Clients who wait for an upstream's answer";
        let mut family = page.gauge("dotward_dns_requests_in_flight", help)?;
        family.gauge([], count_f64(self.report.in_flight))?;
        let help = "Connections of clients, over TCP and TLS";
        let mut family = page.gauge("dotward_client_connections", help)?;
        family.gauge([], as_f64(self.report.totals.streams))?;
        let help = "Clients over TLS hung up on because their network had too many handshakes";
        let mut family = page.counter("dotward_client_handshakes_refused", help)?;
        family.counter([], self.report.totals.handshakes_refused)
    }

    fn engine(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.report.counts;
        let help = "Questions that joined an equal one in flight";
        page.counter("dotward_coalesced", help)?
            .counter([], self.report.cache.coalesced)?;
        let help = "Questions refused because a bound was met";
        let mut family = page.counter("dotward_requests_shed", help)?;
        family.counter([("reason", "questions_in_flight")], counts.overloaded)?;
        let handed = self.report.totals.shed;
        family.counter([("reason", "way_to_engine")], handed)?;
        let help = "Questions sent a second time because the first try was slow or silent: sent, and those the second try answered first";
        let mut family = page.counter("dotward_hedges", help)?;
        family.counter([("outcome", "sent")], counts.hedged)?;
        family.counter([("outcome", "won")], counts.hedges_won)?;
        let help = "Answers with private addresses where none may be: withheld, and told without their additional records";
        let mut family = page.counter("dotward_private_answers", help)?;
        family.counter([("outcome", "withheld")], counts.withheld)?;
        family.counter([("outcome", "trimmed")], counts.trimmed)
    }

    fn upstream_questions(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Queries sent to an upstream, by what became of them";
        let mut family = page.counter("dotward_upstream_requests", help)?;
        for upstream in &self.report.upstreams {
            let counts = &upstream.status.counts;
            let known = [
                ("answered", counts.duration.count()),
                ("timed_out", counts.timed_out),
                ("mismatched", counts.disputed),
            ];
            let lost = counts.lost.iter().filter(|(_, number)| *number > 0);
            let lost = lost.map(|(reason, number)| (reason.word(), number));
            for (outcome, number) in known.into_iter().chain(lost) {
                let labels = [("upstream", upstream.name.as_str()), ("outcome", outcome)];
                family.counter(labels, number)?;
            }
        }
        let help = "Responses that nobody waited for any more";
        let mut family = page.counter("dotward_upstream_stray_responses", help)?;
        for upstream in &self.report.upstreams {
            let labels = [("upstream", upstream.name.as_str())];
            family.counter(labels, upstream.status.counts.stray)?;
        }
        let help = "From a connection having a query to its response";
        let name = "dotward_upstream_request_duration_seconds";
        self.histograms(page, (name, help), NANOS, |upstream| {
            &upstream.status.counts.duration
        })?;
        let help = "Queries at work";
        self.gauges(
            page,
            ("dotward_upstream_requests_in_flight", help),
            |upstream| Some(count_f64(upstream.status.in_flight)),
        )?;
        let help = "Usual time to a response, as hedging reckons with it";
        self.gauges(
            page,
            ("dotward_upstream_usual_duration_seconds", help),
            |upstream| {
                let rtt = upstream.status.rtt;
                (!rtt.is_zero()).then_some(rtt.as_secs_f64())
            },
        )
    }

    fn upstream_health(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "1 while nothing speaks against the upstream";
        self.gauges(page, ("dotward_upstream_healthy", help), |upstream| {
            Some(yes_no(upstream.status.state == HealthState::Up))
        })?;
        let help = "The state of the upstream, and while it is down the reason";
        let mut family = page.gauge("dotward_upstream_state", help)?;
        for upstream in &self.report.upstreams {
            let reason = upstream.status.reason.map_or("none", |it| it.word());
            let labels = [
                ("upstream", upstream.name.as_str()),
                ("state", state_word(upstream.status.state)),
                ("reason", reason),
            ];
            family.gauge(labels, ONE)?;
        }
        let help = "How long the upstream has been in its state; absent while it never changed";
        self.gauges(
            page,
            ("dotward_upstream_state_age_seconds", help),
            |upstream| upstream.since.map(|since| since.as_secs_f64()),
        )?;
        let help = "How long the upstream keeps idle connections, as far as it has shown";
        self.gauges(
            page,
            ("dotward_upstream_idle_limit_seconds", help),
            |upstream| upstream.status.idle_limit.map(|limit| limit.as_secs_f64()),
        )
    }

    fn addresses(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "1 while nothing is wrong with the address of an upstream; one that is slower than another is well, and so is one that was not tried";
        self.address_gauges(page, ("dotward_upstream_address_healthy", help), |it| {
            yes_no(it.well)
        })?;
        let help = "Connections to the address of an upstream that can be used";
        let name = "dotward_upstream_address_connections";
        self.address_gauges(page, (name, help), |it| count_f64(it.ready))
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut family =
            page.gauge("dotward_upstream_connections", "Connections to an upstream")?;
        for upstream in &self.report.upstreams {
            let name = upstream.name.as_str();
            let ready = count_f64(upstream.status.ready);
            family.gauge([("upstream", name), ("state", "ready")], ready)?;
            let opening = count_f64(upstream.status.opening);
            family.gauge([("upstream", name), ("state", "opening")], opening)?;
        }
        let help = "Connections that ended or never came to be, by why";
        let mut family = page.counter("dotward_upstream_connections_closed", help)?;
        for upstream in &self.report.upstreams {
            let closed = upstream.status.counts.closed.iter();
            for (reason, number) in closed.filter(|(_, number)| *number > 0) {
                let labels = [
                    ("upstream", upstream.name.as_str()),
                    ("reason", reason.word()),
                ];
                family.counter(labels, number)?;
            }
        }
        let help = "How old connections were when they ended";
        let name = "dotward_upstream_connection_age_seconds";
        self.histograms(page, (name, help), NANOS, |upstream| {
            &upstream.status.counts.age
        })?;
        let help = "Responses that connections had brought when they ended";
        let name = "dotward_upstream_connection_queries";
        self.histograms(page, (name, help), ONE, |upstream| {
            &upstream.status.counts.queries
        })
    }

    fn handshakes(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Connections that came to be, by how TLS was set up; none for those without TLS";
        let mut family = page.counter("dotward_upstream_connections_opened", help)?;
        for upstream in &self.report.upstreams {
            let name = upstream.name.as_str();
            let kinds = upstream.handshakes.kinds();
            let of = |resumed: bool| -> u64 {
                let kinds = kinds.iter().filter(|(facts, _)| facts.resumed == resumed);
                kinds.map(|(_, number)| number).sum()
            };
            let (full, resumed) = (of(false), of(true));
            let plain = upstream.status.counts.opened.saturating_sub(full + resumed);
            for (handshake, number) in [("full", full), ("resumed", resumed), ("none", plain)] {
                if number > 0 || handshake != "none" {
                    family.counter([("upstream", name), ("handshake", handshake)], number)?;
                }
            }
        }
        let help = "TLS handshakes by version and group of the key exchange; groups with MLKEM withstand a quantum computer";
        let mut family = page.counter("dotward_upstream_tls_handshakes", help)?;
        for upstream in &self.report.upstreams {
            for ((version, group), number) in by_version_and_group(upstream) {
                let labels = [
                    ("upstream", upstream.name.as_str()),
                    ("version", version),
                    ("group", group),
                ];
                family.counter(labels, number)?;
            }
        }
        let help = "From the first packet to the upstream being proven";
        let name = "dotward_upstream_handshake_duration_seconds";
        self.histograms(page, (name, help), NANOS, |upstream| {
            &upstream.handshakes.duration
        })
    }

    fn certificates(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "When the certificate of an upstream ends, since 1970";
        let name = "dotward_upstream_certificate_expiry_timestamp_seconds";
        self.gauges(page, (name, help), |upstream| {
            upstream.theirs_ends.map(time)
        })?;
        let help = "When the certificate that an upstream is shown ends, since 1970";
        let name = "dotward_client_certificate_expiry_timestamp_seconds";
        self.gauges(page, (name, help), |upstream| upstream.ours_ends.map(time))?;
        let help = "When the certificate of the TLS listeners ends, since 1970";
        let name = "dotward_listener_certificate_expiry_timestamp_seconds";
        let mut family = page.gauge(name, help)?;
        match self.report.listener_ends {
            Some(ends) => family.gauge([], time(ends)),
            None => Ok(()),
        }
    }

    fn configuration(&self, page: &mut Page<'_>) -> fmt::Result {
        let reloads = &self.report.reloads;
        let help = "Times the configuration was read again, by what became of it";
        let mut family = page.counter("dotward_config_reloads", help)?;
        family.counter([("outcome", "applied")], reloads.applied)?;
        family.counter([("outcome", "refused")], reloads.refused)?;
        let help =
            "0 once the configuration that was read last was refused; the one before is in force";
        let mut family = page.gauge("dotward_config_last_reload_successful", help)?;
        family.gauge([], yes_no(reloads.last_applied))?;
        let help = "When the configuration in force was applied, since 1970";
        let name = "dotward_config_last_reload_success_timestamp_seconds";
        let mut family = page.gauge(name, help)?;
        let since = reloads.in_force_since.as_secs();
        family.gauge([], as_f64(since))?;
        let help = "Changed settings that wait for a restart";
        let mut family = page.gauge("dotward_config_settings_awaiting_restart", help)?;
        family.gauge([], count_f64(reloads.awaiting_restart))
    }

    fn build(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut family = page.gauge("dotward_build_info", "What is running")?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", env!("DOTWARD_REVISION")),
            ("rustversion", env!("DOTWARD_RUST")),
            ("tls", "rustls/aws-lc-rs"),
        ];
        family.gauge(labels, ONE)?;
        let mut family = page.gauge("dotward_workers", "Workers that get new clients")?;
        family.gauge([], count_f64(self.report.active))?;
        let mut family = page.gauge("dotward_draining", "1 once no more queries are taken")?;
        family.gauge([], yes_no(self.draining))?;
        let help = "What the process has given up, by layer of the kernel";
        let mut family = page.gauge("dotward_sandbox", help)?;
        for (layer, enforced) in self.sandbox.layers() {
            family.gauge([("layer", layer), ("state", enforced.word())], ONE)?;
        }
        let help = "Lines that the log did not take";
        page.counter("dotward_log_lines_dropped", help)?
            .counter([], logging::dropped())
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let usage = &self.usage;
        page.counter("process_cpu_seconds", "CPU time, user and system")?
            .seconds([], usage.cpu.as_secs_f64())?;
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH);
        let rest = [
            (
                "process_resident_memory_bytes",
                "Memory in RAM",
                usage.resident,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space",
                usage.mapped,
            ),
            ("process_open_fds", "Descriptors in use", usage.descriptors),
            (
                "process_max_fds",
                "Descriptors there may be",
                usage.descriptors_max,
            ),
            ("process_threads", "Threads", usage.threads),
            (
                "process_start_time_seconds",
                "When it began to serve, since 1970",
                started.ok().map(|since| since.as_secs()),
            ),
        ];
        for (name, help, value) in rest {
            if let Some(value) = value {
                page.gauge(name, help)?.gauge([], as_f64(value))?;
            }
        }
        Ok(())
    }

    /// A gauge for each upstream that has one.
    fn gauges(
        &self,
        page: &mut Page<'_>,
        (name, help): (&'static str, &str),
        of: impl Fn(&UpstreamReport) -> Option<f64>,
    ) -> fmt::Result {
        let mut family = page.gauge(name, help)?;
        for upstream in &self.report.upstreams {
            if let Some(value) = of(upstream) {
                family.gauge([("upstream", upstream.name.as_str())], value)?;
            }
        }
        Ok(())
    }

    /// A gauge for each address of each upstream.
    fn address_gauges(
        &self,
        page: &mut Page<'_>,
        (name, help): (&'static str, &str),
        of: impl Fn(&AddressReport) -> f64,
    ) -> fmt::Result {
        let mut family = page.gauge(name, help)?;
        for upstream in &self.report.upstreams {
            for report in &upstream.addresses {
                let address = report.address.to_string();
                let labels = [("upstream", upstream.name.as_str()), ("address", &address)];
                family.gauge(labels, of(report))?;
            }
        }
        Ok(())
    }

    /// A histogram for each upstream, counted in parts of a unit.
    fn histograms(
        &self,
        page: &mut Page<'_>,
        (name, help): (&'static str, &str),
        parts: f64,
        of: impl Fn(&UpstreamReport) -> &Histogram,
    ) -> fmt::Result {
        let mut family = page.histogram(name, help)?;
        for upstream in &self.report.upstreams {
            let labels = [("upstream", upstream.name.as_str())];
            family.histogram(labels, of(upstream), parts)?;
        }
        Ok(())
    }
}

/// The handshakes of an upstream, full and resumed ones together.
fn by_version_and_group(
    upstream: &UpstreamReport,
) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
    let mut numbers = std::collections::BTreeMap::new();
    for (facts, number) in upstream.handshakes.kinds() {
        let words = (
            HandshakeFacts::version_word(*facts),
            HandshakeFacts::group_word(*facts),
        );
        *numbers.entry(words).or_insert(0) += number;
    }
    numbers.into_iter()
}

/// A date as the page tells it.
fn time(seconds: i64) -> f64 {
    as_f64(u64::try_from(seconds).unwrap_or_default())
}
