//! The hosts of rules: a name, an address, or `*.` and a name for all its subdomains.

use std::net::IpAddr;

use wasmill_egress::normalize_host;

/// Returns true if the host of a rule equals `host`, or is a wildcard that covers it.
pub(crate) fn matches_host(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(above) => {
            let below = host.strip_suffix(above).and_then(|rest| rest.strip_suffix('.'));
            below.is_some_and(|name| !name.is_empty()) && host.parse::<IpAddr>().is_err()
        }
        None => normalize_host(rule) == host,
    }
}
