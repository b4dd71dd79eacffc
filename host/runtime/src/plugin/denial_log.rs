//! Logs each denied operation of a plugin once, with the manifest line that would permit it.
//!
//! Filled by `http::hooks`, `tcp::guest_tcp` and the file calls. Bounded, because guests choose what they ask for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::PluginName;

use crate::error::format;
use crate::folders::rule::DirRule;
use crate::plugin::kind::PluginKind;

/// Denials logged per plugin; further ones are not logged.
const DENIALS_MAX: usize = 64;
/// Bytes shown of a target.
const TARGET_BYTES_MAX: usize = 256;

/// The denied operations of one plugin that have been logged.
#[derive(Debug)]
pub(crate) struct DenialLog {
    plugin: PluginName,
    kind: PluginKind,
    digest: Arc<str>,
    logged: Mutex<BTreeSet<String>>,
}

impl DenialLog {
    /// Creates the log of one version of a plugin.
    pub(crate) fn new(plugin: &PluginName, kind: PluginKind, digest: &Arc<str>) -> Self {
        Self { plugin: plugin.clone(), kind, digest: Arc::clone(digest), logged: Mutex::default() }
    }

    /// Logs that outgoing HTTP to `origin` was denied, once per origin.
    pub(crate) fn log_http(&self, origin: &str, reason: &str) {
        let (origin, name) = (shown(origin), &self.plugin);
        self.log(
            &origin,
            format_args!(
                "outgoing HTTP was denied: {reason}; to permit it, add to [allow] in {name}.toml: http = \
                 [\"{origin}\"]"
            ),
        );
    }

    /// Logs that `origin` resolved to a non-public address, once per origin.
    pub(crate) fn log_private_address(&self, origin: &str) {
        let (origin, name) = (shown(origin), &self.plugin);
        // The same origin may be denied for lack of a rule first, and for its address after the manifest has
        // changed.
        self.log(
            &format!("{origin} inside"),
            format_args!(
                "outgoing HTTP to {origin} was denied: the name resolves to a non-public address; to permit \
                 it, use the address itself (or localhost) in the request and under [allow] in {name}.toml, \
                 as in http = [\"http://10.0.0.1:8080\"]"
            ),
        );
    }

    /// Logs that the look-up of a name was denied, once per name.
    pub(crate) fn log_look_up(&self, host: &str) {
        let (host, name) = (shown(host), &self.plugin);
        self.log(
            &format!("look up {host}"),
            format_args!(
                "a look-up of {host} was denied: no rule of allow.tcp names this host; to permit it, add to \
                 [allow] in {name}.toml: tcp = [\"{host}:PORT\"], with the port that it is to connect to"
            ),
        );
    }

    /// Logs that a TCP connection was denied, once per address.
    pub(crate) fn log_tcp(&self, address: &str) {
        let (address, name) = (shown(address), &self.plugin);
        self.log(
            &format!("tcp {address}"),
            format_args!(
                "a TCP connection to {address} was denied: no rule of allow.tcp names this address and port, nor a \
                 host that the guest has looked up and found there; to permit it, add to [allow] in {name}.toml: \
                 tcp = [\"{address}\"]"
            ),
        );
    }

    /// Logs that `to`, a host and a port, resolved to a non-public address, once per destination.
    pub(crate) fn log_private_tcp(&self, to: &str, address: IpAddr) {
        let (to, name) = (shown(to), &self.plugin);
        self.log(
            &format!("tcp {to} inside"),
            format_args!(
                "TCP to {to} was denied: the name resolves to {address}, which is not a public address; to permit \
                 it, name the address or its network in allow.tcp of {name}.toml: {{ to = \"{to}\", within = \
                 [\"{address}\"] }}"
            ),
        );
    }

    /// Logs that guests may not do this with a socket, whatever the manifest says, once.
    pub(crate) fn log_socket(&self, what: &str) {
        self.log(
            &format!("socket {what}"),
            format_args!(
                "a guest tried to {what}, which is always denied: guests may open TCP connections to what allow.tcp \
                 names, and do nothing else with sockets"
            ),
        );
    }

    /// Logs that the plugin may use no socket, once.
    pub(crate) fn log_no_tcp(&self) {
        let name = &self.plugin;
        self.log(
            "no tcp",
            format_args!(
                "a TCP socket was denied: the manifest permits no destination; to permit one, add to [allow] in \
                 {name}.toml: tcp = [\"HOST:PORT\"]"
            ),
        );
    }

    /// Logs that guests of the plugin reached the `limit` of TCP sockets for one guest, or for all, once.
    pub(crate) fn log_sockets(&self, limit: usize, of_one: bool) {
        let whose = if of_one { "one guest" } else { "all guests together" };
        self.log(
            if of_one { "sockets" } else { "all sockets" },
            format_args!("a guest reached the limit of {limit} open sockets for {whose}"),
        );
    }

    /// Logs that a write to a read-only folder was denied, once per folder.
    pub(crate) fn log_write(&self, rule: &DirRule) {
        let (DirRule { host, guest, .. }, name) = (rule, &self.plugin);
        self.log(
            &format!("write {guest}"),
            format_args!(
                "a write to the folder {guest} was denied: it is read-only; to permit it, change its entry \
                 in allow.dirs of {name}.toml to: {{ host = {host:?}, guest = {guest:?}, write = true }}"
            ),
        );
    }

    /// Logs that guests of the plugin reached the `limit` of open files for one guest, once.
    pub(crate) fn log_descriptors(&self, limit: usize) {
        self.log(
            "descriptors",
            format_args!(
                "a guest reached the limit of open files: {limit} for one guest, and a shared limit for all; \
                 see `wasmill doctor` for how to raise the limit of the process"
            ),
        );
    }

    /// Logs that guests cannot write to a volume because it is nearly full, once per folder.
    pub(crate) fn log_full_volume(&self, folder: &Path, free: u64, reserve: u64) {
        let (folder, free, reserve) = (folder.display(), format::bytes(free), format::bytes(reserve));
        self.log(
            &format!("full {folder}"),
            format_args!(
                "guests cannot write to the folder {folder}: its volume has {free} free, and {reserve} are \
                 reserved"
            ),
        );
    }

    fn log(&self, target: &str, denial: fmt::Arguments<'_>) {
        if self.is_first(target) {
            let Self { plugin, kind, digest, .. } = self;
            tracing::warn!(%plugin, %kind, %digest, "{denial}");
        }
    }

    fn is_first(&self, target: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < DENIALS_MAX && logged.insert(target.to_owned())
    }
}

fn shown(origin: &str) -> String {
    format::truncate(origin.escape_debug().to_string(), TARGET_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_is_logged_once_and_their_number_is_limited() {
        let denial_log = DenialLog::new(&"a".parse().unwrap(), PluginKind::Task, &"".into());
        assert!(denial_log.is_first("http://a"));
        assert!(!denial_log.is_first("http://a"));
        let news = (0..1_000).filter(|n| denial_log.is_first(&format!("http://{n}"))).count();
        assert_eq!(news, DENIALS_MAX - 1);
    }
}
