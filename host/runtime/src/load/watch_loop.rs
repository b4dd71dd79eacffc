//! The thread that owns the state of all files of the plugins folder.
//!
//! Started by the watcher. It is the only one that changes files and the registry, so that the outcome of an older
//! scan never undoes an upload.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use wasmill_model::PluginName;

use crate::compile::kill_handle::KillHandle;
use crate::folders::granted::identity;
use crate::load::config::{OnChange, POLL_INTERVAL, SCAN_INTERVAL_MIN, WatchMode};
use crate::load::folder::{self, DEBOUNCE, Fingerprint, PLUGINS_MAX, Scan};
use crate::load::ignored_files::IgnoredFiles;
use crate::load::loader::Loaded;
use crate::load::registry::Registry;
use crate::load::upload::{self, Candidate, RemoveOutcome, UploadError, UploadOutcome};
use crate::load::watched_file::{Job, WatchedFile};
use crate::trust::VoucherFiles;

pub(super) enum WatchEvent {
    /// Something changed in the folder.
    FolderChanged,
    /// A loader has finished.
    Loaded(Arc<Job>, Option<Box<Loaded>>),
    /// Publishes an upload.
    Publish(Box<Candidate>, Sender<Result<UploadOutcome, UploadError>>),
    /// Removes a plugin.
    Remove(PluginName, Sender<Result<RemoveOutcome, UploadError>>),
    Stop,
}

/// The state of the folder, and where its changes go.
pub(super) struct WatchLoop {
    pub(super) folder: PathBuf,
    pub(super) watch: WatchMode,
    pub(super) registry: Arc<Registry>,
    pub(super) on_change: OnChange,
    pub(super) files: BTreeMap<String, WatchedFile>,
    pub(super) jobs: Sender<Arc<Job>>,
    pub(super) notifier: Option<RecommendedWatcher>,
    /// The identity of the folder that `notifier` watches.
    pub(super) watched_folder: Option<(u64, u64)>,
    pub(super) sender: Sender<WatchEvent>,
    /// Signalled once, when all files found at the start are loaded.
    pub(super) first_pass: Option<Sender<()>>,
    /// The last scan failed, and this has been logged.
    pub(super) is_scan_failing: bool,
    /// The folder holds more plugins than are scanned, and this has been logged.
    pub(super) is_cut: bool,
    /// Files that look like plugins and are none.
    pub(super) ignored: IgnoredFiles,
    pub(super) voucher_files: VoucherFiles,
}

impl WatchLoop {
    pub(super) fn work(mut self, receiver: &Receiver<WatchEvent>) {
        let mut scan_at = Instant::now() + self.act();
        self.subscribe();
        loop {
            let scanned_at = Instant::now();
            loop {
                match receiver.recv_timeout(scan_at.saturating_duration_since(Instant::now())) {
                    Ok(WatchEvent::FolderChanged) => scan_at = scan_at.min(scanned_at + SCAN_INTERVAL_MIN),
                    Ok(WatchEvent::Loaded(job, loaded)) => {
                        self.finish_job(&job, loaded.map(|loaded| *loaded));
                        scan_at = scan_at.min(scanned_at + SCAN_INTERVAL_MIN);
                    }
                    // The caller may be gone; the operation is complete all the same.
                    Ok(WatchEvent::Publish(candidate, reply)) => drop(reply.send(self.publish(*candidate))),
                    Ok(WatchEvent::Remove(name, reply)) => drop(reply.send(self.remove(&name))),
                    Ok(WatchEvent::Stop) | Err(RecvTimeoutError::Disconnected) => return self.stop(),
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            self.rescan();
            scan_at = Instant::now() + self.act();
        }
    }

    fn stop(&self) {
        for job in self.files.values().filter_map(|file| file.job.as_ref()) {
            job.kill_handle.kill();
        }
    }

    fn rescan(&mut self) {
        self.subscribe();
        let earlier = |name: &str| self.files.get(name)?.fingerprint();
        match folder::scan(&self.folder, self.voucher_files, earlier) {
            Ok(scan) => {
                self.is_scan_failing = false;
                self.apply_scan(scan);
            }
            Err(error) => {
                if !self.is_scan_failing {
                    let folder = self.folder.display();
                    tracing::warn!(%folder, %error, "failed to scan the plugins folder; keeping the loaded \
                                                     plugins");
                }
                self.is_scan_failing = true;
            }
        }
    }

    /// Subscribes to events of the folder, or of the folder that replaced it.
    fn subscribe(&mut self) {
        let folder = identity(&self.folder);
        if self.watch != WatchMode::Notify || self.watched_folder == folder {
            return;
        }
        self.notifier = None;
        self.watched_folder = folder;
        if folder.is_some() {
            match self.notifier() {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => {
                    tracing::warn!(%error, "failed to watch the plugins folder; scanning every \
                                            {POLL_INTERVAL:?}");
                }
            }
        }
    }

    fn notifier(&self) -> notify::Result<RecommendedWatcher> {
        let sender = self.sender.clone();
        let mut notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // A scan opens the folder, which must not trigger another scan.
            let is_ours = event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !is_ours {
                // This fails when the watch loop has ended.
                let _ = sender.send(WatchEvent::FolderChanged);
            }
        })?;
        notifier.watch(&self.folder, RecursiveMode::NonRecursive)?;
        Ok(notifier)
    }

