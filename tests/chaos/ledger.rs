//! What clients were promised, and the promises found broken.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::rng::Rng;

/// Maximum number of faults printed one by one.
const TEXTS_MAX: usize = 20;

/// What is known of an accepted task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// The file that its guest writes to, if any.
    pub(crate) file: Option<String>,
    /// The file to which each of its runs appends a line, if any.
    pub(crate) once: Option<String>,
    /// A cancel was sent: the task may be cancelled even without a response.
    pub(crate) cancel_sent: bool,
    /// A delete was sent: the task may be gone even without a response.
    pub(crate) delete_sent: bool,
    pub(crate) cancelled: bool,
    pub(crate) deleted: bool,
    /// The attempt that ran when a stop request was first seen; no later one may start.
    pub(crate) asked_to_stop: Option<u64>,
    /// The outcome as first seen.
    pub(crate) end: Option<Value>,
    /// Bytes in its file when it had finished.
    pub(crate) written: Option<u64>,
}

/// Broken promises, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    counts: HashMap<Fault, u64>,
    texts: Vec<(Fault, String)>,
}

/// A kind of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// An accepted task is missing.
    Lost,
    /// A finished task finished again, or changed its outcome.
    Twice,
    /// A guest wrote after the response said that it was gone.
    Wrote,
    /// A deleted task came back.
    CameBack,
    /// A task never finishes.
    Stuck,
    /// A guest exists or a slot is used although no task runs.
    Computes,
    /// Any other violation.
    Odd,
}

/// What all clients know together.
pub(crate) struct Ledger {
    entries: Mutex<(HashMap<String, Entry>, Vec<String>)>,
    faults: Mutex<Faults>,
    shared: PathBuf,
    /// Whether each run of a task is an attempt of its own: nothing drains.
    pub(crate) counts_runs: bool,
    pub(crate) refused: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    /// Numbers of submits, for idempotency keys.
    pub(crate) keys: AtomicU64,
    pub(crate) sent_again: AtomicU64,
    pub(crate) cancels: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) graces: AtomicU64,
    pub(crate) looks: AtomicU64,
    pub(crate) odd_clients: AtomicU64,
    /// Writes that were already in the kernel when their guest was stopped.
    pub(crate) under_way: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(shared: PathBuf, counts_runs: bool) -> Self {
        Self {
            entries: Mutex::default(),
            faults: Mutex::default(),
            shared,
            counts_runs,
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            sent_again: AtomicU64::new(0),
            cancels: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            graces: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            odd_clients: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
        }
    }

    pub(crate) fn accept(&self, id: String, file: Option<String>, once: Option<String>) {
        let mut entries = self.entries();
        entries.1.push(id.clone());
        entries.0.insert(id, Entry { file, once, ..Entry::default() });
    }

    /// Returns the id of some task, preferably a recent one.
    pub(crate) fn some(&self, rng: &mut Rng) -> Option<String> {
        let entries = self.entries();
        let from = if rng.below(4) == 0 { 0 } else { entries.1.len().saturating_sub(60) };
        entries.1.get(from + rng.below(entries.1.len() - from)).cloned()
    }

    pub(crate) fn entry(&self, id: &str) -> Entry {
        self.entries().0.get(id).cloned().unwrap_or_default()
    }

    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().0.get_mut(id) {
            change(entry);
        }
    }

    pub(crate) fn all(&self) -> Vec<(String, Entry)> {
        self.entries().0.iter().map(|(id, entry)| (id.clone(), entry.clone())).collect()
    }

    /// Returns how much the guest of a task has written.
    pub(crate) fn written(&self, entry: &Entry) -> Option<u64> {
        let file = self.shared.join(entry.file.as_ref()?);
        Some(std::fs::metadata(file).map_or(0, |file| file.len()))
    }

    /// Returns how many runs of a task have written.
    pub(crate) fn runs(&self, entry: &Entry) -> u64 {
        let Some(once) = &entry.once else { return 0 };
        let text = std::fs::read_to_string(self.shared.join(once)).unwrap_or_default();
        text.lines().count() as u64
    }

    pub(crate) fn report(&self, fault: Fault, text: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        *faults.counts.entry(fault).or_default() += 1;
        if faults.texts.len() < TEXTS_MAX {
            faults.texts.push((fault, text));
        }
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn figures(&self) -> Vec<(&'static str, String)> {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed).to_string();
        vec![
            ("tasks accepted", self.entries().0.len().to_string()),
            ("submits refused (drain, disk)", read(&self.refused)),
            ("requests cut off, outcome unknown", read(&self.unanswered)),
            ("submits sent again with their idempotency key", read(&self.sent_again)),
            ("cancels answered", read(&self.cancels)),
            ("deletes answered", read(&self.deletes)),
            ("cancels and deletes sent with a grace", read(&self.graces)),
            ("reads of a task", read(&self.looks)),
            ("connections of odd clients", read(&self.odd_clients)),
            ("writes under way when their guest was stopped", read(&self.under_way)),
        ]
    }

    fn entries(&self) -> MutexGuard<'_, (HashMap<String, Entry>, Vec<String>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(crate) fn texts(&self) -> &[(Fault, String)] {
        &self.texts
    }

    pub(crate) fn figures(&self) -> Vec<(&'static str, String)> {
        let count = |fault| self.counts.get(&fault).copied().unwrap_or(0).to_string();
        vec![
            ("LOST: accepted, but missing", count(Fault::Lost)),
            ("TWICE: finished again or with another outcome", count(Fault::Twice)),
            ("WROTE: after the response that it has stopped", count(Fault::Wrote)),
            ("CAME BACK: deleted, but present", count(Fault::CameBack)),
            ("STUCK: never finished", count(Fault::Stuck)),
            ("COMPUTES: a guest or a slot without a task", count(Fault::Computes)),
            ("ODD: anything else", count(Fault::Odd)),
        ]
    }
}

/// Returns the outcome of a task, if it has finished: what must never change again.
pub(crate) fn end_of(record: &Value) -> Option<Value> {
    let state = record["state"].as_str()?;
    let field = |name: &str| record[name].clone();
    matches!(state, "completed" | "failed" | "cancelled").then(|| {
        json!([
            state,
            field("result"),
            field("error"),
            field("finished_at"),
            field("attempt"),
            field("host_crashes")
        ])
    })
}
