//! Checks which folders may be granted together: no guest may write to a folder that contains a path through which
//! others are reached.
//!
//! Called by the loader for each plugin before it comes into service. Folders are compared by device and inode, so
//! other spellings make no difference. A file that configures a plugin or the server is checked together with each
//! folder that its path traverses, over all links: a guest that may write to one of them could replace the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::folders::granted::{GrantedFolder, GrantedFolders, identity};
use crate::folders::traversal::{TraversedFolder, traverse};
use crate::manifest;

/// A file or folder of the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedPath {
    /// Its path; it may not exist.
    pub path: PathBuf,
    /// Its description, as in "the plugins folder".
    pub what: &'static str,
    /// Whether guests may not even read it.
    pub is_secret: bool,
}

/// The folders granted to plugins, and the protected paths.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    protected: Vec<ProtectedPath>,
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    /// By plugin, including older versions while they run.
    granted: BTreeMap<String, Vec<Weak<GrantedFolders>>>,
    /// By plugin, the files that define it, if the path of one leads out of the plugins folder.
    linked: BTreeMap<String, Vec<PathBuf>>,
}

impl Grants {
    pub(crate) fn new(protected: Vec<ProtectedPath>) -> Self {
        Self { protected, claims: Mutex::default() }
    }

    /// Grants folders to a plugin, until they are dropped. `files` are the files that define the plugin, the `.wasm`
    /// file first.
    ///
    /// # Errors
    ///
    /// Says which folder cannot be granted, and why.
    pub(crate) fn claim(
        &self,
        plugin: &str,
        files: &[PathBuf],
        folders: &Arc<GrantedFolders>,
    ) -> Result<(), String> {
        for folder in folders.iter() {
            self.check_protected(folder)?;
            folders.iter().try_for_each(|other| check_beside(folder, other, None))?;
        }
        let home = files.first().and_then(|wasm| wasm.parent()).map(traverse).unwrap_or_default();
        let linked: Vec<_> = files
            .iter()
            .map(|file| (file, traversed_outside(&home, file)))
            .filter(|(_, traversed)| !traversed.is_empty())
            .collect();
        if !linked.is_empty() {
            check_manifests(plugin, files, &linked)?;
        }
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.forget_ended();
        for folder in folders.iter() {
            check_files(folder, plugin, plugin, &linked)?;
        }
        claims.check_granted(plugin, folders, &linked)?;
        claims.check_linked(plugin, folders)?;
        if linked.is_empty() {
            claims.linked.remove(plugin);
        } else {
            claims.linked.insert(plugin.to_owned(), files.to_owned());
        }
        if !folders.is_empty() {
            claims.granted.entry(plugin.to_owned()).or_default().push(Arc::downgrade(folders));
        }
        Ok(())
    }

    fn check_protected(&self, folder: &GrantedFolder) -> Result<(), String> {
        for ProtectedPath { path, what, is_secret } in &self.protected {
            if !folder.rule.write && !is_secret {
                continue;
            }
            let (host, path_shown) = (folder.rule.host.display(), path.display());
            let may_not = if *is_secret { "no plugin may read" } else { "no plugin may write to" };
            if traverse(path).iter().any(|traversed| traversed.identity == folder.identity()) {
                return Err(format!(
                    "allow.dirs: {host} is or contains {what} ({path_shown}), which {may_not}; grant \
                     another folder"
                ));
            }
            if identity(path).is_some_and(|is| folder.is_within(is)) {
                return Err(format!(
                    "allow.dirs: {host} lies in {what} ({path_shown}), which {may_not}; grant a folder \
                     elsewhere"
                ));
            }
        }
        Ok(())
    }
}

impl Claims {
    /// Forgets the grants that were dropped, and the links of plugins that are gone.
    fn forget_ended(&mut self) {
        self.granted.retain(|_, versions| {
            versions.retain(|version| version.strong_count() > 0);
            !versions.is_empty()
        });
        // A plugin is gone once its file is.
        self.linked.retain(|_, files| files.first().is_some_and(|wasm| wasm.symlink_metadata().is_ok()));
    }

    /// Checks the folders and linked files of a plugin against what is granted already.
    fn check_granted(
        &self,
        plugin: &str,
        folders: &GrantedFolders,
        linked: &[(&PathBuf, Vec<TraversedFolder>)],
    ) -> Result<(), String> {
        for (name, versions) in &self.granted {
            for other in versions.iter().filter_map(Weak::upgrade) {
                // The grants of an older version of the same plugin count as well, because its runs continue.
                for folder in other.iter() {
                    check_files(folder, name, plugin, linked)?;
                }
                // Otherwise an older version does not conflict: it is about to go, and keeps its folders open.
                for folder in folders.iter().filter(|_| name != plugin) {
                    other.iter().try_for_each(|other| check_beside(folder, other, Some(name)))?;
                }
            }
        }
        Ok(())
    }

