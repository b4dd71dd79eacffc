//! Problems that the store reports.

use wasmill_model::{PluginName, TaskId, shown_size};
use wasmill_store::StoreError;

use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, truncated_quote};
use crate::problem::kind::{self, ProblemKind};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { waiting_max } => {
                let detail = format!("the queue is full: {waiting_max} tasks are waiting; try again later");
                Self::of(kind::QUEUE_FULL, detail)
            }
            StoreError::PluginFull { plugin, waiting_max, .. } => {
                plugin_queue_full(&plugin, waiting_max, None)
            }
            StoreError::KeyQueueFull { key, waiting, waiting_max, .. } => {
                key_queue_full(&key, waiting, waiting_max, None)
            }
            StoreError::KeyStorageFull { key, stored_bytes, stored_bytes_max, .. } => {
                key_storage_full(&key, stored_bytes, stored_bytes_max, None)
            }
            StoreError::KeyTaken { key, holder, .. } => key_taken("/unique_key", &key, holder),
            StoreError::KeyTwice { index, earlier, key } => key_taken_in_batch(index, earlier, &key),
            StoreError::UnknownDependency { dependency_index: place, id, .. } => {
                unknown_dependency(format!("/depends_on/{place}"), id)
            }
            StoreError::KeyReused { key } => {
                let key = truncated_quote(&key);
                let detail = format!(
                    "the Idempotency-Key '{key}' was used for a different request within 24 hours; use \
                     another key"
                );
                Self::of(kind::IDEMPOTENCY_KEY_REUSED, detail)
            }
            StoreError::Closed => Self::draining(),
            error => {
                // The store logs the outage once; logging each request would flood the log.
                tracing::debug!(%error, "store request failed");
                let detail = "the database is unavailable; see the server's log";
                Self::of(kind::STORE_UNAVAILABLE, detail)
            }
        }
    }
}

/// Another task holds the unique key.
pub(crate) fn key_taken(pointer: &str, key: &str, holder: TaskId) -> Problem {
    let detail = format!("task {holder} waits or runs with the unique key '{}'", truncated_quote(key));
    let error = FieldError::at(pointer, detail.clone());
    Problem::of(kind::KEY_TAKEN, detail).with_errors(vec![error]).with_holder(holder)
}

/// An earlier request of the same batch has this unique key.
fn key_taken_in_batch(index: usize, earlier: usize, key: &str) -> Problem {
    let detail =
        format!("task request /{earlier} of this batch has the same unique key '{}'", truncated_quote(key));
    let error = FieldError::at(format!("/{index}/unique_key"), detail.clone());
    Problem::of(kind::KEY_TAKEN, detail).with_errors(vec![error])
}

/// A new task depends on one that does not exist.
pub(crate) fn unknown_dependency(pointer: String, id: TaskId) -> Problem {
    let detail = format!("dependency {id} does not exist; it was never created or has been deleted");
    Problem::invalid_request(FieldError::at(pointer, detail))
}

/// The queue of a plugin is full; `index` is the first request of a batch that does not fit.
pub(crate) fn plugin_queue_full(plugin: &PluginName, waiting_max: u64, index: Option<usize>) -> Problem {
    let detail = format!(
        "the queue of plugin {plugin} is full: its manifest allows {waiting_max} waiting tasks; try \
         again later"
    );
    does_not_fit(kind::PLUGIN_QUEUE_FULL, detail, index)
}

/// As many tasks of a key wait as may; `index` is the first request of a batch that does not fit.
pub(crate) fn key_queue_full(key: &str, waiting: u64, waiting_max: u64, index: Option<usize>) -> Problem {
    let detail = format!(
        "{waiting} tasks of the key {key} wait, and its limit waiting is {waiting_max}; try again once some of them run, \
         or cancel some"
    );
    does_not_fit(kind::KEY_QUEUE_FULL, detail, index)
}

/// The tasks of a key take up what they may; `index` is the first request of a batch that does not fit.
pub(crate) fn key_storage_full(
    key: &str,
    stored_bytes: u64,
    stored_bytes_max: u64,
    index: Option<usize>,
) -> Problem {
    let [stored, most] = [stored_bytes, stored_bytes_max].map(shown_size);
    let detail = format!(
        "the tasks of the key {key} take up {stored}, and its limit stored is {most}; delete ended tasks, or send smaller \
         inputs"
    );
    does_not_fit(kind::KEY_STORAGE_FULL, detail, index)
}

fn does_not_fit(kind: ProblemKind, detail: String, index: Option<usize>) -> Problem {
    let error = |index: usize| {
        let detail = format!("this task and those after it do not fit, so nothing was stored: {detail}");
        FieldError::at(format!("/{index}"), detail)
    };
    let errors = index.map(error).into_iter().collect();
    Problem::of(kind, detail).with_errors(errors)
}
