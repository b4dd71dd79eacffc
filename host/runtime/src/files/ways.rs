//! The way to a file: each folder in which a name is looked up on it, over all links.
//!
//! Asked by `grants`. A guest that may write to one of these folders decides what lies at the path.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat, readlinkat};

use crate::files::granted::Identity;

/// As many links as Linux follows for one path.
const LINKS_MAX: usize = 40;

/// One folder on the way to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) identity: Identity,
    /// Where it lies, without links.
    pub(super) path: PathBuf,
}

/// Returns the folders on the way to a path, with itself if it is one. The way ends where something is missing:
/// what is made later is made in the last folder.
pub(super) fn way(path: &Path) -> Vec<Passed> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(mut here) = openat(CWD, "/", flags, Mode::empty()) else { return Vec::new() };
    let (mut place, mut passed, mut links) = (PathBuf::from("/"), Vec::new(), 0);
    let mut ahead = parts(&path);
    while let Some(part) = ahead.pop() {
        if let Ok(target) = readlinkat(&here, &part, Vec::new()) {
            links += 1;
            if links > LINKS_MAX {
                break;
            }
            ahead.extend(parts(Path::new(&OsString::from_vec(target.into_bytes()))));
            continue;
        }
        let Ok(next) = openat(&here, &part, flags, Mode::empty()) else { break };
        here = next;
        if part == ".." {
            place.pop();
        } else {
            // The root replaces all before it.
            place.push(&part);
        }
        let Ok(stat) = fstat(&here) else { break };
        passed.push(Passed { identity: (stat.st_dev, stat.st_ino), path: place.clone() });
    }
    passed
}

/// Returns the parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_way_passes_the_folder_of_each_link() {
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
            let passed = way(&root.join(path)).into_iter().map(|passed| passed.path);
            passed.filter_map(|path| Some(path.strip_prefix(&root).ok()?.display().to_string())).collect()
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
