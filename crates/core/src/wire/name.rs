//! Names on the wire: walk them, compare them, hold one (RFC 1035 sections 2.3.4, 3.1 and 4.1.4; RFC 4343).
//!
//! Promises: any octet may stand in a label; a pointer must go strictly backwards, what it leads to has to end before the name that
//! points, and a name follows at most [`POINTER_HOPS_MAX`] of them, so every walk ends and no name hangs on octets behind it; letter
//! case is kept and folded only to compare, only ASCII.
//!
//! Deliberately absent: compression (messages are relayed as received) and internationalised names (they are ASCII on
//! the wire).

use core::borrow::Borrow;

use smallvec::SmallVec;

use super::WireError;
use super::header::HEADER_LEN;

/// The longest name in octets, the root label included (RFC 1035 section 2.3.4).
pub const NAME_LEN_MAX: usize = 255;

/// The longest label in octets (RFC 1035 section 2.3.4).
pub const LABEL_LEN_MAX: usize = 63;

/// Compression pointers followed within one name. A name has at most 127 labels, and an encoder gains nothing from a
/// pointer to a pointer, so more of them is an attack on our time (RFC 9267 section 2).
pub const POINTER_HOPS_MAX: usize = 127;

/// What stands at one point of a name.
enum Step {
    Label { end: usize },
    Root,
    Pointer { target: usize },
}

fn step(message: &[u8], at: usize) -> Result<Step, WireError> {
    let &octet = message.get(at).ok_or(WireError::Overrun)?;
    match octet >> 6 {
        0 if octet == 0 => Ok(Step::Root),
        0 => Ok(Step::Label {
            end: at.saturating_add(usize::from(octet)).saturating_add(1),
        }),
        3 => {
            let &low = message
                .get(at.saturating_add(1))
                .ok_or(WireError::Overrun)?;
            Ok(Step::Pointer {
                target: usize::from(u16::from_be_bytes([octet & 0x3f, low])),
            })
        }
        _ => Err(WireError::LabelType),
    }
}

/// Follows a name label by label, through its pointers.
struct Walk<'a> {
    message: &'a [u8],
    at: usize,
    /// Where the part being read began: the next pointer must go to before this.
    floor: usize,
    hops: usize,
    octets: usize,
    /// Where the octets after the name begin, known at the first pointer or at the root.
    after: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(message: &'a [u8], at: usize) -> Self {
        Self {
            message,
            at,
            floor: at,
            hops: 0,
            octets: 1,
            after: None,
        }
    }

    /// The next label with its length octet; `None` at the root.
    fn next_label(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        loop {
            match step(self.message, self.at)? {
                Step::Root => {
                    self.end_at(1);
                    return Ok(None);
                }
                Step::Label { end } => {
                    let label = self.message.get(self.at..end).ok_or(WireError::Overrun)?;
                    self.octets = self.octets.saturating_add(label.len());
                    if self.octets > NAME_LEN_MAX {
                        return Err(WireError::NameLength);
                    }
                    self.at = end;
                    return Ok(Some(label));
                }
                Step::Pointer { target } => self.follow(target)?,
            }
        }
    }

    /// Notes where the name ends in the message, at its root label or its first pointer of `octets` length.
    fn end_at(&mut self, octets: usize) {
        let end = self.at.saturating_add(octets);
        self.after.get_or_insert(end);
    }

    fn follow(&mut self, target: usize) -> Result<(), WireError> {
        self.hops = self.hops.saturating_add(1);
        if target >= self.floor || target < HEADER_LEN || self.hops > POINTER_HOPS_MAX {
            return Err(WireError::Pointer);
        }
        self.end_at(2);
        // A name that was written before this one ended before it. A label that reaches over it would make its meaning depend on what
        // follows, which may be cut off.
        self.message = self.message.get(..self.floor).ok_or(WireError::Overrun)?;
        self.at = target;
        self.floor = target;
        Ok(())
    }
}

/// Proves the name at `at` well-formed, pointers included, and gives the offset of the first octet after it.
///
/// # Errors
///
/// [`WireError::Overrun`], [`WireError::LabelType`], [`WireError::NameLength`] or [`WireError::Pointer`].
pub fn skip(message: &[u8], at: usize) -> Result<usize, WireError> {
    let mut walk = Walk::new(message, at);
    while walk.next_label()?.is_some() {}
    walk.after.ok_or(WireError::Overrun)
}

/// Like [`skip`] for a name that must not be compressed, as the first name of a message cannot be: there is nothing
/// before it to point at.
///
/// # Errors
///
/// As [`skip`]; a pointer of any kind is [`WireError::Pointer`].
pub(super) fn skip_uncompressed(message: &[u8], start: usize) -> Result<usize, WireError> {
    let mut at = start;
    loop {
        match step(message, at)? {
            Step::Root => return Ok(at.saturating_add(1)),
            Step::Label { end } => at = end,
            Step::Pointer { .. } => return Err(WireError::Pointer),
        }
        if at.saturating_sub(start) >= NAME_LEN_MAX {
            return Err(WireError::NameLength);
        }
    }
}

