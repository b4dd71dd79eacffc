//! The file functions of WASI preview 1: wasmtime's implementation, with limits on open files and writes, on the
//! executor of the plugin.
//!
//! They replace wasmtime's functions. wasmtime's table of file descriptors is private, so `open` mirrors it. The
//! same rules apply as in `file_components`.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustix::fs::FileType;
use wasmtime::{AsContextMut, Caller, Extern, Linker, Memory, Result};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::types::{Errno, Filetype, Lookupflags};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};
use wiggle::{GuestMemory, GuestPtr};

use crate::files::listing::{self, Entry};
use crate::files::open::{self, OpenFile};
use crate::files::{self, PATHS_BYTES_MAX};
use crate::folders::executor::FileExecutor;
use crate::guest::state::Guest;
use crate::observe::instance_status::HostCall;

const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const ILLEGAL_BYTES: i32 = 25;
const INVALID: i32 = 28;
const IO: i32 = 29;
const TOO_MANY_OPEN: i32 = 33;
const NO_SPACE: i32 = 51;
const NOT_SUPPORTED: i32 = 58;
const NOT_PERMITTED: i32 = 63;

const FOLLOW: i32 = 1;
const CREATE: i32 = 1;
const APPEND: i32 = 1;

/// The maximum size of the target of a symbolic link on Linux.
const TARGET_BYTES_MAX: usize = 4 << 10;

/// Bytes of an I/O vector.
const VECTOR_BYTES: usize = 8;
/// Bytes of directory entries that the host holds at once.
const ENTRIES_BYTES_MAX: usize = 32 << 10;

/// The context of a call.
struct Call<'a> {
    memory: Memory,
    caller: Caller<'a, Guest>,
    executor: FileExecutor,
}

impl<'a> Call<'a> {
    fn start_call(mut caller: Caller<'a, Guest>) -> Result<Self> {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            wasmtime::bail!("the module exports no memory");
        };
        let guest = caller.data_mut();
        guest.status().begin_call(HostCall::Preview1);
        guest.note_folders();
        let executor = guest.plugin.folders.executor().clone();
        Ok(Self { memory, caller, executor })
    }

    fn guest(&mut self) -> &mut Guest {
        self.caller.data_mut()
    }

    fn file(&mut self, number: i32) -> Option<&OpenFile> {
        self.caller.data().files.get(number.cast_unsigned())
    }

    fn folder(&mut self, number: i32) -> usize {
        self.file(number).map_or(0, |file| file.folder)
    }

    fn bytes(&self) -> &[u8] {
        self.memory.data(&self.caller)
    }

    fn parts(&mut self) -> (&mut WasiP1Ctx, GuestMemory<'_>) {
        self.parts_for(usize::MAX)
    }

    /// Returns the context for a call with paths.
    fn parts_for_paths(&mut self) -> (&mut WasiP1Ctx, GuestMemory<'_>) {
        self.parts_for(PATHS_BYTES_MAX)
    }

    /// Returns the context for a call that copies at most `bytes_max` of the guest's memory.
    fn parts_for(&mut self, bytes_max: usize) -> (&mut WasiP1Ctx, GuestMemory<'_>) {
        let fuel = self.caller.as_context_mut().hostcall_fuel().min(bytes_max);
        let (bytes, guest) = self.memory.data_and_store_mut(&mut self.caller);
        let context = guest.preview1_unnoted();
        context.set_hostcall_fuel(fuel);
        (context, GuestMemory::Unshared(bytes))
    }

    /// Returns text from the guest's memory.
    fn text(&self, at: i32, bytes: i32) -> Option<&str> {
        let text = self.bytes().get(at.cast_unsigned() as usize..)?.get(..bytes.cast_unsigned() as usize)?;
        if text.len() > PATHS_BYTES_MAX {
            // The call itself then fails.
            return None;
        }
        std::str::from_utf8(text).ok()
    }

    /// Writes to the guest's memory.
    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let memory = self.memory.data_mut(&mut self.caller);
        let Some(place) = memory.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) else {
            wasmtime::bail!("a call of WASI preview 1 passed a pointer outside of the memory");
        };
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn word(&self, at: usize) -> Option<u32> {
        let word = self.bytes().get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*word))
    }

    /// Returns the bytes of the next write: those of the first vector that is not empty.
    fn bytes_to_write(&self, vectors: i32, count: i32) -> u64 {
        let first = vectors.cast_unsigned() as usize;
        let lengths = (0..count.cast_unsigned() as usize).map_while(|index| {
            self.word(first.checked_add(index.checked_mul(VECTOR_BYTES)?)?.checked_add(4)?)
        });
        lengths.into_iter().find(|length| *length > 0).unwrap_or_default().into()
    }

    /// Logs an operation that was denied because the folder is read-only.
    fn note_denied(&mut self, number: i32, errno: i32) -> i32 {
        if errno == NOT_PERMITTED {
            self.guest().log_denied_write(number.cast_unsigned());
        }
        errno
    }

    fn make(&mut self, number: i32) -> bool {
        let folder = self.folder(number);
        self.guest().files.disk.create(folder).is_ok()
    }

    fn made(&mut self, number: i32, errno: i32) -> i32 {
        if errno == SUCCESS {
            self.guest().files.disk.created();
        }
        self.note_denied(number, errno)
    }
}

