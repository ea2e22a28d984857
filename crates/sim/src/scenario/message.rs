//! Messages as a scenario's words describe them.

use dotward_core::wire::frame::append_frame;
use dotward_core::wire::{
    Class, Flags, Header, Name, Question, Rcode, RecordType, ResponseView, Transport,
};

use super::words::Words;

/// A client's query: `ask ID NAME [TYPE] [class=C] [edns=SIZE] [do] [ad] [cd] [nord]`.
pub(super) fn query(id: u16, name: &str, words: &Words<'_>) -> Result<Vec<u8>, String> {
    let flags = Flags::NONE
        .with_recursion_desired(!words.has("nord"))
        .with_authentic_data(words.has("ad"))
        .with_checking_disabled(words.has("cd"));
    let edns = match words.parsed::<u16>("edns")? {
        None if words.has("edns") || words.has("do") => Some(1232),
        size => size,
    };
    let header = Header {
        id,
        flags,
        questions: 1,
        answers: 0,
        authorities: 0,
        additionals: u16::from(edns.is_some()),
    };
    let rtype = words.parsed("type")?.unwrap_or(RecordType::A);
    let class = words.parsed("class")?.unwrap_or(Class::IN);
    let mut message = header.octets().to_vec();
    message.extend_from_slice(Question::new(&self::name(name)?, rtype, class).octets());
    if let Some(size) = edns {
        append_opt(size, words.has("do"), &[], &mut message);
    }
    Ok(message)
}

pub(super) fn name(text: &str) -> Result<Name, String> {
    text.parse()
        .map_err(|error| format!("the name {text} {error}"))
}

fn append_opt(size: u16, dnssec_ok: bool, options: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 41]);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0, 0, if dnssec_ok { 0x80 } else { 0 }, 0]);
    let length = u16::try_from(options.len()).unwrap_or_default();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(options);
}

pub(super) fn transport(words: &Words<'_>) -> Transport {
    if words.has("tcp") {
        Transport::Tcp
    } else if words.has("tls") {
        Transport::Tls
    } else {
        Transport::Udp
    }
}

/// RCODE by its name.
pub(super) fn rcode(word: &str) -> Result<Rcode, String> {
    word.parse().map_err(|_| format!("not an RCODE: {word}"))
}

/// A query an upstream read.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) id: u16,
    pub(super) question: Question,
}

/// The framed answer to a query: `answer Q [RCODE] [records=N] [id=N] [name=N] [type=T] [class=C] [question=none] [tc] [ad] [aa] [ede=N]
/// [malformed]`. Its data are 10.0.x.y, x.y being `serial`.
pub(super) fn answer(query: &Query, serial: u16, words: &Words<'_>) -> Result<Vec<u8>, String> {
    let rcode = match words.maybe(2).map(rcode) {
        Some(Ok(rcode)) => rcode,
        _ => Rcode::NOERROR,
    };
    let default = u16::from(rcode == Rcode::NOERROR);
    let records: u16 = words.parsed("records")?.unwrap_or(default);
    let ede: Option<u16> = words.parsed("ede")?;
    let questions = u16::from(words.value("question") != Some("none"));
    let header = Header {
        id: query.id ^ words.parsed::<u16>("id-off-by")?.unwrap_or(0),
        flags: Flags::NONE
            .with_response(!words.has("not-a-response"))
            .with_recursion_desired(true)
            .with_recursion_available(true)
            .with_truncated(words.has("tc"))
            .with_authentic_data(words.has("ad"))
            .with_authoritative(words.has("aa"))
            .with_rcode_low(rcode),
        questions,
        answers: records,
        authorities: 0,
        additionals: u16::from(ede.is_some()),
    };
    let mut message = header.octets().to_vec();
    if questions == 1 {
        message.extend_from_slice(answered_question(query, words)?.octets());
    }
    let owner: &[u8] = if words.has("malformed") {
        &[0xff, 0xff]
    } else {
        &[0xc0, 0x0c]
    };
    for _ in 0..records {
        message.extend_from_slice(owner);
        message.extend_from_slice(&query.question.qtype().0.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, 4, 10, 0]);
        message.extend_from_slice(&serial.to_be_bytes());
    }
    if let Some(code) = ede {
        let [high, low] = code.to_be_bytes();
        append_opt(1232, false, &[0, 15, 0, 2, high, low], &mut message);
    }
    let mut frame = Vec::new();
    append_frame(&message, &mut frame);
    Ok(frame)
}

fn answered_question(query: &Query, words: &Words<'_>) -> Result<Question, String> {
    let name = words.value("name").map(name).transpose()?;
    let name = name.unwrap_or_else(|| query.question.qname());
    let rtype = words
        .parsed("type")?
        .unwrap_or_else(|| query.question.qtype());
    let class = words
        .parsed("class")?
        .unwrap_or_else(|| query.question.qclass());
    Ok(Question::new(&name, rtype, class))
}

/// The serial number in the first record of a reply.
pub(super) fn serial(view: &ResponseView<'_>) -> Option<u16> {
    let record = view.records().next()?.ok()?;
    record
        .rdata
        .last_chunk::<2>()
        .map(|octets| u16::from_be_bytes(*octets))
}
