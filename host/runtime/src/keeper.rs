//! Keeps the registry as the plugins folder is: notices, waits until a file has settled, has it loaded.
//!
//! Started by the runtime, stops when it is dropped. One thread owns all that is known of the files;
//! loaders of a small pool read and compile them, and report back to it. Uploads and removals are asked of
//! that thread too, so that what it finds out about an older file never undoes them.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use wasmill_model::PluginName;

use crate::folder::{self, Fingerprint, PLUGINS_MAX, SETTLE, Scan};
use crate::leash::Leash;
use crate::loader::{Loaded, Loader};
use crate::registry::Registry;
use crate::runtime::RuntimeError;
use crate::threads::Threads;
use crate::upload::{self, Candidate, Removed, UploadError, Uploaded};

/// Files that are read and compiled at once. Each is compiled by all cores, so more only cost memory.
const LOADERS_MAX: usize = 4;
/// The least time between two looks at the folder: a copy of a large file is a storm of events.
const BREATH: Duration = Duration::from_millis(50);
/// How often the folder is looked at though nothing was heard of it.
const POLL: Duration = Duration::from_secs(2);

/// How changes of the folder are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// The system tells (inotify), and a look every 2 seconds stands behind it: bind mounts and
    /// network mounts may not tell.
    #[default]
    Told,
    /// By looking, so often.
    Polled(Duration),
}

impl Watch {
    fn poll(self) -> Duration {
        match self {
            Self::Told => POLL,
            Self::Polled(interval) => interval.max(BREATH),
        }
    }
}

/// What happens when the plugins in service have changed. Called from a thread of the keeper, and
/// not to be held up there.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// Keeps watch until it is dropped.
pub(crate) struct Keeper {
    mail: Sender<Mail>,
    threads: Vec<JoinHandle<()>>,
}

enum Mail {
    /// Something happened in the folder.
    Stirred,
    /// A loader is done.
    Loaded(Arc<Job>, Option<Box<Loaded>>),
    /// Somebody uploads a plugin.
    Publish(Box<Candidate>, Sender<Result<Uploaded, UploadError>>),
    /// Somebody removes a plugin.
    Remove(PluginName, Sender<Result<Removed, UploadError>>),
    Stop,
}

/// One file to be loaded.
struct Job {
    name: String,
    path: PathBuf,
    fingerprint: Fingerprint,
    leash: Leash,
}

/// What is known of one file.
struct Watched {
    /// `None` once it is gone.
    seen: Option<(PathBuf, Fingerprint)>,
    /// When what was seen may be believed.
    settled_at: Instant,
    /// What was seen when it was last acted on; `None` if it never was, or has to be again.
    acted_on: Option<Option<Fingerprint>>,
    job: Option<Arc<Job>>,
}

struct Watchman {
    folder: PathBuf,
    watch: Watch,
    registry: Arc<Registry>,
    on_change: OnChange,
    files: BTreeMap<String, Watched>,
    jobs: Sender<Arc<Job>>,
    notifier: Option<RecommendedWatcher>,
    /// The folder that `notifier` listens to.
    heard: Option<(u64, u64)>,
    mail: Sender<Mail>,
    /// Told once, when all files that were there at the start are loaded.
    first_pass: Option<Sender<()>>,
    /// The last look failed, and the log says so.
    blind: bool,
    /// The folder held more than is looked at, and the log says so.
    is_cut: bool,
}

