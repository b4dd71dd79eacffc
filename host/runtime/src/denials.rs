//! What a plugin asked for in vain: each is logged once, with the line that would permit it.
//!
//! Filled by `gate`. Bounded, because guests choose what they ask for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::plugin::Plugin;

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
        let origin = crate::words::cut(origin.escape_debug().to_string(), TARGET_BYTES_MAX);
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
        let origin = crate::words::cut(origin.escape_debug().to_string(), TARGET_BYTES_MAX);
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
