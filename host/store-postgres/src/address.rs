//! Where the database is, and how to reach it. The password is in nothing that is shown.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use wasmill_egress::{TlsClient, Trust};

use crate::connection::tls::Tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent data may go unacknowledged, and an idle connection unanswered.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 2;

const EXAMPLE: &str = "postgres://wasmill@db.example.org/wasmill";

/// The address of a database, checked.
#[derive(Clone)]
pub struct Address {
    /// One for each host of the URL. The one that accepts writes is used.
    pub(crate) servers: Vec<Config>,
    user: Option<String>,
    database: Option<String>,
    pub(crate) tls: Option<Tls>,
    shown: String,
}

impl Address {
    /// Parses a URL such as `postgres://wasmill@db.example.org/wasmill?sslmode=verify-full`; the roots are PEM.
    ///
    /// Several hosts may be named, as `postgres://wasmill@a,b:5433/wasmill`: the primary among them is used, whichever it is.
    /// Unless the URL says otherwise, the certificate of the server is verified, except on loopback and sockets.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the URL, the password or the roots, without the password.
    pub fn new(url: &str, password: Option<&str>, roots: Option<&[u8]>) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!("it is not a URL such as {EXAMPLE}"));
        }
        let (url, mode) = without_modes(url)?;
        let mut server: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            // It names parameters, never values.
            let reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
            format!("it is not a URL such as {EXAMPLE}: {reason}")
        })?;
        if server.get_hosts().is_empty() {
            return Err(format!("it names no host; write it as in {EXAMPLE}"));
        }
        if let Some(password) = password {
            if server.get_password().is_some() {
                return Err("it has a password, and so has database_password_file; remove one".to_owned());
            }
            server.password(password);
        }
        let is_local = server.get_hosts().iter().all(is_local);
        let mode = mode.unwrap_or(if is_local && roots.is_none() { Mode::Disable } else { Mode::VerifyFull });
        let tls = mode.client(roots)?;
        let hosts = server.get_hosts().len();
        if server.get_ports().len() > 1 && server.get_ports().len() != hosts {
            return Err("it has more ports than hosts; write host:port for each".to_owned());
        }
        if ![0, hosts].contains(&server.get_hostaddrs().len()) {
            return Err("its hostaddr has not one address for each host".to_owned());
        }
        server.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        let shown = shown(&server);
        let servers = (0..hosts).map(|index| only(&server, index)).collect();
        let (user, database) = (server.get_user().map(str::to_owned), server.get_dbname().map(str::to_owned));
        Ok(Self { servers, user, database, tls, shown })
    }

    /// Returns the user that the URL names.
    pub(crate) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("of this process")
    }

    /// Returns the database that the URL names.
    pub(crate) fn database(&self) -> &str {
        self.database.as_deref().or(self.user.as_deref()).unwrap_or("of the user")
    }
}

/// Shows it without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether connections are encrypted, and whose certificate is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Require,
    VerifyFull,
}

impl Mode {
    fn client(self, roots: Option<&[u8]>) -> Result<Option<Tls>, String> {
        let trust = match (self, roots) {
            (Self::Disable, None) => return Ok(None),
            (Self::VerifyFull, None) => Trust::Web,
            (Self::VerifyFull, Some(pem)) => Trust::Only(pem),
            (Self::Require, None) => Trust::Anybody,
            (Self::Disable | Self::Require, Some(_)) => {
                return Err(
                    "its sslmode verifies no certificate, so database_ca has no use; use sslmode=verify-full"
                        .to_owned(),
                );
            }
        };
        TlsClient::new(trust).map(|client| Some(Tls(client)))
    }
}

/// Returns how to reach one of the hosts: a primary, since a standby refuses to write.
fn only(all: &Config, index: usize) -> Config {
    let mut one = Config::new();
    match &all.get_hosts()[index] {
        Host::Tcp(name) => one.host(name),
        Host::Unix(folder) => one.host_path(folder),
    };
    if let Some(address) = all.get_hostaddrs().get(index) {
        one.hostaddr(*address);
    }
    if let Some(port) = all.get_ports().get(index).or(all.get_ports().first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(SILENCE_MAX)
        .keepalives_idle(SILENCE_MAX)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    one
}

/// Takes out of the URL what concerns TLS and the choice of a host: the parser of the client does not know all of it.
fn without_modes(url: &str) -> Result<(String, Option<Mode>), String> {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let mut mode = None;
    let mut rest = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let decoded = form_urlencoded::parse(parameter.as_bytes()).next();
        match decoded.as_ref().map(|(name, value)| (&**name, &**value)) {
            Some(("sslmode", "disable")) => mode = Some(Mode::Disable),
            Some(("sslmode", "require")) => mode = Some(Mode::Require),
            Some(("sslmode", "verify-full")) => mode = Some(Mode::VerifyFull),
            Some(("sslmode", _)) => {
                return Err("its sslmode is none of disable, require and verify-full".to_owned());
            }
            Some(("sslrootcert", _)) => {
                return Err("it has sslrootcert; name that file with database_ca instead".to_owned());
            }
            // The hosts are tried all at once, and whichever accepts writes is used.
            Some(("target_session_attrs", "any" | "primary" | "read-write")) => {}
            Some(("target_session_attrs", _)) => {
                return Err("its target_session_attrs asks for a standby, and wasmill writes; leave it out"
                    .to_owned());
            }
            _ => rest.push(parameter),
        }
    }
    let url = if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) };
    Ok((url, mode))
}

