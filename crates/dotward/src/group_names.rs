//! What groups of upstreams are called, for those who have only their numbers: the snapshot and the control socket.
//!
//! Promises: replaced as a whole when the configuration changes; a group that is part of no configuration any more has no name.

use std::sync::{Arc, PoisonError, RwLock};

use dotward_core::upstream::GroupId;

use crate::config::Config;
use crate::plan;

/// The names of all groups. Copies are of the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupNames(Arc<RwLock<Vec<Option<GroupName>>>>);

/// What one group is called.
#[derive(Debug)]
struct GroupName {
    /// Outside of this process.
    label: Box<[u8]>,
    /// To people: the suffixes of its route; empty for the upstreams of no route.
    route: String,
}

impl GroupNames {
    /// The names as the configuration has them, before any change of it.
    pub(crate) fn new(config: &Config) -> Self {
        let names = Self::default();
        let groups: Vec<GroupId> = (0..=config.routes.len()).map(GroupId).collect();
        names.set(config, &groups);
        names
    }

    /// Groups with these labels.
    #[cfg(test)]
    pub(crate) fn labelled_as(labels: &[&str]) -> Self {
        let name = |label: &&str| {
            Some(GroupName {
                label: label.as_bytes().into(),
                route: String::new(),
            })
        };
        Self(Arc::new(RwLock::new(labels.iter().map(name).collect())))
    }

    /// From now on the general group and those of the routes are `groups`, in this order.
    pub(crate) fn set(&self, config: &Config, groups: &[GroupId]) {
        let mut names = Vec::new();
        let known = plan::labels(config)
            .into_iter()
            .zip(plan::route_names(config));
        for (id, (label, route)) in groups.iter().zip(known) {
            if names.len() <= id.0 {
                names.resize_with(id.0 + 1, || None);
            }
            if let Some(name) = names.get_mut(id.0) {
                *name = Some(GroupName { label, route });
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Looks at the label of a group, if it has one.
    pub(crate) fn with_label<R>(&self, group: GroupId, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(group.0)?.as_ref()?;
        Some(look(&name.label))
    }

    /// The group with this label.
    pub(crate) fn labelled(&self, label: &[u8]) -> Option<GroupId> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is = |name: &Option<GroupName>| name.as_ref().is_some_and(|it| &*it.label == label);
        names.iter().position(is).map(GroupId)
    }

    /// The suffixes of the route a group is of; `None` for the upstreams of no route.
    pub(crate) fn route(&self, group: GroupId) -> Option<String> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let route = &names.get(group.0)?.as_ref()?.route;
        (!route.is_empty()).then(|| route.clone())
    }
}
