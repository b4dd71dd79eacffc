//! A listen address: an address and a port, or a loopback port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

/// The address and port of a listener, written as `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`. A port alone,
/// such as `8080` or `:8080`, means loopback, as the default does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "ListenValue")]
pub(crate) struct Listen(pub(crate) SocketAddr);

/// The text is not a listen address.
#[derive(Debug)]
pub(crate) struct InvalidListen;

impl std::fmt::Display for InvalidListen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "use an address and a port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, or a loopback port, \
             such as 8080; 0.0.0.0:8080 means every interface",
        )
    }
}

impl std::error::Error for InvalidListen {}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if !(host.is_empty() || host.eq_ignore_ascii_case("localhost"))
            || !port.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(InvalidListen);
        }
        let port = port.parse().map_err(|_| InvalidListen)?;
        Ok(Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)))
    }
}

/// The form in a settings file: a text, or a port as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListenValue {
    Port(u16),
    Text(String),
}

impl TryFrom<ListenValue> for Listen {
    type Error = InvalidListen;

    fn try_from(value: ListenValue) -> Result<Self, InvalidListen> {
        match value {
            ListenValue::Port(port) => port.to_string().parse(),
            ListenValue::Text(text) => text.parse(),
        }
    }
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
            assert_eq!(text.parse::<Listen>().unwrap().0, address.parse().unwrap(), "{text}");
        }
        for text in
            ["", ":", "localhost", "localhost:", "host:80", "*:80", "127.0.0.1", "::1", ":+80", "80000", "-1"]
        {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_may_give_the_port_as_a_number() {
        #[derive(Deserialize)]
        struct File {
            listen: Listen,
        }
        let listen = |text| toml::from_str::<File>(text).map(|file| file.listen.0.to_string());
        assert_eq!(listen("listen = 9000").unwrap(), "127.0.0.1:9000");
        assert_eq!(listen("listen = \"localhost:9000\"").unwrap(), "127.0.0.1:9000");
        assert!(listen("listen = \"host:9000\"").is_err());
    }
}
