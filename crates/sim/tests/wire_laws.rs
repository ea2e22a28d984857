//! Laws of the wire layer under messages that are nearly right, and agreement with the `domain` crate about what they say.

#![expect(
    clippy::unwrap_used,
    reason = "what a test makes up itself is known to be well-formed"
)]

use std::time::Instant;

use domain::base::{Message, ToName};
use dotward_core::cache::{CacheRules, Settled};
use dotward_core::wire::{
    Class, Name, QueryOptions, QueryView, Question, RecordType, ResponseView, Section,
};
use dotward_sim::laws;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// A name as labels, as labels that end in a pointer to an earlier name, or in one to any place.
#[derive(Clone, Debug)]
enum WrittenName {
    Plain(Vec<Vec<u8>>),
    Pointing(Vec<Vec<u8>>, prop::sample::Index),
    Straying(Vec<Vec<u8>>, u16),
}

/// A message being written, and where names begin in it.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    names: Vec<usize>,
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => proptest::sample::select(&["a", "A", "www", "Example"][..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..64),
    ]
}

fn name() -> impl Strategy<Value = WrittenName> {
    let index = any::<prop::sample::Index>();
    prop_oneof![
        20 => vec(label(), 0..4).prop_map(WrittenName::Plain),
        40 => (vec(label(), 0..2), index).prop_map(|(labels, to)| WrittenName::Pointing(labels, to)),
        1 => (vec(label(), 0..2), 12_u16..80).prop_map(|(labels, to)| WrittenName::Straying(labels, to)),
    ]
}

impl Writer {
    fn word(&mut self, word: u16) {
        self.out.extend_from_slice(&word.to_be_bytes());
    }

    fn name(&mut self, name: &WrittenName) {
        let start = self.out.len();
        let (WrittenName::Plain(labels)
        | WrittenName::Pointing(labels, _)
        | WrittenName::Straying(labels, _)) = name;
        for label in labels {
            self.out.push(u8::try_from(label.len()).unwrap());
            self.out.extend_from_slice(label);
        }
        let target = match name {
            WrittenName::Plain(_) => None,
            WrittenName::Pointing(_, _) if self.names.is_empty() => None,
            WrittenName::Pointing(_, to) => {
                u16::try_from(self.names[to.index(self.names.len())]).ok()
            }
            WrittenName::Straying(_, to) => Some(*to),
        };
        match target.filter(|target| *target < 0x4000) {
            Some(target) => self.word(0xc000 | target),
            None => self.out.push(0),
        }
        self.names.push(start);
    }

