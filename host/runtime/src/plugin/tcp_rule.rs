//! A destination of outgoing TCP.

use std::fmt;
use std::net::IpAddr;

use wasmill_egress::{AllowedDestination, is_public, normalize_host};

use crate::plugin::host_pattern::matches_host;

/// A destination of outgoing TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRule {
    /// The host in lower case: a name, an IP address (IPv6 without brackets), or `*.` and a name for all its
    /// subdomains.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Networks whose addresses the name may resolve to, though they are not public.
    pub within: Vec<AllowedDestination>,
}

impl TcpRule {
    /// Returns true if the rule names this host, which is normalized.
    pub(crate) fn names(&self, host: &str) -> bool {
        matches_host(&self.host, host)
    }

    /// Returns true if the rule names this address itself.
    pub(crate) fn is_address(&self, address: IpAddr) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|named| named.to_canonical() == address)
    }

    /// Returns true if `host`, which the rule names, may be reached at this address.
    pub(crate) fn admits(&self, host: &str, address: IpAddr) -> bool {
        is_public(address)
            || (address.is_loopback() && normalize_host(&self.host) == "localhost")
            || self.within.iter().any(|network| network.allows(host, address))
    }
}

/// Formats the rule as `host:port`, and its networks.
impl fmt::Display for TcpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, within } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?;
        } else {
            write!(f, "{host}:{port}")?;
        }
        for (position, network) in within.iter().enumerate() {
            write!(f, "{}{network}", if position == 0 { " within " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, within: &[&str]) -> TcpRule {
        let within = within.iter().map(|network| network.parse().unwrap()).collect();
        TcpRule { host: host.to_owned(), port: 5432, within }
    }

    fn admits(rule: &TcpRule, host: &str, address: &str) -> bool {
        rule.names(host) && rule.admits(host, address.parse().unwrap())
    }

    #[test]
    fn a_name_leads_to_public_addresses_and_to_those_of_its_networks() {
        let public = rule("db.example.com", &[]);
        assert!(admits(&public, "db.example.com", "93.184.216.34"));
        assert!(!admits(&public, "www.db.example.com", "93.184.216.34"));
        for private in ["10.0.0.7", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"] {
            assert!(!admits(&public, "db.example.com", private), "{private}");
        }
        let inside = rule("db.internal", &["10.1.0.0/16", "fd00::/8"]);
        assert!(admits(&inside, "db.internal", "10.1.2.3") && admits(&inside, "db.internal", "fd00::1"));
        for other in ["10.2.0.1", "127.0.0.1", "169.254.169.254"] {
            assert!(!admits(&inside, "db.internal", other), "{other}");
        }
    }

    #[test]
    fn localhost_is_loopback_and_an_address_is_itself() {
        let local = rule("localhost", &[]);
        assert!(admits(&local, "localhost", "127.0.0.1") && admits(&local, "localhost", "::1"));
        assert!(!admits(&local, "localhost", "10.0.0.7") && !local.is_address("127.0.0.1".parse().unwrap()));
        assert!(rule("10.0.0.7", &[]).is_address("10.0.0.7".parse().unwrap()));
        assert!(!rule("10.0.0.7", &[]).is_address("10.0.0.8".parse().unwrap()));
    }

    #[test]
    fn a_wildcard_covers_subdomains_alone() {
        let below = rule("*.example.com", &[]);
        assert!(below.names("a.example.com") && below.names("a.b.example.com"));
        assert!(!below.names("example.com") && !below.names("badexample.com"));
    }

    #[test]
    fn a_rule_is_shown_with_its_networks() {
        assert_eq!(rule("db", &[]).to_string(), "db:5432");
        assert_eq!(rule("::1", &[]).to_string(), "[::1]:5432");
        let within = rule("db", &["10.0.0.0/8", "fd00::/8"]).to_string();
        assert_eq!(within, "db:5432 within 10.0.0.0/8, fd00::/8");
    }
}
