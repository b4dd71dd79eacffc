//! The folders granted to a plugin, each opened once when the plugin is loaded.
//!
//! Created by the loader, shared by all guests of the plugin. Paths are not resolved again for a guest: a path may
//! later be a link that another guest created. Each run only checks that the same folder is still at its path, and
//! fails otherwise.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, fstatfs, fstatvfs, openat, stat, statat};
use rustix::io::Errno;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::folders::executor::FileExecutor;
use crate::folders::rule::DirRule;

/// The device and inode of a folder.
pub(crate) type Identity = (u64, u64);

/// Local file systems, by the magic numbers of statfs(2); calls on these return. Others are on the network, served
/// by another process (FUSE, 9p), or unknown.
const LOCAL_MAGIC: [u64; 14] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x794c_7630, // overlayfs
    0x2fc1_2fc1, // ZFS
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x7371_7368, // SquashFS
    0xe0f5_e1e2, // EROFS
    0x4d44,      // FAT
    0x2011_bab0, // exFAT
    0x3153_464a, // JFS
];

/// The same file systems as named in mountinfo, and pseudo file systems on which nothing blocks.
const LOCAL_NAMES: [&str; 25] = [
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "tmpfs",
    "ramfs",
    "overlay",
    "zfs",
    "f2fs",
    "bcachefs",
    "squashfs",
    "erofs",
    "vfat",
    "exfat",
    "jfs",
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "securityfs",
    "bpf",
];

/// Kernel file systems, as named in mountinfo: their files show and change the machine and its processes, including
/// the environment of this server.
const KERNEL_NAMES: [&str; 15] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "bpf",
    "pstore",
    "configfs",
    "efivarfs",
    "selinuxfs",
    "binfmt_misc",
];

/// The magic numbers of procfs and sysfs, in case mountinfo cannot be read.
const KERNEL_MAGIC: [u64; 2] = [0x9fa0, 0x6265_6572];

/// The folder of devices; in containers it is an ordinary tmpfs.
const DEVICES: &str = "/dev";

/// A granted folder.
#[derive(Debug)]
pub(crate) struct GrantedFolder {
    pub(crate) rule: DirRule,
    /// Opened with `O_PATH`: it cannot be read from.
    handle: OwnedFd,
    /// The folders from the root to this one, inclusive.
    ancestry: Vec<Identity>,
}

/// The granted folders of one plugin.
#[derive(Debug)]
pub(crate) struct GrantedFolders {
    folders: Vec<GrantedFolder>,
    executor: FileExecutor,
    context: Context,
}

/// The file system context of wasmtime-wasi, created once for all guests.
struct Context(WasiFilesystemCtx);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

impl GrantedFolder {
    /// Opens a folder without following any link on its path.
    ///
    /// # Errors
    ///
    /// Says why the folder cannot be granted.
    pub(crate) fn open(rule: &DirRule) -> Result<Self, String> {
        let (handle, ancestry) = walk(&rule.host)?;
        check_kernel(&rule.host, &handle)?;
        Ok(Self { rule: rule.clone(), handle, ancestry })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.ancestry.last().copied().unwrap_or_default()
    }

    /// Returns the ancestors, without the folder itself.
    pub(crate) fn parents(&self) -> &[Identity] {
        self.ancestry.split_last().map_or(&[], |(_, parents)| parents)
    }

    /// Returns true if it is the given folder or lies in it.
    pub(crate) fn is_within(&self, folder: Identity) -> bool {
        self.ancestry.contains(&folder)
    }

    /// Returns the bytes available to unprivileged users on its volume, and the size of the volume.
    pub(crate) fn volume_bytes(&self) -> io::Result<(u64, u64)> {
        let volume = fstatvfs(&self.handle)?;
        Ok((volume.f_bavail.saturating_mul(volume.f_frsize), volume.f_blocks.saturating_mul(volume.f_frsize)))
    }

