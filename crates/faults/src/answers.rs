//! What a correct answer to a query is.

use std::net::Ipv4Addr;

/// Key.
pub(crate) fn question_key(name: &str, qtype: u16) -> Vec<u8> {
    let mut key = Vec::new();
    for label in name
        .trim_end_matches('.')
        .split('.')
        .filter(|label| !label.is_empty())
    {
        key.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        key.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    key.push(0);
    key.extend(qtype.to_be_bytes());
    key.extend(1u16.to_be_bytes());
    key
}
/// Poison.
pub const POISON_A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
