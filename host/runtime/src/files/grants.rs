//! Which folders may be granted beside which: no guest may write where a path begins that others are reached by.
//!
//! Asked by the loader for each plugin, before it comes into service. Folders are compared by device and inode,
//! so another spelling makes no difference. A file that decides something counts with each folder on the way to
//! it, over all links: who may write to one of them may put another file in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::stat;

use crate::files::granted::{GrantedFolder, GrantedFolders, Identity};
use crate::files::ways::{Passed, way};
use crate::manifest;

/// A file or folder of the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedPath {
    /// Where it is; it may be missing.
    pub path: PathBuf,
    /// What it is, as in "the plugins folder".
    pub what: &'static str,
    /// Whether no guest may read it either.
    pub is_secret: bool,
}

/// The folders that plugins were granted, and those that none can be.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    protected: Vec<ProtectedPath>,
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    /// By plugin, with older versions as long as they run.
    granted: BTreeMap<String, Vec<Weak<GrantedFolders>>>,
    /// By plugin, the files that decide what it is and lie elsewhere than in the plugins folder.
    linked: BTreeMap<String, Vec<PathBuf>>,
}

impl Grants {
    pub(crate) fn new(protected: Vec<ProtectedPath>) -> Self {
        Self { protected, claims: Mutex::default() }
    }

    /// Grants the folders to a plugin, as long as they are held. `files` decide what it is and may do, the
    /// `.wasm` file first.
    ///
    /// # Errors
    ///
    /// Says in a sentence which folder cannot be granted, and why.
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
        let home = files.first().and_then(|wasm| wasm.parent()).map(way).unwrap_or_default();
        let linked: Vec<_> = files
            .iter()
            .map(|file| (file, way_from(&home, file)))
            .filter(|(_, passed)| !passed.is_empty())
            .collect();
        if !linked.is_empty() {
            check_manifests(plugin, files, &linked)?;
        }
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let Claims { granted, linked: others_linked } = &mut *claims;
        granted.retain(|_, versions| {
            versions.retain(|version| version.strong_count() > 0);
            !versions.is_empty()
        });
        for folder in folders.iter() {
            linked.iter().try_for_each(|(file, passed)| check_file(folder, plugin, plugin, file, passed))?;
        }
        for (name, versions) in granted.iter() {
            for other in versions.iter().filter_map(Weak::upgrade) {
                // What an older version of the same plugin may write counts, too: its runs go on.
                for folder in other.iter() {
                    linked
                        .iter()
                        .try_for_each(|(file, passed)| check_file(folder, name, plugin, file, passed))?;
                }
                // For the rest such a version is about to go, and holds its folders open as they are.
                for folder in folders.iter().filter(|_| name != plugin) {
                    other.iter().try_for_each(|other| check_beside(folder, other, Some(name)))?;
                }
            }
        }
        // A plugin goes with its file. Links may have changed since they were looked at, so they are again.
        others_linked.retain(|_, files| files.first().is_some_and(|wasm| wasm.symlink_metadata().is_ok()));
        if folders.iter().any(|folder| folder.rule.write) {
            for (name, files) in others_linked.iter().filter(|(name, _)| *name != plugin) {
                for file in files {
                    let passed = way(file);
                    folders.iter().try_for_each(|folder| check_file(folder, plugin, name, file, &passed))?;
                }
            }
        }
        if linked.is_empty() {
            others_linked.remove(plugin);
        } else {
            others_linked.insert(plugin.to_owned(), files.to_owned());
        }
        if !folders.is_empty() {
            granted.entry(plugin.to_owned()).or_default().push(Arc::downgrade(folders));
        }
        Ok(())
    }

    fn check_protected(&self, folder: &GrantedFolder) -> Result<(), String> {
        for ProtectedPath { path, what, is_secret } in &self.protected {
            if !folder.rule.write && !is_secret {
                continue;
            }
            let (host, path_shown) = (folder.rule.host.display(), path.display());
            let may_not = if *is_secret { "no plugin may see" } else { "no plugin may write to" };
            if way(path).iter().any(|passed| passed.identity == folder.identity()) {
                return Err(format!(
                    "allow.dirs: {host} is or holds {what} ({path_shown}), which {may_not}; permit a folder \
                     that does not"
                ));
            }
            if identity(path).is_some_and(|is| folder.is_within(is)) {
                return Err(format!(
                    "allow.dirs: {host} lies in {what} ({path_shown}), which {may_not}; permit a folder \
                     elsewhere"
                ));
            }
        }
        Ok(())
    }
}