/// Links functions that only delegate. The first argument is the folder that a denial is logged for.
macro_rules! link {
    ($linker:ident: $($name:ident($first:ident: i32 $(, $more:ident: $kind:ty)*);)*) => {
        $($linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |caller: Caller<'_, Guest>, ($first, $($more,)*): (i32, $($kind,)*)| {
                Box::new(async move {
                    let mut call = Call::start_call(caller)?;
                    let executor = call.executor.clone();
                    let is_file = call.file($first).is_some();
                    let has_path = stringify!($name).starts_with("path_");
                    let (context, mut memory) =
                        if has_path { call.parts_for_paths() } else { call.parts() };
                    let done =
                        wasi_snapshot_preview1::$name(context, &mut memory, $first $(, $more)*);
                    let errno = if is_file { executor.run(done).await? } else { done.await? };
                    Ok(call.note_denied($first, errno))
                })
            },
        )?;)*
    };
}

/// Replaces the functions that were linked before.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    link! { linker:
        fd_advise(fd: i32, offset: i64, bytes: i64, advice: i32);
        fd_datasync(fd: i32);
        fd_fdstat_get(fd: i32, to: i32);
        fd_filestat_get(fd: i32, to: i32);
        fd_filestat_set_times(fd: i32, accessed: i64, modified: i64, flags: i32);
        fd_pread(fd: i32, vectors: i32, count: i32, offset: i64, to: i32);
        fd_read(fd: i32, vectors: i32, count: i32, to: i32);
        fd_seek(fd: i32, offset: i64, whence: i32, to: i32);
        fd_sync(fd: i32);
        path_filestat_get(fd: i32, flags: i32, path: i32, path_bytes: i32, to: i32);
        path_filestat_set_times(
            fd: i32, flags: i32, path: i32, path_bytes: i32, accessed: i64, modified: i64, which: i32
        );
        path_readlink(fd: i32, path: i32, path_bytes: i32, to: i32, to_bytes: i32, used: i32);
        path_remove_directory(fd: i32, path: i32, path_bytes: i32);
        path_unlink_file(fd: i32, path: i32, path_bytes: i32);
    }
    linker.func_wrap_async(MODULE, "fd_close", |caller: Caller<'_, Guest>, (fd,): (i32,)| {
        Box::new(fd_close(caller, fd))
    })?;
    linker.func_wrap_async(MODULE, "fd_renumber", |caller: Caller<'_, Guest>, (from, to): (i32, i32)| {
        Box::new(fd_renumber(caller, from, to))
    })?;
    linker.func_wrap_async(
        MODULE,
        "fd_write",
        |caller: Caller<'_, Guest>, (fd, vectors, count, to): (i32, i32, i32, i32)| {
            Box::new(fd_write(caller, fd, vectors, count, to))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_pwrite",
        |caller: Caller<'_, Guest>, (fd, vectors, count, offset, to): (i32, i32, i32, i64, i32)| {
            Box::new(fd_pwrite(caller, fd, vectors, count, offset, to))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_filestat_set_size",
        |caller: Caller<'_, Guest>, (fd, size): (i32, i64)| Box::new(fd_filestat_set_size(caller, fd, size)),
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_readdir",
        |caller: Caller<'_, Guest>, (fd, to, bytes, cookie, used): (i32, i32, i32, i64, i32)| {
            Box::new(fd_readdir(caller, fd, to, bytes, cookie, used))
        },
    )?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", fd_fdstat_set_flags)?;
    linker.func_wrap_async(MODULE, "path_open", |caller: Caller<'_, Guest>, arguments: OpenArguments| {
        Box::new(path_open(caller, arguments))
    })?;
    linker.func_wrap_async(
        MODULE,
        "path_create_directory",
        |caller: Caller<'_, Guest>, (fd, path, bytes): (i32, i32, i32)| {
            Box::new(path_create_directory(caller, fd, path, bytes))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "path_symlink",
        |caller: Caller<'_, Guest>, (target, target_bytes, fd, path, bytes): (i32, i32, i32, i32, i32)| {
            Box::new(path_symlink(caller, target, target_bytes, fd, path, bytes))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "path_rename",
        |caller: Caller<'_, Guest>, arguments: RenameArguments| Box::new(path_rename(caller, arguments)),
    )?;
    linker.func_wrap_async(MODULE, "path_link", |caller: Caller<'_, Guest>, arguments: LinkArguments| {
        Box::new(path_link(caller, arguments))
    })?;
    Ok(())
}