    /// Returns true if the folder and all mounts in it are local.
    fn is_local(&self, mounts: &str) -> bool {
        let is_local = |magic: u64| LOCAL_MAGIC.contains(&(magic & 0xffff_ffff));
        fstatfs(&self.handle).is_ok_and(|system| is_local(system.f_type.cast_unsigned()))
            && !has_foreign_mount(mounts, &self.rule.host)
    }
}

/// Returns true if a file system that is not local is mounted in a folder.
fn has_foreign_mount(mounts: &str, folder: &Path) -> bool {
    let mut mounts = mounts.lines().filter_map(parse_mount);
    mounts.any(|(point, name)| point.starts_with(folder) && !LOCAL_NAMES.contains(&name))
}

/// Refuses a folder that lies in a kernel file system or contains one.
fn check_kernel(folder: &Path, handle: &OwnedFd) -> Result<(), String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_kernel = fstatfs(handle)
        .is_ok_and(|system| KERNEL_MAGIC.contains(&(system.f_type.cast_unsigned() & 0xffff_ffff)));
    let found = match kernel_mount(&mounts, folder) {
        Some(found) => Some(found),
        None if is_kernel || folder == Path::new(DEVICES) => Some(folder.to_owned()),
        None => None,
    };
    found.map_or(Ok(()), |found| {
        let (folder, found) = (folder.display(), found.display());
        Err(format!(
            "allow.dirs: {folder} is, lies in or contains {found}, a kernel file system, which shows more \
             than files, such as the environment of this server; grant a folder of ordinary files"
        ))
    })
}

/// Returns the mount point of a kernel file system that a folder lies in or contains.
fn kernel_mount(mounts: &str, folder: &Path) -> Option<PathBuf> {
    let mounts: Vec<_> = mounts.lines().filter_map(parse_mount).collect();
    let is_kernel = |(_, name): &&(PathBuf, &str)| KERNEL_NAMES.contains(name);
    // Of several mounts at one point, the last one is visible.
    let outer = mounts.iter().filter(|(point, _)| folder.starts_with(point));
    let outer = outer.max_by_key(|(point, _)| point.components().count()).filter(is_kernel);
    let found =
        outer.or_else(|| mounts.iter().filter(is_kernel).find(|(point, _)| point.starts_with(folder)));
    found.map(|(point, _)| point.clone())
}

/// Parses the mount point and the name of the file system from a line of mountinfo.
fn parse_mount(line: &str) -> Option<(PathBuf, &str)> {
    let mut words = line.split(' ');
    let point = words.nth(4)?;
    let name = words.skip_while(|word| *word != "-").nth(1)?;
    // Spaces, tabs, line feeds and backslashes are escaped in octal.
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let point = escapes.iter().fold(point.to_owned(), |point, (octal, plain)| point.replace(octal, plain));
    Some((point.into(), name))
}

impl GrantedFolders {
    /// Opens the folders of a plugin.
    ///
    /// # Errors
    ///
    /// Says which folder cannot be granted, and why.
    pub(crate) fn open(rules: &[DirRule]) -> Result<Self, String> {
        let folders: Vec<_> = rules.iter().map(GrantedFolder::open).collect::<Result<_, _>>()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let executor = if folders.iter().all(|folder| folder.is_local(&mounts)) {
            FileExecutor::Inline
        } else {
            FileExecutor::dedicated()
                .map_err(|error| format!("failed to start threads for its folders: {error}"))?
        };
        let context = Context(context(&folders, executor.is_inline(), None)?);
        Ok(Self { folders, executor, context })
    }

    pub(crate) fn executor(&self) -> &FileExecutor {
        &self.executor
    }