/// Checks a folder against another one, of another plugin or of the same.
fn check_beside(
    folder: &GrantedFolder,
    other: &GrantedFolder,
    plugin: Option<&String>,
) -> Result<(), String> {
    let (host, other_host) = (folder.rule.host.display(), other.rule.host.display());
    let whose = plugin.map_or_else(|| "it is".to_owned(), |plugin| format!("plugin '{plugin}' is"));
    if folder.rule.write && other.parents().contains(&folder.identity()) {
        return Err(format!(
            "allow.dirs: {host} is opened for writing and holds {other_host}, which {whose} permitted as well: \
             a guest could put something else in its place; permit folders that lie beside each other, or \
             only the outer one"
        ));
    }
    if other.rule.write && folder.parents().contains(&other.identity()) {
        return Err(format!(
            "allow.dirs: {host} lies in {other_host}, which {whose} permitted for writing: a guest could put \
             something else in its place; permit folders that lie beside each other, or only the outer one"
        ));
    }
    Ok(())
}

fn identity(path: &Path) -> Option<Identity> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Returns the folders on the way to a file that lie neither in the plugins folder nor on the way there: none
/// of those can be granted for writing.
fn way_from(home: &[Passed], file: &Path) -> Vec<Passed> {
    let inside = home.last().map(|home| &home.path);
    let is_home = |passed: &Passed| {
        home.iter().any(|step| step.identity == passed.identity)
            || inside.is_some_and(|inside| passed.path.starts_with(inside))
    };
    way(file).into_iter().filter(|passed| !is_home(passed)).collect()
}

/// Checks a folder against a file that decides what a plugin is.
fn check_file(
    folder: &GrantedFolder,
    writer: &str,
    plugin: &str,
    file: &Path,
    passed: &[Passed],
) -> Result<(), String> {
    let is_passed = passed.iter().any(|passed| passed.identity == folder.identity());
    if folder.rule.write && is_passed {
        return Err(rewritable(&folder.rule.host, writer, plugin, file));
    }
    Ok(())
}

/// Checks the files of a plugin against all manifests of the folder, also those that are not in force or not
/// read yet: what a guest of theirs wrote before this server started is as harmful.
fn check_manifests(
    plugin: &str,
    files: &[PathBuf],
    linked: &[(&PathBuf, Vec<Passed>)],
) -> Result<(), String> {
    let entries = files.first().and_then(|wasm| wasm.parent()).and_then(|home| home.read_dir().ok());
    for manifest in entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        let is_manifest = manifest.extension().is_some_and(|extension| extension == "toml");
        if !is_manifest || manifest.with_extension("wasm").symlink_metadata().is_err() {
            continue;
        }
        let writer = manifest.file_stem().unwrap_or_default().to_string_lossy();
        // By path, since a folder on a dead mount must not hold up this plugin: neither path has links.
        for folder in manifest::writable_folders(&manifest) {
            for (file, passed) in linked {
                if passed.iter().any(|passed| passed.path == folder) {
                    return Err(rewritable(&folder, &writer, plugin, file));
                }
            }
        }
    }
    Ok(())
}