/// Folder, lookup flags, path and its length, open flags, two sets of rights, descriptor flags, and where to write
/// the number.
type OpenArguments = (i32, i32, i32, i32, i32, i64, i64, i32, i32);
/// Folder, lookup flags, path and its length; new folder, new path and its length.
type LinkArguments = (i32, i32, i32, i32, i32, i32, i32);
/// Folder, path and its length; new folder, new path and its length.
type RenameArguments = (i32, i32, i32, i32, i32, i32);

async fn path_open(caller: Caller<'_, Guest>, arguments: OpenArguments) -> Result<i32> {
    let (fd, follow, path, path_bytes, how, rights, inheriting, flags, to) = arguments;
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let found = kind_of(&mut call, fd, follow, path, path_bytes).await;
    if found.is_some_and(|kind| !is_plain(kind)) {
        return Ok(NOT_SUPPORTED);
    }
    let is_new = found.is_none() && how & CREATE != 0;
    if is_new && !call.make(fd) {
        return Ok(NO_SPACE);
    }
    let Ok(permit) = call.guest().files.permit() else { return Ok(TOO_MANY_OPEN) };
    let folder = call.folder(fd);
    let number = open::next_number(call.guest().ctx().table)?;
    let (context, mut memory) = call.parts_for_paths();
    let opening = wasi_snapshot_preview1::path_open(
        context,
        &mut memory,
        fd,
        follow,
        path,
        path_bytes,
        how,
        rights,
        inheriting,
        flags,
        to,
    );
    let errno = executor.run(opening).await?;
    if errno != SUCCESS {
        return Ok(call.note_denied(fd, errno));
    }
    let opened = open::opened(call.guest().ctx().table, number);
    let (Some(descriptor), Some(fd)) = (opened, call.word(to.cast_unsigned() as usize)) else {
        wasmtime::bail!("the host lost track of a file that it opened");
    };
    if is_new {
        call.guest().files.disk.created();
    }
    let appends = flags & APPEND != 0;
    call.guest().files.insert(fd, OpenFile { folder, descriptor, appends, _permit: Some(permit) });
    Ok(SUCCESS)
}

