//! The folders that a plugin was granted, each opened once, when the plugin is loaded.
//!
//! Made by the loader, shared by all guests of the plugin. No path is resolved again for a guest: what lies at
//! the path later may be a link that another guest has put there. Each run only checks that the folder is still
//! the one that lies there, and is refused with a sentence if not.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, fstatfs, fstatvfs, openat, stat, statat};
use rustix::io::Errno;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::files::lane::Lane;
use crate::terms::DirRule;

/// The device and the inode of a folder, which tell it from any other.
pub(crate) type Identity = (u64, u64);

/// File systems that are on this machine, by the magic numbers of statfs(2): calls of these return. Others are
/// on the network or served by another process (FUSE, 9p), or are not known to be neither.
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

/// The names of the same in mountinfo, and of those without files that anybody waits for.
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

/// File systems that the kernel makes up, by their names in mountinfo: files there show and change the machine and
/// its processes, the variables of this server among them.
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

/// The magic numbers of the two that matter most, should mountinfo not be there to be read.
const KERNEL_MAGIC: [u64; 2] = [0x9fa0, 0x6265_6572];

/// Where devices are; in containers that is a tmpfs like any other.
const DEVICES: &str = "/dev";

/// One granted folder.
#[derive(Debug)]
pub(crate) struct GrantedFolder {
    pub(crate) rule: DirRule,
    /// Opened by its path alone: it reads nothing.
    handle: OwnedFd,
    /// The folders on the way to it from the root, with itself as the last.
    way: Vec<Identity>,
}

/// The granted folders of one plugin.
#[derive(Debug)]
pub(crate) struct GrantedFolders {
    folders: Vec<GrantedFolder>,
    lane: Lane,
    context: Context,
}

/// What wasmtime-wasi knows of the folders, once for all guests.
struct Context(WasiFilesystemCtx);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

impl GrantedFolder {
    /// Opens a folder without following a link anywhere on the way.
    ///
    /// # Errors
    ///
    /// Says in a sentence why the folder cannot be granted.
    pub(crate) fn open(rule: &DirRule) -> Result<Self, String> {
        let (handle, way) = walk(&rule.host)?;
        check_kernel(&rule.host, &handle)?;
        Ok(Self { rule: rule.clone(), handle, way })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.way.last().copied().unwrap_or_default()
    }

    /// Returns the folders on the way to it, without itself.
    pub(crate) fn parents(&self) -> &[Identity] {
        self.way.split_last().map_or(&[], |(_, parents)| parents)
    }

    /// Says whether it lies in the folder, or is it.
    pub(crate) fn is_within(&self, folder: Identity) -> bool {
        self.way.contains(&folder)
    }

    /// Returns how many bytes are free on its volume for who is not root, and how many there are in all.
    pub(crate) fn volume_bytes(&self) -> io::Result<(u64, u64)> {
        let volume = fstatvfs(&self.handle)?;
        Ok((volume.f_bavail.saturating_mul(volume.f_frsize), volume.f_blocks.saturating_mul(volume.f_frsize)))
    }

    /// Says whether all of it is on this machine, with what is mounted in it.
    fn is_local(&self, mounts: &str) -> bool {
        let is_local = |magic: u64| LOCAL_MAGIC.contains(&(magic & 0xffff_ffff));
        fstatfs(&self.handle).is_ok_and(|system| is_local(system.f_type.cast_unsigned()))
            && !has_foreign_mount(mounts, &self.rule.host)
    }
}

/// Says whether something is mounted in a folder that is not on this machine. Spaces and the like are written
/// in octal in the table, so a path with them is compared as far as it has none.
fn has_foreign_mount(mounts: &str, folder: &Path) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ');
        let point = words.nth(4).unwrap_or_default();
        let point = Path::new(point.split('\\').next().unwrap_or_default());
        let name = words.skip_while(|word| *word != "-").nth(1).unwrap_or_default();
        point.starts_with(folder) && !LOCAL_NAMES.contains(&name)
    })
}