/// Says that a guest could rewrite a file that decides what a plugin is.
fn rewritable(folder: &Path, writer: &str, plugin: &str, file: &Path) -> String {
    format!(
        "allow.dirs: {folder}, which plugin '{writer}' is permitted for writing, holds {file} of plugin \
         '{plugin}', or a link that leads there: a guest could put something else in its place; put the file \
         itself into the plugins folder, or permit another folder",
        folder = folder.display(),
        file = file.display(),
    )
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::terms::DirRule;

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
    fn a_folder_that_guests_write_to_holds_no_other_in_either_order() {
        let bed = bed();
        let outer = bed.claim("a", &[("work", true)]).unwrap();
        for (dirs, named) in [
            (&[("work/out", false)][..], "plugin 'a'"),
            (&[("other", true), ("work/out/deep", true)], "work/out/deep"),
            (&[(".", true)], "holds"),
        ] {
            let reason = bed.claim("b", dirs).unwrap_err();
            assert!(reason.contains(named), "{reason}");
        }
        drop(outer);
        let inner = bed.claim("b", &[("work/out", false)]).unwrap();
        let reason = bed.claim("a", &[("work", true)]).unwrap_err();
        assert!(reason.contains("holds") && reason.contains("plugin 'b'"), "{reason}");
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
    fn a_new_version_is_not_held_up_by_the_old_one() {
        let bed = bed();
        let _old = bed.claim("a", &[("work", true)]).unwrap();
        let _new = bed.claim("a", &[("work/out", true)]).unwrap();
    }

    #[test]
    fn what_is_the_servers_own_is_granted_to_nobody() {
        let bed = bed();
        for host in [".", "plugins", "plugins/sub", "data", "data/cache", "etc"] {
            let reason = bed.claim("a", &[(host, true)]).unwrap_err();
            assert!(reason.contains("no plugin may"), "{host}: {reason}");
        }
        for host in [".", "data", "data/cache"] {
            let reason = bed.claim("a", &[(host, false)]).unwrap_err();
            assert!(reason.contains("no plugin may see"), "{host}: {reason}");
        }
        for host in ["plugins", "etc", "other"] {
            bed.claim("a", &[(host, false)]).unwrap();
        }
    }

    #[test]
    fn a_link_on_the_way_to_the_plugins_folder_is_protected_with_it() {
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
    fn no_guest_may_write_where_a_file_of_a_plugin_lies_or_a_link_to_it() {
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
                // Its own grant, the folder of the file and one above.
                for dir in ["work/out", "work"] {
                    let reason = bed.claim("a", &[(dir, true)]).unwrap_err();
                    assert!(reason.contains(name) && reason.contains("plugin 'a'"), "{reason}");
                }
                let _read = bed.claim("a", &[("work/out", false)]).unwrap();
                // The grant of another plugin, which comes second.
                let reason = bed.claim("b", &[("work/out", true)]).unwrap_err();
                assert!(reason.contains("plugin 'a'") && reason.contains("plugin 'b'"), "{reason}");
                let _beside = bed.claim("b", &[("work/out2", true)]).unwrap();
            }
        }
    }

    #[test]
    fn a_linked_file_that_comes_second_is_refused_and_a_manifest_counts_before_it_is_in_force() {
        let bed = bed();
        bed.link("../work/out/real", "plugins/a.toml");
        std::fs::write(bed.root.join("plugins/a.wasm"), "").unwrap();
        let writer = bed.claim("b", &[("work", true)]).unwrap();
        let reason = bed.claim("a", &[]).unwrap_err();
        assert!(reason.contains("plugin 'a'") && reason.contains("plugin 'b'"), "{reason}");
        drop(writer);
        // As at a start, where the one with the link may be loaded first.
        let host = bed.root.join("work/out");
        let manifest = format!("allow.dirs = [{{ host = {host:?}, guest = \"/w\", write = true }}]");
        std::fs::write(bed.root.join("plugins/c.toml"), manifest).unwrap();
        bed.claim("a", &[]).unwrap();
        std::fs::write(bed.root.join("plugins/c.wasm"), "").unwrap();
        let reason = bed.claim("a", &[]).unwrap_err();
        assert!(reason.contains("plugin 'c'"), "{reason}");
        // Once the plugin is gone, its links are nothing.
        std::fs::remove_file(bed.root.join("plugins/a.wasm")).unwrap();
        let _writer = bed.claim("c", &[("work/out", true)]).unwrap();
    }

    #[test]
    fn links_within_the_plugins_folder_hold_up_nothing() {
        let bed = bed();
        std::fs::create_dir(bed.root.join("plugins/..2026")).unwrap();
        std::fs::write(bed.root.join("plugins/..2026/a.toml"), "").unwrap();
        bed.link("..2026", "plugins/..data");
        bed.link("..data/a.toml", "plugins/a.toml");
        let _a = bed.claim("a", &[("work", true)]).unwrap();
    }

    #[test]
    fn a_protected_file_is_protected_with_each_link_that_leads_to_it() {
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
