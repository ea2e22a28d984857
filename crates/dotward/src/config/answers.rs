//! What clients are told beside the answer.

use super::build::{Parts, named_file};
use super::fault::{Fault, FileFault};
use super::files::{NamedFile, ReadFiles};
use super::value::Value;
use super::{AnswerSettings, CookieSecrets, Cookies};
use crate::settings::Id;

/// Builds the part; `None` only after a fault.
pub(super) fn build(parts: &Parts<'_>, faults: &mut Vec<Fault>) -> Option<AnswerSettings> {
    let values = parts.values;
    let file = named_file(values, Id::CookieSecretFile);
    let secrets = file.map(|file| secrets(&file, parts.files));
    let cookie_secrets = match secrets.transpose() {
        Ok(secrets) => secrets,
        Err(fault) => {
            faults.push(fault);
            return None;
        }
    };
    let cookies = match values.word(Id::Cookies) {
        Some("off") => Cookies::Off,
        Some("require") => Cookies::Require,
        Some(_) | None => Cookies::Answer,
    };
    let nsid = match values.one(Id::Nsid).map(|parsed| &parsed.value) {
        Some(Value::Text(nsid)) => Some(nsid.clone()),
        Some(_) | None => None,
    };
    let Value::Number(udp_size) = values.one(Id::UdpSize)?.value else {
        return None;
    };
    Some(AnswerSettings {
        udp_size: u16::try_from(udp_size).ok()?,
        cookies,
        cookie_secrets,
        nsid,
    })
}

fn secrets(file: &NamedFile, files: &dyn ReadFiles) -> Result<CookieSecrets, Fault> {
    let text = file.text(files)?;
    let mut found = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let word = line.split('#').next().unwrap_or_default().trim();
        if !word.is_empty() {
            let bad = || file.fault(FileFault::NotACookieSecret { line: place + 1 });
            found.push(secret(word).ok_or_else(bad)?);
        }
    }
    let bad = FileFault::CookieSecrets { found: found.len() };
    CookieSecrets::new(&found).ok_or_else(|| file.fault(bad))
}

fn secret(word: &str) -> Option<[u8; 16]> {
    // `from_str_radix` would take a leading plus sign.
    let digits = word.len() == 32 && word.bytes().all(|it| it.is_ascii_hexdigit());
    let number = u128::from_str_radix(word, 16).ok().filter(|_| digits)?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::place::Place;

    struct Text(&'static str);

    impl ReadFiles for Text {
        fn read(&self, _: &Path) -> std::io::Result<Vec<u8>> {
            Ok(self.0.into())
        }
    }

    fn read(text: &'static str) -> Result<CookieSecrets, Fault> {
        let file = NamedFile {
            path: "secrets".into(),
            key: "listen.cookie_secret_file".into(),
            place: Place::Default,
        };
        secrets(&file, &Text(text))
    }

    const ONE: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn secrets_are_read_in_their_order_around_comments() {
        let text = "# ours\n\n000102030405060708090A0b0c0d0e0f # the new one\n  ffffffffffffffffffffffffffffffff\n";
        let first = core::array::from_fn(|at| u8::try_from(at).unwrap());
        assert_eq!(
            read(text).unwrap(),
            CookieSecrets::new(&[first, [0xff; 16]]).unwrap()
        );
        assert_eq!(read(ONE).unwrap(), CookieSecrets::new(&[first]).unwrap());
    }

    #[test]
    fn bad_files_are_told_with_their_line() {
        for (text, words) in [
            ("", "holds 0 secrets"),
            ("\n# nothing\n", "holds 0 secrets"),
            ("00\n", "in line 1"),
            ("# x\n+00102030405060708090a0b0c0d0e0f\n", "in line 2"),
            ("zz0102030405060708090a0b0c0d0e0f", "in line 1"),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
            // What is in the file is a secret, be it well written or not.
            assert!(!told.contains("0102"), "{told}");
        }
    }
}
