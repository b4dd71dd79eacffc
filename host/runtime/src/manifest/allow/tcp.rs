//! The destinations of TCP in `[allow]`: `"host:port"`, or a table that also names private networks.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use wasmill_egress::AllowedDestination;

use super::host_and_port::host_and_port;
use crate::plugin::tcp_rule::TcpRule;

/// Networks of one rule.
const NETWORKS_MAX: usize = 16;

/// A destination as written.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TcpTable {
    to: String,
    #[serde(default)]
    within: Vec<String>,
}

/// A destination as written: a string, or a table.
#[derive(Debug)]
pub(super) struct TcpEntry(TcpTable);

impl<'de> Deserialize<'de> for TcpEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = TcpEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"host:port\", or a table with `to` and `within`")
            }

            fn visit_str<E>(self, to: &str) -> Result<TcpEntry, E> {
                Ok(TcpEntry(TcpTable { to: to.to_owned(), within: Vec::new() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TcpEntry, A::Error> {
                TcpTable::deserialize(MapAccessDeserializer::new(map)).map(TcpEntry)
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

impl TcpEntry {
    /// Checks a destination.
    pub(super) fn check(self) -> Result<TcpRule, String> {
        let Self(TcpTable { to, within }) = self;
        let refuse = |reason: String| format!("allow.tcp '{}' {reason}", to.escape_debug());
        let (host, port) = destination(&to).map_err(refuse)?;
        if within.len() > NETWORKS_MAX {
            return Err(refuse(format!("has more than {NETWORKS_MAX} networks in `within`")));
        }
        let within = within.iter().map(|text| network(text).map_err(refuse));
        Ok(TcpRule { host, port, within: within.collect::<Result<_, _>>()? })
    }
}

/// Parses `host:port`, and no parts of a URL.
fn destination(to: &str) -> Result<(String, u16), String> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii();
    if to.contains("://") || to.contains(['/', '@', '?', '#', '\\']) || to.chars().any(forbidden) {
        return Err("must be a host and a port, as in db.example.com:5432".to_owned());
    }
    host_and_port(to, None)
}

/// Parses a network; a host name is none, since it says nothing about addresses.
fn network(text: &str) -> Result<AllowedDestination, String> {
    match text.parse() {
        Ok(network @ AllowedDestination::Net(_)) => Ok(network),
        _ => Err(format!(
            "has '{}' in `within`, which is neither an address nor a network such as 10.0.0.0/8",
            text.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(tcp: &str) -> Result<Vec<String>, String> {
        let allow = toml::from_str::<super::super::Allow>(&format!("tcp = {tcp}"));
        let allow = allow.map_err(|error| error.message().to_owned())?;
        allow.check(0).map(|all| all.tcp.iter().map(TcpRule::to_string).collect())
    }

    #[test]
    fn destinations_are_strings_or_tables_with_networks() {
        let mixed = r#"["DB.internal:5432", { to = "db:6379", within = ["10.1.2.3/8", "fd00::1"] }]"#;
        assert_eq!(rules(mixed).unwrap(), ["db.internal:5432", "db:6379 within 10.0.0.0/8, fd00::1/128"]);
        assert_eq!(rules(r#"["[::1]:25", "*.example.com:587"]"#).unwrap(), ["[::1]:25", "*.example.com:587"]);
        assert_eq!(rules("[]").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn other_forms_are_rejected_with_the_reason() {
        for (tcp, said) in [
            (r#"["db"]"#, "must have a port"),
            (r#"["[::1]"]"#, "must have a port"),
            (r#"["db:0"]"#, "1 to 65535"),
            (r#"["db:65536"]"#, "1 to 65535"),
            (r#"["db:"]"#, "1 to 65535"),
            (r#"["db:54-60"]"#, "1 to 65535"),
            (r#"["db:*"]"#, "1 to 65535"),
            (r#"["*:5432"]"#, "must have a host"),
            (r#"["1.2.3:5432"]"#, "four numbers"),
            (r#"["tcp://db:5432"]"#, "a host and a port"),
            (r#"["u@db:5432"]"#, "a host and a port"),
            (r#"["d\u00e4:5432"]"#, "a host and a port"),
            (r#"[{ to = "db:5432", within = ["db"] }]"#, "neither an address"),
            (r#"[{ to = "db:5432", within = ["10.0.0.0/33"] }]"#, "neither an address"),
            (r#"[{ within = ["10.0.0.0/8"] }]"#, "missing field `to`"),
            (r#"[{ to = "db:5432", net = [] }]"#, "unknown field"),
            ("[5432]", "host:port"),
            (r#""db:5432""#, "a sequence"),
        ] {
            let why = rules(tcp).expect_err(tcp);
            assert!(why.contains(said), "{tcp}: {why}");
        }
        let many = vec!["\"10.0.0.0/8\""; NETWORKS_MAX + 1].join(",");
        let why = rules(&format!("[{{ to = \"db:1\", within = [{many}] }}]")).unwrap_err();
        assert!(why.contains("more than 16"), "{why}");
    }
}
