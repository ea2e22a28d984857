//! A checked configuration becomes the one in force.

use std::rc::Rc;
use std::sync::Arc;

use dotward_core::engine::{Reconfigured, TooManyGroups};
use dotward_core::time::Moment;
use dotward_core::upstream::UpstreamId;

use super::draft::{Draft, TlsDraft};
use crate::config::{Binding, Config};
use crate::near::Terms;
use crate::plan;
use crate::tally::Handshakes;
use crate::trust::{self, Stamped};
use crate::upstream::bootstrap::Helpers;
use crate::upstream::listed::Listed;
use crate::worker::State;

/// Gives the engine its new configuration and puts what goes with it beside it, in one turn.
///
/// # Errors
///
/// [`TooManyGroups`]; then nothing has changed.
pub(super) fn far_side(
    state: &mut State,
    draft: &mut Draft,
    now: Moment,
) -> Result<Reconfigured, TooManyGroups> {
    let config = &draft.config;
    let (upstreams, groups) = (plan::upstreams(config), plan::groups(config));
    let done = state.engine.reconfigure(upstreams, groups, now)?;
    state.engine.set_guard(plan::guard(config));
    state.listed = Listed::of(config, &done.upstreams);
    state.ways_are_others = true;
    let drafts = std::mem::take(&mut draft.upstreams);
    for ((id, settings), tls) in done.upstreams.iter().zip(&config.upstreams).zip(drafts) {
        let binding = Rc::new(settings.binding.clone());
        if done.new.contains(id) {
            let tls = match tls {
                TlsDraft::Clear | TlsDraft::Same => None,
                TlsDraft::Other(tls) => Some(Rc::new(*tls)),
            };
            begin(state, *id, settings.name.clone());
            state
                .trust
                .replace(*id, settings.name.clone(), tls.as_deref());
            put(&mut state.upstreams, *id, tls);
            put(&mut state.bindings, *id, binding);
            continue;
        }
        bind(state, *id, binding, now);
        if let TlsDraft::Other(tls) = tls {
            trust::replace_upstream(state, *id, *tls, now);
        }
    }
    Ok(done)
}

/// Somebody new is called `id`.
fn begin(state: &mut State, id: UpstreamId, name: String) {
    state.events.replace(id, name);
    put(&mut state.handshakes, id, Handshakes::default());
}

/// Connections are made from there; those made from elsewhere, or being made, are left, because traffic that is to stay in a tunnel must not
/// go on beside it.
fn bind(state: &mut State, id: UpstreamId, binding: Rc<Binding>, now: Moment) {
    if state.bindings.get(id.0) == Some(&binding) {
        return;
    }
    put(&mut state.bindings, id, binding);
    state.engine.renew_all(id, now);
}

fn put<T: Default>(list: &mut Vec<T>, id: UpstreamId, value: T) {
    if list.len() <= id.0 {
        list.resize_with(id.0 + 1, T::default);
    }
    if let Some(place) = list.get_mut(id.0) {
        *place = value;
    }
}

/// What is left for those who go by the configuration elsewhere.
pub(super) struct Followers {
    pub(super) config: Config,
    pub(super) helpers: Helpers,
    pub(super) files: Stamped,
}

/// What near sides go by from now on, in the place of `before`.
pub(super) fn terms(draft: Draft, done: &Reconfigured, before: &Terms) -> (Terms, Followers) {
    let mut front = draft.front;
    // Routes were decided about before their groups had names.
    for route in &mut front.policy.routes {
        if let Some(group) = done.groups.get(route.group.0) {
            route.group = *group;
        }
    }
    let terms = Terms {
        allow: front.allow.clone(),
        balancers: draft.balancers,
        handshakes: match before.handshakes.is_like(&draft.handshakes) {
            true => Arc::clone(&before.handshakes),
            false => Arc::new(draft.handshakes),
        },
        front: Arc::new(before.front.successor(front)),
    };
    let followers = Followers {
        config: draft.config,
        helpers: draft.helpers,
        files: draft.files,
    };
    (terms, followers)
}

#[cfg(test)]
mod tests {
    use dotward_core::upstream::ConnectionId;
    use dotward_core::wire::{Class, Question, RecordType};

    use super::*;
    use crate::clock;

    /// Every connection that the engine asked to open and did not have closed.
    fn opening(state: &mut State) -> Vec<ConnectionId> {
        use dotward_core::engine::Action;
        let mut open = Vec::new();
        while let Some(action) = state.engine.poll_action() {
            match action {
                Action::Open { connection, .. } => open.push(connection),
                Action::Close { connection } => open.retain(|it| *it != connection),
            }
        }
        open
    }

    #[test]
    fn a_dial_from_an_address_of_before_is_given_up() {
        let mut state = State::for_test();
        let now = clock::now();
        let asked = dotward_core::exchange::Asked {
            question: Question::new(&"a.example".parse().unwrap(), RecordType::A, Class::IN),
            dnssec_ok: false,
            checking_disabled: false,
            group: dotward_core::upstream::GroupId::DEFAULT,
        };
        state.engine.refresh(asked, now);
        let before = opening(&mut state);
        let other = Binding {
            source: vec![[127, 0, 0, 2].into()],
            ..Binding::default()
        };
        bind(&mut state, UpstreamId(0), Rc::new(other.clone()), now);
        let after = opening(&mut state);
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_ne!(before, after, "it would serve from where it was begun");
        bind(&mut state, UpstreamId(0), Rc::new(other), now);
        assert_eq!(opening(&mut state), [], "nothing has changed");
    }
}
