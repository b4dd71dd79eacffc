//! Watches the plugins folder: detects changes, waits until a file is stable, and has it loaded into the registry.
//!
//! Started by the runtime; stops when it is dropped. One thread owns the state of all files; a small pool of loader
//! threads reads and compiles them and reports back. Uploads and removals are sent to the same thread, so that the
//! outcome of an older scan never undoes them.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmill_model::PluginName;

use crate::error::RuntimeError;
use crate::load::config::{OnChange, WatchMode};
use crate::load::folder;
use crate::load::ignored_files::IgnoredFiles;
use crate::load::loader::Loader;
use crate::load::registry::Registry;
use crate::load::upload::{Candidate, RemoveOutcome, UploadError, UploadOutcome};
use crate::load::watch_loop::{WatchEvent, WatchLoop};
use crate::load::watched_file::Job;
use crate::observe::thread_monitor::ThreadMonitor;

/// Files that are loaded concurrently. Each compilation uses all cores, so more would only cost memory.
const LOADERS_MAX: usize = 4;

/// Watches the plugins folder until it is dropped.
pub(crate) struct PluginWatcher {
    sender: Sender<WatchEvent>,
    threads: Vec<JoinHandle<()>>,
}

impl PluginWatcher {
    /// Starts watching, and waits until the files in the folder are loaded, but no longer than `load_timeout`.
    ///
    /// # Errors
    ///
    /// Fails if the folder exists but cannot be read.
    pub(crate) fn start(
        folder: &Path,
        watch: WatchMode,
        loader: &Arc<Loader>,
        registry: &Arc<Registry>,
        on_change: OnChange,
        load_timeout: Duration,
        threads: &ThreadMonitor,
    ) -> Result<Self, RuntimeError> {
        let voucher_files = loader.trust.voucher_files();
        let scan = folder::scan(folder, voucher_files, |_| None)
            .map_err(|source| RuntimeError::PluginsFolder { path: folder.to_owned(), source })?;
        let (sender, receiver) = channel();
        let (jobs, queue) = channel();
        let mut watcher = Self { sender: sender.clone(), threads: Vec::new() };
        watcher.start_loaders(queue, loader, threads).map_err(RuntimeError::Watcher)?;
        let (first_pass, passed) = channel();
        let mut watch_loop = WatchLoop {
            folder: folder.to_owned(),
            watch,
            registry: Arc::clone(registry),
            on_change,
            files: BTreeMap::new(),
            jobs,
            notifier: None,
            watched_folder: None,
            sender,
            first_pass: Some(first_pass),
            is_scan_failing: false,
            is_cut: false,
            ignored: IgnoredFiles::default(),
            voucher_files,
        };
        watch_loop.apply_scan(scan);
        let guard = threads.guard("plugins");
        watcher
            .spawn("plugins", move || {
                let _alive = guard;
                watch_loop.work(&receiver);
            })
            .map_err(RuntimeError::Watcher)?;
        if passed.recv_timeout(load_timeout) == Err(RecvTimeoutError::Timeout) {
            tracing::info!("some plugins are still compiling; they come into service when ready");
        }
        Ok(watcher)
    }

    /// Publishes a loaded upload as the file of its plugin, and puts it into service.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be changed.
    pub(crate) fn publish(&self, candidate: Candidate) -> Result<UploadOutcome, UploadError> {
        self.request(|reply| WatchEvent::Publish(Box::new(candidate), reply))
    }

    /// Removes the file of a plugin, and takes it out of service.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be changed.
    pub(crate) fn remove(&self, name: &PluginName) -> Result<RemoveOutcome, UploadError> {
        self.request(|reply| WatchEvent::Remove(name.clone(), reply))
    }

    /// Sends a request to the thread that owns the files, and waits for the reply.
    fn request<T>(
        &self,
        sender: impl FnOnce(Sender<Result<T, UploadError>>) -> WatchEvent,
    ) -> Result<T, UploadError> {
        let (reply, answer) = channel();
        // If the thread is gone, so is the sender of the reply.
        let _ = self.sender.send(sender(reply));
        answer.recv().unwrap_or(Err(UploadError::Stopping))
    }

    fn start_loaders(
        &mut self,
        queue: Receiver<Arc<Job>>,
        loader: &Arc<Loader>,
        threads: &ThreadMonitor,
    ) -> io::Result<()> {
        let queue = Arc::new(Mutex::new(queue));
        let loaders = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(LOADERS_MAX);
        for _ in 0..loaders {
            let (queue, loader, sender) = (Arc::clone(&queue), Arc::clone(loader), self.sender.clone());
            let guard = threads.guard("plugin-loader");
            self.spawn("plugin-loader", move || {
                let _alive = guard;
                load_all(&queue, &loader, &sender);
            })?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }
}

impl Drop for PluginWatcher {
    fn drop(&mut self) {
        // This fails if the watch loop panicked and dropped its receiver.
        let _ = self.sender.send(WatchEvent::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Loads jobs from the queue until the watch loop ends.
fn load_all(queue: &Mutex<Receiver<Arc<Job>>>, loader: &Loader, sender: &Sender<WatchEvent>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.kill_handle.is_killed() {
            continue;
        }
        let loaded = loader.load_file(&job.name, &job.path, &job.fingerprint, &job.kill_handle);
        if let Some(loaded) = &loaded {
            loader.record(loaded);
        }
        if sender.send(WatchEvent::Loaded(job, loaded.map(Box::new))).is_err() {
            return;
        }
    }
}
