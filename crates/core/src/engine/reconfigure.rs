//! Another configuration takes the place of the one at work, while questions are in flight.
//!
//! Promises
//!
//! - An upstream that is still there (same name, protocol and identity) keeps its connections, and what is known of its health, response
//!   time and idle limit. Addresses that are gone take no more questions.
//! - A question in flight goes on where it is and gets its reply. One that was decided by the old configuration and arrives late is still
//!   asked of the upstreams it was decided for, and of nobody else.
//! - What is kept of a group stays in use unless somebody who may have said it is not asked for the group any more.
//! - Upstreams and groups are named by slots. One that is gone keeps its slot for [`RETIRED_KEPT`], so that no name means two at a time; then
//!   the slot is given to the next that comes. So the number of slots follows the configuration, however often it changes.
//!
//! Deliberately absent: reading and comparing configurations, TLS settings (the shell's); the budget, and what is kept for how long
//! ([`Cache::set_rules`](crate::cache::Cache::set_rules)).

use std::collections::BTreeMap;

use super::Engine;
use crate::limits::RETIRED_KEPT;
use crate::time::Moment;
use crate::upstream::{
    CloseReason, Connection, ConnectionId, Group, GroupConfig, GroupId, Upstream, UpstreamConfig,
    UpstreamId,
};

/// What became of the parts of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// The names of the upstreams, in their order.
    pub upstreams: Vec<UpstreamId>,
    /// Those of them that were not there before.
    pub new: Vec<UpstreamId>,
    /// The names of the groups, in their order.
    pub groups: Vec<GroupId>,
    /// Groups whose kept answers hold no longer; give them to [`Cache::forget`](crate::cache::Cache::forget).
    pub forget: Vec<GroupId>,
}

/// More groups than the cache can tell apart, those that were there lately included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyGroups {
    /// How many there may be.
    pub most: usize,
}

/// Where a part of a configuration is put.
#[derive(Clone, Copy)]
enum Slot {
    /// Where it is already.
    Own(usize),
    /// Where somebody else was, or behind all others.
    Free(usize),
}

impl Slot {
    fn place(self) -> usize {
        match self {
            Self::Own(place) | Self::Free(place) => place,
        }
    }
}

impl<C> Engine<C> {
    /// Asks these upstreams in these groups from now on. Members and fallbacks are places in the two lists; the first group is the default.
    ///
    /// # Errors
    ///
    /// [`TooManyGroups`]; then nothing has changed.
    pub fn reconfigure(
        &mut self,
        upstreams: Vec<UpstreamConfig>,
        mut groups: Vec<GroupConfig>,
        now: Moment,
    ) -> Result<Reconfigured, TooManyGroups> {
        let of_groups = self.slots_of_groups(&groups, now)?;
        let mut done = self.replace_upstreams(upstreams, now);
        done.groups = of_groups.iter().map(|slot| GroupId(slot.place())).collect();
        for group in &mut groups {
            let ids = group.members.iter();
            group.members = ids
                .filter_map(|member| done.upstreams.get(member.0).copied())
                .collect();
            let fallback = group.fallback;
            group.fallback = fallback.and_then(|it| done.groups.get(it.0).copied());
        }
        done.forget = self.replace_groups(&of_groups, groups, now);
        self.exchanges.leave_behind(&done.forget);
        if let Some(shared) = &mut self.shared {
            let label = |it: &Group| it.retired.is_none().then(|| it.label.clone());
            shared.set_labels(self.groups.iter().map(label));
        }
        for id in &done.upstreams {
            self.keep_warm(*id, now);
        }
        Ok(done)
    }

    fn slots_of_groups(
        &self,
        groups: &[GroupConfig],
        now: Moment,
    ) -> Result<Vec<Slot>, TooManyGroups> {
        let known = self.groups.iter().map(|it| &*it.label);
        let free = self.groups.iter().map(|it| is_over(it.retired, now));
        let slots = assign(known, free, groups.iter().map(|it| &*it.label));
        let most = match self.cache.keeps_anything() {
            false => u16::MAX.into(),
            true => self.cache.groups(),
        };
        match slots.iter().all(|slot| slot.place() < most) {
            true => Ok(slots),
            false => Err(TooManyGroups { most }),
        }
    }

    /// Puts every upstream where it belongs and retires the others.
    fn replace_upstreams(&mut self, upstreams: Vec<UpstreamConfig>, now: Moment) -> Reconfigured {
        let known = self.upstreams.iter().map(Upstream::key);
        let unused = |it: &Upstream| it.connections.is_empty() && it.datagrams == 0;
        let free = self
            .upstreams
            .iter()
            .map(|it| is_over(it.retired, now) && unused(it));
        let keys = upstreams
            .iter()
            .map(|it| (it.name.as_str(), it.protocol, it.identity.as_str()));
        let slots = assign(known, free, keys);
        let mut done = Reconfigured::default();
        for (slot, config) in slots.into_iter().zip(upstreams) {
            let id = UpstreamId(slot.place());
            done.upstreams.push(id);
            match slot {
                Slot::Own(_) => self.adopt_upstream(id, config, now),
                Slot::Free(place) => {
                    done.new.push(id);
                    put(&mut self.upstreams, place, Upstream::new(config));
                }
            }
        }
        self.hedges.grow(self.upstreams.len());
        for place in 0..self.upstreams.len() {
            let id = UpstreamId(place);
            let left = !done.upstreams.contains(&id);
            if left && self.upstreams[place].retired.is_none() {
                self.retire_upstream(id, now);
            }
        }
        done
    }

