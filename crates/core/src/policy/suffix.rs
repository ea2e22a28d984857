//! A map from domains to values, asked for the longest domain that holds a name.
//!
//! Matching is on label boundaries and folds ASCII letters (RFC 4343): `corp.example` holds `www.Corp.example`, not
//! `notcorp.example`. A look-up costs one hash per label, usually three.

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::wire::Name;
use crate::wire::name::NAME_LEN_MAX;

/// Values by domain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SuffixMap<T> {
    by_domain: HashMap<Name, T, foldhash::fast::FixedState>,
    /// The [`top`] of each domain, of some that are gone too. Most names that are asked end in none of the labels the domains end in,
    /// and are told apart by this alone.
    tops: u64,
}

impl<T> Default for SuffixMap<T> {
    fn default() -> Self {
        Self {
            by_domain: HashMap::default(),
            tops: 0,
        }
    }
}

impl<T> SuffixMap<T> {
    /// Sets the value of a domain; gives back the one it had.
    pub(crate) fn insert(&mut self, domain: &Name, value: T) -> Option<T> {
        self.tops |= match domain.is_root() {
            true => u64::MAX,
            false => top(domain.as_octets()),
        };
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
        if self.tops == 0 || self.tops & top(qname) == 0 {
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

/// One of 64 bits for the last label of a whole uncompressed name; the same one whatever the letter case.
fn top(name: &[u8]) -> u64 {
    let (mut rest, mut last): (&[u8], &[u8]) = (name, &[]);
    while let Some((&length, after)) = rest.split_first() {
        let Some((label, next)) = after.split_at_checked(usize::from(length)) else {
            break;
        };
        if label.is_empty() {
            break;
        }
        (rest, last) = (next, label);
    }
    let fold = |octet: Option<&u8>| octet.map_or(0, |it| u32::from(it | 0x20));
    let length = u32::try_from(last.len()).unwrap_or_default();
    // Apart enough for what there is: the names of special use, and a few routes.
    let mix = fold(last.first()) ^ fold(last.last()).wrapping_shl(1) ^ length.wrapping_shl(3);
    1_u64.wrapping_shl(mix)
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
    fn names_of_any_length_and_case_are_found_by_the_label_they_end_in() {
        let domains = ["a", "Local", "x.LONGER-label-than-most", "arpa", "b.c.d"];
        let map = map(&domains);
        for (value, domain) in domains.iter().enumerate() {
            for case in [domain.to_ascii_lowercase(), domain.to_ascii_uppercase()] {
                for text in [case.clone(), format!("w.{case}"), format!("v.w.{case}")] {
                    let found = map.longest(name(&text).as_octets());
                    assert_eq!(found.map(|(_, value)| *value), Some(value), "{text}");
                }
            }
        }
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
