//! The open number spaces of DNS: opcodes, RCODEs, record types and classes (the IANA "Domain Name System Parameters").
//!
//! They are newtypes and not enums because every value is legal on the wire (RFC 3597 section 3): a number without a
//! name here is relayed like any other and written `TYPE65280`, `CLASS3`.

use core::fmt;
use core::str::FromStr;

/// Text that names no number of the asked kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseNumberError;

impl fmt::Display for ParseNumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "neither a known mnemonic nor a number written as TYPE65280 (CLASS3 for a class)",
        )
    }
}

impl core::error::Error for ParseNumberError {}

macro_rules! numbers {
    ($(#[$doc:meta])* $kind:ident($repr:ty), $prefix:literal, { $($name:ident = $value:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(pub $repr);

        impl $kind {
            $(#[doc = $text] pub const $name: Self = Self($value);)*

            const NAMES: &'static [(Self, &'static str)] = &[$((Self($value), stringify!($name)),)*];

            /// The standard's name, when this number has one here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                Self::NAMES.iter().find(|(number, _)| *number == self).map(|(_, name)| *name)
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!($prefix, "{}"), self.0),
                }
            }
        }

        impl FromStr for $kind {
            type Err = ParseNumberError;

            fn from_str(text: &str) -> Result<Self, ParseNumberError> {
                let named = Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
                if let Some((number, _)) = named {
                    return Ok(*number);
                }
                let (prefix, digits) =
                    text.split_at_checked($prefix.len()).ok_or(ParseNumberError)?;
                if !prefix.eq_ignore_ascii_case($prefix) || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(ParseNumberError);
                }
                digits.parse().map(Self).map_err(|_| ParseNumberError)
            }
        }
    };
}

numbers! {
    /// What kind of message (RFC 6895 section 2.2); four bits.
    Opcode(u8), "OPCODE", {
        QUERY = 0, "A standard query.";
        IQUERY = 1, "Inverse query, obsolete (RFC 3425).";
        STATUS = 2, "Server status.";
        NOTIFY = 4, "Zone change notification (RFC 1996).";
        UPDATE = 5, "Dynamic update (RFC 2136).";
        DSO = 6, "DNS stateful operations (RFC 8490).";
    }
}

numbers! {
    /// The outcome a response reports (RFC 6895 section 2.3); 12 bits with EDNS.
    Rcode(u16), "RCODE", {
        NOERROR = 0, "No error.";
        FORMERR = 1, "The query was malformed.";
        SERVFAIL = 2, "The server failed.";
        NXDOMAIN = 3, "The name does not exist.";
        NOTIMP = 4, "The kind of query is not implemented.";
        REFUSED = 5, "Refused by policy.";
        YXDOMAIN = 6, "A name exists that should not (RFC 2136).";
        YXRRSET = 7, "A record set exists that should not (RFC 2136).";
        NXRRSET = 8, "A record set does not exist that should (RFC 2136).";
        NOTAUTH = 9, "Not authoritative or not authorised.";
        NOTZONE = 10, "The name is not in the zone (RFC 2136).";
        DSOTYPENI = 11, "DSO type not implemented (RFC 8490).";
        BADVERS = 16, "EDNS version not implemented (RFC 6891).";
        BADCOOKIE = 23, "Bad or missing server cookie (RFC 7873).";
    }
}

numbers! {
    /// The type of a record or of a question.
    RecordType(u16), "TYPE", {
        A = 1, "IPv4 address.";
        NS = 2, "Name server.";
        CNAME = 5, "Canonical name.";
        SOA = 6, "Start of authority.";
        PTR = 12, "Pointer to a name.";
        HINFO = 13, "Host information.";
        MX = 15, "Mail exchange.";
        TXT = 16, "Text.";
        SIG = 24, "Signature of a message: SIG(0) (RFC 2931).";
        AAAA = 28, "IPv6 address.";
        LOC = 29, "Location.";
        SRV = 33, "Service.";
        NAPTR = 35, "Naming authority pointer.";
        DNAME = 39, "Redirection of a subtree (RFC 6672).";
        OPT = 41, "EDNS pseudo-record (RFC 6891).";
        DS = 43, "Delegation signer.";
        SSHFP = 44, "SSH key fingerprint.";
        RRSIG = 46, "Signature of a record set.";
        NSEC = 47, "Next secure record.";
        DNSKEY = 48, "DNS key.";
        NSEC3 = 50, "Next secure record, hashed.";
        NSEC3PARAM = 51, "NSEC3 parameters.";
        TLSA = 52, "TLS certificate association.";
        SMIMEA = 53, "S/MIME certificate association.";
        CDS = 59, "Child DS.";
        CDNSKEY = 60, "Child DNSKEY.";
        OPENPGPKEY = 61, "OpenPGP key.";
        SVCB = 64, "Service binding (RFC 9460).";
        HTTPS = 65, "HTTPS service binding (RFC 9460).";
        SPF = 99, "Sender policy, obsolete.";
        TKEY = 249, "Transaction key (RFC 2930).";
        TSIG = 250, "Transaction signature (RFC 8945).";
        IXFR = 251, "Incremental zone transfer (RFC 1995).";
        AXFR = 252, "Zone transfer (RFC 5936).";
        MAILB = 253, "Mailbox records, obsolete.";
        MAILA = 254, "Mail agent records, obsolete.";
        ANY = 255, "All types (RFC 8482).";
        URI = 256, "Uniform resource identifier.";
        CAA = 257, "Certification authority authorisation.";
    }
}

numbers! {
    /// The class of a record or of a question.
    Class(u16), "CLASS", {
        IN = 1, "Internet.";
        CH = 3, "Chaos: server identification.";
        HS = 4, "Hesiod.";
        NONE = 254, "None (RFC 2136).";
        ANY = 255, "Any class.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back() {
        for text in ["A", "AAAA", "HTTPS", "TYPE65280", "TYPE0"] {
            assert_eq!(text.parse::<RecordType>().unwrap().to_string(), text);
        }
        assert_eq!("type28".parse::<RecordType>(), Ok(RecordType::AAAA));
        assert_eq!("cname".parse::<RecordType>(), Ok(RecordType::CNAME));
        assert_eq!(Rcode::SERVFAIL.to_string(), "SERVFAIL");
        assert_eq!(Rcode(3841).to_string(), "RCODE3841");
        assert_eq!(Class(3), Class::CH);
    }

    #[test]
    fn text_that_is_no_number_is_refused() {
        for text in [
            "",
            "TYPE",
            "TYPE65536",
            "TYPE+1",
            "TYPE-1",
            "AAAAA",
            "É",
            "TYP",
        ] {
            assert_eq!(text.parse::<RecordType>(), Err(ParseNumberError), "{text}");
        }
    }
}
