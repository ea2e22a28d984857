//! The task that does one reload after the other.

use std::rc::Rc;
use std::sync::Arc;

use dotward_core::cache::Cache;
use dotward_core::engine::Reconfigured;
use dotward_core::upstream::{GroupId, UpstreamId};

use super::apply::Followers;
use super::draft::Draft;
use super::{Applied, Basis, Call, Calls, Outcome, Refusal, Trigger, apply};
use crate::config::Config;
use crate::crew::Crew;
use crate::group_names::GroupNames;
use crate::plan;
use crate::run::{Drain, places_for};
use crate::service;
use crate::trust::{self, FileWatch, TrustPace};
use crate::upstream::bootstrap::Finders;

/// What a reload works on.
pub(crate) struct Reloader {
    pub(crate) crew: Rc<Crew>,
    /// `None` where nobody said where the configuration comes from.
    pub(crate) basis: Option<Basis>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) names: GroupNames,
    pub(crate) finders: Finders,
    /// What looks at certificate files; `None` where trust is in no files.
    pub(crate) files: Option<FileWatch>,
    pub(crate) pace: TrustPace,
    pub(crate) drain: Drain,
}

/// Does what is asked for, and keeps what goes by the configuration. For ever: whoever starts it ends it.
pub(crate) async fn serve(mut reloader: Reloader, mut calls: Calls) {
    while let Some(Call { trigger, answer }) = calls.0.recv().await {
        service::tell_reloading();
        let outcome = reloader.reload().await;
        tell(trigger, &outcome);
        reloader
            .crew
            .first()
            .turn(|state, _, _| state.reloads.note(&outcome));
        service::tell_ready();
        if let Some(answer) = answer {
            // Who has given up waiting finds it in the log.
            drop(answer.send(outcome));
        }
    }
    // Nobody can ask any more, but finders and watchers are needed on.
    std::future::pending::<()>().await;
}

/// `None` for nothing, so that a line is not filled with it.
fn listed(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(", "))
}

/// One line that says what came of it, and one for each fault.
fn tell(trigger: Trigger, outcome: &Outcome) {
    let by = trigger.word();
    match outcome {
        Outcome::Applied(applied) => {
            for warning in &applied.warnings {
                tracing::warn!("{warning}");
            }
            if !applied.awaiting_restart.is_empty() {
                let settings = applied.awaiting_restart.join(", ");
                tracing::warn!(settings, "changed settings that need a restart");
            }
            tracing::info!(
                by,
                upstreams_added = listed(&applied.added),
                upstreams_removed = listed(&applied.removed),
                answers_forgotten = (applied.forgotten > 0).then_some(applied.forgotten),
                "configuration read again and applied"
            );
        }
        Outcome::Refused(refusal) => {
            for fault in &refusal.faults {
                tracing::error!("{fault}");
            }
            tracing::error!(
                by,
                faults = refusal.faults.len(),
                "configuration read again and refused; the one before stays in force"
            );
        }
    }
}

/// What is kept and does not hold under another configuration.
struct Outdated {
    /// What these groups said.
    groups: Vec<GroupId>,
    /// What another guard against rebinding judges otherwise.
    other_guard: bool,
}

impl Outdated {
    fn is_any(&self) -> bool {
        self.other_guard || !self.groups.is_empty()
    }

    /// Forgets it; gives back how many answers that are.
    fn forget(&self, cache: &Cache) -> usize {
        let judged = match self.other_guard {
            true => cache.judge_again(),
            false => 0,
        };
        judged + cache.forget(&self.groups)
    }
}

impl Reloader {
    async fn reload(&mut self) -> Outcome {
        let Some(basis) = self.basis.clone() else {
            return refused(
                "this program was not started from a configuration that can be read again",
            );
        };
        // A file system that hangs must not hold up answers.
        let drafted = tokio::task::spawn_blocking(move || Draft::prepare(&basis)).await;
        let draft = match drafted {
            Ok(Ok(draft)) => draft,
            Ok(Err(refusal)) => return Outcome::Refused(refusal),
            Err(error) => return refused(&format!("reading the configuration failed: {error}")),
        };
        match self.apply(draft) {
            Ok((mut applied, outdated)) => {
                let cache = Arc::clone(&self.cache);
                if outdated.is_any() {
                    let forgotten = tokio::task::spawn_blocking(move || outdated.forget(&cache));
                    applied.forgotten = forgotten.await.unwrap_or_default();
                }
                Outcome::Applied(applied)
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Applies a configuration between two inputs of the worker. Gives back which kept answers are to be forgotten besides.
    fn apply(&mut self, mut draft: Draft) -> Result<(Applied, Outdated), Refusal> {
        let first = Rc::clone(self.crew.first());
        let done = first.turn(|state, _, now| apply::far_side(state, &mut draft, now));
        let done = done.map_err(|error| Refusal {
            by_configuration: false,
            faults: vec![format!(
                "more than {} routes, those that were there a moment ago included\n  fix:     restart dotward",
                error.most.saturating_sub(1)
            )],
        })?;
        if let Some(log) = draft.log.take() {
            log.apply();
        }
        let applied = self.account(&draft);
        if let Some(basis) = &mut self.basis {
            basis.source.file = draft.file.take();
            basis.source.in_force = draft.in_force;
        }
        if let Some(tls) = draft.listen_tls.take() {
            first.turn(|state, _, now| trust::replace_listener(state, tls, now));
        }
        let (terms, followers) = apply::terms(draft, &done, &self.crew.terms());
        let config = &followers.config;
        self.crew.replace_terms(&terms);
        self.cache.set_rules(plan::cache_rules(config));
        let (most, per_source) = places_for(config);
        self.crew.places().set(most, per_source);
        self.drain.set(config.drain);
        let before = self.basis.as_ref().map(|basis| &basis.running);
        let other_guard =
            before.is_some_and(|before| before.private_domains != config.private_domains);
        self.follow(followers, &done);
        let outdated = Outdated {
            groups: done.forget,
            other_guard,
        };
        Ok((applied, outdated))
    }

    /// What changes, for people.
    fn account(&self, draft: &Draft) -> Applied {
        let names = |config: &Config| -> Vec<String> {
            config.upstreams.iter().map(|it| it.name.clone()).collect()
        };
        let running = self.basis.as_ref().map(|basis| names(&basis.running));
        let (before, after) = (running.unwrap_or_default(), names(&draft.config));
        let without = |these: &[String], those: &[String]| {
            let left = these.iter().filter(|it| !those.contains(it));
            left.cloned().collect()
        };
        Applied {
            awaiting_restart: draft.awaiting_restart.clone(),
            warnings: draft.warnings.clone(),
            added: without(&after, &before),
            removed: without(&before, &after),
            forgotten: 0,
        }
    }

    /// Has those who go by the configuration elsewhere go by this one.
    fn follow(&mut self, followers: Followers, done: &Reconfigured) {
        let Followers {
            config,
            helpers,
            files,
        } = followers;
        let Reconfigured {
            upstreams, groups, ..
        } = done;
        let ids: &[UpstreamId] = upstreams;
        let first = self.crew.first();
        self.names.set(&config, groups);
        self.finders.set(first, &config, ids, helpers);
        if let Some(watch) = &mut self.files {
            let helpers = self.finders.helpers();
            *watch = FileWatch::start(first, helpers, files, ids, self.pace);
        }
        first.look_at_network();
        if let Some(basis) = &mut self.basis {
            basis.running = Arc::new(config);
        }
    }
}

fn refused(why: &str) -> Outcome {
    Outcome::Refused(Refusal {
        by_configuration: false,
        faults: vec![why.to_owned()],
    })
}
