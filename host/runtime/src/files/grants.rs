//! Checks which folders may be granted together: no guest may write to a folder that contains a path through which
//! others are reached.
//!
//! Called by the loader for each plugin before it comes into service. Folders are compared by device and inode, so
//! bind mounts and other spellings make no difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::stat;

use crate::files::granted::{GrantedFolder, GrantedFolders, Identity};

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
    /// By plugin, including older versions while they run.
    granted: Mutex<BTreeMap<String, Vec<Weak<GrantedFolders>>>>,
}

impl Grants {
    pub(crate) fn new(protected: Vec<ProtectedPath>) -> Self {
        Self { protected, granted: Mutex::default() }
    }

    /// Grants folders to a plugin, until they are dropped.
    ///
    /// # Errors
    ///
    /// Says which folder cannot be granted, and why.
    pub(crate) fn claim(&self, plugin: &str, folders: &Arc<GrantedFolders>) -> Result<(), String> {
        if folders.is_empty() {
            return Ok(());
        }
        for folder in folders.iter() {
            self.check_protected(folder)?;
            folders.iter().try_for_each(|other| check_beside(folder, other, None))?;
        }
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.retain(|_, versions| {
            versions.retain(|version| version.strong_count() > 0);
            !versions.is_empty()
        });
        // An older version of the same plugin is about to go, and keeps its folders open.
        for (name, versions) in granted.iter().filter(|(name, _)| *name != plugin) {
            for other in versions.iter().filter_map(Weak::upgrade) {
                for folder in folders.iter() {
                    other.iter().try_for_each(|other| check_beside(folder, other, Some(name)))?;
                }
            }
        }
        granted.entry(plugin.to_owned()).or_default().push(Arc::downgrade(folders));
        Ok(())
    }

    fn check_protected(&self, folder: &GrantedFolder) -> Result<(), String> {
        for ProtectedPath { path, what, is_secret } in &self.protected {
            if !folder.rule.write && !is_secret {
                continue;
            }
            let (host, path_shown) = (folder.rule.host.display(), path.display());
            let may_not = if *is_secret { "no plugin may read" } else { "no plugin may write to" };
            if ways(path).contains(&folder.identity()) {
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

fn identity(path: &Path) -> Option<Identity> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Returns the folders on the way to a path, inclusive, both as spelled and with links resolved.
fn ways(path: &Path) -> Vec<Identity> {
    let spelled = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut passed: Vec<_> = spelled.ancestors().filter_map(identity).collect();
    // If it does not exist, it would be created in its nearest existing ancestor.
    let real = spelled.ancestors().find_map(|path| path.canonicalize().ok());
    passed.extend(real.iter().flat_map(|real| real.ancestors()).filter_map(identity));
    passed
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::plugin_config::DirRule;

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

        fn claim(&self, plugin: &str, dirs: &[(&str, bool)]) -> Result<Arc<GrantedFolders>, String> {
            let folders = self.open(dirs);
            self.grants.claim(plugin, &folders).map(|()| folders)
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
            assert!(grants.claim("a", &bed.open(&[(host, true)])).is_err(), "{host}");
        }
        assert!(grants.claim("a", &bed.open(&[("work/out", true)])).is_ok());
    }
}
