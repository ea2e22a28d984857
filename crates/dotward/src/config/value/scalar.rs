//! Words, numbers, durations, names of records.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use dotward_core::limits::{QUERY_PADDING_BLOCK, QUERY_PADDING_BLOCK_MAX};

use super::{Family, ValueFault};
use crate::config::{Name, Workers};
use crate::limits::WORKERS_MAX;

/// The longest text of a local TXT record, in octets. Sixteen character-strings: more than any known use
/// needs, and few enough that one answer stays far below the 65535 octets of a message.
const RECORD_TEXT_MAX: usize = 4096;

/// The longest name of a network interface, without the zero octet behind it (`IFNAMSIZ`).
const INTERFACE_MAX: usize = 15;

/// The smallest block of padding, in octets: below it, lengths tell nearly as much as without.
const PADDING_MIN: u32 = 16;

/// The longest name of an upstream. It becomes a metric label and a part of log lines.
const LABEL_MAX: usize = 64;

pub(super) fn choice(
    words: &'static [&'static str],
    text: &str,
) -> Result<&'static str, ValueFault> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    found.copied().ok_or(ValueFault::NotOneOf { words })
}

pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, ValueFault> {
    let value = any_duration(text).ok_or(ValueFault::NotADuration)?;
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(ValueFault::DurationRange { min, max })
    }
}

fn any_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit_millis = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_millis).map(Duration::from_millis)
}

pub(crate) fn port(text: &str) -> Result<u16, ValueFault> {
    // `parse` would take a leading plus sign.
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    match text.parse() {
        Ok(port) if port != 0 && digits => Ok(port),
        Ok(_) | Err(_) => Err(ValueFault::NotAPort {
            found: text.to_owned(),
        }),
    }
}

pub(super) fn seconds(text: &str, max: u32) -> Result<u32, ValueFault> {
    let number = match text.parse::<u64>() {
        Ok(number) => Some(number),
        Err(_) => any_duration(text)
            .filter(|it| it.subsec_nanos() == 0)
            .map(|it| it.as_secs()),
    };
    let number = number.and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| *number <= max)
        .ok_or(ValueFault::NotSeconds { max })
}

/// Octets; `off` is none.
pub(super) fn size(text: &str) -> Result<u64, ValueFault> {
    const MIN: u64 = 1 << 20;
    const MAX: u64 = 1 << 40;
    if text == "0" || text.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(ValueFault::NotASize),
    };
    let number = number.parse::<u64>().map_err(|_| ValueFault::NotASize)?;
    let size = number.checked_mul(1 << shift);
    size.filter(|size| (MIN..=MAX).contains(size))
        .ok_or(ValueFault::SizeRange)
}

pub(super) fn yes_no(text: &str) -> Result<bool, ValueFault> {
    text.parse().map_err(|_| ValueFault::NotOneOf {
        words: &["true", "false"],
    })
}

/// Octets of a block; 0 for no padding.
pub(super) fn padding(text: &str) -> Result<u32, ValueFault> {
    let most = u32::try_from(QUERY_PADDING_BLOCK_MAX).unwrap_or(u32::MAX);
    match text {
        "true" => Ok(u32::try_from(QUERY_PADDING_BLOCK).unwrap_or(u32::MAX)),
        "false" => Ok(0),
        text => number(text, PADDING_MIN, most).map_err(|_| ValueFault::NotAPadding),
    }
}

pub(super) fn label(text: &str) -> Result<String, ValueFault> {
    let good = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    if text.len() <= LABEL_MAX && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(ValueFault::NotALabel)
    }
}

pub(super) fn record_text(text: &str) -> Result<String, ValueFault> {
    if (1..=RECORD_TEXT_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(ValueFault::TextLength)
    }
}

pub(super) fn domain_name(text: &str) -> Result<Name, ValueFault> {
    text.parse().map_err(|_| ValueFault::NotADomainName)
}

/// An address of one host.
pub(super) fn ip(text: &str) -> Result<IpAddr, ValueFault> {
    let found = || text.to_owned();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address: IpAddr = bare.parse().map_err(|_| ValueFault::NotAnAddress {
        family: Family::Any,
        found: found(),
    })?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(ValueFault::NotOneHost { found: found() });
    }
    Ok(address)
}

