//! One thing that needs a person, and the list of them.

use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::Timestamp;

use crate::view::time::Rfc3339;

/// Items in a response.
pub(super) const ITEMS_MAX: usize = 100;

/// All codes.
pub(super) const CODES: [&str; 25] = [
    "database-unavailable",
    "lease-lost",
    "disk-full",
    "swap-enabled",
    "draining",
    "queue-paused",
    "queue-full",
    "memory-short",
    "streams-used-up",
    "audit-lost",
    "host-gone",
    "keys-stale",
    "key-expired",
    "key-expires",
    "certificate-stale",
    "certificate-expires",
    "plugin-rejected",
    "plugin-failing",
    "plugin-paused",
    "plugin-queue-full",
    "plugin-missing",
    "task-waits-long",
    "schedule-error",
    "webhooks-late",
    "webhooks-given-up",
];

/// One thing that needs a person.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AttentionItem")]
pub(super) struct ItemView {
    /// The kind of item, for programs.
    #[schemars(extend("enum" = CODES))]
    code: &'static str,
    /// `error` if something does not work, `warning` if it works less well or soon will not.
    #[schemars(extend("enum" = ["error", "warning"]))]
    level: &'static str,
    /// Name of the plugin, schedule, host or key; `null` for the server.
    subject: Option<String>,
    /// What is wrong, for people.
    detail: String,
    /// What to do about it.
    action: String,
    /// Path of the route that shows more; `null` if none does.
    link: Option<String>,
    /// Number of tasks or deliveries concerned.
    count: Option<u64>,
    /// Since when, if that is known.
    since: Option<Rfc3339>,
}

impl ItemView {
    pub(super) fn error(code: &'static str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not listed");
        Self {
            code,
            level: "error",
            subject: None,
            detail: detail.into(),
            action: action.into(),
            link: None,
            count: None,
            since: None,
        }
    }

    pub(super) fn warning(code: &'static str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self { level: "warning", ..Self::error(code, detail, action) }
    }

    pub(super) fn of(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    pub(super) fn link(self, path: impl Into<String>) -> Self {
        Self { link: Some(path.into()), ..self }
    }

    pub(super) fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    pub(super) fn since(self, since: Timestamp) -> Self {
        Self { since: Some(Rfc3339(since)), ..self }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Items(Vec<ItemView>);

impl Items {
    pub(super) fn add(&mut self, item: ItemView) {
        self.0.push(item);
    }

    /// Adds that the database cannot be read, once.
    pub(super) fn add_unreadable(&mut self, error: &wasmill_store::StoreError) {
        const CODE: &str = "database-unavailable";
        if self.0.iter().all(|item| item.code != CODE) {
            let action = "see the log of the server, and /readyz, which tries a write";
            self.add(ItemView::error(CODE, error.to_string(), action).link("/readyz"));
        }
    }

    /// Returns the first items, errors first, and how many were left out.
    pub(super) fn into_sorted(self) -> (Vec<ItemView>, usize) {
        let mut items = self.0;
        // Stable, so that the order of the rules stays.
        items.sort_by_key(|item| item.level != "error");
        let left_out = items.len().saturating_sub(ITEMS_MAX);
        items.truncate(ITEMS_MAX);
        (items, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_first_and_the_list_is_bounded() {
        let mut items = Items::default();
        for number in 0..60 {
            items.add(ItemView::warning("plugin-paused", format!("w{number}"), ""));
            items.add(ItemView::error("plugin-rejected", format!("e{number}"), ""));
        }
        let (items, left_out) = items.into_sorted();
        let details: Vec<_> = items.iter().map(|item| item.detail.as_str()).collect();
        assert_eq!(
            (items.len(), left_out, details[0], details[59], details[60]),
            (100, 20, "e0", "e59", "w0")
        );
    }
}
