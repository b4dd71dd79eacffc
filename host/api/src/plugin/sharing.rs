//! Plugins that the hosts of a database share: publishes those of this host's folder, and puts into service what others
//! have published.
//!
//! What was published last under a name runs everywhere. A file is published when it appears or changes while the host
//! is up; at a start only if nobody has published its name, or no other host is up: so a container with older files
//! cannot take the others back. What this host has published and has no file for is removed then, too. The binary runs it as a background task, and uploads call it before they answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use wasmill_model::{BoxFuture, Clock, PluginName};
use wasmill_runtime::{BundleScanner, BundleSignatures, PluginBundle, PluginInfo, PluginState, Runtime};
use wasmill_store::{PluginFiles, PluginSignatures, PublishedPlugin, Store, StoreError};

/// How often folder and database are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long to wait before a publication that could not be loaded is fetched again.
const RETRY: Duration = Duration::from_secs(30);

/// Shares the plugins of this host with the others.
pub struct PluginSharing {
    store: Store,
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    /// The folder of copies.
    copies: PathBuf,
    /// Notified when the plugins in service have changed.
    changed: Arc<Notify>,
    state: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    scanner: BundleScanner,
    /// The bundles of the folder at the last look; `None` before the first.
    folder: Option<BTreeMap<String, String>>,
    /// The version of each publication that this host has taken notice of, by name.
    taken: HashMap<String, i64>,
    /// When a publication that could not be loaded is tried again, by name.
    retries: HashMap<String, (i64, Instant)>,
    /// Names whose file here is another one than what runs; each was warned of.
    shadowed: HashSet<String>,
}

impl PluginSharing {
    /// Keeps copies in this folder, which nothing else writes to.
    pub fn new(
        store: Store,
        runtime: Runtime,
        clock: Arc<dyn Clock>,
        copies: PathBuf,
        changed: Arc<Notify>,
    ) -> Self {
        Self { store, runtime, clock, copies, changed, state: Mutex::default() }
    }

