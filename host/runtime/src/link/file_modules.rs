//! The file functions of WASI preview 1: wasmtime's implementation, with limits on open files and writes, on the
//! executor of the plugin.
//!
//! They replace wasmtime's functions. wasmtime's table of file descriptors is private, so `open` mirrors it. The
//! same rules apply as in `file_components`.

mod call;
mod descriptors;
mod listing;
mod paths;

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::p1::wasi_snapshot_preview1;

use self::call::Call;
use self::paths::{LinkArguments, OpenArguments, RenameArguments};
use crate::guest::state::Guest;

const MODULE: &str = "wasi_snapshot_preview1";

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
    add_delegated(linker)?;
    add_descriptors(linker)?;
    add_paths(linker)
}

/// Links the functions that only delegate.
fn add_delegated(linker: &mut Linker<Guest>) -> Result<()> {
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
    Ok(())
}

fn add_descriptors(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap_async(MODULE, "fd_close", |caller: Caller<'_, Guest>, (fd,): (i32,)| {
        Box::new(descriptors::fd_close(caller, fd))
    })?;
    linker.func_wrap_async(MODULE, "fd_renumber", |caller: Caller<'_, Guest>, (from, to): (i32, i32)| {
        Box::new(descriptors::fd_renumber(caller, from, to))
    })?;
    linker.func_wrap_async(
        MODULE,
        "fd_write",
        |caller: Caller<'_, Guest>, (fd, vectors, count, to): (i32, i32, i32, i32)| {
            Box::new(descriptors::fd_write(caller, fd, vectors, count, to))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_pwrite",
        |caller: Caller<'_, Guest>, (fd, vectors, count, offset, to): (i32, i32, i32, i64, i32)| {
            Box::new(descriptors::fd_pwrite(caller, fd, vectors, count, offset, to))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_filestat_set_size",
        |caller: Caller<'_, Guest>, (fd, size): (i32, i64)| {
            Box::new(descriptors::fd_filestat_set_size(caller, fd, size))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_readdir",
        |caller: Caller<'_, Guest>, (fd, to, bytes, cookie, used): (i32, i32, i32, i64, i32)| {
            Box::new(listing::fd_readdir(caller, fd, to, bytes, cookie, used))
        },
    )?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", descriptors::fd_fdstat_set_flags)?;
    Ok(())
}

fn add_paths(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap_async(MODULE, "path_open", |caller: Caller<'_, Guest>, arguments: OpenArguments| {
        Box::new(paths::path_open(caller, arguments))
    })?;
    linker.func_wrap_async(
        MODULE,
        "path_create_directory",
        |caller: Caller<'_, Guest>, (fd, path, bytes): (i32, i32, i32)| {
            Box::new(paths::path_create_directory(caller, fd, path, bytes))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "path_symlink",
        |caller: Caller<'_, Guest>, (target, target_bytes, fd, path, bytes): (i32, i32, i32, i32, i32)| {
            Box::new(paths::path_symlink(caller, target, target_bytes, fd, path, bytes))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "path_rename",
        |caller: Caller<'_, Guest>, arguments: RenameArguments| {
            Box::new(paths::path_rename(caller, arguments))
        },
    )?;
    linker.func_wrap_async(MODULE, "path_link", |caller: Caller<'_, Guest>, arguments: LinkArguments| {
        Box::new(paths::path_link(caller, arguments))
    })?;
    Ok(())
}