    pub(super) fn apply_scan(&mut self, mut scan: Scan) {
        if scan.is_cut && !self.is_cut {
            let folder = self.folder.display();
            tracing::warn!(%folder, "the plugins folder holds more than {PLUGINS_MAX} plugins; the others \
                                     are ignored");
        }
        self.is_cut = scan.is_cut;
        scan.ignored.log_lasting(&self.ignored, &self.folder);
        self.ignored = scan.ignored;
        self.compare(scan.files);
    }

    /// Records which files exist, and which are gone.
    fn compare(&mut self, mut files: BTreeMap<String, (PathBuf, Fingerprint)>) {
        let now = Instant::now();
        for (name, file) in &mut self.files {
            file.observe(files.remove(name), now);
        }
        for (name, observed) in files {
            let stable_at = if observed.1.is_stable() { now } else { now + DEBOUNCE };
            let file = WatchedFile { observed: Some(observed), stable_at, handled: None, job: None };
            self.files.insert(name, file);
        }
    }

    /// Handles every stable change, and returns the time until the next scan.
    fn act(&mut self) -> Duration {
        let now = Instant::now();
        let mut wait = self.watch.poll();
        let mut removed = false;
        for (name, file) in &mut self.files {
            let fingerprint = file.fingerprint();
            if file.handled.as_ref().is_some_and(|handled| handled.as_ref() == fingerprint) {
                continue;
            }
            let rest = file.stable_at.saturating_duration_since(now);
            if !rest.is_zero() {
                wait = wait.min(rest);
                continue;
            }
            file.handled = Some(fingerprint.cloned());
            if let Some(job) = file.job.take() {
                job.kill_handle.kill();
            }
            match &file.observed {
                Some((path, fingerprint)) => {
                    self.registry.set_compiling(name, path, fingerprint.size_bytes());
                    let job = Job {
                        name: name.clone(),
                        path: path.clone(),
                        fingerprint: fingerprint.clone(),
                        kill_handle: KillHandle::default(),
                    };
                    let job = file.job.insert(Arc::new(job));
                    // The loaders end only after this sender is dropped.
                    let _ = self.jobs.send(Arc::clone(job));
                }
                None => {
                    self.registry.remove(name);
                    removed = true;
                }
            }
        }
        self.files.retain(|_, file| file.handled != Some(None) || file.observed.is_some());
        if removed {
            (self.on_change)();
        }
        self.report_first_pass();
        wait
    }

    fn finish_job(&mut self, job: &Arc<Job>, loaded: Option<Loaded>) {
        let Some(file) = self.files.get_mut(&job.name) else { return };
        // The result of an older scan is obsolete.
        if !file.job.as_ref().is_some_and(|current| Arc::ptr_eq(current, job)) {
            return;
        }
        file.job = None;
        match loaded {
            Some(loaded) => {
                file.record_dependencies(job, &loaded);
                self.registry.insert(loaded);
                (self.on_change)();
            }
            None => {
                file.handled = None;
                file.stable_at = Instant::now() + DEBOUNCE;
            }
        }
        self.report_first_pass();
    }

    /// Gives an upload its file name. Whatever was observed or loaded for an older file is obsolete.
    fn publish(&mut self, candidate: Candidate) -> Result<UploadOutcome, UploadError> {
        let Candidate { name, draft, signature, loaded, fingerprint } = candidate;
        let is_known = self.files.contains_key(name.as_str());
        if !is_known && self.files.len() >= PLUGINS_MAX {
            return Err(UploadError::TooMany);
        }
        let (path, is_new) = draft.publish(&self.folder, &name, signature.as_deref())?;
        let now = Instant::now();
        let observed = Fingerprint::of(&path, Some(&fingerprint));
        // If the file has changed since, as it has with its signature, the next scan detects that like any other change.
        let is_as_loaded = observed.as_ref().is_some_and(|observed| observed.is_renamed(&fingerprint));
        let published = WatchedFile {
            handled: is_as_loaded.then(|| observed.clone()),
            observed: observed.map(|observed| (path, observed)),
            stable_at: now + DEBOUNCE,
            job: None,
        };
        self.forget(name.as_str());
        self.files.insert(name.to_string(), published);
        let info = loaded.info.clone();
        let replaced = self.registry.in_service(&name);
        self.registry.insert(loaded);
        (self.on_change)();
        Ok(UploadOutcome { info, replaced, is_new })
    }

    fn remove(&mut self, name: &PluginName) -> Result<RemoveOutcome, UploadError> {
        let is_built_in = self.registry.is_built_in(name);
        let removed = upload::remove(&self.folder, name)?;
        if removed == RemoveOutcome::NotFound && is_built_in {
            return Ok(RemoveOutcome::BuiltIn);
        }
        if removed == RemoveOutcome::Removed {
            self.forget(name.as_str());
            self.registry.remove(name.as_str());
            (self.on_change)();
        }
        Ok(removed)
    }

    /// Drops the state of a file and aborts its job.
    fn forget(&mut self, name: &str) {
        if let Some(job) = self.files.remove(name).and_then(|file| file.job) {
            job.kill_handle.kill();
        }
    }

    fn report_first_pass(&mut self) {
        if self.files.values().all(WatchedFile::is_idle)
            && let Some(first_pass) = self.first_pass.take()
        {
            // The starter may have stopped waiting.
            let _ = first_pass.send(());
        }
    }
}
