//! Where a Redis or Valkey server is, or several are.

use super::ValueFault;
use crate::shared::Place;

/// The word for none.
pub(crate) const OFF: &str = "off";

pub(super) fn parse(text: &str) -> Result<String, ValueFault> {
    if text.eq_ignore_ascii_case(OFF) {
        return Ok(OFF.to_owned());
    }
    // Before anything else, so that no other fault shows it.
    if has_password(text) {
        return Err(ValueFault::PasswordInUrl);
    }
    // To the client library it would mean not to look at certificates, which it is built without.
    if text.contains('#') {
        return Err(ValueFault::StoreFragment);
    }
    match Place::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(ValueFault::NotAStore),
    }
}

fn has_password(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || text.contains("pass=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_are_taken_and_passwords_are_not() {
        for good in [
            "redis://cache.internal",
            "redis://127.0.0.1:6379/3",
            "rediss://dotward@[2001:db8::1]:6380",
            "unix:///run/valkey/valkey.sock",
            "redis+sentinel://s1.internal,s2.internal:26380/main",
            "rediss+cluster://dotward@[2001:db8::1],192.0.2.1:7000",
            "off",
        ] {
            assert_eq!(parse(good).unwrap(), good);
        }
        for bad in [
            "redis://:secret@cache.internal",
            "rediss://dotward:secret@cache.internal:6380/1",
            "unix:///run/valkey.sock?pass=secret",
            "redis+sentinel://dotward:secret@s1.internal,s2.internal/main",
            "redis+cluster://s1.internal,:secret@s2.internal",
        ] {
            assert_eq!(parse(bad), Err(ValueFault::PasswordInUrl), "{bad}");
        }
        for bad in [
            "rediss://cache.internal/#insecure",
            "redis+cluster://cache.internal#x",
            "unix:///run/valkey.sock#x",
        ] {
            assert_eq!(parse(bad), Err(ValueFault::StoreFragment), "{bad}");
        }
        for bad in [
            "cache.internal",
            "http://cache.internal",
            "redis://",
            "redis://x:port",
        ] {
            assert_eq!(parse(bad), Err(ValueFault::NotAStore), "{bad}");
        }
    }
}