/// Refuses a folder of a file system that the kernel makes up, and one that holds such a folder.
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
            "allow.dirs: {folder} is, lies in or holds {found}, which is made up by the kernel and shows more than \
             files, such as the environment of this server; permit a folder of files"
        ))
    })
}

/// Returns where a file system of the kernel is mounted that a folder lies in or holds.
fn kernel_mount(mounts: &str, folder: &Path) -> Option<PathBuf> {
    let mounts: Vec<_> = mounts.lines().filter_map(mount).collect();
    let is_kernel = |(_, name): &&(PathBuf, &str)| KERNEL_NAMES.contains(name);
    // Of several at one place the last one is seen.
    let around = mounts.iter().filter(|(point, _)| folder.starts_with(point));
    let around = around.max_by_key(|(point, _)| point.components().count()).filter(is_kernel);
    let found =
        around.or_else(|| mounts.iter().filter(is_kernel).find(|(point, _)| point.starts_with(folder)));
    found.map(|(point, _)| point.clone())
}

/// Reads where something is mounted, and the name of its file system.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let mut words = line.split(' ');
    let point = words.nth(4)?;
    let name = words.skip_while(|word| *word != "-").nth(1)?;
    // Spaces, tabs, line feeds and backslashes are written in octal.
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let point = plain.iter().fold(point.to_owned(), |point, (octal, plain)| point.replace(octal, plain));
    Some((point.into(), name))
}

impl GrantedFolders {
    /// Opens the folders of a plugin.
    ///
    /// # Errors
    ///
    /// Says in a sentence which folder cannot be granted, and why.
    pub(crate) fn open(rules: &[DirRule]) -> Result<Self, String> {
        let folders: Vec<_> = rules.iter().map(GrantedFolder::open).collect::<Result<_, _>>()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let lane = if folders.iter().all(|folder| folder.is_local(&mounts)) {
            Lane::InPlace
        } else {
            Lane::apart().map_err(|error| format!("failed to start threads for its folders: {error}"))?
        };
        let context = Context(context(&folders, lane.is_in_place())?);
        Ok(Self { folders, lane, context })
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Says whether calls on one of them may never return.
    pub(crate) fn are_far(&self) -> bool {
        !self.lane.is_in_place()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&GrantedFolder> {
        self.folders.get(index)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, GrantedFolder> {
        self.folders.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Returns what wasmtime-wasi needs to know of the folders, for one guest.
    pub(crate) fn context(&self) -> WasiFilesystemCtx {
        self.context.0.clone()
    }

    /// Checks that each folder still is the one that lies at its path.
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
        let changed =
            self.lane.block(move || wanted.into_iter().find(|(path, is)| identity(path) != Some(*is)));
        match changed.await {
            None => Ok(()),
            Some((path, _)) => Err(format!(
                "the folder {path} that the plugin is permitted was removed or replaced after the plugin was \
                 loaded; make it again (as a folder, not as a link), or change allow.dirs of the manifest",
                path = path.display()
            )),
        }
    }
}

/// Tells the folder at a path from others; `None` if there is none. A link that leads to the same folder does no
/// harm here, as the path is not used for anything else.
fn identity(path: &Path) -> Option<Identity> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Returns what tells the folder at a path from others, or `None` if a guest could not be granted what is there.
pub(crate) fn granted_identity(path: &Path) -> Option<Identity> {
    walk(path).ok().and_then(|(_, way)| way.last().copied())
}

fn context(folders: &[GrantedFolder], blocks: bool) -> Result<WasiFilesystemCtx, String> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_blocking_current_thread(blocks);
    for GrantedFolder { rule, handle, .. } in folders {
        let access = if rule.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        // The folder that is open already, by the name that the system gives it.
        let opened = format!("/proc/self/fd/{}", handle.as_raw_fd());
        wasi.preopened_dir(opened, &rule.guest, access).map_err(|error| {
            format!("failed to open folder {} (through /proc): {error:#}", rule.host.display())
        })?;
    }
    Ok(wasi.build().filesystem().clone())
}

/// Opens a folder one step at a time, so that no link is followed, and notes each step.
fn walk(path: &Path) -> Result<(OwnedFd, Vec<Identity>), String> {
    let shown = path.display();
    let missing = || format!("allow.dirs: there is no folder {shown} on the host, or it cannot be entered");
    if !path.is_absolute() {
        return Err(format!("allow.dirs: the host path '{shown}' must be absolute"));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, "/", flags, Mode::empty()).map_err(|_| missing())?;
    let mut way = vec![step(&here).map_err(|_| missing())?];
    let mut so_far = PathBuf::from("/");
    for component in path.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(format!("allow.dirs: the host path '{shown}' must be plain, without '..'")),
        };
        so_far.push(name);
        here = match openat(&here, name, flags, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) if is_link(&here, name) => {
                return Err(leads_over(path, &so_far));
            }
            Err(_) => return Err(missing()),
        };
        way.push(step(&here).map_err(|_| missing())?);
    }
    Ok((here, way))
}