    /// Returns true if calls on one of them may never return.
    pub(crate) fn are_remote(&self) -> bool {
        !self.executor.is_inline()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&GrantedFolder> {
        self.folders.get(index)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, GrantedFolder> {
        self.folders.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.folders.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Returns the file system context for one guest.
    pub(crate) fn context(&self) -> WasiFilesystemCtx {
        self.context.0.clone()
    }

    /// Returns the file system context for one guest that has a scratch folder, which comes after these folders.
    ///
    /// # Errors
    ///
    /// Says which folder cannot be opened.
    pub(crate) fn context_with_scratch(
        &self,
        scratch: &Path,
        guest: &str,
    ) -> Result<WasiFilesystemCtx, String> {
        context(&self.folders, self.executor.is_inline(), Some((scratch, guest)))
    }

    /// Checks that each folder is still the one at its path.
    ///
    /// # Errors
    ///
    /// Says which one is not, and what to do.
    pub(crate) async fn check(&self) -> Result<(), String> {
        if self.folders.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> =
            self.folders.iter().map(|folder| (folder.rule.host.clone(), folder.identity())).collect();
        let changed = self
            .executor
            .run_blocking(move || wanted.into_iter().find(|(path, is)| identity(path) != Some(*is)));
        match changed.await {
            None => Ok(()),
            Some((path, _)) => Err(format!(
                "the folder {path} granted to the plugin was removed or replaced after the plugin was \
                 loaded; create it again (as a folder, not a link), or change allow.dirs in the manifest",
                path = path.display()
            )),
        }
    }
}

/// Returns the identity of the folder at a path; `None` if there is none. A link to the same folder is harmless, as
/// the path is not used otherwise.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Returns the identity of the folder at a path; `None` if it could not be granted.
pub(crate) fn granted_identity(path: &Path) -> Option<Identity> {
    walk(path).ok().and_then(|(_, ancestry)| ancestry.last().copied())
}

fn context(
    folders: &[GrantedFolder],
    blocks: bool,
    scratch: Option<(&Path, &str)>,
) -> Result<WasiFilesystemCtx, String> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_blocking_current_thread(blocks);
    for GrantedFolder { rule, handle, .. } in folders {
        let access = if rule.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        // The folder that is already open, by its path in procfs.
        let opened = format!("/proc/self/fd/{}", handle.as_raw_fd());
        wasi.preopened_dir(opened, &rule.guest, access).map_err(|error| {
            format!("failed to open folder {} (through /proc): {error:#}", rule.host.display())
        })?;
    }
    if let Some((path, guest)) = scratch {
        // Its disk is local, so its calls return.
        wasi.allow_blocking_current_thread(true);
        wasi.preopened_dir(path, guest, FsPerms::ReadWrite)
            .map_err(|error| format!("failed to open a scratch folder: {error:#}"))?;
    }
    Ok(wasi.build().filesystem().clone())
}

/// Opens a folder component by component without following links, and collects the identities.
fn walk(path: &Path) -> Result<(OwnedFd, Vec<Identity>), String> {
    let shown = path.display();
    let missing = || format!("allow.dirs: the host folder {shown} does not exist or cannot be opened");
    if !path.is_absolute() {
        return Err(format!("allow.dirs: the host path '{shown}' must be absolute"));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, "/", flags, Mode::empty()).map_err(|_| missing())?;
    let mut ancestry = vec![step(&here).map_err(|_| missing())?];
    let mut so_far = PathBuf::from("/");
    for component in path.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(format!("allow.dirs: the host path '{shown}' must not contain '..'")),
        };
        so_far.push(name);
        here = match openat(&here, name, flags, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) if is_link(&here, name) => {
                return Err(link_error(path, &so_far));
            }
            Err(_) => return Err(missing()),
        };
        ancestry.push(step(&here).map_err(|_| missing())?);
    }
    Ok((here, ancestry))
}

fn step(folder: &OwnedFd) -> rustix::io::Result<Identity> {
    fstat(folder).map(|stat| (stat.st_dev, stat.st_ino))
}