    fn record(&mut self, record: &WrittenRecord) {
        self.name(&record.owner);
        self.word(record.rtype);
        self.word(1);
        self.out.extend_from_slice(&record.ttl.to_be_bytes());
        let at = self.out.len();
        self.word(0);
        match record.rtype {
            2 | 5 | 12 | 39 => self.name(&record.target),
            15 => {
                self.word(10);
                self.name(&record.target);
            }
            33 => {
                self.out.extend_from_slice(&[0; 6]);
                self.name(&record.target);
            }
            6 => {
                self.name(&record.target);
                self.name(&record.owner);
                self.out.extend_from_slice(&[0; 20]);
            }
            _ => self.out.extend_from_slice(&record.octets),
        }
        let length = u16::try_from(self.out.len() - at - 2).unwrap();
        self.out[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x06\x00\x0f\x00\x02\x00\x16";

#[derive(Clone, Debug)]
struct WrittenRecord {
    owner: WrittenName,
    rtype: u16,
    ttl: u32,
    target: WrittenName,
    octets: Vec<u8>,
}

fn record() -> impl Strategy<Value = WrittenRecord> {
    let rtype = prop_oneof![
        8 => proptest::sample::select(&[1_u16, 1, 1, 2, 5, 6, 12, 15, 16, 28, 33, 39][..]),
        1 => any::<u16>(),
    ];
    let octets = prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 200..700)];
    (name(), rtype, any::<u32>(), name(), octets).prop_map(|(owner, rtype, ttl, target, octets)| {
        WrittenRecord {
            owner,
            rtype,
            ttl,
            target,
            octets,
        }
    })
}

/// A message with one question and records in three sections; repeated records make sets.
fn message(flags: u16) -> impl Strategy<Value = Vec<u8>> {
    let section = || vec((record(), 1_usize..5), 0..4);
    let sections = [section(), section(), section()];
    let labels = vec(label(), 0..4);
    let opt = proptest::option::of(any::<prop::sample::Index>());
    (any::<(u16, u16, bool)>(), labels, sections, opt).prop_map(
        move |((id, noise, noisy), labels, sections, opt)| {
            let flags = if noisy {
                flags ^ (noise & 0x07ff)
            } else {
                flags
            };
            let mut counts = sections.each_ref().map(|section| {
                let records: usize = section.iter().map(|(_, times)| times).sum();
                u16::try_from(records).unwrap()
            });
            counts[2] += u16::from(opt.is_some());
            let mut writer = Writer::default();
            for word in [id, flags, 1, counts[0], counts[1], counts[2]] {
                writer.word(word);
            }
            writer.name(&WrittenName::Plain(labels));
            writer.word(1);
            writer.word(1);
            let opt_before = opt.map(|opt| opt.index(sections[2].len() + 1));
            for (place, section) in sections.iter().enumerate() {
                for (at, (record, times)) in section.iter().enumerate() {
                    if place == 2 && opt_before == Some(at) {
                        writer.out.extend_from_slice(OPT);
                    }
                    for _ in 0..*times {
                        writer.record(record);
                    }
                }
            }
            if opt_before == Some(sections[2].len()) {
                writer.out.extend_from_slice(OPT);
            }
            writer.out
        },
    )
}

/// The message with a few octets changed and perhaps its end cut off.
fn damaged(flags: u16) -> impl Strategy<Value = Vec<u8>> {
    (
        message(flags),
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
        0..4_u8,
    )
        .prop_map(|(mut octets, changes, cut, cuts)| {
            for (at, octet) in changes {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            if cuts == 0 {
                octets.truncate(cut.index(octets.len()));
            }
            octets
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queries_and_what_is_made_of_them_obey_the_laws(message in damaged(0x0100)) {
        laws::query(&laws::front(), &message);
    }

    #[test]
    fn octets_of_any_kind_obey_the_laws(octets in vec(any::<u8>(), 0..200)) {
        laws::query(&laws::front(), &octets);
        laws::response(&octets);
        laws::edit(&octets);
        laws::frame(&octets);
    }

    #[test]
    fn responses_and_what_is_made_of_them_obey_the_laws(message in damaged(0x8180)) {
        laws::response(&message);
        laws::edit(&message);
    }

    #[test]
    fn whole_responses_obey_the_laws(message in message(0x8180)) {
        laws::response(&message);
        laws::edit(&message);
    }

    #[test]
    fn a_query_reads_back_as_it_was_written(
        labels in vec(label(), 0..4),
        numbers in any::<(u16, u16)>(),
        bits in any::<(bool, bool)>(),
        padding in proptest::option::of(1_usize..600),
    ) {
        let mut writer = Writer::default();
        writer.name(&WrittenName::Plain(labels));
        let octets = writer.out;
        prop_assume!(octets.len() <= 255);
        let name = Name::from_octets(&octets).unwrap();
        let question = Question::new(&name, RecordType(numbers.0), Class(numbers.1));
        let padding = padding.map(|block| block.min(512));
        laws::round_trip(&question, QueryOptions { checking_disabled: bits.0, dnssec_ok: bits.1, keepalive: false, padding });
    }

    #[test]
    fn a_name_survives_being_written_as_text(labels in vec(vec(any::<u8>(), 1..64), 0..5)) {
        let mut writer = Writer::default();
        writer.name(&WrittenName::Plain(labels));
        let octets = writer.out;
        prop_assume!(octets.len() <= 255);
        let name = Name::from_octets(&octets).unwrap();
        let text = name.to_string();
        prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic()), "{text}");
        prop_assert_eq!(&text.parse::<Name>().unwrap(), &name);
        prop_assert!(name.eq_ignore_case(&name.folded()));
        prop_assert_eq!(name.folded().folded(), name.folded());
    }

    #[test]
    fn text_of_any_kind_is_a_name_or_an_error(text in "[a-zA-Z0-9.\\\\\"é ]{0,80}") {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
        }
    }

    #[test]
    fn record_types_and_classes_survive_being_written_as_text(number in any::<u16>()) {
        prop_assert_eq!(RecordType(number).to_string().parse::<RecordType>().unwrap(), RecordType(number));
        prop_assert_eq!(Class(number).to_string().parse::<Class>().unwrap(), Class(number));
    }

    #[test]
    fn the_domain_crate_reads_the_same_of_a_response(message in damaged(0x8180)) {
        agree(&message);
    }

    #[test]
    fn the_domain_crate_reads_the_same_of_a_whole_response(message in message(0x8180)) {
        agree(&message);
    }

    #[test]
    fn the_domain_crate_reads_the_same_of_a_query(message in damaged(0x0100)) {
        let (Ok(view), Ok(theirs)) = (QueryView::parse(&message), Message::from_octets(&message)) else {
            return Ok(());
        };
        let question = theirs.sole_question().unwrap();
        let qname = question.qname().to_vec();
        prop_assert_eq!(view.question().qname(), qname.as_slice());
        prop_assert_eq!(view.question().qtype().0, question.qtype().to_int());
        prop_assert_eq!(view.question().qclass().0, question.qclass().to_int());
        let opt = theirs.opt();
        prop_assert_eq!(view.edns().is_some(), opt.is_some());
        if let (Some(ours), Some(opt)) = (view.edns(), opt) {
            prop_assert_eq!(ours.udp_size, opt.udp_payload_size());
            prop_assert_eq!(ours.version, opt.version());
            prop_assert_eq!(ours.dnssec_ok, opt.dnssec_ok());
        }
    }
}

/// What both read, both read alike.
fn agree(octets: &[u8]) {
    let (Ok(view), Ok(theirs)) = (ResponseView::parse(octets), Message::from_octets(octets)) else {
        return;
    };
    let question = theirs.sole_question().unwrap();
    let ours = view.question().unwrap();
    assert_eq!(ours.qname(), question.qname().to_vec().as_slice());
    assert_eq!(ours.qtype().0, question.qtype().to_int());
    assert_eq!(ours.qclass().0, question.qclass().to_int());
    let header = theirs.header();
    assert_eq!(view.header().id, header.id());
    assert_eq!(view.header().flags.truncated(), header.tc());
    assert_eq!(view.header().flags.authentic_data(), header.ad());
    assert_eq!(view.rcode().0, theirs.opt_rcode().to_int());
    agree_on_records(&view, &theirs);
}

fn agree_on_records(view: &ResponseView<'_>, theirs: &Message<&[u8]>) {
    let mut ours = view.records();
    for record in theirs.iter() {
        // They check the data of well-known types only when asked; owners and lengths have to agree.
        let (record, section) = record.unwrap();
        let mine = ours.next().unwrap().unwrap();
        assert_eq!(mine.rtype.0, record.rtype().to_int());
        assert_eq!(mine.class.0, record.class().to_int());
        assert_eq!(mine.ttl, record.ttl().as_secs());
        let owner = Name::read(view.message(), mine.owner_at).unwrap();
        assert_eq!(owner.as_octets(), record.owner().to_vec().as_slice());
        assert_eq!(mine.rdata.len(), usize::from(record.rdlen()));
        let expected = match section {
            domain::base::message::Section::Answer => Section::Answer,
            domain::base::message::Section::Authority => Section::Authority,
            _ => Section::Additional,
        };
        assert_eq!(mine.section, expected);
    }
    assert!(ours.next().is_none());
}

/// Records whose owners all walk the longest chain of pointers there may be.
fn slow_message(octets: usize) -> Vec<u8> {
    let mut message = vec![0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(b"\x00\xff\x00\x00\x01");
    // One record of opaque data that holds a chain of pointers, each to the one before it.
    message.extend_from_slice(b"\x00\xff\x00\x00\x01\x00\x00\x00\x00\x00\xfc");
    let mut target = 12_u16;
    for _ in 0..126 {
        let at = u16::try_from(message.len()).unwrap();
        message.extend_from_slice(&(0xc000 | target).to_be_bytes());
        target = at;
    }
    let mut records = 1_u16;
    while message.len() + 12 < octets {
        message.extend_from_slice(&(0xc000 | target).to_be_bytes());
        message.extend_from_slice(b"\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00");
        records += 1;
    }
    message[6..8].copy_from_slice(&records.to_be_bytes());
    message
}

/// As many names, hops and records as fit; what it costs is bounded by `POINTER_HOPS_MAX` a name.
#[test]
fn a_message_made_to_be_slow_is_a_message_like_any_other() {
    let message = slow_message(64_000);
    assert!(ResponseView::parse(&message).is_ok());
    laws::query(&laws::front(), &message);
}

/// A name of as many labels as fit, which shows only in the last one which it is.
fn long_name(which: u8) -> Vec<u8> {
    let mut name = b"\x01a".repeat(118);
    name.extend_from_slice(&[1, which, 0]);
    name
}

/// A chain of as many aliases as are followed, and thousands of addresses of another name.
fn slow_aliases() -> Vec<u8> {
    let mut message = vec![0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    let pointer = |at: usize| (0xc000 | u16::try_from(at).unwrap()).to_be_bytes();
    let mut owner_at = message.len();
    message.extend_from_slice(&long_name(0));
    message.extend_from_slice(b"\0\x01\0\x01");
    let mut records = 0_u16;
    for which in 1..=16 {
        message.extend_from_slice(&pointer(owner_at));
        message.extend_from_slice(b"\0\x05\0\x01\0\0\0\x3c");
        let target = long_name(which);
        message.extend_from_slice(&u16::try_from(target.len()).unwrap().to_be_bytes());
        owner_at = message.len();
        message.extend_from_slice(&target);
        records += 1;
    }
    let other_at = message.len();
    message.extend_from_slice(&long_name(255));
    loop {
        message.extend_from_slice(b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        records += 1;
        if message.len() + 16 > 64_000 {
            message[6..8].copy_from_slice(&records.to_be_bytes());
            return message;
        }
        message.extend_from_slice(&pointer(other_at));
    }
}

/// What it costs to find out where a chain of aliases ends is bounded by what it costs to read the message.
#[test]
fn a_chain_of_aliases_made_to_be_slow_is_followed_in_a_few_readings_of_the_message() {
    let message = slow_aliases();
    let view = ResponseView::parse(&message).unwrap();
    assert!(view.records().count() > 3_500);
    let rules = CacheRules::default();
    let quickest = |what: &mut dyn FnMut()| {
        let spans = (0..7).map(|_| {
            let began = Instant::now();
            what();
            began.elapsed()
        });
        spans.min().unwrap()
    };
    let read = quickest(&mut || assert!(ResponseView::parse(&message).is_ok()));
    let mut settled = Settled::default();
    let settle = quickest(&mut || settled.settle(&view, rules));
    assert!(
        settle < read * 16,
        "{settle:?} where reading takes {read:?}"
    );
}

/// Laws of messages say nothing when no message is one.
#[test]
fn a_good_part_of_the_made_up_messages_are_messages() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let made: Vec<Vec<u8>> = (0..1_000)
        .map(|_| message(0x8180).new_tree(&mut runner).unwrap().current())
        .collect();
    let read: Vec<_> = made
        .iter()
        .filter_map(|message| ResponseView::parse(message).ok())
        .collect();
    let many = read.iter().filter(|view| view.records().count() > 4);
    assert!(read.len() > 300, "{} of 1000 parse", read.len());
    assert!(
        many.clone().count() > 100,
        "{} hold five records",
        many.count()
    );
    assert!(made.iter().any(|message| message.len() > 1_232));
}
