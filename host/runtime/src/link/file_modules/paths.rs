//! The functions on paths. No link that could lead out of its folder is created, renamed or hard-linked.

use wasmtime::{Caller, Result};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p1::types::{Errno, Filetype, Lookupflags};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};
use wiggle::{GuestMemory, GuestPtr};

use crate::files;
use crate::files::open;
use crate::folders::scratch::change::NameChange;
use crate::guest::state::Guest;
use crate::link::file_modules::call::{
    APPEND, Call, NO_SPACE, NOT_PERMITTED, PathChange, SUCCESS, TOO_MANY_OPEN,
};

const NOT_SUPPORTED: i32 = 58;

const FOLLOW: i32 = 1;
const CREATE: i32 = 1;

/// The maximum size of the target of a symbolic link on Linux.
const TARGET_BYTES_MAX: usize = 4 << 10;

/// Folder, lookup flags, path and its length, open flags, two sets of rights, descriptor flags, and where to write
/// the number.
pub(super) type OpenArguments = (i32, i32, i32, i32, i32, i64, i64, i32, i32);

pub(super) async fn path_open(caller: Caller<'_, Guest>, arguments: OpenArguments) -> Result<i32> {
    let (fd, follow, path, path_bytes, how, rights, inheriting, flags, to) = arguments;
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let found = kind_of(&mut call, fd, follow, path, path_bytes).await;
    if found.is_some_and(|kind| !is_plain(kind)) {
        return Ok(NOT_SUPPORTED);
    }
    let is_new = found.is_none() && how & CREATE != 0;
    let mut change = NameChange::default();
    if is_new {
        match call.change(PathChange::Create { fd, path: (path, path_bytes), bytes: 0 }) {
            Ok(reserved) => change = reserved,
            Err(refusal) => return Ok(refusal),
        }
        if !call.make(fd) {
            return Ok(NO_SPACE);
        }
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
    // The open file counts instead.
    drop(change);
    call.guest().files.opened(fd, folder, descriptor, appends, Some(permit))?;
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

/// Refuses the target of a new symbolic link that could lead out of its folder.
pub(super) fn check_target(call: &Call<'_>, target: i32, bytes: i32) -> Option<i32> {
    call.text(target, bytes).is_some_and(files::leads_up).then_some(NOT_PERMITTED)
}

/// Refuses to rename or hard-link a symbolic link that could lead out of the granted folder from elsewhere.
pub(super) async fn check_source(call: &mut Call<'_>, fd: i32, path: i32, bytes: i32) -> Option<i32> {
    is_link_up(call, fd, path, bytes).await.then_some(NOT_PERMITTED)
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