    /// Checks the folders of a plugin against the linked files of all others.
    fn check_linked(&self, plugin: &str, folders: &GrantedFolders) -> Result<(), String> {
        if !folders.iter().any(|folder| folder.rule.write) {
            return Ok(());
        }
        for (name, files) in self.linked.iter().filter(|(name, _)| *name != plugin) {
            for file in files {
                // Links may have changed since, so each path is traversed again.
                let traversed = traverse(file);
                folders.iter().try_for_each(|folder| check_file(folder, plugin, name, file, &traversed))?;
            }
        }
        Ok(())
    }
}

/// Checks a folder against another one, of the same plugin or of another.
fn check_beside(
    folder: &GrantedFolder,
    other: &GrantedFolder,
    plugin: Option<&String>,
) -> Result<(), String> {
    let (host, other_host) = (folder.rule.host.display(), other.rule.host.display());
    let whose = plugin.map_or_else(|| "it is".to_owned(), |plugin| format!("plugin '{plugin}' is"));
    if folder.rule.write && other.parents().contains(&folder.identity()) {
        return Err(format!(
            "allow.dirs: {host} is writable and contains {other_host}, which {whose} granted as well: a \
             guest could replace that folder; grant folders side by side, or only the outer one"
        ));
    }
    if other.rule.write && folder.parents().contains(&other.identity()) {
        return Err(format!(
            "allow.dirs: {host} lies in {other_host}, which {whose} granted for writing: a guest could \
             replace this folder; grant folders side by side, or only the outer one"
        ));
    }
    Ok(())
}

/// Returns the traversed folders of a file, except those in the plugins folder and on the path to it, which can
/// never be granted for writing.
fn traversed_outside(home: &[TraversedFolder], file: &Path) -> Vec<TraversedFolder> {
    let plugins_folder = home.last().map(|folder| &folder.path);
    let is_home = |traversed: &TraversedFolder| {
        home.iter().any(|folder| folder.identity == traversed.identity)
            || plugins_folder.is_some_and(|folder| traversed.path.starts_with(folder))
    };
    traverse(file).into_iter().filter(|traversed| !is_home(traversed)).collect()
}

/// Checks a folder against the linked files that define a plugin.
fn check_files(
    folder: &GrantedFolder,
    writer: &str,
    plugin: &str,
    linked: &[(&PathBuf, Vec<TraversedFolder>)],
) -> Result<(), String> {
    linked.iter().try_for_each(|(file, traversed)| check_file(folder, writer, plugin, file, traversed))
}

/// Checks a folder against a file that defines a plugin.
fn check_file(
    folder: &GrantedFolder,
    writer: &str,
    plugin: &str,
    file: &Path,
    traversed: &[TraversedFolder],
) -> Result<(), String> {
    let is_traversed = traversed.iter().any(|traversed| traversed.identity == folder.identity());
    if folder.rule.write && is_traversed {
        return Err(replaceable_error(&folder.rule.host, writer, plugin, file));
    }
    Ok(())
}

/// Checks the files of a plugin against all manifests of the folder, including those that are rejected or not loaded
/// yet: a guest of such a plugin may have replaced a file before this server started.
fn check_manifests(
    plugin: &str,
    files: &[PathBuf],
    linked: &[(&PathBuf, Vec<TraversedFolder>)],
) -> Result<(), String> {
    let entries = files.first().and_then(|wasm| wasm.parent()).and_then(|home| home.read_dir().ok());
    for manifest in entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        let is_manifest = manifest.extension().is_some_and(|extension| extension == "toml");
        if !is_manifest || manifest.with_extension("wasm").symlink_metadata().is_err() {
            continue;
        }
        let writer = manifest.file_stem().unwrap_or_default().to_string_lossy();
        // Compares paths, because opening a folder on a dead mount would block this plugin. Neither path has links.
        for folder in manifest::writable_folders(&manifest) {
            for (file, traversed) in linked {
                if traversed.iter().any(|traversed| traversed.path == folder) {
                    return Err(replaceable_error(&folder, &writer, plugin, file));
                }
            }
        }
    }
    Ok(())
}