fn is_link(folder: impl AsFd, name: &std::ffi::OsStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

fn link_error(path: &Path, link: &Path) -> String {
    let (path_shown, link) = (path.display(), link.display());
    let cure = match path.canonicalize() {
        Ok(real) => format!("name the folder itself, {}", real.display()),
        Err(_) => "name the folder itself".to_owned(),
    };
    format!("allow.dirs: {path_shown} passes through the link {link}, which could be changed; {cure}")
}

/// Reopens a directory that may have been opened with `O_PATH`, for reading.
pub(crate) fn reopen(folder: &File) -> rustix::io::Result<OwnedFd> {
    openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &Path) -> DirRule {
        DirRule { host: host.to_owned(), guest: "/in".to_owned(), write: false }
    }

    #[test]
    fn a_path_through_a_link_is_rejected_with_the_real_folder() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/in")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        std::os::unix::fs::symlink("in", root.join("real/last")).unwrap();
        for path in ["link", "link/in", "real/last"] {
            let reason = GrantedFolder::open(&rule(&root.join(path))).unwrap_err();
            assert!(reason.contains("passes through the link") && reason.contains("/real"), "{reason}");
        }
        let opened = GrantedFolder::open(&rule(&root.join("real/in"))).unwrap();
        assert_eq!(Some(opened.identity()), identity(&root.join("link/in")));
        assert!(opened.is_within(identity(&root).unwrap()));
        for path in [root.join("missing"), root.join("real/../real"), PathBuf::from("relative")] {
            assert!(GrantedFolder::open(&rule(&path)).is_err(), "{path:?}");
        }
    }

    #[tokio::test]
    async fn a_replaced_folder_is_detected() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().canonicalize().unwrap().join("in");
        std::fs::create_dir(&path).unwrap();
        let granted = GrantedFolders::open(&[rule(&path)]).unwrap();
        assert_eq!(granted.check().await, Ok(()));
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        std::fs::create_dir(&path).unwrap();
        let reason = granted.check().await.unwrap_err();
        assert!(reason.contains(&path.display().to_string()) && reason.contains("replaced"), "{reason}");
        std::fs::remove_dir(&path).unwrap();
        assert!(granted.check().await.is_err());
        std::fs::rename(path.with_extension("old"), &path).unwrap();
        assert_eq!(granted.check().await, Ok(()));
    }

    #[test]
    fn kernel_file_systems_are_never_granted() {
        for path in ["/proc", "/proc/self", "/proc/sys/kernel", "/sys", "/sys/kernel", "/dev", "/"] {
            let Err(reason) = GrantedFolder::open(&rule(Path::new(path))) else {
                panic!("{path} is granted")
            };
            let is_link = reason.contains("passes through the link");
            assert!(is_link || reason.contains("a kernel file system"), "{path}: {reason}");
        }
        let mounts = "22 27 0:21 / /proc rw - proc proc rw\n27 1 8:1 / / rw - ext4 /dev/root rw\n\
                      30 27 0:5 / /dev rw - devtmpfs udev rw\n31 30 0:24 / /dev/shm rw - tmpfs tmpfs rw\n\
                      40 27 0:21 / /srv/my\\040jail/proc rw - proc proc rw\n";
        for (folder, found) in [
            ("/proc/1", Some("/proc")),
            ("/dev/disk", Some("/dev")),
            ("/dev/shm/a", None),
            ("/", Some("/proc")),
            ("/srv/my jail", Some("/srv/my jail/proc")),
            ("/srv/my", None),
            ("/srv/data", None),
        ] {
            assert_eq!(kernel_mount(mounts, Path::new(folder)), found.map(PathBuf::from), "{folder}");
        }
    }

    #[test]
    fn a_network_mount_inside_a_folder_is_detected() {
        let mounts = "36 35 98:0 / /srv/data rw,noatime shared:1 - ext4 /dev/root rw\n\
                      37 35 0:41 / /srv/data/far rw shared:2 - nfs4 host:/ rw\n";
        assert!(has_foreign_mount(mounts, Path::new("/srv")));
        assert!(has_foreign_mount(mounts, Path::new("/srv/data/far")));
        assert!(!has_foreign_mount(mounts, Path::new("/srv/data/near")));
        assert!(!has_foreign_mount(mounts, Path::new("/srv/data/fa")));
    }
}