    /// Shares plugins until the server stops.
    pub fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if !self.store.shares_plugins() {
                return std::future::pending().await;
            }
            loop {
                if let Err(error) = self.look(None).await {
                    if error == StoreError::Closed {
                        return;
                    }
                    tracing::debug!(%error, "failed to share the plugins of this host");
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        })
    }

    /// Publishes what has changed in the folder, or was uploaded, and puts into service what others have published.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn look(&self, uploaded: Option<&PluginName>) -> Result<(), StoreError> {
        let Some(folder) = self.runtime.folder().map(Path::to_owned) else { return Ok(()) };
        if !self.store.shares_plugins() {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        let mut scanner = std::mem::take(&mut state.scanner);
        let scanned = tokio::task::spawn_blocking({
            let (folder, uploaded) = (folder.clone(), uploaded.cloned());
            move || (scanner.scan(&folder, uploaded.as_ref().map(PluginName::as_str)), scanner)
        });
        let (found, scanner) = scanned.await.map_err(|_| StoreError::Closed)?;
        state.scanner = scanner;
        let mut published = self.store.published_plugins().await?;
        // A folder that cannot be read tells nothing.
        if let Some(found) = found.ok().or_else(|| state.folder.is_none().then(BTreeMap::new))
            && self.follow_folder(&mut state, &folder, found, &published, uploaded).await?
        {
            published = self.store.published_plugins().await?;
        }
        self.take(&mut state, &published).await
    }

    /// Publishes what has changed in the folder; returns true if something was published or removed.
    async fn follow_folder(
        &self,
        state: &mut Shared,
        folder: &Path,
        mut found: BTreeMap<String, String>,
        published: &[PublishedPlugin],
        uploaded: Option<&PluginName>,
    ) -> Result<bool, StoreError> {
        let by_name: HashMap<_, _> = published.iter().map(|plugin| (plugin.name.as_str(), plugin)).collect();
        let alone_as = if state.folder.is_none() { alone_as(&self.store).await? } else { None };
        let is_alone = alone_as.is_some();
        let mut has_changed = false;
        // The files of another host that is down may be there when it comes back.
        for plugin in published.iter().filter(|plugin| alone_as.as_ref() == Some(&plugin.host)) {
            let is_gone = !folder.join(format!("{}.wasm", plugin.name)).exists();
            if is_gone && !plugin.is_removed && !found.contains_key(plugin.name.as_str()) {
                has_changed |= self.unpublish(plugin.name.clone(), &plugin.bundle).await?;
            }
        }
        for (name, bundle) in found.clone() {
            let there = by_name.get(name.as_str());
            let before = state.folder.as_ref().map(|before| before.get(&name) != Some(&bundle));
            let may_replace =
                before.unwrap_or(is_alone) || uploaded.is_some_and(|uploaded| uploaded.as_str() == name);
            let is_published = there.is_some_and(|there| there.bundle == bundle && !there.is_removed);
            if is_published || (there.is_some() && !may_replace) {
                continue;
            }
            if self.publish(folder, &name, &bundle).await? {
                has_changed = true;
            } else {
                // The folder wins, though this file is rejected or not compiled yet.
                if is_alone && let Some(there) = there {
                    state.taken.insert(name.clone(), there.version);
                }
                // As if it had not changed yet: it is published once it is compiled.
                match state.folder.as_ref().and_then(|before| before.get(&name)) {
                    Some(before) => found.insert(name, before.clone()),
                    None => found.remove(&name),
                };
            }
        }
        for (name, bundle) in state.folder.iter().flatten() {
            let is_gone = !folder.join(format!("{name}.wasm")).exists();
            if is_gone
                && !found.contains_key(name)
                && let Ok(name) = name.parse::<PluginName>()
            {
                has_changed |= self.unpublish(name, bundle).await?;
            }
        }
        state.folder = Some(found);
        Ok(has_changed)
    }

    /// Removes a publication, unless another one has replaced it; returns true if it was there.
    async fn unpublish(&self, name: PluginName, bundle: &str) -> Result<bool, StoreError> {
        let removed = self.store.unpublish_plugin(name, Some(bundle.to_owned()), self.clock.now()).await?;
        Ok(removed.is_some())
    }

    /// Removes a plugin at all hosts; returns true if it was published.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn remove(&self, name: &PluginName) -> Result<bool, StoreError> {
        if !self.store.shares_plugins() {
            return Ok(false);
        }
        let removed = self.store.unpublish_plugin(name.clone(), None, self.clock.now()).await?;
        self.look(None).await?;
        Ok(removed.is_some())
    }

    /// Publishes a file of the folder; false if this host has rejected it or still compiles it.
    async fn publish(&self, folder: &Path, name: &str, bundle: &str) -> Result<bool, StoreError> {
        let Ok(name) = name.parse::<PluginName>() else { return Ok(false) };
        let Some(ready) = self.runtime.shared_versions().ready_file(&name) else { return Ok(false) };
        let path = folder.join(format!("{name}.wasm"));
        let read = tokio::task::spawn_blocking(move || PluginBundle::read(&path)).await;
        let Ok(Ok(files)) = read else { return Ok(false) };
        let digest = files.wasm_digest();
        // What has changed since is published at the next look.
        if files.digest() != bundle || digest != ready {
            return Ok(false);
        }
        let PluginBundle { wasm, manifest, schema, signatures } = files;
        let signatures = PluginSignatures {
            wasm: signatures.wasm,
            manifest: signatures.manifest,
            schema: signatures.schema,
        };
        let files = PluginFiles { bundle: bundle.to_owned(), digest, wasm, manifest, schema, signatures };
        match self.store.publish_plugin(name.clone(), files, self.clock.now()).await {
            Ok(version) => {
                tracing::info!(plugin = %name, version, "published to all hosts");
                Ok(true)
            }
            Err(error @ StoreError::Refused { .. }) => {
                tracing::warn!(plugin = %name, %error, "this host alone runs a plugin: it was not published");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Puts into service what was published and is not what runs.
    async fn take(&self, state: &mut Shared, published: &[PublishedPlugin]) -> Result<(), StoreError> {
        let (mut has_changed, mut is_current) = (false, true);
        let runtime = self.runtime.clone();
        let again = tokio::task::spawn_blocking(move || runtime.shared_versions().to_load_again());
        for plugin in again.await.map_err(|_| StoreError::Closed)? {
            state.taken.remove(plugin.as_str());
        }
        for plugin in published {
            let name = plugin.name.as_str();
            let own = state.folder.as_ref().and_then(|folder| folder.get(name)).cloned();
            let is_own = own.as_ref() == Some(&plugin.bundle) && !plugin.is_removed;
            state.note_shadowed(plugin, own.is_some() && !is_own);
            let retry = state.retries.get(name).filter(|(version, _)| *version == plugin.version);
            let is_early = retry.is_some_and(|(_, retry_at)| Instant::now() < *retry_at);
            is_current &= !is_early;
            if is_early || state.taken.get(name) == Some(&plugin.version) {
                continue;
            }
            if is_own {
                self.runtime.shared_versions().release(&plugin.name);
            } else if plugin.is_removed {
                match own {
                    Some(_) => self.runtime.shared_versions().hide(&plugin.name),
                    None => self.runtime.shared_versions().release(&plugin.name),
                }
            } else if !self.load(plugin).await? {
                is_current = false;
                state.retries.insert(name.to_owned(), (plugin.version, Instant::now() + RETRY));
                continue;
            }
            state.taken.insert(name.to_owned(), plugin.version);
            has_changed = true;
        }
        if is_current {
            self.store.set_plugins_version(published.iter().map(|plugin| plugin.version).max().unwrap_or(0));
        }
        if has_changed {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Fetches and loads a publication; false if there is a newer one, or it cannot be kept here.
    async fn load(&self, plugin: &PublishedPlugin) -> Result<bool, StoreError> {
        let Some(files) = self.store.plugin_files(plugin.clone()).await? else { return Ok(false) };
        let PluginFiles { bundle, wasm, manifest, schema, signatures, .. } = files;
        let signatures = BundleSignatures {
            wasm: signatures.wasm,
            manifest: signatures.manifest,
            schema: signatures.schema,
        };
        let mut files = PluginBundle { wasm, manifest, schema, signatures };
        let (name, folder, runtime) =
            (plugin.name.clone(), self.copies.join(plugin.name.as_str()), self.runtime.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            if files.digest() != bundle {
                // A host of the version before publishes no signatures, and leaves those of the file before.
                files.signatures = BundleSignatures::default();
            }
            if files.digest() != bundle {
                return Err("its bytes in the database are damaged".to_owned());
            }
            // A file of the last publication that this one does not have must not be beside it.
            let cleared = std::fs::remove_dir_all(&folder);
            cleared
                .or_else(|error| if folder.exists() { Err(error) } else { Ok(()) })
                .map_err(|error| error.to_string())?;
            files.write(&folder, name.as_str()).map_err(|error| format!("{}: {error}", folder.display()))?;
            let copy = folder.join(format!("{name}.wasm"));
            runtime.shared_versions().load(&copy).map_err(|error| error.to_string())
        });
        match loaded.await {
            Ok(Ok(PluginInfo { state, .. })) => {
                if let PluginState::Rejected(reason) = state {
                    tracing::warn!(plugin = %plugin.name, reason, host = plugin.host, "rejected what another host has published");
                }
                Ok(true)
            }
            Ok(Err(error)) => {
                tracing::warn!(plugin = %plugin.name, error, "failed to load what another host has published");
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }
}

impl Shared {
    /// Warns once of a file that does not run.
    fn note_shadowed(&mut self, plugin: &PublishedPlugin, is_shadowed: bool) {
        let name = plugin.name.as_str();
        if !is_shadowed {
            self.shadowed.remove(name);
        } else if self.shadowed.insert(name.to_owned()) {
            tracing::warn!(
                plugin = name,
                version = plugin.version,
                host = plugin.host,
                "the file of this host does not run: another host has published another one; change the file to publish it"
            );
        }
    }
}

/// Returns the name of this host if no other one is live.
async fn alone_as(store: &Store) -> Result<Option<String>, StoreError> {
    let hosts = store.hosts().await?;
    let is_alone = hosts.iter().all(|host| host.is_self || !host.is_live);
    Ok(hosts.into_iter().find(|host| host.is_self && is_alone).map(|host| host.name))
}
