//! Waits for a change of the sources.
//!
//! Notifications of the system are hints: what has changed is read from the files, and also looked for from time to
//! time, since a system may lose notifications or have none left.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::sources::Sources;
use crate::exit::{Exit, cli_error};
use crate::output::note;

/// How long nothing must happen before a change is believed to be complete: an editor writes in several steps.
const DEBOUNCE: Duration = Duration::from_millis(150);
/// How long a change may take to be complete.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);
/// How often the files are looked at without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Knows the sources as they were at the last change.
pub(super) struct SourceWatcher {
    roots: Vec<PathBuf>,
    sources: Sources,
    notifier: Option<RecommendedWatcher>,
    hints: UnboundedReceiver<()>,
}

impl SourceWatcher {
    /// Starts watching these paths.
    pub(super) fn start(roots: &[PathBuf]) -> Result<Self> {
        if let Some(missing) = roots.iter().find(|root| !root.exists()) {
            bail!(cli_error(Exit::NotFound, format!("{} of --watch does not exist", missing.display())));
        }
        let (sender, hints) = unbounded_channel();
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                // An error means that nobody waits any more.
                let _ = sender.send(());
            }
        });
        let notifier = notifier.inspect_err(warn).ok();
        let sources = Sources::read(roots, &Sources::default());
        let mut watcher = Self { roots: roots.to_vec(), sources: Sources::default(), notifier, hints };
        watcher.subscribe(&sources);
        watcher.sources = sources;
        Ok(watcher)
    }

    /// Waits until a source has changed and nothing more happens; returns one that has. May be dropped while it waits.
    pub(super) async fn changed(&mut self) -> PathBuf {
        loop {
            if self.notifier.is_some() {
                // An error means that it is time to look.
                let _ = timeout(POLL_INTERVAL, self.hints.recv()).await;
            } else {
                sleep(POLL_INTERVAL).await;
            }
            let _ = timeout(DEBOUNCE_MAX, async {
                while timeout(DEBOUNCE, self.hints.recv()).await.is_ok_and(|hint| hint.is_some()) {}
            })
            .await;
            let sources = Sources::read(&self.roots, &self.sources);
            let changed = sources.changed_from(&self.sources);
            self.subscribe(&sources);
            self.sources = sources;
            if let Some(changed) = changed {
                return changed;
            }
        }
    }

    /// Subscribes to the folders that are new. Folders one by one, since those of build outputs have too many.
    fn subscribe(&mut self, sources: &Sources) {
        let Some(notifier) = &mut self.notifier else { return };
        for folder in sources.folders.iter().filter(|folder| !self.sources.folders.contains(folder)) {
            if let Err(error) = notifier.watch(folder, RecursiveMode::NonRecursive) {
                warn(&error);
                self.notifier = None;
                return;
            }
        }
    }
}

fn warn(error: &notify::Error) {
    note!("wasmill: failed to watch the sources ({error}); looking every {POLL_INTERVAL:?}");
}
