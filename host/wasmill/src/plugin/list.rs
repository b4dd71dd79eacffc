//! `wasmill plugin list`: asks a running server which plugins it has.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cli::ListArgs;
use crate::client;
use crate::output::say;

/// What is shown of a plugin.
#[derive(Deserialize)]
struct Plugin {
    name: String,
    state: String,
    kind: Option<String>,
    reason: Option<String>,
    digest: Option<String>,
    size_bytes: u64,
    tasks: Tasks,
}

#[derive(Deserialize)]
struct Tasks {
    waiting: u64,
    running: u64,
}

/// Prints one line for each plugin, or what the server answered as it is.
pub(crate) fn list(args: &ListArgs) -> Result<()> {
    let server = address(&args.server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(client::get(server, "/plugins"))?;
    if !status.is_success() {
        bail!("{server} answered {status}: {}", String::from_utf8_lossy(&body));
    }
    if args.json {
        say!("{}", String::from_utf8_lossy(&body));
        return Ok(());
    }
    let plugins: Vec<Plugin> =
        serde_json::from_slice(&body).with_context(|| format!("{server} is no wasmill server"))?;
    say!(
        "{:<20} {:<9} {:<8} {:<12} {:>10} {:>8} {:>8}",
        "NAME",
        "STATE",
        "KIND",
        "DIGEST",
        "BYTES",
        "WAITING",
        "RUNNING"
    );
    for plugin in plugins {
        let digest: String = plugin.digest.unwrap_or_default().chars().take(12).collect();
        let kind = plugin.kind.unwrap_or_default();
        let Tasks { waiting, running } = plugin.tasks;
        let (name, state, size) = (plugin.name, plugin.state, plugin.size_bytes);
        say!("{name:<20} {state:<9} {kind:<8} {digest:<12} {size:>10} {waiting:>8} {running:>8}");
        if let Some(reason) = plugin.reason {
            say!("  {reason}");
        }
    }
    Ok(())
}

/// Finds the address of a server that is named as a URL or as host and port.
fn address(server: &str) -> Result<SocketAddr> {
    if server.starts_with("https://") {
        bail!("{server} is asked over plain HTTP only; name an address behind the proxy");
    }
    let host = server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/');
    let host = if host.parse::<SocketAddr>().is_ok()
        || host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let found = host.to_socket_addrs().with_context(|| format!("failed to find server {server}"))?.next();
    found.with_context(|| format!("server {server} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_url_or_address() {
        for (server, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://[::1]:81", "[::1]:81"),
            ("http://127.0.0.1", "127.0.0.1:80"),
        ] {
            assert_eq!(address(server).unwrap(), expected.parse().unwrap());
        }
        assert!(address("https://127.0.0.1").is_err());
    }
}
