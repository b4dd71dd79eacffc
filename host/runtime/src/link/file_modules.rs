//! The file functions of WASI preview 1, and all functions of preview 0: wasmtime's implementation, with limits on open
//! files and writes, on the executor of the plugin.
//!
//! They replace wasmtime's functions. wasmtime's table of file descriptors is private, so `open` mirrors it. The
//! same rules apply as in `file_components`.

mod call;
mod descriptors;
mod listing;
mod paths;
mod preview0;

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::p1::wasi_snapshot_preview1;

use self::call::{Call, NO_SPACE, PathChange, SUCCESS};
use self::descriptors::{count_size, count_write};
use self::paths::{OpenArguments, check_source, check_target};
use crate::folders::scratch::change::NameChange;
use crate::guest::state::Guest;
use crate::link::preview1::PREVIEW1 as MODULE;

/// Links functions that delegate, with what the limits add: `unless` is an error with which the call is refused,
/// `changes` are the names that it changes in a scratch folder, `creates in` is the folder in which it creates something.
/// A denial is logged for that folder, else for the first argument.
macro_rules! link {
    ($linker:ident: $($name:ident($first:ident: i32 $(, $more:ident: $kind:ty)*)
        $(creates in $new:ident)? $(unless |$call:ident| $refusal:expr)? $(, changes $change:expr)?;)*) => {
        $($linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |caller: Caller<'_, Guest>, ($first, $($more,)*): (i32, $($kind,)*)| {
                Box::new(async move {
                    let mut call = Call::start_call(caller)?;
                    $(let $call = &mut call;
                    if let Some(refusal) = $refusal {
                        return Ok(refusal);
                    })?
                    let mut _names = NameChange::default();
                    $(match call.change($change) {
                        Ok(change) => _names = change,
                        Err(refusal) => return Ok(refusal),
                    })?
                    let new: Option<i32> = [$(Some($new),)? None][0];
                    if new.is_some_and(|new| !call.make(new)) {
                        return Ok(NO_SPACE);
                    }
                    let place = new.unwrap_or($first);
                    let executor = call.executor.clone();
                    let is_file = call.file(place).is_some();
                    let has_path = stringify!($name).starts_with("path_");
                    let (context, mut memory) =
                        if has_path { call.parts_for_paths() } else { call.parts() };
                    let done =
                        wasi_snapshot_preview1::$name(context, &mut memory, $first $(, $more)*);
                    let errno = if is_file { executor.run(done).await? } else { done.await? };
                    _names.finish(errno == SUCCESS);
                    call.guest().files.sync(place.cast_unsigned());
                    if new.is_some() {
                        call.count_created(errno);
                    }
                    Ok(call.note_denied(place, errno))
                })
            },
        )?;)*
    };
}

/// Replaces the functions that were linked before.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    add_delegated(linker)?;
    linker.func_wrap_async(MODULE, "fd_close", |caller: Caller<'_, Guest>, (fd,): (i32,)| {
        Box::new(descriptors::fd_close(caller, fd))
    })?;
    linker.func_wrap_async(MODULE, "fd_renumber", |caller: Caller<'_, Guest>, (from, to): (i32, i32)| {
        Box::new(descriptors::fd_renumber(caller, from, to))
    })?;
    linker.func_wrap_async(
        MODULE,
        "fd_readdir",
        |caller: Caller<'_, Guest>, (fd, to, bytes, cookie, used): (i32, i32, i32, i64, i32)| {
            Box::new(listing::fd_readdir(caller, fd, to, bytes, cookie, used))
        },
    )?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", descriptors::fd_fdstat_set_flags)?;
    linker.func_wrap_async(MODULE, "path_open", |caller: Caller<'_, Guest>, arguments: OpenArguments| {
        Box::new(paths::path_open(caller, arguments))
    })?;
    preview0::add(linker)
}

fn add_delegated(linker: &mut Linker<Guest>) -> Result<()> {
    link! { linker:
        fd_advise(fd: i32, offset: i64, bytes: i64, advice: i32);
        fd_datasync(fd: i32);
        fd_fdstat_get(fd: i32, to: i32);
        fd_filestat_get(fd: i32, to: i32);
        fd_filestat_set_size(fd: i32, size: i64) unless |call| count_size(call, fd, size);
        fd_filestat_set_times(fd: i32, accessed: i64, modified: i64, flags: i32);
        fd_pread(fd: i32, vectors: i32, count: i32, offset: i64, to: i32);
        fd_pwrite(fd: i32, vectors: i32, count: i32, offset: i64, to: i32)
            unless |call| count_write(call, fd, vectors, count, Some(offset.cast_unsigned()));
        fd_read(fd: i32, vectors: i32, count: i32, to: i32);
        fd_seek(fd: i32, offset: i64, whence: i32, to: i32);
        fd_sync(fd: i32);
        fd_write(fd: i32, vectors: i32, count: i32, to: i32)
            unless |call| count_write(call, fd, vectors, count, None);
        path_create_directory(fd: i32, path: i32, path_bytes: i32) creates in fd,
            changes PathChange::Create { fd, path: (path, path_bytes), bytes: 0 };
        path_filestat_get(fd: i32, flags: i32, path: i32, path_bytes: i32, to: i32);
        path_filestat_set_times(
            fd: i32, flags: i32, path: i32, path_bytes: i32, accessed: i64, modified: i64, which: i32
        );
        path_link(
            fd: i32, follow: i32, path: i32, bytes: i32, new_fd: i32, new_path: i32, new_bytes: i32
        ) creates in new_fd unless |call| check_source(call, fd, path, bytes).await,
            changes PathChange::Link { fd, path: (path, bytes), new: new_fd };
        path_readlink(fd: i32, path: i32, path_bytes: i32, to: i32, to_bytes: i32, used: i32);
        path_remove_directory(fd: i32, path: i32, path_bytes: i32),
            changes PathChange::Remove { fd, path: (path, path_bytes) };
        path_rename(fd: i32, path: i32, bytes: i32, new_fd: i32, new_path: i32, new_bytes: i32)
            unless |call| check_source(call, fd, path, bytes).await,
            changes PathChange::Rename { fd, new: new_fd, new_path: (new_path, new_bytes) };
        path_symlink(target: i32, target_bytes: i32, fd: i32, path: i32, bytes: i32)
            creates in fd unless |call| check_target(call, target, target_bytes),
            changes PathChange::Create { fd, path: (path, bytes), bytes: target_bytes };
        path_unlink_file(fd: i32, path: i32, path_bytes: i32),
            changes PathChange::Remove { fd, path: (path, path_bytes) };
    }
    Ok(())
}
