//! A listen address: an address and a port, or a loopback port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a listen address may be, for error messages.
const INVALID: &str = "use an address and a port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, or a loopback port, such as \
     8080; 0.0.0.0:8080 means every interface";

/// Parses the address and port of a listener, written as `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`. A port
/// alone, such as `8080` or `:8080`, means loopback, as the default does.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if !(host.is_empty() || host.eq_ignore_ascii_case("localhost"))
        || !port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(INVALID);
    }
    let port = port.parse().map_err(|_| INVALID)?;
    Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_is_an_address_localhost_or_a_port() {
        for (text, address) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            (":8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(parse_listen(text).unwrap(), address.parse().unwrap(), "{text}");
        }
        for text in
            ["", ":", "localhost", "localhost:", "host:80", "*:80", "127.0.0.1", "::1", ":+80", "80000", "-1"]
        {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }
}