    /// The same upstream, configured in another way.
    fn adopt_upstream(&mut self, id: UpstreamId, config: UpstreamConfig, now: Moment) {
        let Some(state) = self.upstreams.get_mut(id.0) else {
            return;
        };
        state.adopt(&config);
        // Addresses that were found by name are better than none.
        if !config.endpoints.is_empty() {
            state.endpoints.adopt(config.endpoints);
            self.leave_gone_endpoints(id, now);
        }
        self.apply_idle_limit(id);
    }

    /// Nobody is to ask it any more. Its connections end with the last answer they owe.
    fn retire_upstream(&mut self, id: UpstreamId, now: Moment) {
        let Some(state) = self.upstreams.get_mut(id.0) else {
            return;
        };
        state.retired = Some(now);
        state.keep_warm = 0;
        let probe = state.probe.take();
        let connections = state.connections.clone();
        if let Some(probe) = probe
            && let Some(connection) = self.connections.get_mut(probe.connection)
        {
            connection.abandon(probe.id);
        }
        for connection in connections {
            match self.connections.get_mut(connection) {
                Some(it) if it.is_ready() => it.drain(),
                Some(it) if it.load() == 0 => {
                    self.close(connection, CloseReason::Superseded, now);
                }
                Some(_) | None => {}
            }
        }
        self.apply_idle_limit(id);
    }

    /// Connections to addresses that an upstream has no longer take no more questions.
    pub(super) fn leave_gone_endpoints(&mut self, id: UpstreamId, now: Moment) {
        let Some(state) = self.upstreams.get(id.0) else {
            return;
        };
        let is_gone = |connection: &Connection<_>| !state.endpoints.contains(connection.endpoint);
        let gone = |id: &ConnectionId| self.connections.get(*id).is_some_and(is_gone);
        let gone: Vec<ConnectionId> = state.connections.iter().copied().filter(gone).collect();
        for id in gone {
            match self.connections.get_mut(id) {
                Some(connection) if connection.is_ready() => connection.drain(),
                Some(_) => self.close(id, CloseReason::Superseded, now),
                None => {}
            }
        }
    }

    /// Puts every group where it belongs and retires the others. Gives back those whose kept answers hold no longer.
    fn replace_groups(
        &mut self,
        slots: &[Slot],
        groups: Vec<GroupConfig>,
        now: Moment,
    ) -> Vec<GroupId> {
        let count = self.upstreams.len();
        let mut forget = Vec::new();
        for (slot, config) in slots.iter().zip(groups) {
            let id = GroupId(slot.place());
            match (slot, self.groups.get_mut(id.0)) {
                (Slot::Own(_), Some(group)) => {
                    let stays = |member| config.members.contains(member);
                    // What a group that was gone had kept is forgotten, and its members may be others by now.
                    let holds = group.retired.is_none() && group.members.iter().all(stays);
                    let other =
                        group.members != config.members || group.fallback != config.fallback;
                    group.adopt(config, count);
                    if !holds {
                        forget.push(id);
                    }
                    if other {
                        self.cache.handle_recovery(id, now);
                    }
                }
                (Slot::Own(_) | Slot::Free(_), _) => {
                    put(&mut self.groups, id.0, Group::new(config, count));
                    self.cache.handle_recovery(id, now);
                }
            }
        }
        for (place, group) in self.groups.iter_mut().enumerate() {
            let left = slots.iter().all(|slot| slot.place() != place);
            if left && group.retired.is_none() {
                group.retired = Some(now);
                forget.push(GroupId(place));
            }
        }
        forget
    }
}

/// Whether a slot was given up so long ago that nobody means who was there any more.
fn is_over(retired: Option<Moment>, now: Moment) -> bool {
    retired.is_some_and(|at| now.since(at) >= RETIRED_KEPT)
}

/// A slot for each of `wanted`: the one of `known` with the same key, or one that is `free`, or one behind all others.
fn assign<K: Ord>(
    known: impl Iterator<Item = K>,
    free: impl Iterator<Item = bool>,
    wanted: impl Iterator<Item = K>,
) -> Vec<Slot> {
    let mut own: BTreeMap<K, usize> = BTreeMap::new();
    let mut count = 0;
    for (place, key) in known.enumerate() {
        own.entry(key).or_insert(place);
        count += 1;
    }
    let owned: Vec<Option<usize>> = wanted.map(|key| own.remove(&key)).collect();
    let taken: std::collections::BTreeSet<usize> = owned.iter().copied().flatten().collect();
    let free = free.enumerate();
    let free = free.filter(|(place, free)| *free && !taken.contains(place));
    let mut free = free.map(|(place, _)| place).chain(count..);
    let slot = |owned: Option<usize>| match owned {
        Some(place) => Some(Slot::Own(place)),
        None => free.next().map(Slot::Free),
    };
    owned.into_iter().filter_map(slot).collect()
}

/// Puts a value at a place that is there, or at the end.
fn put<T>(slots: &mut Vec<T>, place: usize, value: T) {
    match slots.get_mut(place) {
        Some(slot) => *slot = value,
        None => slots.push(value),
    }
}
