//! From a checked configuration to what the core works from.
//!
//! Promises: group 0 holds the upstreams asked about names that no route claims; route number n of the configuration is group n + 1, until
//! the engine calls it otherwise because it had another configuration before. A running proxy and `explain` decide by the same policy,
//! because both make it here.
//!
//! Deliberately absent: sockets, TLS, and every decision about names (`dotward_core::policy`).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use dotward_core::cache::{Cache, CacheConfig, CacheRules};
use dotward_core::engine::EngineConfig;
use dotward_core::front::{COOKIE_SECRET_LEN, CookieSecrets, FrontConfig, OptionsConfig};
use dotward_core::limits::ROUTE_LABEL_MAX;
use dotward_core::policy::{self, Acl, LocalRecords, PolicyConfig, RebindingGuard};
use dotward_core::rate::RateConfig;
use dotward_core::upstream::{
    GroupConfig, GroupId, Protocol, Strategy, UpstreamConfig, UpstreamId,
};

use crate::config::{
    AnswerSettings, Config, LimitSettings, LocalData, LocalRecord, RouteSettings, Suffix,
    UpstreamSettings, policy_routes,
};
use crate::limits::ROUTES_TO_COME;
use crate::listen::handshakes::HandshakeRate;

/// What is kept, and the guard it passes. `key` is the secret of its hash.
pub(crate) fn cache(config: &Config, key: [u8; 16]) -> Arc<Cache> {
    let cache = Cache::new(CacheConfig {
        size: usize::try_from(config.cache.size).unwrap_or(usize::MAX),
        rules: cache_rules(config),
        groups: config.routes.len() + 1 + ROUTES_TO_COME,
        key,
    });
    cache.set_guard(guard(config));
    Arc::new(cache)
}

/// What answers have to pass.
pub(crate) fn guard(config: &Config) -> Option<Arc<RebindingGuard>> {
    let domains = config.private_domains.as_ref()?;
    Some(Arc::new(RebindingGuard::new(domains)))
}

/// What is kept for how long.
pub(crate) fn cache_rules(config: &Config) -> CacheRules {
    let settings = config.cache;
    CacheRules {
        stale: settings.stale,
        min_ttl: settings.min_ttl,
        max_ttl: settings.max_ttl,
        negative_ttl: settings.negative_ttl,
        prefetch: settings.prefetch,
    }
}

/// By group: what it is called outside of this process, where numbers mean nothing. Empty for the upstreams of no route; the suffixes of a route, or
/// what stands for them where they are many.
pub(crate) fn labels(config: &Config) -> Vec<Box<[u8]>> {
    let label = |name: String| match name.len() {
        0..=ROUTE_LABEL_MAX => name.into_bytes().into_boxed_slice(),
        _ => {
            let sum = digest(&SHA256, name.as_bytes());
            sum.as_ref().into()
        }
    };
    route_names(config).into_iter().map(label).collect()
}

/// By group: the suffixes of its route in one order; empty for the upstreams of no route.
pub(crate) fn route_names(config: &Config) -> Vec<String> {
    let name = |route: &RouteSettings| {
        let domains = route.suffixes.iter().flat_map(Suffix::domains);
        let mut domains: Vec<_> = domains.map(|it| it.folded().to_string()).collect();
        domains.sort();
        domains.join(",")
    };
    let routes = config.routes.iter().map(name);
    std::iter::once(String::new()).chain(routes).collect()
}

/// What nobody else knows, new with every start.
#[derive(Clone, Copy)]
pub(crate) struct Secrets {
    /// What cookies are made with when the configuration has nothing for it.
    pub(crate) cookies: [u8; COOKIE_SECRET_LEN],
    /// Says where the rate of a client network is counted.
    pub(crate) rate: [u8; 16],
    /// Says where its TLS handshakes are counted.
    pub(crate) handshakes: [u8; 16],
}

/// The near side.
pub(crate) fn front(config: &Config, secrets: &Secrets, cache: Arc<Cache>) -> FrontConfig {
    let limits = &config.limits;
    FrontConfig {
        allow: Acl::new(&config.allow),
        deny: config.deny,
        policy: policy(config),
        rate: Some(rate(limits, secrets.rate)),
        options: options(&config.answers, secrets.cookies),
        tells_kept: !config.refuse_snooping,
        cache,
    }
}

