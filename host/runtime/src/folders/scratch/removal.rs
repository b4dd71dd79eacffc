//! Removes a folder with everything in it, however deep and however wide guests have made it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a folder and all in it; no link is followed. A folder that is missing is removed already. Blocks.
///
/// Folders in folders are moved to the top before they are emptied, so that the depth costs neither descriptors nor
/// stack.
///
/// # Errors
///
/// Fails if something in it cannot be removed.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match openat(CWD, path, FOLDER, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    loop {
        let names = names(&root)?;
        if names.is_empty() {
            break;
        }
        for name in &names {
            if !remove_entry(&root, name)? {
                flatten(&root, name)?;
            }
        }
    }
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file, a link or an empty folder; returns false for a folder that is not empty.
fn remove_entry(folder: impl AsFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    match unlinkat(&folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Empties a folder of the root, and moves the folders in it into the root.
fn flatten(root: &OwnedFd, name: &CStr) -> io::Result<()> {
    let inner = openat(root, name, FOLDER, Mode::empty())?;
    for entry in &names(&inner)? {
        if !remove_entry(&inner, entry)? {
            renameat(&inner, entry, root, format!("{:032x}", rand::random::<u128>()))?;
        }
    }
    unlinkat(root, name, AtFlags::REMOVEDIR)?;
    Ok(())
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn a_folder_of_any_depth_is_removed_and_no_link_followed() {
        let outer = tempfile::tempdir().unwrap();
        let (kept, path) = (outer.path().join("kept"), outer.path().join("tree"));
        std::fs::write(&kept, "kept").unwrap();
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(outer.path(), path.join("link")).unwrap();
        // Deeper than descriptors, a stack or a path would reach.
        let mut here = openat(CWD, &path, FOLDER, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            for name in ["beside", "down"] {
                mkdirat(&here, name, Mode::RWXU).unwrap();
            }
            here = openat(&here, "down", FOLDER, Mode::empty()).unwrap();
        }
        drop(here);
        for number in 0..100 {
            std::fs::create_dir_all(path.join(format!("{number}/a"))).unwrap();
            std::fs::write(path.join(format!("{number}/a/file")), "x").unwrap();
        }
        remove_tree(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept");
        remove_tree(&path).unwrap();
        remove_tree(&kept).unwrap_err();
    }
}
