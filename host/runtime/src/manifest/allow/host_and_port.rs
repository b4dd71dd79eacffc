//! The host and the port of a rule.

/// Parses `host[:port]`. IPv6 addresses are in brackets.
pub(super) fn host_and_port(authority: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("has a '[' without a ']'")?;
        let address: std::net::Ipv6Addr = address.parse().map_err(|_| "has no valid IPv6 address in [ ]")?;
        let port = match port {
            "" => None,
            port => Some(port.strip_prefix(':').ok_or("has text between the address and its port")?),
        };
        (address.to_string(), port)
    } else {
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        (host_name(host)?, port)
    };
    let port = match port {
        None => default.ok_or("must have a port, as in db.example.com:5432")?,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0).ok_or("must have a port from 1 to 65535")?
        }
        Some(_) => return Err("must have a port from 1 to 65535".to_owned()),
    };
    Ok((host, port))
}

fn host_name(host: &str) -> Result<String, String> {
    let host = host.to_ascii_lowercase();
    let below = host.strip_prefix("*.");
    let name = below.unwrap_or(&host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("must have a host: a name, an IP address, or '*.' before a name".to_owned());
    }
    // What looks like an IPv4 address must be one, otherwise it would mean another host than it appears to.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if is_numeric && (below.is_some() || name.parse::<std::net::Ipv4Addr>().is_err()) {
        return Err("must have an IPv4 address of four numbers, or a name".to_owned());
    }
    Ok(host)
}
