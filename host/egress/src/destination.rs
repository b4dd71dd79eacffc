//! Destinations that an operator allows in addition to public addresses: a host name, an address, or a network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::endpoint::normalize_host;

/// A destination that is allowed although its address is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedDestination {
    /// A network, whatever name resolves to it.
    Net(IpNet),
    /// Whatever this name resolves to.
    Host(String),
}

impl AllowedDestination {
    /// Returns true if a request for this host may connect to this address.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        match self {
            // The address may be IPv4-mapped.
            Self::Net(net) => net.contains(&address) || net.contains(&address.to_canonical()),
            Self::Host(name) => name == host,
        }
    }
}

impl fmt::Display for AllowedDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Host(name) => name.fmt(f),
        }
    }
}

impl FromStr for AllowedDestination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let text = text.trim();
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let host = normalize_host(text);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        let is_name = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_name { Ok(Self::Host(host)) } else { Err(InvalidDestination { text: text.to_owned() }) }
    }
}

/// The text is neither a network, nor an address, nor a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is neither a host name, nor an address, nor a network such as 10.0.0.0/8")]
pub struct InvalidDestination {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(destination: &str, host: &str, address: &str) -> bool {
        let destination: AllowedDestination = destination.parse().expect(destination);
        destination.allows(host, address.parse().expect("an address"))
    }

    #[test]
    fn a_network_allows_its_addresses_under_any_name() {
        assert!(allows("10.1.0.0/16", "anything", "10.1.2.3"));
        assert!(allows("10.1.2.3", "anything", "10.1.2.3"));
        assert!(allows("10.1.0.0/16", "anything", "::ffff:10.1.2.3"));
        assert!(allows("[fd00::1]", "fd00::1", "fd00::1") && allows("fd00::/8", "a", "fd12::1"));
        assert!(!allows("10.1.0.0/16", "anything", "10.2.0.1"));
        assert!(!allows("10.1.2.3", "10.1.2.3", "127.0.0.1"));
    }

    #[test]
    fn a_name_allows_its_addresses_and_no_other_name() {
        assert!(allows("Receiver.", "receiver", "172.18.0.3"));
        assert!(!allows("receiver", "evil.receiver", "172.18.0.3"));
        assert!(!allows("receiver", "172.18.0.3", "172.18.0.3"));
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in ["", "10.0.0.0/33", "http://receiver", "receiver:80", "a b", "10.0.0", "*"] {
            assert!(text.parse::<AllowedDestination>().is_err(), "{text}");
        }
    }
}
