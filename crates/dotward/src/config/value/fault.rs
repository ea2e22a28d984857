//! What can be wrong with the text of one value, and what to write instead.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::settings::DurationText;

/// Which IP addresses are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// Both, or the name of a network interface.
    OrInterface,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn word(self) -> &'static str {
        match self {
            Self::Any | Self::OrInterface => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Any => "192.0.2.53 or [2001:db8::53]",
            Self::OrInterface => {
                "192.0.2.53 or [2001:db8::53], or the name of an interface such as eth0"
            }
            Self::V4 => "192.0.2.53",
            Self::V6 => "2001:db8::53",
        }
    }
}

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueFault {
    /// Nothing is there.
    Empty,
    /// Not an IP address of the family that is needed.
    NotAnAddress {
        /// The family.
        family: Family,
        /// What stands where the address is expected.
        found: String,
    },
    /// The wildcard or a multicast address, where one host is meant.
    NotOneHost {
        /// The address.
        found: String,
    },
    /// An IPv6 address without brackets, where a port may follow.
    Unbracketed {
        /// The address.
        found: String,
    },
    /// A name of a host, where only addresses and interfaces are accepted.
    HostName {
        /// The name.
        found: String,
    },
    /// An address that is good on one link only, without the link.
    NoInterface {
        /// The address.
        address: Ipv6Addr,
    },
    /// An IPv4 address in the clothes of IPv6, which sockets for IPv6 alone cannot have.
    Mapped {
        /// The IPv4 address.
        address: Ipv4Addr,
    },
    /// Not a port number.
    NotAPort {
        /// What stands where the port is expected.
        found: String,
    },
    /// A scheme that is not spoken there.
    Scheme {
        /// What stands before `://`.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Not a network.
    NotANetwork,
    /// Bits are set beyond the prefix.
    HostBits {
        /// The network with them.
        network: IpNet,
    },
    /// Not one of the words.
    NotOneOf {
        /// The words.
        words: &'static [&'static str],
    },
    /// Not a duration.
    NotADuration,
    /// A duration outside its range.
    DurationRange {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Not a number of seconds in range.
    NotSeconds {
        /// The largest.
        max: u32,
    },
    /// Not a number of octets.
    NotASize,
    /// Too few or too many octets.
    SizeRange,
    /// Not a whole number in range.
    NotANumber {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// Neither `true` nor `false` nor a block of padding in range.
    NotAPadding,
    /// Neither a number of workers nor the word for as many as are needed.
    NotWorkers {
        /// The largest number.
        max: usize,
    },
    /// Not a name the kernel takes for an interface.
    NotAnInterface,
    /// Neither a domain nor a network.
    NotASuffix {
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// No domain.
    NotADomain {
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// The root, which holds every name.
    Root,
    /// No `=` between suffix and upstream.
    NotARoute,
    /// Pins or roots where nothing is encrypted.
    NothingToVerify {
        /// What is spoken there.
        scheme: String,
    },
    /// The address of a route's upstream, without saying what is spoken there.
    AddressWithoutScheme {
        /// The address, with the port if one was given.
        address: String,
    },
    /// Not 1 to 64 letters, digits, `.`, `_`, `-`.
    NotALabel,
    /// No text, or too much.
    TextLength,
    /// Not a domain name.
    NotADomainName,
    /// Not a name a certificate can carry.
    NotATlsName {
        /// What stands where the name is expected.
        found: String,
    },
    /// Not a pin.
    NotAPin,
    /// A parameter nobody knows.
    UnknownParameter {
        /// Its name.
        found: String,
    },
    /// Unencrypted upstream.
    Plaintext,
    /// Neither preset, nor address, nor any other spelling of an upstream.
    UnknownUpstream {
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// An address without anything to verify it by.
    AddressWithoutName {
        /// The address, with the port if one was given.
        address: String,
    },
    /// Not the URL of a Redis or Valkey server.
    NotAStore,
    /// A `#` in the URL of a Redis or Valkey server.
    StoreFragment,
    /// A password stands where everybody can read it.
    PasswordInUrl,
    /// Not UTF-8.
    NotUtf8,
}

/// What to write where an address is expected; a port may stand alone where an address may have one.
fn address_remedy(family: Family, found: &str) -> String {
    let may_have_port = matches!(family, Family::Any | Family::OrInterface);
    if may_have_port && found.parse::<u16>().is_ok_and(|port| port != 0) {
        return format!("write the address before the port, such as 127.0.0.1:{found}");
    }
    format!("write an address such as {}", family.example())
}

const HOST_REMEDY: &str =
    "no host names here: write an address such as 192.0.2.53, or an interface such as eth0";
const DOMAIN_REMEDY: &str = "write a domain such as corp.example; the names below it are meant too";
const SUFFIX_REMEDY: &str = "write a domain such as corp.example, or a network such as 10.0.0.0/8";
const STORE_REMEDY: &str = "write redis://HOST[:PORT], redis+sentinel://HOST,…/NAME, redis+cluster://HOST,…, each with rediss for TLS, unix:///PATH, or off";
const FRAGMENT_REMEDY: &str = "leave it out; certificates are always verified, by an authority of your own with cache.shared_ca_file";
const PASSWORD_REMEDY: &str = "put the password into a file and name that with cache.shared_password_file \
                               (--shared-cache-password-file)";

impl fmt::Display for ValueFault {
    /// What is wrong, without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing is there"),
            Self::NotAnAddress { family, found } => {
                write!(f, "`{found}` is not an {} address", family.word())
            }
            Self::NotOneHost { found } => write!(f, "{found} is not the address of one host"),
            Self::Unbracketed { .. } => f.write_str("an IPv6 address stands in brackets here"),
            Self::HostName { found } => {
                write!(f, "`{found}` is a host name, whose address may change")
            }
            Self::NoInterface { address } => {
                write!(f, "{address} is link-local and needs an interface")
            }
            Self::Mapped { address } => write!(f, "this is the IPv4 address {address}"),
            Self::NotAPort { found } => write!(f, "`{found}` is not a port"),
            Self::Scheme { found, .. } => write!(f, "`{found}://` is not supported here"),
            Self::NotANetwork => f.write_str("not a network"),
            Self::HostBits { network } => {
                write!(
                    f,
                    "bits are set beyond the prefix length {}",
                    network.prefix_len()
                )
            }
            Self::NotOneOf { .. } => f.write_str("unknown word"),
            Self::NotADuration => f.write_str("not a duration"),
            Self::NotASize => f.write_str("not a size"),
            Self::DurationRange { .. } | Self::NotSeconds { .. } | Self::SizeRange => {
                f.write_str("out of range")
            }
            Self::NotANumber { .. } => f.write_str("not a whole number in range"),
            Self::NotWorkers { .. } => f.write_str("neither auto nor a number in range"),
            Self::NotAnInterface => f.write_str("not the name of a network interface"),
            Self::NotASuffix { .. } => f.write_str("neither a domain nor a network"),
            Self::NotADomain { .. } => f.write_str("not a domain with names below it"),
            Self::Root => f.write_str("every name is below the root"),
            Self::NotARoute => f.write_str("no `=` between suffix and upstream"),
            Self::NothingToVerify { scheme } => {
                write!(f, "{scheme}:// proves nothing that could be verified")
            }
            Self::AddressWithoutScheme { address } => {
                write!(f, "nothing says what is spoken with {address}")
            }
            Self::NotAPadding => f.write_str("not a block of padding"),
            Self::NotALabel => f.write_str("not fit for a name in logs and metrics"),
            Self::TextLength => f.write_str("a text has 1 to 4096 octets"),
            Self::NotADomainName => f.write_str("not a domain name"),
            Self::NotATlsName { found } => {
                write!(f, "`{found}` is not a name a certificate can carry")
            }
            Self::NotAPin => f.write_str("not a pin"),
            Self::UnknownParameter { found } => write!(f, "unknown parameter `{found}`"),
            Self::Plaintext => f.write_str("queries would leave this machine unencrypted"),
            Self::UnknownUpstream { .. } => f.write_str("neither a known provider nor an address"),
            Self::AddressWithoutName { address } => {
                write!(f, "nothing says whose certificate {address} must show")
            }
            Self::NotAStore => f.write_str("not the URL of a Redis or Valkey server"),
            Self::StoreFragment => f.write_str("`#` and what follows has no meaning here"),
            Self::PasswordInUrl => f.write_str("a password does not belong in a URL"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
        }
    }
}

impl ValueFault {
    /// What to write instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::Empty => "give a value, or leave the setting out".into(),
            Self::NotAnAddress { family, found } => address_remedy(*family, found),
            Self::NotOneHost { .. } => "write the address of one host".into(),
            Self::Unbracketed { found } => format!("write `[{found}]`, and the port behind it"),
            Self::HostName { .. } => HOST_REMEDY.into(),
            Self::NoInterface { address } => format!("write its interface too: `[{address}%eth0]`"),
            Self::Mapped { address } => format!("write `{address}`, and the port behind it"),
            Self::NotAPort { .. } => "write a port, which is a number up to 65535".into(),
            Self::Scheme { allowed, .. } => format!("write {allowed}"),
            Self::NotANetwork => {
                "write `loopback`, `private`, `any`, an address, or a network such as 192.0.2.0/24"
                    .into()
            }
            Self::HostBits { network } => {
                format!("write `{}`, or `{}` for one host", network.trunc(), network.addr())
            }
            Self::NotOneOf { words } => format!("write one of {}", words.join(", ")),
            Self::NotADuration => "write a whole number and one of the units ms, s, m, h or d, such as 500ms, 90m or 7d".into(),
            Self::DurationRange { min, max } => {
                format!("write {} to {}", DurationText(*min), DurationText(*max))
            }
            Self::NotASize => "write a whole number and one of the units KiB, MiB or GiB, such as 64MiB, or off".into(),
            Self::SizeRange => "write 1MiB to 1024GiB, or off".into(),
            Self::NotSeconds { max } => format!("write 0 to {max} seconds, or such as 5m"),
            Self::NotANumber { min, max } => {
                format!("write a whole number from {min} to {max}")
            }
            Self::NotAPadding => {
                "write `true` (128 octets), `false`, or 16 to 512 octets".into()
            }
            Self::NotWorkers { max } => {
                format!("write auto, or a whole number from 1 to {max}")
            }
            Self::NotAnInterface => {
                "write the name that `ip link` shows, such as wg0: 1 to 15 octets".into()
            }
            Self::NotASuffix { suggestion: Some(suggestion) }
            | Self::NotADomain { suggestion: Some(suggestion) } => {
                format!("write `{suggestion}`; the names below it are meant too")
            }
            Self::NotASuffix { suggestion: None } => SUFFIX_REMEDY.into(),
            Self::NotADomain { suggestion: None } => DOMAIN_REMEDY.into(),
            Self::Root => "list it in `upstream`: that is asked about whatever has no route".into(),
            Self::NotARoute => "write SUFFIX=SPEC, such as corp.example=udp://10.0.0.53".into(),
            Self::NothingToVerify { .. } => "remove `?` and what follows, or write `tls://`".into(),
            Self::AddressWithoutScheme { address } => format!(
                "write `udp://{address}` or `tcp://{address}` for clear text, or `tls://NAME@{address}`"
            ),
            Self::NotALabel => "write 1 to 64 letters, digits, `.`, `_` or `-`".into(),
            Self::TextLength => "write text, and split what is longer".into(),
            Self::NotADomainName => {
                "write labels of 1 to 63 octets with dots between, 255 octets at most".into()
            }
            Self::NotATlsName { .. } => "write a DNS name or an IP address".into(),
            Self::NotAPin => {
                "write `sha256/` and the base64 form of the SHA-256 of the public key (44 characters)"
                    .into()
            }
            Self::UnknownParameter { .. } => "write `pin=sha256/…` or `ca_file=…`".into(),
            Self::Plaintext => "write `tls://NAME@ADDR`, or a preset (dotward upstream list); only a \
                 route may be unencrypted, such as --route corp.example=udp://10.0.0.53"
                .into(),
            Self::UnknownUpstream { suggestion: Some(suggestion) } => {
                format!("did you mean `{suggestion}`?")
            }
            Self::UnknownUpstream { suggestion: None } => {
                "write a preset (dotward upstream list), `tls://NAME@ADDR` or `tls://NAME`".into()
            }
            Self::AddressWithoutName { address } => format!(
                "write `tls://NAME@{address}`, or `tls://{address}` if its certificate carries \
                 the address, or add `?pin=sha256/…`"
            ),
            Self::NotAStore => STORE_REMEDY.into(),
            Self::StoreFragment => FRAGMENT_REMEDY.into(),
            Self::PasswordInUrl => PASSWORD_REMEDY.into(),
            Self::NotUtf8 => "write it in UTF-8".into(),
        }
    }
}
