//! What one guest may look up and connect to by TCP, and the sockets that it has open.
//!
//! Called by `link::sockets`, and by wasmtime-wasi before it connects. An address counts as that of a name only if this
//! guest has looked the name up here and the address has passed the check, so a name that changes its address in
//! between (DNS rebinding) leads nowhere.

use std::collections::BTreeMap;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_egress::{ConnectError, ConnectionPermit, normalize_host};
use wasmill_model::RunHost;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtx};

use crate::observe::instance_status::InstanceStatus;
use crate::observe::tcp_sockets::{ListedSocket, SocketBytes, TcpSocketState, TcpSockets};
use crate::plugin::context::PluginContext;
use crate::plugin::tcp_rule::TcpRule;
use crate::secrets::RunSecrets;
use crate::tcp::known_addresses::KnownAddresses;

/// Sockets that one guest may have open; fewer if all guests together may have few.
const SOCKETS_MAX: usize = 64;
/// One guest may have this fraction of the sockets of all guests.
const ONE_GUEST_DIVISOR: usize = 4;
/// Look-ups that one guest may have in flight.
pub(crate) const LOOKUPS_MAX: usize = 8;

/// The TCP of one guest.
pub(crate) struct GuestTcp {
    plugin: Arc<PluginContext>,
    host: Arc<dyn RunHost>,
    secrets: Option<Arc<RunSecrets>>,
    list: Arc<TcpSockets>,
    known: Mutex<KnownAddresses>,
    open: Mutex<BTreeMap<u32, OpenSocket>>,
}

/// A socket of the guest.
struct OpenSocket {
    listed: ListedSocket,
    _permit: ConnectionPermit,
}

/// Why a name was not looked up, or has no address that the guest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// No rule names the host.
    Denied,
    /// It is no host name.
    Invalid,
    /// The guest has too many look-ups in flight, or the resolver does not answer.
    Busy,
    /// There is no such name, or none with an address that is allowed. The guest cannot tell which.
    NotFound,
}

/// Why there is no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketError {
    /// The guest has as many as one may have.
    TooMany,
    /// All guests together have as many as they may have.
    Busy,
}

