//! Checks that the listen addresses are free.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use wasmill_store_sqlite::LockHolder;

use crate::doctor::report::Check;
use crate::settings::Settings;

pub(super) fn checks(settings: &Settings, holder: Option<&LockHolder>) -> Vec<Check> {
    let listen = settings.listen;
    // Kept while the other one is tried, as `serve` does. Listens without accepting connections.
    let listener = TcpListener::bind(listen);
    let mut checks = vec![port("port", "--listen", listen, &listener, holder)];
    if let Some(address) = settings.debug_listen {
        const NAME: &str = "debug port";
        let bound = TcpListener::bind(address);
        let is_taken = bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
        checks.push(if is_taken && listener.is_ok() && listen.port() == address.port() {
            let found = format!("{address} is the port of --listen");
            Check::fail(NAME, found, "serve does not start", "use another port with --debug-listen")
        } else {
            port(NAME, "--debug-listen", address, &bound, holder)
        });
    }
    checks
}

/// Reports whether a server can listen at an address.
fn port(
    name: &'static str,
    flag: &str,
    address: SocketAddr,
    bound: &io::Result<TcpListener>,
    holder: Option<&LockHolder>,
) -> Check {
    let Err(error) = bound else {
        let open = if address.ip().is_loopback() { "" } else { ", and reachable from other machines" };
        return Check::ok(name, format!("{address} is free{open}"));
    };
    let other = format!("{flag} {}:0 uses any free port", address.ip());
    match error.kind() {
        ErrorKind::AddrInUse if holder.is_some() => Check::warn(
            name,
            format!("{address} is in use, as expected if the running server listens there"),
            "a second server cannot listen there",
            format!("nothing, if that is the server you mean; else {other}"),
        ),
        ErrorKind::AddrInUse => Check::fail(
            name,
            format!("{address} is in use by another process"),
            "serve does not start",
            format!("ss -ltnp 'sport = :{}' shows the process; {other}", address.port()),
        ),
        ErrorKind::PermissionDenied => Check::fail(
            name,
            format!("{address} is not permitted: {error}"),
            "serve does not start",
            format!(
                "sysctl -w net.ipv4.ip_unprivileged_port_start={}, or use a port from 1024",
                address.port()
            ),
        ),
        _ => fail(name, address, error, &other),
    }
}

fn fail(name: &'static str, address: SocketAddr, error: &io::Error, other: &str) -> Check {
    let fix = format!("`ip address` lists the addresses of this machine; {other}");
    Check::fail(name, format!("failed to listen on {address}: {error}"), "serve does not start", fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::State;

    #[test]
    fn a_port_in_use_fails_unless_a_server_of_ours_may_use_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            |address, holder| port("port", "--listen", address, &TcpListener::bind(address), holder).state();
        assert_eq!(state(address, None), State::Fail);
        assert_eq!(state(address, Some(&LockHolder { pid: Some(1) })), State::Warn);
        drop(listener);
        assert_eq!(state(address, None), State::Ok);
        assert_eq!(state("203.0.113.1:1".parse().unwrap(), None), State::Fail);
    }
}