/// Whether the names at two offsets of one message are the same, letter case aside. Names that are not well-formed are
/// not the same as anything but what is written in the same place.
#[must_use]
pub(crate) fn same_name(message: &[u8], left: usize, right: usize) -> bool {
    if left == right || same_pointer(message, left, right) {
        return true;
    }
    let (mut left, mut right) = (Walk::new(message, left), Walk::new(message, right));
    loop {
        match (left.next_label(), right.next_label()) {
            (Ok(Some(a)), Ok(Some(b))) if a.eq_ignore_ascii_case(b) => {}
            (Ok(None), Ok(None)) => return true,
            _ => return false,
        }
    }
}

/// Whether the names at two offsets are nothing but the same pointer, as those of one record set mostly are: who knows that they are
/// well-formed need not follow it.
pub(crate) fn same_pointer(message: &[u8], left: usize, right: usize) -> bool {
    let pointer = |at: usize| {
        let octets = message.get(at..)?.first_chunk::<2>()?;
        (octets[0] >= 0xc0).then_some(octets)
    };
    pointer(left).is_some_and(|left| pointer(right) == Some(left))
}

/// Whether the name at one offset of a message is the name at another, or below it.
#[must_use]
pub(crate) fn is_within(message: &[u8], name_at: usize, domain_at: usize) -> bool {
    match (Name::read(message, name_at), Name::read(message, domain_at)) {
        (Ok(name), Ok(domain)) => has_suffix(name.as_octets(), domain.as_octets()),
        _ => false,
    }
}

/// Whether an uncompressed name is `domain` or below it, letter case aside.
#[must_use]
pub(crate) fn has_suffix(qname: &[u8], domain: &[u8]) -> bool {
    let mut rest = qname;
    while rest.len() > domain.len() {
        let Some(&length) = rest.first() else {
            return false;
        };
        rest = rest
            .get(usize::from(length).saturating_add(1)..)
            .unwrap_or_default();
    }
    rest.eq_ignore_ascii_case(domain)
}

/// A name in uncompressed wire form, the root label included: 1 to 255 octets, every label 0 to 63.
///
/// Equality and hashing are by octet; use [`Name::eq_ignore_case`] for DNS equality, [`Name::folded`] for a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    octets: SmallVec<[u8; 48]>,
}

/// Why text or octets are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// A backslash that is followed by neither a character nor three digits up to 255.
    Escape,
    /// A label of more than 63 octets.
    LabelLength,
    /// More than 255 octets in all.
    NameLength,
    /// Octets that are not exactly one uncompressed name.
    Octets,
}

impl core::fmt::Display for NameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "has an empty label",
            Self::Escape => "has a backslash that begins no escape",
            Self::LabelLength => "has a label of more than 63 octets",
            Self::NameLength => "is longer than 255 octets",
            Self::Octets => "is not one whole name",
        })
    }
}

impl core::error::Error for NameError {}

impl Name {
    /// The root, which is the empty name.
    #[must_use]
    pub fn root() -> Self {
        Self {
            octets: SmallVec::from_slice(&[0]),
        }
    }

    /// The name that these octets are, all of them.
    ///
    /// # Errors
    ///
    /// [`NameError::Octets`] when they are not exactly one uncompressed name.
    pub fn from_octets(octets: &[u8]) -> Result<Self, NameError> {
        match skip_uncompressed(octets, 0) {
            Ok(end) if end == octets.len() => Ok(Self {
                octets: SmallVec::from_slice(octets),
            }),
            Ok(_) | Err(_) => Err(NameError::Octets),
        }
    }

    /// The (possibly compressed) name at `at` in `message`, written out.
    ///
    /// # Errors
    ///
    /// As [`skip`].
    pub fn read(message: &[u8], at: usize) -> Result<Self, WireError> {
        let mut walk = Walk::new(message, at);
        let mut octets = SmallVec::new();
        while let Some(label) = walk.next_label()? {
            octets.extend_from_slice(label);
        }
        octets.push(0);
        Ok(Self { octets })
    }

    /// The wire form, the root label included.
    #[must_use]
    pub fn as_octets(&self) -> &[u8] {
        &self.octets
    }

    /// The labels from the left, without their length octets and without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.octets)
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.octets.len() == 1
    }

    /// DNS equality: ASCII letter case does not count (RFC 4343 section 3).
    #[must_use]
    pub fn eq_ignore_case(&self, other: &Self) -> bool {
        self.octets.eq_ignore_ascii_case(&other.octets)
    }

    /// The same name with its ASCII letters lowered: a key for maps.
    #[must_use]
    pub fn folded(&self) -> Self {
        let mut octets = self.octets.clone();
        octets.make_ascii_lowercase();
        Self { octets }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.octets
    }
}