/// What client networks get of TLS handshakes.
pub(crate) fn handshakes(config: &Config, secrets: &Secrets) -> HandshakeRate {
    let like = rate(&config.limits, secrets.handshakes);
    HandshakeRate::new(config.limits.handshakes, like)
}

/// What client networks get. `key` says where each is counted.
pub(crate) fn rate(limits: &LimitSettings, key: [u8; 16]) -> RateConfig {
    RateConfig {
        queries: limits.rate,
        octets: limits.octets,
        slip: limits.slip,
        prefix_v4: limits.prefix_v4,
        prefix_v6: limits.prefix_v6,
        exempt: Acl::new(&limits.exempt),
        key,
    }
}

fn options(answers: &AnswerSettings, secret: [u8; COOKIE_SECRET_LEN]) -> OptionsConfig {
    let own = || CookieSecrets::new(&[secret]);
    OptionsConfig {
        cookies: answers.cookies,
        secrets: answers.cookie_secrets.clone().or_else(own),
        nsid: answers.nsid.as_deref().map(|nsid| nsid.as_bytes().into()),
        udp_max: answers.udp_size,
    }
}

/// What is answered here, and who is asked about the rest.
pub fn policy(config: &Config) -> PolicyConfig {
    PolicyConfig {
        local: LocalRecords::new(config.local.iter().map(local_record)),
        routes: policy_routes(&config.routes),
        ordinary: config.forward_special.clone(),
    }
}

/// The route a group was made of; `None` for the general group.
pub fn route_of(config: &Config, group: GroupId) -> Option<&RouteSettings> {
    config.routes.get(group.0.checked_sub(1)?)
}

fn local_record(record: &LocalRecord) -> policy::LocalRecord {
    policy::LocalRecord {
        name: record.name.clone(),
        ttl: record.ttl,
        data: match &record.data {
            LocalData::A(address) => policy::LocalData::A(*address),
            LocalData::Aaaa(address) => policy::LocalData::Aaaa(*address),
            LocalData::Cname(target) => policy::LocalData::Cname(target.clone()),
            LocalData::Txt(text) => policy::LocalData::Txt(text.clone()),
            LocalData::Ptr(target) => policy::LocalData::Ptr(target.clone()),
        },
    }
}

/// The far side: upstream number n of the configuration has the ID n.
pub(crate) fn engine(config: &Config, cache: Arc<Cache>) -> EngineConfig {
    EngineConfig {
        groups: groups(config),
        cache,
        ..EngineConfig::new(upstreams(config), Strategy::default())
    }
}

/// The upstreams, in their order.
pub(crate) fn upstreams(config: &Config) -> Vec<UpstreamConfig> {
    config.upstreams.iter().map(upstream).collect()
}

/// The groups: the general one, then one for each route. Members are places among the upstreams.
pub(crate) fn groups(config: &Config) -> Vec<GroupConfig> {
    let general = GroupConfig {
        members: config
            .general_upstreams()
            .map(|(place, _)| UpstreamId(place))
            .collect(),
        strategy: config.strategy,
        fallback: None,
        label: Box::default(),
    };
    let routes = config.routes.iter().zip(labels(config).into_iter().skip(1));
    let routes = routes.map(|(route, label)| GroupConfig {
        members: route.members.iter().copied().map(UpstreamId).collect(),
        strategy: route.strategy,
        fallback: route.fallback.then_some(GroupId::DEFAULT),
        label,
    });
    std::iter::once(general).chain(routes).collect()
}

/// Who is at the other end: what the certificate has to say, or else where it is.
fn identity(settings: &UpstreamSettings) -> String {
    match (&settings.tls_name, settings.protocol) {
        (Some(name), _) => name.to_str().into_owned(),
        (None, Protocol::Tls) => format!("{:?}", settings.pins),
        (None, Protocol::Tcp | Protocol::Udp) => format!("{:?}", settings.endpoints),
    }
}

fn upstream(settings: &UpstreamSettings) -> UpstreamConfig {
    UpstreamConfig {
        identity: identity(settings),
        protocol: settings.protocol,
        tier: settings.tier.unwrap_or(1),
        weight: settings.weight.into(),
        keep_warm: settings.keep_warm.into(),
        edns: settings.edns,
        padding: settings.padding,
        ..UpstreamConfig::new(settings.name.clone(), settings.endpoints.clone())
    }
}