/// Returns the type of the file at a path; `None` if it does not exist or is not visible to the guest.
async fn kind_of(call: &mut Call<'_>, fd: i32, follow: i32, path: i32, path_bytes: i32) -> Option<Filetype> {
    let executor = call.executor.clone();
    let (context, mut memory) = call.parts_for_paths();
    let follow = if follow & FOLLOW != 0 { Lookupflags::SYMLINK_FOLLOW } else { Lookupflags::empty() };
    let path = GuestPtr::<str>::new((path.cast_unsigned(), path_bytes.cast_unsigned()));
    let stat = context.path_filestat_get(&mut memory, fd.cast_unsigned().into(), follow, path);
    executor.run(stat).await.ok().map(|stat| stat.filetype)
}

/// Returns true if a guest may open a file of this type.
fn is_plain(kind: Filetype) -> bool {
    matches!(kind, Filetype::RegularFile | Filetype::Directory | Filetype::SymbolicLink)
}

async fn fd_close(caller: Caller<'_, Guest>, fd: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    call.guest().files.remove(fd.cast_unsigned());
    let (context, mut memory) = call.parts();
    wasi_snapshot_preview1::fd_close(context, &mut memory, fd).await
}

async fn fd_renumber(caller: Caller<'_, Guest>, from: i32, to: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let (context, mut memory) = call.parts();
    let errno = wasi_snapshot_preview1::fd_renumber(context, &mut memory, from, to).await?;
    if errno == SUCCESS && from != to {
        let files = &mut call.guest().files;
        files.remove(to.cast_unsigned());
        if let Some(file) = files.remove(from.cast_unsigned()) {
            files.insert(to.cast_unsigned(), file);
        }
    }
    Ok(errno)
}

async fn fd_write(caller: Caller<'_, Guest>, fd: i32, vectors: i32, count: i32, to: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let is_file = call.file(fd).is_some();
    if !count_write(&mut call, fd, vectors, count, None) {
        return Ok(NO_SPACE);
    }
    let (context, mut memory) = call.parts();
    let writing = wasi_snapshot_preview1::fd_write(context, &mut memory, fd, vectors, count, to);
    let errno = if is_file { executor.run(writing).await? } else { writing.await? };
    Ok(call.note_denied(fd, errno))
}

async fn fd_pwrite(
    caller: Caller<'_, Guest>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: i64,
    to: i32,
) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    if !count_write(&mut call, fd, vectors, count, Some(offset.cast_unsigned())) {
        return Ok(NO_SPACE);
    }
    let (context, mut memory) = call.parts();
    let writing = wasi_snapshot_preview1::fd_pwrite(context, &mut memory, fd, vectors, count, offset, to);
    let errno = executor.run(writing).await?;
    Ok(call.note_denied(fd, errno))
}

/// Counts a write at `offset`, or at the current position; returns false if it exceeds the limit.
fn count_write(call: &mut Call<'_>, fd: i32, vectors: i32, count: i32, offset: Option<u64>) -> bool {
    let Some(appends) = call.file(fd).map(|file| file.appends) else { return true };
    let bytes = call.bytes_to_write(vectors, count);
    let number = fd.cast_unsigned();
    let position = if appends {
        None
    } else {
        let (context, mut memory) = call.parts();
        offset.or_else(|| context.fd_tell(&mut memory, number.into()).ok())
    };
    let files = &call.guest().files;
    files.get(number).is_none_or(|file| files.write(file, position, bytes).is_ok())
}

fn fd_fdstat_set_flags(caller: Caller<'_, Guest>, fd: i32, flags: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let (context, mut memory) = call.parts();
    let errno = wasi_snapshot_preview1::fd_fdstat_set_flags(context, &mut memory, fd, flags)?;
    if errno == SUCCESS {
        call.guest().files.set_appends(fd.cast_unsigned(), flags & APPEND != 0);
    }
    Ok(errno)
}