impl GuestTcp {
    /// Returns the TCP of a guest; `None` if its plugin may not use any.
    pub(crate) fn new(
        plugin: &Arc<PluginContext>,
        host: &Arc<dyn RunHost>,
        status: &InstanceStatus,
        secrets: Option<&Arc<RunSecrets>>,
    ) -> Option<Arc<Self>> {
        if plugin.config.permissions.tcp.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            plugin: Arc::clone(plugin),
            host: Arc::clone(host),
            secrets: secrets.cloned(),
            list: Arc::clone(status.tcp()),
            known: Mutex::default(),
            open: Mutex::default(),
        }))
    }

    /// Returns the sockets of a WASI context: outgoing TCP, to what this guest may connect to.
    pub(crate) fn context(self: &Arc<Self>) -> WasiSocketsCtx {
        let tcp = Arc::clone(self);
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false);
        wasi.socket_addr_check(move |address, what| {
            let is_allowed = match what {
                SocketAddrUse::TcpConnect => tcp.destination(address).is_some(),
                // The kernel chooses the port of a socket that connects.
                SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                _ => false,
            };
            Box::pin(ready(is_allowed))
        });
        wasi.build().sockets().clone()
    }

    fn rules(&self) -> &[TcpRule] {
        &self.plugin.config.permissions.tcp
    }

    /// Looks up a name that a rule names, and returns the addresses that the guest may connect to.
    ///
    /// # Errors
    ///
    /// Fails, and logs why, if no rule names the host, or none of its addresses is allowed.
    pub(crate) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let host = normalize_host(name);
        let found = self.plugin.connector.look_up(&host).await.map_err(|error| match error {
            ConnectError::NotFound(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                LookupError::Busy
            }
            error => {
                tracing::debug!(plugin = %self.plugin.name, %error, "a look-up of a guest failed");
                LookupError::NotFound
            }
        })?;
        let allowed = self.known().admit(self.rules(), &host, &found);
        if let (true, Some(&first)) = (allowed.is_empty(), found.first()) {
            let port = self.rules().iter().find(|rule| rule.names(&host)).map_or(0, |rule| rule.port);
            self.plugin.denial_log.log_private_tcp(&self.redact(format!("{host}:{port}")), first);
            return Err(LookupError::NotFound);
        }
        Ok(allowed)
    }

    /// Checks that a name may be looked up, and lists the look-up.
    ///
    /// # Errors
    ///
    /// Fails if it is no name, if no rule names it, or if too many look-ups are in flight.
    pub(crate) fn start_look_up(&self, name: &str) -> Result<ListedSocket, LookupError> {
        let host = normalize_host(name);
        if !is_host_name(&host) {
            return Err(LookupError::Invalid);
        }
        if !self.rules().iter().any(|rule| rule.names(&host)) {
            self.log_denied_look_up(&host);
            return Err(LookupError::Denied);
        }
        let in_flight = self.list.entries();
        let in_flight = in_flight.iter().filter(|entry| entry.state == TcpSocketState::LookingUp).count();
        if in_flight >= LOOKUPS_MAX {
            return Err(LookupError::Busy);
        }
        Ok(self.list.list(self.redact(host), TcpSocketState::LookingUp))
    }

    fn log_denied_look_up(&self, host: &str) {
        self.plugin.denial_log.log_look_up(&self.redact(host.to_owned()));
    }

    /// Returns the destination as operators know it if the guest may connect to this address.
    pub(crate) fn destination(&self, address: SocketAddr) -> Option<String> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let is_named = |rule: &TcpRule| rule.port == address.port() && rule.is_address(address.ip());
        if self.rules().iter().any(is_named) {
            return Some(address.to_string());
        }
        let known = self.known();
        let host = known.host_at(address)?;
        Some(self.redact(format!("{host}:{}", address.port())))
    }

    /// Logs that a connection to this address was denied.
    pub(crate) fn log_denied(&self, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.plugin.denial_log.log_tcp(&address.to_string());
    }

    /// Waits for the right to open a socket.
    ///
    /// # Errors
    ///
    /// Fails if the guest, or all guests together, have too many.
    pub(crate) async fn reserve(&self) -> Result<ConnectionPermit, SocketError> {
        let all_max = self.plugin.connector.connections_max();
        let max = (all_max / ONE_GUEST_DIVISOR).clamp(1, SOCKETS_MAX);
        if self.open().len() >= max {
            self.plugin.denial_log.log_sockets(max, true);
            return Err(SocketError::TooMany);
        }
        self.plugin.connector.reserve().await.map_err(|_| {
            self.plugin.denial_log.log_sockets(all_max, false);
            SocketError::Busy
        })
    }

    /// Lists a socket by its handle.
    pub(crate) fn opened(&self, handle: u32, permit: ConnectionPermit) {
        let listed = self.list.list(String::new(), TcpSocketState::Open);
        let socket = OpenSocket { listed, _permit: permit };
        self.open().insert(handle, socket);
    }

    /// Records where a socket is being connected to.
    pub(crate) fn connecting(&self, handle: u32, to: String) {
        if let Some(socket) = self.open().get(&handle) {
            socket.listed.set_connecting(to);
        }
    }

    /// Counts a connection, and returns the meter of its bytes.
    pub(crate) fn connected(&self, handle: u32) -> Option<ByteMeter> {
        let open = self.open();
        let bytes = open.get(&handle)?.listed.set_connected();
        if let Some(meter) = self.host.meter() {
            meter.add_tcp_connection();
        }
        Some(ByteMeter { bytes, host: Arc::clone(&self.host) })
    }

    /// Forgets a socket that was closed.
    pub(crate) fn closed(&self, handle: u32) {
        self.open().remove(&handle);
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u32, OpenSocket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, KnownAddresses> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes revealed secrets from a text for operators: a guest chooses names under a wildcard.
    fn redact(&self, text: String) -> String {
        match &self.secrets {
            Some(secrets) => secrets.redact(text),
            None => text,
        }
    }
}

/// Counts the bytes of one connection.
#[derive(Clone)]
pub(crate) struct ByteMeter {
    bytes: SocketBytes,
    host: Arc<dyn RunHost>,
}

impl ByteMeter {
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes.sent(bytes as u64);
        if let Some(meter) = self.host.meter() {
            meter.add_tcp_sent_bytes(bytes as u64);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.received(bytes as u64);
        if let Some(meter) = self.host.meter() {
            meter.add_tcp_received_bytes(bytes as u64);
        }
    }
}

/// Returns true for a host name that a resolver may be asked for.
fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_looked_up() {
        for name in ["db", "db.internal", "a_b.example.com", "xn--bcher-kva.example"] {
            assert!(is_host_name(name), "{name}");
        }
        for other in ["", "a b", "a/b", "a\0", "b\u{fc}cher.example", "a:1", &"a".repeat(254)] {
            assert!(!is_host_name(other), "{other:?}");
        }
    }
}
