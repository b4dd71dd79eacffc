//! What a plugin asked for in vain: each is logged once, with the line that would permit it.
//!
//! Filled by `gate` and by the file calls. Bounded, because guests choose what they ask for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::plugin::Plugin;
use crate::plugin_config::DirRule;

/// Denials of one plugin that are logged; further ones stay silent.
const DENIALS_MAX: usize = 64;
/// Bytes of a target that are shown.
const TARGET_BYTES_MAX: usize = 256;

/// What one plugin asked for in vain.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeSet<String>>);

impl Denials {
    /// Tells the operator that outgoing HTTP to `origin` was denied, and why; once for each origin.
    pub(crate) fn log_http(&self, plugin: &Plugin, origin: &str, reason: &str) {
        let origin = crate::format::truncate(origin.escape_debug().to_string(), TARGET_BYTES_MAX);
        if self.is_news(&origin) {
            let Plugin { name, kind, digest, .. } = plugin;
            let line = format!("http = [\"{origin}\"]");
            tracing::warn!(
                plugin = %name, %kind, %digest,
                "outgoing HTTP was denied: {reason}; to permit it, add under [allow] in {name}.toml: {line}"
            );
        }
    }

    /// Tells the operator that `origin` led to an address that is not public; once for each origin.
    pub(crate) fn log_inner_address(&self, plugin: &Plugin, origin: &str) {
        let origin = crate::format::truncate(origin.escape_debug().to_string(), TARGET_BYTES_MAX);
        // The same origin may be denied for want of a rule as well, before its manifest is changed.
        if self.is_news(&format!("{origin} inside")) {
            let Plugin { name, kind, digest, .. } = plugin;
            tracing::warn!(
                plugin = %name, %kind, %digest,
                "outgoing HTTP to {origin} was denied: the name leads to an address that is not public; \
                 to permit it, name the address itself (or localhost) under [allow] in {name}.toml, \
                 as in http = [\"http://10.0.0.1:8080\"], and in what the plugin asks for"
            );
        }
    }

    /// Tells the operator that a change in a folder was denied that was permitted for reading; once for each.
    pub(crate) fn log_write(&self, plugin: &Plugin, rule: &DirRule) {
        let DirRule { host, guest, .. } = rule;
        if self.is_news(&format!("write {guest}")) {
            let Plugin { name, kind, digest, .. } = plugin;
            let line = format!("{{ host = {host:?}, guest = {guest:?}, write = true }}");
            tracing::warn!(
                plugin = %name, %kind, %digest,
                "a change in the folder {guest} was denied: it may only be read; to permit it, write under \
                 [allow] in {name}.toml, among dirs: {line}"
            );
        }
    }

    /// Tells the operator that guests of the plugin could open no more files; once.
    pub(crate) fn log_descriptors(&self, plugin: &Plugin) {
        if self.is_news("descriptors") {
            let Plugin { name, kind, digest, descriptors, .. } = plugin;
            let most = descriptors.one_guest_max();
            tracing::warn!(
                plugin = %name, %kind, %digest,
                "a guest could open no more files: one may hold {most}, and all together hold no more than leaves \
                 some for clients; `wasmill doctor` tells how to raise the limit of open files"
            );
        }
    }

    /// Tells the operator that guests write no more to a volume; once for each folder.
    pub(crate) fn log_full_volume(&self, plugin: &Plugin, folder: &Path, free: u64, reserve: u64) {
        if self.is_news(&format!("full {}", folder.display())) {
            let Plugin { name, kind, digest, .. } = plugin;
            let (folder, free, reserve) =
                (folder.display(), crate::format::bytes(free), crate::format::bytes(reserve));
            tracing::warn!(
                plugin = %name, %kind, %digest,
                "guests write no more to the folder {folder}: {free} are free on its volume, and {reserve} stay so"
            );
        }
    }

    fn is_news(&self, target: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < DENIALS_MAX && logged.insert(target.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_is_news_once_and_their_number_is_bounded() {
        let denials = Denials::default();
        assert!(denials.is_news("http://a"));
        assert!(!denials.is_news("http://a"));
        let news = (0..1_000).filter(|n| denials.is_news(&format!("http://{n}"))).count();
        assert_eq!(news, DENIALS_MAX - 1);
    }
}
