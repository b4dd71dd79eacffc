//! Finds the folders that the resolution of a path traverses, including those of every symbolic link on it.
//!
//! Called by `grants`. A guest that may write to one of these folders can replace the file at the path.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat, readlinkat};

use crate::folders::granted::Identity;

/// The maximum number of symbolic links that Linux follows for one path.
const LINKS_MAX: usize = 40;

/// A folder that the resolution of a path traverses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraversedFolder {
    pub(crate) identity: Identity,
    /// Its path, without links.
    pub(crate) path: PathBuf,
}

/// Returns the folders that the resolution of a path traverses, including the path itself if it is a folder. Stops
/// where a component does not exist, because that would be created in the last folder.
pub(crate) fn traverse(path: &Path) -> Vec<TraversedFolder> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(mut here) = openat(CWD, "/", flags, Mode::empty()) else { return Vec::new() };
    let (mut so_far, mut traversed, mut links) = (PathBuf::from("/"), Vec::new(), 0);
    let mut rest = components_reversed(&path);
    while let Some(component) = rest.pop() {
        if let Ok(target) = readlinkat(&here, &component, Vec::new()) {
            links += 1;
            if links > LINKS_MAX {
                break;
            }
            rest.extend(components_reversed(Path::new(&OsString::from_vec(target.into_bytes()))));
            continue;
        }
        let Ok(next) = openat(&here, &component, flags, Mode::empty()) else { break };
        here = next;
        if component == ".." {
            so_far.pop();
        } else {
            // The root of an absolute target replaces the whole path.
            so_far.push(&component);
        }
        let Ok(stat) = fstat(&here) else { break };
        traversed.push(TraversedFolder { identity: (stat.st_dev, stat.st_ino), path: so_far.clone() });
    }
    traversed
}

fn components_reversed(path: &Path) -> Vec<OsString> {
    let components = path.components().filter(|component| *component != Component::CurDir);
    components.rev().map(|component| component.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folder_of_each_link_is_traversed() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap();
        for folder in ["plugins", "one", "two/deep", "three"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("three/a.toml"), "").unwrap();
        symlink("../one/link", root.join("plugins/a.toml")).unwrap();
        symlink(root.join("two/deep/link"), root.join("one/link")).unwrap();
        symlink("../../three/a.toml", root.join("two/deep/link")).unwrap();
        symlink("loop", root.join("one/loop")).unwrap();
        let below = |path: &str| -> Vec<_> {
            let traversed = traverse(&root.join(path)).into_iter().map(|folder| folder.path);
            traversed.filter_map(|path| Some(path.strip_prefix(&root).ok()?.display().to_string())).collect()
        };
        assert_eq!(
            below("plugins/a.toml"),
            ["", "plugins", "", "one", "", "two", "two/deep", "two", "", "three"]
        );
        assert_eq!(below("two/deep"), ["", "two", "two/deep"]);
        assert_eq!(below("one/missing/file"), ["", "one"]);
        assert_eq!(below("one/loop"), ["", "one"]);
    }
}
