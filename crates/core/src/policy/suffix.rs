//! A map from domains to values, asked for the longest domain that holds a name.
//!
//! Matching is on label boundaries and folds ASCII letters (RFC 4343): `corp.example` holds `www.Corp.example`, not
//! `notcorp.example`. A look-up costs one hash per label, usually three.

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::wire::Name;
use crate::wire::name::NAME_LEN_MAX;

/// Values by domain.
#[derive(Clone, Debug)]
pub(crate) struct SuffixMap<T> {
    by_domain: HashMap<Name, T, foldhash::fast::FixedState>,
}

impl<T> Default for SuffixMap<T> {
    fn default() -> Self {
        Self {
            by_domain: HashMap::default(),
        }
    }
}

impl<T> SuffixMap<T> {
    /// Sets the value of a domain; gives back the one it had.
    pub(crate) fn insert(&mut self, domain: &Name, value: T) -> Option<T> {
        self.by_domain.insert(domain.folded(), value)
    }

    pub(crate) fn remove(&mut self, domain: &Name) -> Option<T> {
        self.by_domain.remove(&domain.folded())
    }

    /// All domains, in no order.
    #[cfg(test)]
    pub(crate) fn domains(&self) -> impl Iterator<Item = &Name> {
        self.by_domain.keys()
    }

    /// The longest domain that is the name or above it, with its value. `qname` is a whole uncompressed name.
    pub(crate) fn longest(&self, qname: &[u8]) -> Option<(&Name, &T)> {
        if self.by_domain.is_empty() {
            return None;
        }
        let mut folded: SmallVec<[u8; NAME_LEN_MAX]> = SmallVec::from_slice(qname);
        folded.make_ascii_lowercase();
        let mut rest = folded.as_slice();
        loop {
            if let Some(found) = self.by_domain.get_key_value(rest) {
                return Some(found);
            }
            let (&length, after) = rest.split_first()?;
            rest = after.get(usize::from(length)..).filter(|_| length > 0)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn map(domains: &[&str]) -> SuffixMap<usize> {
        let mut map = SuffixMap::default();
        for (value, domain) in domains.iter().enumerate() {
            map.insert(&name(domain), value);
        }
        map
    }

    #[test]
    fn the_longest_domain_wins_on_label_boundaries_whatever_the_case() {
        let map = map(&["example", "Corp.example", "a.b.corp.example"]);
        let find = |text: &str| map.longest(name(text).as_octets()).map(|(_, value)| *value);
        assert_eq!(find("www.CORP.example"), Some(1));
        assert_eq!(find("corp.example"), Some(1));
        assert_eq!(find("notcorp.example"), Some(0));
        assert_eq!(find("x.a.b.corp.example"), Some(2));
        assert_eq!(find("b.corp.example"), Some(1));
        assert_eq!(find("example.org"), None);
        assert_eq!(find("."), None);
    }

    #[test]
    fn the_root_holds_everything() {
        let map = map(&["."]);
        assert_eq!(map.longest(name("a.b.c").as_octets()).unwrap().1, &0);
        assert_eq!(map.longest(name(".").as_octets()).unwrap().1, &0);
    }

    #[test]
    fn dots_and_letters_inside_labels_do_not_make_boundaries() {
        let map = map(&["corp.example"]);
        assert!(map.longest(name(r"x\.corp.example").as_octets()).is_none());
        assert!(
            map.longest(name(r"a.x\004corp.example").as_octets())
                .is_none()
        );
    }
}
