//! As much of the DNS message format as a server that answers one question needs (RFC 1035 section 4, RFC 6891).
//!
//! Promises: any octets can be parsed without a panic; a response is encoded as it is described, sound or not.
//! It shares no code with any client under test, since a judge who uses the candidate's ruler finds no fault.
//!
//! Not here: which records a question gets (`answers`), framing for streams (`framing`).

/// The largest message a two-octet length allows.
pub(crate) const MESSAGE_MAX: usize = 65_535;

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const PTR: u16 = 12;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const DNAME: u16 = 39;
pub(crate) const OPT: u16 = 41;
pub(crate) const SVCB: u16 = 64;
pub(crate) const HTTPS: u16 = 65;
pub(crate) const ANY: u16 = 255;

pub(crate) const IN: u16 = 1;
pub(crate) const CH: u16 = 3;

pub(crate) const NOERROR: u16 = 0;
pub(crate) const FORMERR: u16 = 1;
pub(crate) const SERVFAIL: u16 = 2;
pub(crate) const NXDOMAIN: u16 = 3;
pub(crate) const NOTIMP: u16 = 4;
pub(crate) const REFUSED: u16 = 5;
pub(crate) const BADVERS: u16 = 16;

pub(crate) const QR: u16 = 0x8000;
pub(crate) const OPCODE: u16 = 0x7800;
pub(crate) const AA: u16 = 0x0400;
pub(crate) const TC: u16 = 0x0200;
pub(crate) const RD: u16 = 0x0100;
pub(crate) const RA: u16 = 0x0080;
pub(crate) const AD: u16 = 0x0020;
pub(crate) const CD: u16 = 0x0010;

pub(crate) const OPTION_KEEPALIVE: u16 = 11;
pub(crate) const OPTION_PADDING: u16 = 12;
pub(crate) const OPTION_EDE: u16 = 15;

/// A query as far as the server looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) question: Question,
    pub(crate) edns: Option<Edns>,
}

/// A question; the name is uncompressed wire form in the letter case it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
}

impl Question {
    /// The question in one spelling, to find it again. Length octets are below 64 and have no letter case.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = self.name.to_ascii_lowercase();
        key.extend(self.qtype.to_be_bytes());
        key.extend(self.qclass.to_be_bytes());
        key
    }
}

/// The OPT record of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) padded: bool,
}

/// Why a message is no query that can be answered from its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryFault {
    /// Shorter than a header, or a response: there is nobody to answer.
    NotAQuery,
    /// The header is there; the rest deserves this RCODE.
    Answerable { id: u16, flags: u16, rcode: u16 },
}

/// Reads octets from the front of a message.
struct Cursor<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(octets)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    /// A name without compression pointers: a query has nothing to point to.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            let length = *self.take(1)?.first()?;
            name.push(length);
            if length == 0 {
                return (name.len() <= 255).then_some(name);
            }
            if length > 63 || name.len() > 255 {
                return None;
            }
            name.extend_from_slice(self.take(usize::from(length))?);
        }
    }
}

/// Reads a query.
pub(crate) fn parse_query(message: &[u8]) -> Result<Query, QueryFault> {
    let mut cursor = Cursor { message, at: 0 };
    let mut header = [0u16; 6];
    for word in &mut header {
        *word = cursor.u16().ok_or(QueryFault::NotAQuery)?;
    }
    let [id, flags, questions, answers, authorities, additionals] = header;
    if flags & QR != 0 {
        return Err(QueryFault::NotAQuery);
    }
    if flags & OPCODE != 0 {
        return Err(QueryFault::Answerable {
            id,
            flags,
            rcode: NOTIMP,
        });
    }
    let formerr = QueryFault::Answerable {
        id,
        flags,
        rcode: FORMERR,
    };
    if questions != 1 {
        return Err(formerr);
    }
    let question = parse_question(&mut cursor).ok_or(formerr)?;
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additionals);
    let mut edns = None;
    for _ in 0..records {
        parse_record(&mut cursor, &mut edns).ok_or(formerr)?;
    }
    Ok(Query {
        id,
        flags,
        question,
        edns,
    })
}

fn parse_question(cursor: &mut Cursor<'_>) -> Option<Question> {
    Some(Question {
        name: cursor.name()?,
        qtype: cursor.u16()?,
        qclass: cursor.u16()?,
    })
}

