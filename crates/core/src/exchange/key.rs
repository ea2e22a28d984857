//! What makes two questions the same one: name (ASCII case folded), type, class, DO, CD and group of upstreams.
//!
//! Type and class because they are other data; DO because it decides whether signatures are in the answer (RFC 4035 section
//! 3.2.1); CD because it decides whether bogus data is (section 3.2.2). RD is always set by then; AD, ID and size are rendered for each
//! client. Compared exactly: a hash alone would let a hostile client join a question that is not its own.

use core::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::Asked;

/// Octets behind the name: type, class, flags, group.
const BEHIND: usize = 4 + 1 + 2;

/// Octets kept without a piece of memory of their own: hardly any name that people ask for is longer than 73.
const INLINE: usize = 80;

/// A question in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExchangeKey {
    /// Made once, and looked at first.
    hash: u64,
    octets: SmallVec<[u8; INLINE]>,
}

impl ExchangeKey {
    pub(crate) fn new(asked: &Asked, hasher: &KeyHasher) -> Self {
        let question = asked.question.view();
        let mut octets: SmallVec<[u8; INLINE]> = SmallVec::from_slice(question.octets());
        // Type and class are numbers: as octets some of them are letters.
        if let Some(name) = octets.get_mut(..question.qname().len()) {
            name.make_ascii_lowercase();
        }
        let flags = u8::from(asked.dnssec_ok) | u8::from(asked.checking_disabled) << 1;
        octets.push(flags);
        // More groups than that are more routes than a configuration can hold.
        let group = u16::try_from(asked.group.0).unwrap_or(u16::MAX);
        octets.extend_from_slice(&group.to_be_bytes());
        let mut state = hasher.build_hasher();
        state.write(&octets);
        let hash = state.finish();
        Self { hash, octets }
    }

    /// Its hash under the secret it was made with.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The name in folded wire form.
    pub(crate) fn qname(&self) -> &[u8] {
        self.octets
            .get(..self.octets.len().saturating_sub(BEHIND))
            .unwrap_or_default()
    }
}

/// Hashes keys under a secret, because names come from attackers.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    key: [u8; 16],
}

impl KeyHasher {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key }
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::GroupId;
    use crate::wire::{Asker, AskerEdns, Class, Flags, Question, RecordType, Transport};

    fn key(name: &str, qtype: u16, qclass: Class, dnssec_ok: bool, flags: Flags) -> ExchangeKey {
        let asker = Asker {
            id: 7,
            flags,
            question: Question::new(&name.parse().unwrap(), RecordType(qtype), qclass),
            edns: Some(AskerEdns {
                udp_size: 1232,
                dnssec_ok,
            }),
            options: crate::wire::ReplyOptions::NONE,
            transport: Transport::Udp,
        };
        let hasher = KeyHasher::new([3; 16]);
        ExchangeKey::new(&Asked::new(&asker, GroupId(0)), &hasher)
    }

    #[test]
    fn names_as_people_ask_for_need_no_memory_of_their_own() {
        let name = format!("{}.{}.example", "a".repeat(30), "b".repeat(32));
        let key = key(&name, 1, Class::IN, false, Flags::NONE);
        assert_eq!((key.qname().len(), key.octets.spilled()), (73, false));
    }

    #[test]
    fn only_letter_case_of_the_name_is_folded() {
        let none = Flags::NONE;
        let base = key("a.example", 1, Class::IN, false, none);
        assert_eq!(base, key("A.eXample", 1, Class::IN, false, none));
        let checking_disabled = none.with_checking_disabled(true);
        for other in [
            key("b.example", 1, Class::IN, false, none),
            key("a.example", 28, Class::IN, false, none),
            key("a.example", 1, Class::CH, false, none),
            key("a.example", 1, Class::IN, true, none),
            key("a.example", 1, Class::IN, false, checking_disabled),
        ] {
            assert_ne!(base, other);
        }
        // 0x0041 and 0x0061 are letters as octets and other types as numbers.
        assert_ne!(
            key("a", 0x41, Class::IN, false, none),
            key("a", 0x61, Class::IN, false, none)
        );
        assert_ne!(
            key(r"\192", 1, Class::IN, false, none),
            key(r"\224", 1, Class::IN, false, none)
        );
    }
}
