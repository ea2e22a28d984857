//! Text of others on its way to a terminal, a log or a file: what would act there instead of being shown is escaped.
//!
//! A name in a certificate, the text of an extended error, a variable of the environment: whoever writes them does not move the cursor
//! of who reads, begins no line of a log, and turns no text around. The form is that of JSON (`\u001b`), so that a line of JSON stays
//! one.
//!
//! Promises: nothing is allocated for text that needs no escapes.
//!
//! Deliberately absent: names of DNS, which are escaped when they become text (`dotward_core::wire::Name`).

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Whether a character acts: control characters, and those that change the direction of text or end a line of it.
pub(crate) fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes `text`, with those characters escaped for which `keep` is false.
fn escape(text: &str, keep: fn(char) -> bool, to: &mut impl fmt::Write) -> fmt::Result {
    for piece in text.split_inclusive(|it| acts(it) && !keep(it)) {
        let mut characters = piece.chars();
        match characters.next_back() {
            Some(last) if acts(last) && !keep(last) => {
                to.write_str(characters.as_str())?;
                write!(to, "\\u{:04x}", u32::from(last))?;
            }
            Some(_) | None => to.write_str(piece)?,
        }
    }
    Ok(())
}

/// The octets as text that can be shown, but for characters that `keep` keeps.
fn escaped(octets: &[u8], keep: fn(char) -> bool) -> Cow<'_, [u8]> {
    let is_good = |octet: &u8| matches!(octet, b' '..=b'~') || keep(char::from(*octet));
    if octets.iter().all(is_good) {
        return Cow::Borrowed(octets);
    }
    let mut text = String::with_capacity(octets.len() + 16);
    // Writing to a string cannot fail.
    match escape(&String::from_utf8_lossy(octets), keep, &mut text) {
        Ok(()) | Err(fmt::Error) => Cow::Owned(text.into_bytes()),
    }
}

/// A line of a log: everything in it is escaped but its end.
pub(crate) fn log_line(octets: &[u8]) -> Cow<'_, [u8]> {
    let (line, end) = match octets.split_last() {
        Some((b'\n', line)) => (line, true),
        Some(_) | None => (octets, false),
    };
    match escaped(line, |_| false) {
        Cow::Borrowed(_) => Cow::Borrowed(octets),
        Cow::Owned(mut line) => {
            line.extend(end.then_some(b'\n'));
            Cow::Owned(line)
        }
    }
}

/// One line of text with nothing in it that acts.
pub(crate) struct Line<W>(pub(crate) W);

impl<W: fmt::Write> fmt::Write for Line<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, |_| false, &mut self.0)
    }
}

/// What a command prints: lines and columns, and nothing else that acts.
#[derive(Debug)]
pub(crate) struct Screen<W>(pub(crate) W);

impl<W: io::Write> io::Write for Screen<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let shown = escaped(octets, |it| matches!(it, '\n' | '\t'));
        self.0.write_all(&shown)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\r\n\u{9b}c\u{7f}\t\u{202e}d\u{e9}";

    #[test]
    fn what_acts_is_escaped_and_what_is_shown_stays() {
        let mut line = Line(String::new());
        line.write_str(HOSTILE).unwrap();
        let shown = "a\\u001b[2Jb\\u000d\\u000a\\u009bc\\u007f\\u0009\\u202ed\u{e9}";
        assert_eq!(line.0, shown);
        let mut screen = Screen(Vec::new());
        screen.write_all(HOSTILE.as_bytes()).unwrap();
        let shown = "a\\u001b[2Jb\\u000d\n\\u009bc\\u007f\t\\u202ed\u{e9}";
        assert_eq!(String::from_utf8(screen.0).unwrap(), shown);
    }

    #[test]
    fn a_line_of_a_log_is_one_line_and_json_stays_json() {
        let line = format!("{HOSTILE}\n");
        let shown = String::from_utf8(log_line(line.as_bytes()).into_owned()).unwrap();
        assert_eq!(shown.matches('\n').count(), 1);
        let text = serde_json::json!({ "name": "a\u{7f}\u{9b}\u{202e}b" }).to_string();
        let shown = log_line(text.as_bytes());
        assert!(shown.is_ascii());
        let read: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        assert_eq!(read["name"], "a\u{7f}\u{9b}\u{202e}b");
        assert!(matches!(log_line(b"nothing special\n"), Cow::Borrowed(_)));
        // What is not UTF-8 is shown as such.
        assert_eq!(log_line(b"a\xffb\n"), "a\u{fffd}b\n".as_bytes());
    }
}