fn parse_record(cursor: &mut Cursor<'_>, edns: &mut Option<Edns>) -> Option<()> {
    cursor.name()?;
    let rtype = cursor.u16()?;
    cursor.u16()?;
    let ttl = cursor.take(4)?;
    let length = usize::from(cursor.u16()?);
    let mut options = Cursor {
        message: cursor.take(length)?,
        at: 0,
    };
    if rtype != OPT {
        return Some(());
    }
    let mut padded = false;
    while options.at < length {
        let code = options.u16()?;
        let octets = usize::from(options.u16()?);
        options.take(octets)?;
        padded |= code == OPTION_PADDING;
    }
    *edns = Some(Edns {
        version: ttl[1],
        dnssec_ok: ttl[2] & 0x80 != 0,
        padded,
    });
    Some(())
}

/// A resource record of class IN, unless a lie says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) rdata: Vec<u8>,
}

/// The OPT record of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Opt {
    pub(crate) dnssec_ok: bool,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

/// Payload size in our OPT records.
const PAYLOAD: u16 = 1232;

/// A response before it becomes octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) id: u16,
    /// Without the RCODE.
    pub(crate) flags: u16,
    pub(crate) rcode: u16,
    pub(crate) question: Option<Question>,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    pub(crate) opt: Option<Opt>,
    /// How many answers the header claims beyond those that are there.
    pub(crate) answers_claimed: u16,
}

impl Response {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let count = |items: usize| u16::try_from(items).unwrap_or(u16::MAX);
        let header = [
            self.id,
            self.flags | (self.rcode & 0x000f),
            u16::from(self.question.is_some()),
            count(self.answers.len()).saturating_add(self.answers_claimed),
            count(self.authorities.len()),
            count(self.additionals.len() + usize::from(self.opt.is_some())),
        ];
        header
            .iter()
            .for_each(|word| out.extend(word.to_be_bytes()));
        if let Some(question) = &self.question {
            out.extend(&question.name);
            out.extend(question.qtype.to_be_bytes());
            out.extend(question.qclass.to_be_bytes());
        }
        let all = self
            .answers
            .iter()
            .chain(&self.authorities)
            .chain(&self.additionals);
        all.for_each(|record| self.encode_record(record, &mut out));
        if let Some(opt) = &self.opt {
            self.encode_opt(opt, &mut out);
        }
        out
    }

    /// The owner is compressed when it is the name asked for, octet by octet.
    fn encode_record(&self, record: &Record, out: &mut Vec<u8>) {
        match &self.question {
            Some(question) if question.name == record.owner && record.owner.len() > 2 => {
                out.extend([0xc0, 0x0c]);
            }
            Some(_) | None => out.extend(&record.owner),
        }
        out.extend(record.rtype.to_be_bytes());
        out.extend(record.class.to_be_bytes());
        out.extend(record.ttl.to_be_bytes());
        push_with_length(out, &record.rdata);
    }

    fn encode_opt(&self, opt: &Opt, out: &mut Vec<u8>) {
        let [_, low] = (self.rcode >> 4).to_be_bytes();
        out.push(0);
        out.extend(OPT.to_be_bytes());
        out.extend(PAYLOAD.to_be_bytes());
        out.extend([low, 0, u8::from(opt.dnssec_ok) << 7, 0]);
        let mut rdata = Vec::new();
        for (code, value) in &opt.options {
            rdata.extend(code.to_be_bytes());
            push_with_length(&mut rdata, value);
        }
        push_with_length(out, &rdata);
    }
}

fn push_with_length(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend(
        u16::try_from(octets.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    out.extend(octets);
}

/// The labels of a name in wire form, the root left out.
pub(crate) fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (&length, after) = rest.split_first()?;
        let label = after
            .get(..usize::from(length))
            .filter(|label| !label.is_empty())?;
        rest = &after[label.len()..];
        Some(label)
    })
}

/// A name in wire form, from labels.
pub(crate) fn name_of<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut name = Vec::new();
    for label in labels {
        name.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        name.extend_from_slice(label);
    }
    name.push(0);
    name
}

/// A label put in front of a name, or the name alone when there is no room (255 octets).
pub(crate) fn prefixed(label: &[u8], name: &[u8]) -> Vec<u8> {
    let longer = name_of(std::iter::once(label).chain(labels(name)));
    if longer.len() <= 255 {
        longer
    } else {
        name.to_vec()
    }
}
