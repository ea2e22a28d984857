//! What a ClientHello offers and TLS libraries do not tell (RFC 8446 section 4.1.2).
//!
//! Promises: reads with bounds; octets that are no ClientHello offer nothing.
//!
//! Not here: a ClientHello in several records, which nobody sends below 16 KiB.

/// A record's header and that of the handshake message in it.
const HEADERS: usize = 5 + 4;
/// Version and random, behind the headers.
const FIXED: usize = 2 + 32;
const CLIENT_HELLO: u8 = 1;
const HANDSHAKE: u8 = 22;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;

/// What was offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The identity of the first pre-shared key: with TLS 1.3, the ticket.
    pub(crate) ticket: Option<Vec<u8>>,
    /// Whether data before the end of the handshake was announced (0-RTT).
    pub(crate) early_data: bool,
}

/// Reads the first octets of a connection.
pub(crate) fn read(octets: &[u8]) -> Offer {
    let mut offer = Offer::default();
    for (kind, body) in extensions(octets).into_iter().flatten() {
        match kind {
            PRE_SHARED_KEY => offer.ticket = first_identity(body),
            EARLY_DATA => offer.early_data = true,
            _ => {}
        }
    }
    offer
}

fn extensions(octets: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    if *octets.first()? != HANDSHAKE || *octets.get(5)? != CLIENT_HELLO {
        return None;
    }
    let rest = octets.get(HEADERS + FIXED..)?;
    let (_, rest) = vector8(rest)?;
    let (_, rest) = vector16(rest)?;
    let (_, rest) = vector8(rest)?;
    let (mut rest, _) = vector16(rest)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let kind = u16::from_be_bytes(*rest.first_chunk()?);
        let (body, after) = vector16(rest.get(2..)?)?;
        found.push((kind, body));
        rest = after;
    }
    Some(found)
}

fn first_identity(body: &[u8]) -> Option<Vec<u8>> {
    let (identities, _) = vector16(body)?;
    let (identity, _) = vector16(identities)?;
    Some(identity.to_vec())
}

/// What a length of one octet announces, and the rest.
fn vector8(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The same for a length of two octets.
fn vector16(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut octets = vec![HANDSHAKE, 3, 1, 0, 0, CLIENT_HELLO, 0, 0, 0];
        octets.extend([0; FIXED]);
        octets.extend([1, 7]);
        octets.extend([0, 2, 0x13, 1]);
        octets.extend([1, 0]);
        let mut list = Vec::new();
        for (kind, body) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            list.extend(*body);
        }
        octets.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        octets.extend(list);
        octets
    }

    #[test]
    fn ticket_and_early_data_are_seen() {
        let key = [0, 9, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0];
        let octets = hello(&[(0, b"name"), (EARLY_DATA, &[]), (PRE_SHARED_KEY, &key)]);
        let offer = read(&octets);
        assert_eq!(offer.ticket.as_deref(), Some(&[1, 2, 3][..]));
        assert!(offer.early_data);
        assert_eq!(read(&hello(&[(0, b"name")])), Offer::default());
    }

    #[test]
    fn what_is_cut_off_offers_nothing() {
        let key = [0, 9, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0];
        let octets = hello(&[(EARLY_DATA, &[]), (PRE_SHARED_KEY, &key)]);
        for length in 0..octets.len() {
            assert_eq!(read(&octets[..length]), Offer::default(), "{length}");
        }
    }
}