impl Keeper {
    /// Starts to keep watch, and waits until what is in the folder now is loaded, but no longer
    /// than `patience`.
    ///
    /// # Errors
    ///
    /// Fails if the folder is there but cannot be read.
    pub(crate) fn start(
        folder: &Path,
        watch: Watch,
        loader: &Arc<Loader>,
        registry: &Arc<Registry>,
        on_change: OnChange,
        patience: Duration,
        threads: &Threads,
    ) -> Result<Self, RuntimeError> {
        let scan = folder::scan(folder, |_| None)
            .map_err(|source| RuntimeError::PluginsFolder { path: folder.to_owned(), source })?;
        let (mail, letters) = channel();
        let (jobs, queue) = channel();
        let mut keeper = Self { mail: mail.clone(), threads: Vec::new() };
        keeper.start_loaders(queue, loader, threads).map_err(RuntimeError::Keeper)?;
        let (first_pass, passed) = channel();
        let mut watchman = Watchman {
            folder: folder.to_owned(),
            watch,
            registry: Arc::clone(registry),
            on_change,
            files: BTreeMap::new(),
            jobs,
            notifier: None,
            heard: None,
            mail,
            first_pass: Some(first_pass),
            blind: false,
            is_cut: false,
        };
        watchman.take_scan(scan);
        let alive = threads.alive("plugins");
        keeper
            .spawn("plugins", move || {
                let _alive = alive;
                watchman.work(&letters);
            })
            .map_err(RuntimeError::Keeper)?;
        if passed.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::info!("some plugins are still being compiled; they come into service as they are ready");
        }
        Ok(keeper)
    }

    /// Makes an upload that was loaded the file of its plugin, and puts it into service.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be changed.
    pub(crate) fn publish(&self, candidate: Candidate) -> Result<Uploaded, UploadError> {
        self.ask(|reply| Mail::Publish(Box::new(candidate), reply))
    }

    /// Removes the file of a plugin, and takes it out of service.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be changed.
    pub(crate) fn remove(&self, name: &PluginName) -> Result<Removed, UploadError> {
        self.ask(|reply| Mail::Remove(name.clone(), reply))
    }

    /// Has the one thread that owns what is known of the files change them, and waits until it has.
    fn ask<T>(&self, mail: impl FnOnce(Sender<Result<T, UploadError>>) -> Mail) -> Result<T, UploadError> {
        let (reply, answer) = channel();
        // If the thread is gone, so is the other end of the answer.
        let _ = self.mail.send(mail(reply));
        answer.recv().unwrap_or(Err(UploadError::Stopping))
    }

    fn start_loaders(
        &mut self,
        queue: Receiver<Arc<Job>>,
        loader: &Arc<Loader>,
        threads: &Threads,
    ) -> io::Result<()> {
        let queue = Arc::new(Mutex::new(queue));
        let loaders = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(LOADERS_MAX);
        for _ in 0..loaders {
            let (queue, loader, mail) = (Arc::clone(&queue), Arc::clone(loader), self.mail.clone());
            let alive = threads.alive("plugin-loader");
            self.spawn("plugin-loader", move || {
                let _alive = alive;
                load_all(&queue, &loader, &mail);
            })?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The watchman is gone if it panicked, and then its end of the queue is, too.
        let _ = self.mail.send(Mail::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Loads what comes out of the queue until the watchman has gone.
fn load_all(queue: &Mutex<Receiver<Arc<Job>>>, loader: &Loader, mail: &Sender<Mail>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.leash.is_cut() {
            continue;
        }
        let loaded = loader.load_file(&job.name, &job.path, &job.fingerprint, &job.leash);
        if mail.send(Mail::Loaded(job, loaded.map(Box::new))).is_err() {
            return;
        }
    }
}

impl Watchman {
    fn work(mut self, letters: &Receiver<Mail>) {
        let mut look_at = Instant::now() + self.act();
        self.listen();
        loop {
            let looked = Instant::now();
            loop {
                match letters.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
                    Ok(Mail::Stirred) => look_at = look_at.min(looked + BREATH),
                    Ok(Mail::Loaded(job, loaded)) => {
                        self.take_in(&job, loaded.map(|loaded| *loaded));
                        look_at = look_at.min(looked + BREATH);
                    }
                    // Whoever asked may have gone; it is done all the same.
                    Ok(Mail::Publish(candidate, reply)) => drop(reply.send(self.publish(*candidate))),
                    Ok(Mail::Remove(name, reply)) => drop(reply.send(self.remove(&name))),
                    Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => return self.stop(),
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            self.look();
            look_at = Instant::now() + self.act();
        }
    }

    fn stop(&self) {
        for job in self.files.values().filter_map(|file| file.job.as_ref()) {
            job.leash.cut();
        }
    }

    fn look(&mut self) {
        self.listen();
        let earlier = |name: &str| self.files.get(name)?.fingerprint();
        match folder::scan(&self.folder, earlier) {
            Ok(scan) => {
                self.blind = false;
                self.take_scan(scan);
            }
            Err(error) => {
                if !self.blind {
                    let folder = self.folder.display();
                    tracing::warn!(%folder, %error, "failed to read the plugins folder, keeping what was loaded");
                }
                self.blind = true;
            }
        }
    }

    /// Listens to the folder, or to the one that has come in its place.
    fn listen(&mut self) {
        let folder = folder::identity(&self.folder);
        if self.watch != Watch::Told || self.heard == folder {
            return;
        }
        self.notifier = None;
        self.heard = folder;
        if folder.is_some() {
            match self.notifier() {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => {
                    tracing::warn!(%error, "failed to watch the plugins folder, looking every {POLL:?}");
                }
            }
        }
    }

    fn notifier(&self) -> notify::Result<RecommendedWatcher> {
        let mail = self.mail.clone();
        let mut notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own look opens the folder, which must not make us look again.
            let is_ours = event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !is_ours {
                // The watchman is gone when the server stops.
                let _ = mail.send(Mail::Stirred);
            }
        })?;
        notifier.watch(&self.folder, RecursiveMode::NonRecursive)?;
        Ok(notifier)
    }

    fn take_scan(&mut self, scan: Scan) {
        if scan.is_cut && !self.is_cut {
            let folder = self.folder.display();
            tracing::warn!(%folder, "the plugins folder holds over {PLUGINS_MAX} plugins; those after them are left out");
        }
        self.is_cut = scan.is_cut;
        self.compare(scan.files);
    }

    /// Takes note of what is there and what is not any more.
    fn compare(&mut self, mut files: BTreeMap<String, (PathBuf, Fingerprint)>) {
        let now = Instant::now();
        for (name, file) in &mut self.files {
            file.see(files.remove(name), now);
        }
        for (name, seen) in files {
            let settled_at = if seen.1.is_settled() { now } else { now + SETTLE };
            let file = Watched { seen: Some(seen), settled_at, acted_on: None, job: None };
            self.files.insert(name, file);
        }
    }

    /// Acts on every change that has settled, and returns how long until the next look is due.
    fn act(&mut self) -> Duration {
        let now = Instant::now();
        let mut wait = self.watch.poll();
        let mut removed = false;
        for (name, file) in &mut self.files {
            let fingerprint = file.fingerprint();
            if file.acted_on.as_ref().is_some_and(|acted_on| acted_on.as_ref() == fingerprint) {
                continue;
            }
            let rest = file.settled_at.saturating_duration_since(now);
            if !rest.is_zero() {
                wait = wait.min(rest);
                continue;
            }
            file.acted_on = Some(fingerprint.cloned());
            if let Some(job) = file.job.take() {
                job.leash.cut();
            }
            match &file.seen {
                Some((path, fingerprint)) => {
                    self.registry.begin(name, path, fingerprint.size_bytes());
                    let job = Job {
                        name: name.clone(),
                        path: path.clone(),
                        fingerprint: fingerprint.clone(),
                        leash: Leash::default(),
                    };
                    let job = file.job.insert(Arc::new(job));
                    // The loaders only go when this end of the queue does.
                    let _ = self.jobs.send(Arc::clone(job));
                }
                None => {
                    self.registry.remove(name);
                    removed = true;
                }
            }
        }
        self.files.retain(|_, file| file.acted_on != Some(None) || file.seen.is_some());
        if removed {
            (self.on_change)();
        }
        self.tell_first_pass();
        wait
    }

    fn take_in(&mut self, job: &Arc<Job>, loaded: Option<Loaded>) {
        let Some(file) = self.files.get_mut(&job.name) else { return };
        // The result of an older look is of no use.
        if !file.job.as_ref().is_some_and(|current| Arc::ptr_eq(current, job)) {
            return;
        }
        file.job = None;
        match loaded {
            Some(loaded) => {
                file.learn(job, &loaded);
                self.registry.admit(loaded);
                (self.on_change)();
            }
            None => {
                file.acted_on = None;
                file.settled_at = Instant::now() + SETTLE;
            }
        }
        self.tell_first_pass();
    }

    /// Gives an upload its name in the folder. What was seen or loaded of an older file is of no use any more.
    fn publish(&mut self, candidate: Candidate) -> Result<Uploaded, UploadError> {
        let Candidate { name, draft, loaded, looked_at } = candidate;
        let is_known = self.files.contains_key(name.as_str());
        if !is_known && self.files.len() >= PLUGINS_MAX {
            return Err(UploadError::TooMany);
        }
        let (path, is_new) = draft.publish(&self.folder, &name)?;
        let now = Instant::now();
        let seen = Fingerprint::of(&path, Some(&looked_at));
        // If it has changed since, the next look finds that, as it finds any other change.
        let is_as_loaded = seen.as_ref().is_some_and(|seen| seen.is_renamed(&looked_at));
        let published = Watched {
            acted_on: is_as_loaded.then(|| seen.clone()),
            seen: seen.map(|seen| (path, seen)),
            settled_at: now + SETTLE,
            job: None,
        };
        self.forget(name.as_str());
        self.files.insert(name.to_string(), published);
        let info = loaded.info.clone();
        self.registry.admit(loaded);
        (self.on_change)();
        Ok(Uploaded { info, is_new })
    }

    fn remove(&mut self, name: &PluginName) -> Result<Removed, UploadError> {
        let is_built_in = self.registry.is_built_in(name);
        let removed = upload::remove(&self.folder, name)?;
        if removed == Removed::NotFound && is_built_in {
            return Ok(Removed::BuiltIn);
        }
        if removed == Removed::Removed {
            self.forget(name.as_str());
            self.registry.remove(name.as_str());
            (self.on_change)();
        }
        Ok(removed)
    }

    /// Forgets a file; what is being made of it is given up.
    fn forget(&mut self, name: &str) {
        if let Some(job) = self.files.remove(name).and_then(|file| file.job) {
            job.leash.cut();
        }
    }

    fn tell_first_pass(&mut self) {
        if self.files.values().all(Watched::is_at_rest)
            && let Some(first_pass) = self.first_pass.take()
        {
            // Whoever started this may have lost patience.
            let _ = first_pass.send(());
        }
    }
}

impl Watched {
    fn see(&mut self, seen: Option<(PathBuf, Fingerprint)>, now: Instant) {
        if self.seen != seen {
            self.seen = seen;
            let is_settled = self.fingerprint().is_some_and(Fingerprint::is_settled);
            self.settled_at = if is_settled { now } else { now + SETTLE };
        }
    }

    /// Takes in which schema was read and which folders are granted, so that their changes are seen from now on.
    fn learn(&mut self, job: &Job, loaded: &Loaded) {
        if let (Some((_, seen)), Some(looked_at)) = (&mut self.seen, &loaded.looked_at)
            && *seen == job.fingerprint
        {
            *seen = looked_at.clone();
            self.acted_on = Some(Some(looked_at.clone()));
        }
    }

    fn fingerprint(&self) -> Option<&Fingerprint> {
        self.seen.as_ref().map(|(_, fingerprint)| fingerprint)
    }

    fn is_at_rest(&self) -> bool {
        self.acted_on.as_ref().is_some_and(|acted_on| acted_on.as_ref() == self.fingerprint())
            && self.job.is_none()
    }
}
