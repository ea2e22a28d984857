//! A terminal that is ours for a while.
//!
//! Promise: dropping it gives the terminal back as it was, whatever ended the view.

use std::io::{self, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What is assumed of a terminal that does not tell its size.
const USUAL: (usize, usize) = (80, 24);

#[derive(Debug)]
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal: keys come at once and are not shown.
    pub(super) fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut ours = before.clone();
        ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Now, &ours)?;
        let this = Self { before };
        write(ENTER)?;
        Ok(this)
    }

    /// Shows lines from the top; what does not fit is cut off.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (columns, rows) = size();
        let mut text = String::from("\x1b[H");
        for line in lines.iter().take(rows) {
            text.push_str(&cut(line, columns));
            text.push_str("\x1b[K\r\n");
        }
        let end = text.trim_end_matches("\r\n").len();
        text.truncate(end);
        text.push_str("\x1b[J");
        write(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        drop(write(LEAVE));
        match tcsetattr(io::stdin(), OptionalActions::Now, &self.before) {
            Ok(()) | Err(_) => {}
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => USUAL,
    }
}

/// The first `columns` characters; colours take no room, and end with the line.
fn cut(line: &str, columns: usize) -> String {
    let mut text = String::new();
    let (mut room, mut in_colour) = (columns, false);
    for letter in line.chars() {
        if letter == '\x1b' {
            in_colour = true;
        }
        if !in_colour {
            if room == 0 {
                continue;
            }
            room -= 1;
        }
        text.push(letter);
        in_colour &= letter != 'm';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal_and_colours_are_not_counted() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("a\x1b[31mbcd\x1b[0mef", 3), "a\x1b[31mbc\x1b[0m");
        assert_eq!(cut("", 3), "");
        assert_eq!(cut("\u{2582}\u{2583}", 1), "\u{2582}");
    }
}