async fn fd_filestat_set_size(caller: Caller<'_, Guest>, fd: i32, size: i64) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let files = &call.guest().files;
    if let Some(file) = files.get(fd.cast_unsigned())
        && files.set_size(file, size.cast_unsigned()).is_err()
    {
        return Ok(NO_SPACE);
    }
    let (context, mut memory) = call.parts();
    let setting = wasi_snapshot_preview1::fd_filestat_set_size(context, &mut memory, fd, size);
    let errno = executor.run(setting).await?;
    Ok(call.note_denied(fd, errno))
}

async fn path_create_directory(caller: Caller<'_, Guest>, fd: i32, path: i32, bytes: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    if !call.make(fd) {
        return Ok(NO_SPACE);
    }
    let (context, mut memory) = call.parts_for_paths();
    let making = wasi_snapshot_preview1::path_create_directory(context, &mut memory, fd, path, bytes);
    let errno = executor.run(making).await?;
    Ok(call.made(fd, errno))
}

async fn path_symlink(
    caller: Caller<'_, Guest>,
    target: i32,
    target_bytes: i32,
    fd: i32,
    path: i32,
    bytes: i32,
) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    if call.text(target, target_bytes).is_some_and(files::leads_up) {
        return Ok(NOT_PERMITTED);
    }
    if !call.make(fd) {
        return Ok(NO_SPACE);
    }
    let (context, mut memory) = call.parts_for_paths();
    let making =
        wasi_snapshot_preview1::path_symlink(context, &mut memory, target, target_bytes, fd, path, bytes);
    let errno = executor.run(making).await?;
    Ok(call.made(fd, errno))
}

async fn path_link(caller: Caller<'_, Guest>, arguments: LinkArguments) -> Result<i32> {
    let (fd, follow, path, bytes, new_fd, new_path, new_bytes) = arguments;
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    if is_link_up(&mut call, fd, path, bytes).await {
        return Ok(NOT_PERMITTED);
    }
    if !call.make(new_fd) {
        return Ok(NO_SPACE);
    }
    let (context, mut memory) = call.parts_for_paths();
    let making = wasi_snapshot_preview1::path_link(
        context,
        &mut memory,
        fd,
        follow,
        path,
        bytes,
        new_fd,
        new_path,
        new_bytes,
    );
    let errno = executor.run(making).await?;
    Ok(call.made(new_fd, errno))
}

async fn path_rename(caller: Caller<'_, Guest>, arguments: RenameArguments) -> Result<i32> {
    let (fd, path, bytes, new_fd, new_path, new_bytes) = arguments;
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    if is_link_up(&mut call, fd, path, bytes).await {
        return Ok(NOT_PERMITTED);
    }
    let (context, mut memory) = call.parts_for_paths();
    let renaming = wasi_snapshot_preview1::path_rename(
        context,
        &mut memory,
        fd,
        path,
        bytes,
        new_fd,
        new_path,
        new_bytes,
    );
    let errno = executor.run(renaming).await?;
    Ok(call.note_denied(fd, errno))
}

