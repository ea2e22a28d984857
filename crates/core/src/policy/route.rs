//! Which group of upstreams a name belongs to (split horizon).
//!
//! The longest matching domain decides, on label boundaries and whatever the letter case. A route is explicit, so it beats the table of
//! special names; a route never falls back to the default group unless it says so: names of a private zone would leak.

use super::suffix::SuffixMap;
use crate::upstream::GroupId;
use crate::wire::Name;

/// A domain and where its names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The domain; it and everything below.
    pub domain: Name,
    /// The group that is asked.
    pub group: GroupId,
}

/// All routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    routes: SuffixMap<GroupId>,
}

impl RouteTable {
    pub(crate) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut table = SuffixMap::default();
        for route in routes {
            table.insert(&route.domain, route.group);
        }
        Self { routes: table }
    }

    /// The route of a name, when there is one.
    pub(crate) fn find(&self, qname: &[u8]) -> Option<(&Name, GroupId)> {
        self.routes
            .longest(qname)
            .map(|(domain, group)| (domain, *group))
    }
}
