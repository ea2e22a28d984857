//! Octets written for people: the notation of `testdata/wire` and of scenarios.
//!
//! | written | means |
//! |---|---|
//! | `12 34 abcd` | octets in hexadecimal, an even number of digits a word |
//! | `"text"` | the octets of the text |
//! | `@www.example` | a name in wire form, its root label included; escapes as in zone files |
//! | `<www` | one label with its length, nothing after it |
//! | `100*00` | a word repeated |
//! | `{ … }` | two octets of length, then what is between |
//! | `; …` | a comment to the end of the line |

use dotward_core::wire::Name;

/// Reads the notation. Errors say which word is wrong.
pub fn read(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut open = Vec::new();
    for line in text.lines() {
        for word in words(line)? {
            match word.as_str() {
                "{" => {
                    open.push(out.len());
                    out.extend_from_slice(&[0, 0]);
                }
                "}" => close(&mut open, &mut out)?,
                _ => append(&word, &mut out)?,
            }
        }
    }
    if open.is_empty() {
        Ok(out)
    } else {
        Err("a `{` without its `}`".into())
    }
}

fn close(open: &mut Vec<usize>, out: &mut [u8]) -> Result<(), String> {
    let at = open.pop().ok_or("a `}` without its `{`")?;
    let length =
        u16::try_from(out.len() - at - 2).map_err(|_| "more than 65535 octets in `{ }`")?;
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The words of a line; a text in quotes is one word, quotes included.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with(';') {
        let end = if let Some(quoted) = rest.strip_prefix('"') {
            quoted
                .find('"')
                .map(|end| end + 2)
                .ok_or_else(|| format!("a text without its end: {rest}"))?
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

fn append(word: &str, out: &mut Vec<u8>) -> Result<(), String> {
    if let Some(text) = word.strip_prefix('"') {
        out.extend_from_slice(text.trim_end_matches('"').as_bytes());
        return Ok(());
    }
    if let Some(name) = word.strip_prefix('@') {
        let name: Name = name
            .parse()
            .map_err(|error| format!("the name {name} {error}"))?;
        out.extend_from_slice(name.as_octets());
        return Ok(());
    }
    if let Some(label) = word.strip_prefix('<') {
        let length = u8::try_from(label.len()).map_err(|_| format!("label too long: {label}"))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
        return Ok(());
    }
    if let Some((times, what)) = word.split_once('*') {
        let times: usize = times
            .parse()
            .map_err(|_| format!("not a number: {times}"))?;
        for _ in 0..times {
            append(what, out)?;
        }
        return Ok(());
    }
    append_hex(word, out)
}

fn append_hex(word: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("not octets in hexadecimal: {word}");
    if !word.len().is_multiple_of(2) || !word.is_ascii() {
        return Err(wrong());
    }
    for at in (0..word.len()).step_by(2) {
        out.push(u8::from_str_radix(&word[at..at + 2], 16).map_err(|_| wrong())?);
    }
    Ok(())
}

/// Octets as hexadecimal lines of 16, for messages about what differs.
#[must_use]
pub fn dump(octets: &[u8]) -> String {
    let mut text = String::new();
    for (at, chunk) in octets.chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|octet| format!("{octet:02x}")).collect();
        let shown: String = chunk
            .iter()
            .map(|octet| {
                if octet.is_ascii_graphic() {
                    char::from(*octet)
                } else {
                    '.'
                }
            })
            .collect();
        text.push_str(&format!(
            "\n      {:4} {:47} {shown}",
            at * 16,
            hex.join(" ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_notation_is_read() {
        let octets = read("12 34AB @a.b <xy \"h i\" ; ab\n 3*0f { 01 { 02 } }").unwrap();
        assert_eq!(
            octets,
            b"\x12\x34\xab\x01a\x01b\x00\x02xyh i\x0f\x0f\x0f\x00\x04\x01\x00\x01\x02"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for wrong in ["123", "xy", "\"abc", "{ 00", "}", "@a..b", "x*00"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