/// Formats the error for a file of a plugin that a guest could replace.
fn replaceable_error(folder: &Path, writer: &str, plugin: &str, file: &Path) -> String {
    format!(
        "allow.dirs: {folder}, which plugin '{writer}' may write to, contains {file} of plugin '{plugin}' \
         or a link on its path: a guest could replace that file; put the file itself into the plugins \
         folder, or grant another folder",
        folder = folder.display(),
        file = file.display(),
    )
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::folders::rule::DirRule;

    struct Bed {
        _folder: TempDir,
        root: PathBuf,
        grants: Grants,
    }

    fn bed() -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for path in ["plugins/sub", "data/cache", "work/out/deep", "work/out2", "other", "etc"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        std::fs::write(root.join("etc/wasmill.toml"), "").unwrap();
        let protected =
            |path: &str, what, is_secret| ProtectedPath { path: root.join(path), what, is_secret };
        let grants = Grants::new(vec![
            protected("plugins", "the plugins folder", false),
            protected("data", "the data folder", true),
            protected("etc/wasmill.toml", "the settings file", false),
            protected("missing/later", "a folder to come", false),
        ]);
        Bed { _folder: folder, root, grants }
    }

    impl Bed {
        fn open(&self, dirs: &[(&str, bool)]) -> Arc<GrantedFolders> {
            let rule = |(number, (host, write)): (usize, &(&str, bool))| DirRule {
                host: self.root.join(host),
                guest: format!("/{number}"),
                write: *write,
            };
            let rules: Vec<_> = dirs.iter().enumerate().map(rule).collect();
            Arc::new(GrantedFolders::open(&rules).unwrap())
        }

        fn files(&self, plugin: &str) -> Vec<PathBuf> {
            let wasm = self.root.join(format!("plugins/{plugin}.wasm"));
            let (manifest, schema) = (wasm.with_extension("toml"), wasm.with_extension("json"));
            vec![wasm, manifest, schema]
        }

        fn link(&self, target: &str, link: &str) {
            std::os::unix::fs::symlink(target, self.root.join(link)).unwrap();
        }

        fn claim(&self, plugin: &str, dirs: &[(&str, bool)]) -> Result<Arc<GrantedFolders>, String> {
            let folders = self.open(dirs);
            self.grants.claim(plugin, &self.files(plugin), &folders).map(|()| folders)
        }
    }

    #[test]
    fn a_writable_folder_contains_no_other_grant_in_either_order() {
        let bed = bed();
        let outer = bed.claim("a", &[("work", true)]).unwrap();
        for (dirs, named) in [
            (&[("work/out", false)][..], "plugin 'a'"),
            (&[("other", true), ("work/out/deep", true)], "work/out/deep"),
            (&[(".", true)], "contains"),
        ] {
            let reason = bed.claim("b", dirs).unwrap_err();
            assert!(reason.contains(named), "{reason}");
        }
        drop(outer);
        let inner = bed.claim("b", &[("work/out", false)]).unwrap();
        let reason = bed.claim("a", &[("work", true)]).unwrap_err();
        assert!(reason.contains("contains") && reason.contains("plugin 'b'"), "{reason}");
        drop(inner);
        for dirs in [[("work", true), ("work/out", true)], [("work/out", false), ("work", true)]] {
            assert!(bed.claim("a", &dirs).is_err(), "within one manifest: {dirs:?}");
        }
    }

    #[test]
    fn equal_folders_folders_side_by_side_and_readers_may_be_granted() {
        let bed = bed();
        let _a = bed.claim("a", &[("work/out", true), ("work/out2", true)]).unwrap();
        let _b = bed.claim("b", &[("work/out", true), ("other", true)]).unwrap();
        let _c = bed.claim("c", &[("work/out", false), ("work", false)]).unwrap();
        // The same plugin with another manifest.
        let _a = bed.claim("a", &[("work/out/deep", true)]).unwrap_err();
    }

    #[test]
    fn a_new_version_does_not_conflict_with_the_old_one() {
        let bed = bed();
        let _old = bed.claim("a", &[("work", true)]).unwrap();
        let _new = bed.claim("a", &[("work/out", true)]).unwrap();
    }

    #[test]
    fn protected_paths_are_never_granted() {
        let bed = bed();
        for host in [".", "plugins", "plugins/sub", "data", "data/cache", "etc"] {
            let reason = bed.claim("a", &[(host, true)]).unwrap_err();
            assert!(reason.contains("no plugin may"), "{host}: {reason}");
        }
        for host in [".", "data", "data/cache"] {
            let reason = bed.claim("a", &[(host, false)]).unwrap_err();
            assert!(reason.contains("no plugin may read"), "{host}: {reason}");
        }
        for host in ["plugins", "etc", "other"] {
            bed.claim("a", &[(host, false)]).unwrap();
        }
    }

    #[test]
    fn a_link_to_the_plugins_folder_is_protected_too() {
        let bed = bed();
        std::os::unix::fs::symlink("../plugins", bed.root.join("work/current")).unwrap();
        let path = bed.root.join("work/current");
        let grants = Grants::new(vec![ProtectedPath { path, what: "the plugins folder", is_secret: false }]);
        for host in ["work", "plugins"] {
            assert!(grants.claim("a", &[], &bed.open(&[(host, true)])).is_err(), "{host}");
        }
        assert!(grants.claim("a", &[], &bed.open(&[("work/out", true)])).is_ok());
    }

    #[test]
    fn a_writable_folder_contains_no_file_of_a_plugin_and_no_link_to_one() {
        for (link, name) in [("a.toml", "a.toml"), ("a.wasm", "a.wasm"), ("a.json", "a.json")] {
            for (target, hop) in [("../work/out/real", None), ("../work/out/hop", Some("../../other/real"))] {
                let bed = bed();
                std::fs::write(bed.root.join("plugins/a.wasm"), "").unwrap();
                std::fs::write(bed.root.join("plugins/b.wasm"), "").unwrap();
                let _ = std::fs::remove_file(bed.root.join("plugins").join(name));
                bed.link(target, &format!("plugins/{link}"));
                if let Some(hop) = hop {
                    bed.link(hop, "work/out/hop");
                }
                for path in ["work/out/real", "other/real"] {
                    std::fs::write(bed.root.join(path), "").unwrap();
                }
                // Its own grants: the folder of the file, and the parent of that.
                for dir in ["work/out", "work"] {
                    let reason = bed.claim("a", &[(dir, true)]).unwrap_err();
                    assert!(reason.contains(name) && reason.contains("plugin 'a'"), "{reason}");
                }
                let _read = bed.claim("a", &[("work/out", false)]).unwrap();
                // A later grant of another plugin.
                let reason = bed.claim("b", &[("work/out", true)]).unwrap_err();
                assert!(reason.contains("plugin 'a'") && reason.contains("plugin 'b'"), "{reason}");
                let _beside = bed.claim("b", &[("work/out2", true)]).unwrap();
            }
        }
    }

    #[test]
    fn a_linked_file_in_an_earlier_grant_or_in_one_of_a_pending_manifest_is_rejected() {
        let bed = bed();
        bed.link("../work/out/real", "plugins/a.toml");
        std::fs::write(bed.root.join("plugins/a.wasm"), "").unwrap();
        let writer = bed.claim("b", &[("work", true)]).unwrap();
        let reason = bed.claim("a", &[]).unwrap_err();
        assert!(reason.contains("plugin 'a'") && reason.contains("plugin 'b'"), "{reason}");
        drop(writer);
        // As at a start, where the plugin with the link may be loaded first.
        let host = bed.root.join("work/out");
        let manifest = format!("allow.dirs = [{{ host = {host:?}, guest = \"/w\", write = true }}]");
        std::fs::write(bed.root.join("plugins/c.toml"), manifest).unwrap();
        bed.claim("a", &[]).unwrap();
        std::fs::write(bed.root.join("plugins/c.wasm"), "").unwrap();
        let reason = bed.claim("a", &[]).unwrap_err();
        assert!(reason.contains("plugin 'c'"), "{reason}");
        // Once the plugin is gone, its links no longer count.
        std::fs::remove_file(bed.root.join("plugins/a.wasm")).unwrap();
        let _writer = bed.claim("c", &[("work/out", true)]).unwrap();
    }

    #[test]
    fn links_within_the_plugins_folder_are_allowed() {
        let bed = bed();
        std::fs::create_dir(bed.root.join("plugins/..2026")).unwrap();
        std::fs::write(bed.root.join("plugins/..2026/a.toml"), "").unwrap();
        bed.link("..2026", "plugins/..data");
        bed.link("..data/a.toml", "plugins/a.toml");
        let _a = bed.claim("a", &[("work", true)]).unwrap();
    }

    #[test]
    fn every_link_to_a_protected_file_is_protected() {
        let bed = bed();
        bed.link("../../other/next", "work/out/hop");
        bed.link("../etc/wasmill.toml", "other/next");
        let path = bed.root.join("work/out/hop");
        let grants = Grants::new(vec![ProtectedPath { path, what: "the file", is_secret: false }]);
        for host in ["work/out", "other", "etc"] {
            assert!(grants.claim("a", &[], &bed.open(&[(host, true)])).is_err(), "{host}");
        }
        assert!(grants.claim("a", &[], &bed.open(&[("work/out2", true)])).is_ok());
    }
}