/// Returns true if a path is a symbolic link that could lead out of the granted folder from elsewhere.
async fn is_link_up(call: &mut Call<'_>, fd: i32, path: i32, bytes: i32) -> bool {
    // The call itself fails if the path is not UTF-8.
    let Some(path) = call.text(path, bytes) else { return false };
    let mut buffer = files::trim_trailing_slashes(path).as_bytes().to_vec();
    let path_bytes = buffer.len();
    buffer.resize(path_bytes + TARGET_BYTES_MAX, 0);
    let executor = call.executor.clone();
    let (Ok(end), Ok(room)) = (u32::try_from(path_bytes), u32::try_from(TARGET_BYTES_MAX)) else {
        return false;
    };
    let mut memory = GuestMemory::Unshared(&mut buffer);
    let (context, _) = call.parts_for_paths();
    let path = GuestPtr::<str>::new((0, end));
    let reading =
        context.path_readlink(&mut memory, fd.cast_unsigned().into(), path, GuestPtr::new(end), room);
    match executor.run(reading).await {
        Ok(bytes) => {
            let target = buffer.get(path_bytes..path_bytes + bytes as usize);
            target.and_then(|target| str::from_utf8(target).ok()).is_none_or(files::leads_up)
        }
        // The target is absolute, or not UTF-8.
        Err(error) => matches!(error.downcast_ref(), Some(Errno::Perm | Errno::Ilseq)),
    }
}

/// Reads directory entries from a cookie, instead of all of them each time. The cookie is the position reported by
/// the kernel, so removing entries hides no others.
async fn fd_readdir(
    caller: Caller<'_, Guest>,
    fd: i32,
    to: i32,
    bytes: i32,
    cookie: i64,
    used: i32,
) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let Some(folder) = call.file(fd).and_then(OpenFile::folder_file).cloned() else {
        return Ok(BAD_DESCRIPTOR);
    };
    let Ok(permit) = call.guest().files.permit() else { return Ok(TOO_MANY_OPEN) };
    let room = bytes.cast_unsigned() as usize;
    let (mut filled, mut position) = (0, cookie.cast_unsigned());
    // A buffer that is not full means the end of the folder.
    while filled < room {
        let (folder, permit, piece) =
            (folder.clone(), permit.clone(), (room - filled).min(ENTRIES_BYTES_MAX));
        let reading = executor.run_blocking(move || {
            let _permit = permit;
            let own = rustix::fs::fstat(&*folder)?;
            listing::read_from(&folder, position, piece).map(|entries| (entries, (own.st_dev, own.st_ino)))
        });
        let (entries, identity) = match reading.await {
            Ok(read) => read,
            Err(rustix::io::Errno::INVAL) => return Ok(INVALID),
            Err(_) => return Ok(IO),
        };
        let Some(last) = entries.last() else { break };
        position = last.next;
        let Some(text) = written(&entries, identity, room - filled) else { return Ok(ILLEGAL_BYTES) };
        let at = (to.cast_unsigned() as usize).saturating_add(filled);
        call.put(at, &text)?;
        filled += text.len();
    }
    let length = u32::try_from(filled).unwrap_or(u32::MAX).to_le_bytes();
    call.put(used.cast_unsigned() as usize, &length)?;
    Ok(SUCCESS)
}

/// Encodes entries as preview 1 does, truncated to the available space; `None` if a name is not UTF-8.
fn written(entries: &[Entry], folder: (u64, u64), room: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for Entry { next, inode, kind, name } in entries {
        if text.len() >= room {
            break;
        }
        std::str::from_utf8(name).ok()?;
        // The guest must not see the inode of the parent folder.
        let inode = if name == b".." { folder.1 } else { *inode };
        text.extend(next.to_le_bytes());
        text.extend(inode_seen(folder.0, inode).to_le_bytes());
        text.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        text.extend([filetype(*kind) as u8, 0, 0, 0]);
        text.extend(name);
    }
    text.truncate(room);
    Some(text)
}

/// Returns the number that wasmtime-wasi reports instead of an inode.
fn inode_seen(device: u64, inode: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (device, inode).hash(&mut hasher);
    hasher.finish()
}

fn filetype(kind: FileType) -> Filetype {
    match kind {
        FileType::RegularFile => Filetype::RegularFile,
        FileType::Directory => Filetype::Directory,
        FileType::Symlink => Filetype::SymbolicLink,
        FileType::BlockDevice => Filetype::BlockDevice,
        FileType::CharacterDevice => Filetype::CharacterDevice,
        FileType::Fifo | FileType::Socket | FileType::Unknown => Filetype::Unknown,
    }
}
