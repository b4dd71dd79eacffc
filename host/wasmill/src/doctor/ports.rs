//! Checks that the listen addresses are free.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use wasmill_api::Listen;
use wasmill_store_sqlite::LockHolder;

use crate::doctor::report::Check;
use crate::settings::Settings;

pub(super) fn checks(settings: &Settings, holder: Option<&LockHolder>) -> Vec<Check> {
    const DEBUG_NAME: &str = "debug port";
    let (mut checks, mut first) = (Vec::new(), None);
    match &settings.listen {
        Listen::Unix(path) => checks.push(socket("socket", "--listen", path, holder)),
        Listen::Tcp(address) => {
            // Kept while the other one is tried, as `serve` does. Listens without accepting connections.
            let bound = TcpListener::bind(address);
            checks.push(port("port", "--listen", *address, &bound, holder));
            first = Some((address.port(), bound));
        }
    }
    match &settings.debug_listen {
        None => {}
        Some(listen) if *listen == settings.listen && matches!(listen, Listen::Unix(_)) => {
            let found = format!("{listen} is the path of --listen");
            checks.push(Check::fail(
                DEBUG_NAME,
                found,
                "serve does not start",
                "use another path with --debug-listen",
            ));
        }
        Some(Listen::Unix(path)) => checks.push(socket(DEBUG_NAME, "--debug-listen", path, holder)),
        Some(Listen::Tcp(address)) => {
            let bound = TcpListener::bind(address);
            let is_taken = bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
            let is_own = first.is_some_and(|(port, first)| first.is_ok() && port == address.port());
            checks.push(if is_taken && is_own {
                let found = format!("{address} is the port of --listen");
                Check::fail(DEBUG_NAME, found, "serve does not start", "use another port with --debug-listen")
            } else {
                port(DEBUG_NAME, "--debug-listen", *address, &bound, holder)
            });
        }
    }
    checks
}

/// Reports whether a server can listen on a Unix socket.
fn socket(name: &'static str, flag: &str, path: &Path, holder: Option<&LockHolder>) -> Check {
    let shown = path.display();
    let other = format!("{flag} unix:PATH names another");
    let fail = |found, fix| Check::fail(name, found, "serve does not start", fix);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                fail(format!("the folder of {shown} does not exist"), format!("mkdir {}", folder.display()))
            }
            _ => Check::ok(name, format!("{shown} is free")),
        },
        Err(error) => fail(format!("failed to look at {shown}: {error}"), other),
        Ok(found) if !found.file_type().is_socket() => {
            fail(format!("{shown} is a file and no socket"), other)
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Check::ok(name, format!("{shown} is left over, and nobody listens there"))
            }
            Err(error) => fail(format!("failed to connect to {shown}: {error}"), other),
            Ok(_) if holder.is_some() => Check::warn(
                name,
                format!("{shown} is in use, as expected if the running server listens there"),
                "a second server cannot listen there",
                format!("nothing, if that is the server you mean; else {other}"),
            ),
            Ok(_) => fail(format!("{shown} is in use by another process"), other),
        },
    }
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

    #[test]
    fn a_socket_in_use_fails_unless_a_server_of_ours_may_use_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let state = |path: &Path, holder| socket("socket", "--listen", path, holder).state();
        assert_eq!(state(&path, None), State::Ok);
        assert_eq!(state(&folder.path().join("no/folder.sock"), None), State::Fail);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(state(&path, None), State::Fail);
        assert_eq!(state(&path, Some(&LockHolder { pid: Some(1) })), State::Warn);
        drop(listener);
        assert_eq!(state(&path, None), State::Ok, "nobody listens");
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(state(&folder.path().join("file"), None), State::Fail);
    }
}