fn step(folder: &OwnedFd) -> rustix::io::Result<Identity> {
    fstat(folder).map(|stat| (stat.st_dev, stat.st_ino))
}

fn is_link(folder: impl AsFd, name: &std::ffi::OsStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

fn leads_over(path: &Path, link: &Path) -> String {
    let (path_shown, link) = (path.display(), link.display());
    let cure = match path.canonicalize() {
        Ok(real) => format!("name the folder itself, {}", real.display()),
        Err(_) => "name the folder itself".to_owned(),
    };
    format!("allow.dirs: {path_shown} leads over the link {link}, and a link can be changed; {cure}")
}

/// Opens the directory behind a handle that may have been opened by its path alone, to read what is in it.
pub(super) fn reopen(folder: &File) -> rustix::io::Result<OwnedFd> {
    openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &Path) -> DirRule {
        DirRule { host: host.to_owned(), guest: "/in".to_owned(), write: false }
    }

    #[test]
    fn a_path_over_a_link_is_refused_with_the_folder_that_is_meant() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/in")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        std::os::unix::fs::symlink("in", root.join("real/last")).unwrap();
        for path in ["link", "link/in", "real/last"] {
            let reason = GrantedFolder::open(&rule(&root.join(path))).unwrap_err();
            assert!(reason.contains("leads over the link") && reason.contains("/real"), "{reason}");
        }
        let opened = GrantedFolder::open(&rule(&root.join("real/in"))).unwrap();
        assert_eq!(Some(opened.identity()), identity(&root.join("link/in")));
        assert!(opened.is_within(identity(&root).unwrap()));
        for path in [root.join("missing"), root.join("real/../real"), PathBuf::from("relative")] {
            assert!(GrantedFolder::open(&rule(&path)).is_err(), "{path:?}");
        }
    }

    #[tokio::test]
    async fn a_folder_in_the_place_of_another_is_found_out() {
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
    fn what_the_kernel_makes_up_is_granted_to_nobody() {
        for path in ["/proc", "/proc/self", "/proc/sys/kernel", "/sys", "/sys/kernel", "/dev", "/"] {
            let Err(reason) = GrantedFolder::open(&rule(Path::new(path))) else {
                panic!("{path} is granted")
            };
            let is_link = reason.contains("leads over the link");
            assert!(is_link || reason.contains("made up by the kernel"), "{path}: {reason}");
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
    fn a_network_mount_within_a_folder_is_seen() {
        let mounts = "36 35 98:0 / /srv/data rw,noatime shared:1 - ext4 /dev/root rw\n\
                      37 35 0:41 / /srv/data/far rw shared:2 - nfs4 host:/ rw\n";
        assert!(has_foreign_mount(mounts, Path::new("/srv")));
        assert!(has_foreign_mount(mounts, Path::new("/srv/data/far")));
        assert!(!has_foreign_mount(mounts, Path::new("/srv/data/near")));
        assert!(!has_foreign_mount(mounts, Path::new("/srv/data/fa")));
    }
}
