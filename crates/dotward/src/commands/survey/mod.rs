//! `dotward upstream test`, `rank` and `pin`: upstreams are connected to and asked, each the way a proxy would.
//!
//! Promises: an upstream proves who it is before it is asked, and what it shows is believed only then; nothing of the configuration is
//! changed; bounded in time, and all upstreams are waited for at once. JSON has stable keys.
//!
//! Deliberately absent: upstreams in the clear (dig asks them), several questions in flight.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use dotward_core::wire::{Class, Question, RecordType};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cli::{Survey, SurveyArgs};
use crate::config::{Config, DOT_PORT, Protocol, UpstreamSettings, preset_settings};
use crate::presets::PRESETS;
use crate::run::local_runtime;
use crate::tls::client::UpstreamTls;
use crate::upstream::bootstrap;
use crate::upstream::one_shot::{self, ConnectionFacts, OneShot, OneShotError};

mod pin;
pub(super) mod progress;
mod rank;
mod test;

use progress::Progress;

/// What one address of an upstream made of a question.
pub(super) struct Trial {
    pub(super) endpoint: SocketAddr,
    pub(super) outcome: Result<OneShot, OneShotError>,
}

/// What became of one upstream.
pub(super) struct Tested {
    pub(super) upstream: UpstreamSettings,
    /// Why none of its addresses was asked.
    pub(super) fault: Option<String>,
    /// Each of its addresses, in their order.
    pub(super) trials: Vec<Trial>,
}

impl Tested {
    /// Whether an address of it answers.
    pub(super) fn works(&self) -> bool {
        self.trials.iter().any(|trial| trial.outcome.is_ok())
    }
}

/// An upstream that can be asked.
struct Reachable {
    tls: Rc<UpstreamTls>,
    endpoints: Vec<SocketAddr>,
}

/// Does what is asked, writes the result to `out` and how far it is to `progress`. `true` if every upstream works.
///
/// # Errors
///
/// Those of `out`, and of a system that gives no event loop.
pub fn write_survey(
    out: &mut dyn Write,
    progress: Option<&mut dyn Write>,
    config: &Config,
    args: &SurveyArgs,
) -> io::Result<bool> {
    let upstreams = upstreams(config, args.presets);
    let question = Question::new(&args.name, RecordType::NS, Class::IN);
    let progress = Progress::new(progress);
    let runtime = local_runtime()?;
    match args.what {
        Survey::Test => {
            let tested = runtime.block_on(ask_all(config, upstreams, &question, progress));
            test::write(out, &tested, args.json)
        }
        Survey::Rank { questions } => {
            let ranked = rank::rank(config, upstreams, &question, questions, progress);
            rank::write(out, &runtime.block_on(ranked), args.json)
        }
        Survey::Pin => {
            let tested = runtime.block_on(ask_all(config, upstreams, &question, progress));
            pin::write(out, &tested, args.json)
        }
    }
}

/// Those of the configuration, then the known providers it does not have.
fn upstreams(config: &Config, presets: bool) -> Vec<UpstreamSettings> {
    let mut upstreams = config.upstreams.clone();
    for preset in PRESETS.iter().filter(|_| presets) {
        if !upstreams.iter().any(|known| known.preset == Some(preset)) {
            upstreams.push(preset_settings(preset, DOT_PORT));
        }
    }
    upstreams
}

/// Asks every address of every upstream, all at once.
pub(super) async fn ask_all(
    config: &Config,
    upstreams: Vec<UpstreamSettings>,
    question: &Question,
    mut progress: Progress<'_>,
) -> Vec<Tested> {
    let mut asking = JoinSet::new();
    let mut tested = Vec::new();
    for (place, upstream) in upstreams.into_iter().enumerate() {
        let fault = match reachable(config, &upstream).await {
            Err(fault) => Some(fault),
            Ok(Reachable { tls, endpoints }) => {
                for endpoint in endpoints {
                    let (tls, binding) = (Rc::clone(&tls), upstream.binding.clone());
                    let question = question.clone();
                    asking.spawn_local(async move {
                        let asked = one_shot::ask(&tls, &binding, endpoint, &question).await;
                        (place, endpoint, asked)
                    });
                }
                None
            }
        };
        tested.push(Tested {
            upstream,
            fault,
            trials: Vec::new(),
        });
    }
    progress.expect(asking.len());
    while let Some(done) = asking.join_next().await {
        progress.step();
        // A task that panicked has told so; its address is missing then.
        let Ok((place, endpoint, outcome)) = done else {
            continue;
        };
        if let Some(tested) = tested.get_mut(place) {
            tested.trials.push(Trial { endpoint, outcome });
        }
    }
    progress.finish();
    for one in &mut tested {
        let order = one.upstream.endpoints.clone();
        one.trials
            .sort_by_key(|trial| order.iter().position(|it| *it == trial.endpoint));
    }
    tested
}

/// What is needed to connect, or why it cannot be had.
async fn reachable(config: &Config, upstream: &UpstreamSettings) -> Result<Reachable, String> {
    if upstream.protocol != Protocol::Tls {
        let spec = upstream.spec();
        return Err(format!(
            "{spec} is not encrypted; dotward query NAME --via {spec} asks it"
        ));
    }
    let tls = UpstreamTls::new(upstream).map_err(|error| error.to_string())?;
    let endpoints = bootstrap::endpoints(config, upstream).await;
    if endpoints.is_empty() {
        return Err("no address of it was found".into());
    }
    Ok(Reachable {
        tls: Rc::new(tls),
        endpoints,
    })
}

/// Milliseconds with one digit behind the point.
pub(super) fn millis(time: std::time::Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn millis_json(time: std::time::Duration) -> Value {
    json!((time.as_secs_f64() * 1e6).round() / 1e3)
}

/// The certificate of a connection.
pub(super) fn certificate(
    facts: &ConnectionFacts,
) -> Option<crate::tls::certificate::CertificateFacts> {
    let own = facts.certificates.first()?;
    crate::tls::certificate::CertificateFacts::read(own)
}
