//! A bar that says how far it is, for people who wait at a terminal.

use std::io::Write;

const WIDTH: usize = 30;

/// How far it is. Without anybody to tell it does nothing.
pub(crate) struct Progress<'a> {
    out: Option<&'a mut dyn Write>,
    done: usize,
    all: usize,
}

impl<'a> Progress<'a> {
    /// Tells `out`, if there is one.
    pub(crate) fn new(out: Option<&'a mut dyn Write>) -> Self {
        Self {
            out,
            done: 0,
            all: 0,
        }
    }

    /// There will be so many more steps.
    pub(crate) fn expect(&mut self, steps: usize) {
        self.all += steps;
        self.show();
    }

    /// One step more was done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        self.show();
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(out) = self.out {
            write_or_leave(out, "\r\x1b[K");
        }
    }

    fn show(&mut self) {
        let (done, all) = (self.done.min(self.all), self.all);
        let Some(out) = &mut self.out else { return };
        let filled = (done * WIDTH).checked_div(all).unwrap_or(0);
        let (full, empty) = ("#".repeat(filled), ".".repeat(WIDTH - filled));
        write_or_leave(*out, &format!("\r[{full}{empty}] {done}/{all}"));
    }
}

/// A terminal that cannot be written to is nobody who waits.
fn write_or_leave(out: &mut dyn Write, text: &str) {
    drop(out.write_all(text.as_bytes()));
    drop(out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_is_taken_away() {
        let mut out: Vec<u8> = Vec::new();
        let mut progress = Progress::new(Some(&mut out));
        progress.expect(2);
        progress.step();
        progress.step();
        progress.finish();
        let text = String::from_utf8(out).unwrap();
        let shown: Vec<_> = text.split('\r').skip(1).collect();
        let half = "#".repeat(15) + &".".repeat(15);
        assert_eq!(shown.len(), 4, "{text:?}");
        assert_eq!(shown[0], format!("[{}] 0/2", ".".repeat(30)));
        assert_eq!(shown[1], format!("[{half}] 1/2"));
        assert_eq!(shown[2], format!("[{}] 2/2", "#".repeat(30)));
        assert_eq!(shown[3], "\x1b[K");
    }
}