/// The labels of an uncompressed name. Length octets are at most 63 and so never in the range of ASCII letters: folding
/// or comparing a whole name octet by octet cannot disturb them.
pub(super) fn labels(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    core::iter::from_fn(move || {
        let (&length, tail) = rest.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, after) = tail.split_at_checked(usize::from(length))?;
        rest = after;
        Some(label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER_LEN];
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn a_plain_name_is_walked_to_its_end() {
        let message = message(b"\x03www\x07example\x00rest");
        assert_eq!(skip(&message, 12), Ok(25));
        assert_eq!(skip_uncompressed(&message, 12), Ok(25));
    }

    #[test]
    fn a_pointer_backwards_is_followed_and_ends_the_name() {
        let message = message(b"\x07example\x00\x03www\xc0\x0crest");
        assert_eq!(skip(&message, 21), Ok(27));
        assert_eq!(Name::read(&message, 21).unwrap().to_string(), "www.example");
        assert_eq!(skip_uncompressed(&message, 21), Err(WireError::Pointer));
    }

    #[test]
    fn pointers_forward_to_themselves_or_into_the_header_are_refused() {
        assert_eq!(skip(&message(b"\xc0\x0c"), 12), Err(WireError::Pointer));
        assert_eq!(
            skip(&message(b"\x01a\xc0\x0c"), 12),
            Err(WireError::Pointer)
        );
        assert_eq!(skip(&message(b"\xc0\x0e\x00"), 12), Err(WireError::Pointer));
        assert_eq!(skip(&message(b"\xc0\x04"), 12), Err(WireError::Pointer));
    }

    #[test]
    fn what_a_pointer_leads_to_ends_before_the_name_that_points() {
        // The label at 12 reaches over the pointer at 14 to the root at 16.
        let reaches = message(b"\x03a\xc0\x0c\x00");
        assert_eq!(skip(&reaches, 14), Err(WireError::Overrun));
        assert_eq!(Name::read(&reaches, 14), Err(WireError::Overrun));
        // The name at 12 has no end of its own but the pointer.
        let endless = message(b"\x01a\xc0\x0c\x00");
        assert_eq!(skip(&endless, 14), Err(WireError::Overrun));
    }

    #[test]
    fn a_long_chain_of_pointers_ends_early() {
        let mut chain = message(b"\x00");
        let mut target = 12_u16;
        for _ in 0..200 {
            let at = u16::try_from(chain.len()).unwrap();
            chain.extend_from_slice(&(0xc000 | target).to_be_bytes());
            target = at;
        }
        assert_eq!(skip(&chain, usize::from(target)), Err(WireError::Pointer));
        assert!(skip(&chain, 13 + 2 * 100).is_ok());
    }

    #[test]
    fn reserved_label_types_are_refused() {
        assert_eq!(skip(&message(b"\x41a\x00"), 12), Err(WireError::LabelType));
        assert_eq!(skip(&message(b"\x80a\x00"), 12), Err(WireError::LabelType));
    }

    #[test]
    fn the_longest_name_passes_and_one_octet_more_does_not() {
        let mut longest = Vec::new();
        for _ in 0..127 {
            longest.extend_from_slice(b"\x01a");
        }
        longest.push(0);
        assert_eq!(longest.len(), 255);
        assert_eq!(skip(&message(&longest), 12), Ok(12 + 255));
        assert_eq!(skip_uncompressed(&longest, 0), Ok(255));
        let mut over = b"\x02aa".to_vec();
        over.extend_from_slice(&longest[2..]);
        assert_eq!(over.len(), 256);
        assert_eq!(skip(&message(&over), 12), Err(WireError::NameLength));
        assert_eq!(skip_uncompressed(&over, 0), Err(WireError::NameLength));
    }

    #[test]
    fn a_name_grown_over_the_bound_by_a_pointer_is_refused() {
        let mut body = Vec::new();
        for _ in 0..120 {
            body.extend_from_slice(b"\x01a");
        }
        body.push(0);
        let at = HEADER_LEN + body.len();
        body.extend_from_slice(b"\x3f");
        body.extend_from_slice(&[b'b'; 63]);
        body.extend_from_slice(b"\xc0\x0c");
        assert_eq!(skip(&message(&body), at), Err(WireError::NameLength));
    }

    #[test]
    fn names_cut_short_are_refused() {
        let whole = message(b"\x03www\x07example\x00");
        for cut in 12..whole.len() {
            assert_eq!(
                skip(&whole[..cut], 12),
                Err(WireError::Overrun),
                "cut at {cut}"
            );
            assert_eq!(
                skip_uncompressed(&whole[..cut], 12),
                Err(WireError::Overrun)
            );
        }
    }

    #[test]
    fn comparison_folds_ascii_letters_only() {
        let body = message(b"\x02aB\x00\x02Ab\x00\x01\xc0\x00\x01\xe0\x00");
        assert!(same_name(&body, 12, 16));
        assert!(!same_name(&body, 20, 23));
        assert!(!same_name(&body, 12, 20));
    }
}