pub(super) fn interface(text: &str) -> Result<String, ValueFault> {
    // What the kernel takes as a name, and nothing that could end a log line.
    let good = |octet: u8| octet.is_ascii_graphic() && octet != b'/' && octet != b':';
    if text.len() <= INTERFACE_MAX && text.bytes().all(good) && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err(ValueFault::NotAnInterface)
    }
}

/// A number of workers, or the word for as many as are needed.
pub(super) fn workers(text: &str) -> Result<Workers, ValueFault> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Workers::Auto);
    }
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    let number = text.parse::<NonZeroU8>().ok().filter(|_| digits);
    number
        .filter(|number| usize::from(number.get()) <= WORKERS_MAX)
        .map(Workers::Number)
        .ok_or(ValueFault::NotWorkers { max: WORKERS_MAX })
}

/// Digits, or hexadecimal ones after `0x`, as routing rules write marks.
pub(super) fn number(text: &str, min: u32, max: u32) -> Result<u32, ValueFault> {
    let number = match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|it| it.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()
        }
        None if text.bytes().all(|it| it.is_ascii_digit()) => text.parse().ok(),
        Some(_) | None => None,
    };
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or(ValueFault::NotANumber { min, max })
}

pub(super) fn ipv4(text: &str) -> Result<Ipv4Addr, ValueFault> {
    text.parse().map_err(|_| ValueFault::NotAnAddress {
        family: Family::V4,
        found: text.to_owned(),
    })
}

pub(super) fn ipv6(text: &str) -> Result<Ipv6Addr, ValueFault> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().map_err(|_| ValueFault::NotAnAddress {
        family: Family::V6,
        found: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let read = |text| duration(text, Duration::ZERO, Duration::from_secs(60));
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("2 s"), Ok(Duration::from_secs(2)));
        assert_eq!(read("1m"), Ok(Duration::from_secs(60)));
        for bad in ["2", "s", "-2s", "1.5s", "2sec", "99999999999999999999s"] {
            assert_eq!(read(bad), Err(ValueFault::NotADuration), "{bad}");
        }
        assert!(matches!(read("61s"), Err(ValueFault::DurationRange { .. })));
        assert!(matches!(
            read("99999999999999999d"),
            Err(ValueFault::NotADuration)
        ));
    }

    #[test]
    fn ports_are_plain_numbers_above_zero() {
        assert_eq!(port("853"), Ok(853));
        for bad in ["0", "65536", "+853", "-1", "dot", "8 53"] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_may_be_written_as_a_duration() {
        assert_eq!(seconds("300", 604_800), Ok(300));
        assert_eq!(seconds("5m", 604_800), Ok(300));
        for bad in ["1500ms", "604801", "8d", "-1", "x"] {
            assert!(seconds(bad, 604_800).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_in_range() {
        assert_eq!(number("51", 1, u32::MAX), Ok(51));
        assert_eq!(number("0xca6c", 1, u32::MAX), Ok(51_820));
        for bad in ["0", "4294967296", "-1", "+1", "0x", "0x+1", "ca6c", ""] {
            assert!(number(bad, 1, u32::MAX).is_err(), "{bad}");
        }
    }

    #[test]
    fn interfaces_are_what_the_kernel_takes() {
        for good in ["wg0", "eth0.100", "br-lan", "enp3s0"] {
            assert_eq!(interface(good).as_deref(), Ok(good));
        }
        for bad in ["a name", "a/b", "..", "eth0:1", "sixteen-octets-x", "a\nb"] {
            assert_eq!(interface(bad), Err(ValueFault::NotAnInterface), "{bad}");
        }
    }

    #[test]
    fn one_host_is_neither_all_nor_many() {
        assert!(
            ip("192.0.2.7").is_ok() && ip("[2001:db8::7]").is_ok() && ip("2001:db8::7").is_ok()
        );
        for bad in ["0.0.0.0", "::", "224.0.0.1", "192.0.2.7:53", "eth0"] {
            assert!(ip(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_read_in_any_letter_case() {
        assert_eq!(choice(&["info", "debug"], "DEBUG"), Ok("debug"));
        assert!(choice(&["info"], "loud").is_err());
    }
}
