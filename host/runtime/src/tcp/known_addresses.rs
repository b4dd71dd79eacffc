//! The addresses that the look-ups of one guest have found, and that their names may lead to.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::plugin::tcp_rule::TcpRule;

/// Addresses that are remembered; the oldest are forgotten.
const KNOWN_MAX: usize = 1_024;

/// What a guest may connect to because it has looked it up.
#[derive(Debug, Default)]
pub(crate) struct KnownAddresses(VecDeque<Known>);

/// An address of a host, with the port of the rule that admits it.
#[derive(Debug)]
struct Known {
    address: SocketAddr,
    host: String,
}

impl KnownAddresses {
    /// Remembers those of the addresses of a host that a rule admits, and returns them.
    pub(crate) fn admit(&mut self, rules: &[TcpRule], host: &str, found: &[IpAddr]) -> Vec<IpAddr> {
        let mut admitted = Vec::new();
        for &address in found {
            let admitting = rules.iter().filter(|rule| rule.names(host) && rule.admits(host, address));
            let mut is_admitted = false;
            for rule in admitting {
                is_admitted = true;
                self.remember(SocketAddr::new(address, rule.port), host);
            }
            if is_admitted {
                admitted.push(address);
            }
        }
        admitted
    }

    /// Returns the host that was found at this address, if it may be reached at this port.
    pub(crate) fn host_at(&self, address: SocketAddr) -> Option<&str> {
        self.0.iter().rev().find(|known| known.address == address).map(|known| known.host.as_str())
    }

    fn remember(&mut self, address: SocketAddr, host: &str) {
        self.0.retain(|known| known.address != address || known.host != host);
        self.0.push_back(Known { address, host: host.to_owned() });
        if self.0.len() > KNOWN_MAX {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: u16, within: &[&str]) -> TcpRule {
        let within = within.iter().map(|network| network.parse().unwrap()).collect();
        TcpRule { host: host.to_owned(), port, within }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn host_at<'a>(known: &'a KnownAddresses, address: &str) -> Option<&'a str> {
        known.host_at(address.parse().unwrap())
    }

    #[test]
    fn only_what_was_looked_up_is_known_and_at_the_port_of_its_rule() {
        let rules = [rule("a.example", 5432, &[]), rule("b.example", 25, &[])];
        let mut known = KnownAddresses::default();
        assert_eq!(host_at(&known, "93.184.216.34:5432"), None);
        let found = addresses(&["93.184.216.34", "2606:4700::1111"]);
        assert_eq!(known.admit(&rules, "a.example", &found), found);
        assert_eq!(host_at(&known, "93.184.216.34:5432"), Some("a.example"));
        assert_eq!(host_at(&known, "[2606:4700::1111]:5432"), Some("a.example"));
        assert_eq!(host_at(&known, "93.184.216.34:25"), None);
        known.admit(&rules, "b.example", &addresses(&["93.184.216.34"]));
        assert_eq!(host_at(&known, "93.184.216.34:25"), Some("b.example"));
    }

    #[test]
    fn a_name_that_moves_into_the_network_leads_nowhere() {
        let rules = [rule("rebind.example", 80, &[])];
        let mut known = KnownAddresses::default();
        let first = known.admit(&rules, "rebind.example", &addresses(&["93.184.216.34"]));
        assert_eq!(first.len(), 1);
        for inner in ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fd00:ec2::254"] {
            assert!(known.admit(&rules, "rebind.example", &addresses(&[inner])).is_empty(), "{inner}");
            let address = SocketAddr::new(inner.parse().unwrap(), 80);
            assert_eq!(known.host_at(address), None, "{inner}");
        }
        let mixed = known.admit(&rules, "rebind.example", &addresses(&["10.0.0.7", "1.1.1.1"]));
        assert_eq!(mixed, addresses(&["1.1.1.1"]));
    }

    #[test]
    fn a_network_opens_a_name_at_the_port_of_its_own_rule() {
        let rules = [rule("db", 5432, &["10.0.0.0/8"]), rule("db", 6379, &[])];
        let mut known = KnownAddresses::default();
        assert_eq!(known.admit(&rules, "db", &addresses(&["10.1.2.3"])).len(), 1);
        assert_eq!(host_at(&known, "10.1.2.3:5432"), Some("db"));
        assert_eq!(host_at(&known, "10.1.2.3:6379"), None);
    }

    #[test]
    fn the_addresses_are_bounded_and_the_oldest_go_first() {
        let rules = [rule("*.example", 80, &["10.0.0.0/8"])];
        let mut known = KnownAddresses::default();
        for number in 0..=KNOWN_MAX {
            let [.., a, b] = u32::try_from(number).unwrap().to_be_bytes();
            known.admit(&rules, "a.example", &[IpAddr::from([10, 0, a, b])]);
        }
        assert_eq!(known.0.len(), KNOWN_MAX);
        assert_eq!(host_at(&known, "10.0.0.0:80"), None);
        assert_eq!(host_at(&known, "10.0.0.1:80"), Some("a.example"));
    }
}