/// Returns true if nobody else is on the way to the host.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

fn shown(server: &Config) -> String {
    let ports = server.get_ports();
    let hosts = server.get_hosts().iter().enumerate().map(|(index, host)| {
        let host = match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        };
        match ports.get(index).or(ports.first()) {
            Some(port) if *port != 5432 => format!("{host}:{port}"),
            _ => host,
        }
    });
    let hosts: Vec<_> = hosts.collect();
    let user = server.get_user().map_or(String::new(), |user| format!("{user}@"));
    let database = server.get_dbname().unwrap_or_default();
    format!("postgres://{user}{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Address, String> {
        Address::new(url, None, None)
    }

    #[test]
    fn the_password_is_in_nothing_that_is_shown() {
        let address = parsed("postgres://ann:s3cret@db.example.org:6432/tasks").expect("a URL");
        assert_eq!(address.to_string(), "postgres://ann@db.example.org:6432/tasks");
        assert!(!format!("{address:?}").contains("s3cret"));
        for url in [
            "postgres://ann:s3cret@db.example.org:x/tasks",
            "postgres://ann:s3cret/x@db.example.org/tasks",
            "postgres://ann:s3cret@db.example.org/tasks?nothing=s3cret",
            "postgres://ann:s3cret@db.example.org/tasks?sslmode=s3cret",
            "postgres://ann:s3cret@/tasks",
            "mysql://ann:s3cret@db.example.org/tasks",
        ] {
            let shown = parsed(url).map_or_else(|error| error, |address| format!("{address} {address:?}"));
            assert!(!shown.contains("s3cret"), "{url}: {shown}");
        }
        let both = Address::new("postgres://ann:s3cret@db.example.org/tasks", Some("other"), None);
        assert!(both.expect_err("two passwords").contains("remove one"));
    }

    #[test]
    fn each_host_of_the_url_is_a_server_that_must_accept_writes() {
        let address = parsed("postgres://ann:pw@a.example.org,b.example.org:6432/tasks?options=-cx%3D1")
            .expect("a URL");
        assert_eq!(address.to_string(), "postgres://ann@a.example.org,b.example.org:6432/tasks");
        let hosts = address.servers.iter().map(|server| (server.get_hosts(), server.get_ports()));
        let tcp = |name: &str| [Host::Tcp(name.to_owned())];
        let expected = [(tcp("a.example.org"), [5432]), (tcp("b.example.org"), [6432])];
        assert!(
            hosts.eq(expected.iter().map(|(host, port)| (&host[..], &port[..]))),
            "{:?}",
            address.servers
        );
        for server in &address.servers {
            assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            assert_eq!((server.get_user(), server.get_password()), (Some("ann"), Some(&b"pw"[..])));
            assert_eq!((server.get_dbname(), server.get_options()), (Some("tasks"), Some("-cx=1")));
            assert_eq!(server.get_ssl_mode(), SslMode::Require);
        }
        assert!(parsed("postgres://a,b/tasks?target_session_attrs=primary").is_ok());
        for url in [
            "postgres://a,b/tasks?target_session_attrs=prefer-standby",
            "postgres://a,b/tasks?port=1",
            "postgres://a,b/tasks?hostaddr=127.0.0.1",
        ] {
            assert!(parsed(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_certificate_of_a_server_elsewhere_is_verified() {
        let is_encrypted = |url: &str| parsed(url).expect("a URL").tls.is_some();
        assert!(is_encrypted("postgres://db.example.org/tasks"));
        assert!(is_encrypted("postgres://10.0.0.7/tasks"));
        assert!(is_encrypted("postgres://localhost,db.example.org/tasks"));
        assert!(is_encrypted("postgres://localhost/tasks?sslmode=require"));
        assert!(!is_encrypted("postgres://localhost/tasks"));
        assert!(!is_encrypted("postgres://[::1]/tasks"));
        assert!(!is_encrypted("postgres://%2Frun%2Fpostgresql/tasks"));
        assert!(!is_encrypted("postgres://db.example.org/tasks?sslmode=disable"));
        assert!(parsed("postgres://db.example.org/tasks?sslmode=prefer").is_err());
        assert!(parsed("postgres://db.example.org/tasks?sslrootcert=/x.pem").is_err());
        let unused = Address::new("postgres://db.example.org/tasks?sslmode=require", None, Some(b""));
        assert!(unused.expect_err("no use").contains("verify-full"));
        let empty = Address::new("postgres://db.example.org/tasks", None, Some(b""));
        assert!(empty.expect_err("no root").contains("no certificate"));
    }
}
