//! What the clients were told, and what was found to be untrue.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::dice::Dice;

/// How many faults are told one by one.
const TEXTS_MAX: usize = 20;

/// What is known of one accepted task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// The file that its guest writes to, if it does.
    pub(crate) file: Option<String>,
    /// A cancel was sent: it may be cancelled, though nobody was told so.
    pub(crate) cancel_sent: bool,
    /// A delete was sent: it may be gone, though nobody was told so.
    pub(crate) delete_sent: bool,
    pub(crate) cancelled: bool,
    pub(crate) deleted: bool,
    /// Which attempt ran when it was first seen to be asked to stop: there is none after that.
    pub(crate) asked_to_stop: Option<u64>,
    /// How it ended, as it was first seen.
    pub(crate) end: Option<Value>,
    /// Bytes in its file when it was over.
    pub(crate) written: Option<u64>,
}

/// Promises that were broken, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    counts: HashMap<Fault, u64>,
    texts: Vec<(Fault, String)>,
}

/// A kind of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// An accepted task is not there.
    Lost,
    /// A task that was seen to have ended ended again, or otherwise.
    Twice,
    /// A guest wrote after the answer that it is gone.
    Wrote,
    /// A task that was deleted is there.
    CameBack,
    /// A task never ends.
    Stuck,
    /// A guest is there, or a slot is taken, though no task runs.
    Computes,
    /// Anything else that should not be.
    Odd,
}

/// Everything that the clients know together.
pub(crate) struct Ledger {
    entries: Mutex<(HashMap<String, Entry>, Vec<String>)>,
    faults: Mutex<Faults>,
    shared: PathBuf,
    pub(crate) refused: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) cancels: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) graces: AtomicU64,
    pub(crate) looks: AtomicU64,
    pub(crate) odd_clients: AtomicU64,
    /// Writes that were with the system already when their guest was stopped.
    pub(crate) under_way: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(shared: PathBuf) -> Self {
        Self {
            entries: Mutex::default(),
            faults: Mutex::default(),
            shared,
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            cancels: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            graces: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            odd_clients: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
        }
    }

    pub(crate) fn accept(&self, id: String, file: Option<String>) {
        let mut entries = self.entries();
        entries.1.push(id.clone());
        entries.0.insert(id, Entry { file, ..Entry::default() });
    }

    /// Returns the id of some task, mostly a young one.
    pub(crate) fn some(&self, dice: &mut Dice) -> Option<String> {
        let entries = self.entries();
        let from = if dice.below(4) == 0 { 0 } else { entries.1.len().saturating_sub(60) };
        entries.1.get(from + dice.below(entries.1.len() - from)).cloned()
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
            ("cancels answered", read(&self.cancels)),
            ("deletes answered", read(&self.deletes)),
            ("cancels and deletes sent with a grace", read(&self.graces)),
            ("looks at a task", read(&self.looks)),
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
            ("LOST: accepted, but not there", count(Fault::Lost)),
            ("TWICE: ended again or otherwise", count(Fault::Twice)),
            ("WROTE: after the answer that it is over", count(Fault::Wrote)),
            ("CAME BACK: deleted, but there", count(Fault::CameBack)),
            ("STUCK: never ended", count(Fault::Stuck)),
            ("COMPUTES: a guest or a slot without a task", count(Fault::Computes)),
            ("ODD: anything else", count(Fault::Odd)),
        ]
    }
}

/// Returns how a task ended, if it has: what must never change again.
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
