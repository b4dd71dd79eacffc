//! WASI preview 0: the functions of preview 1 under another name, except those with other arguments.
//!
//! Linked after all functions of preview 1, so that the same limits hold.

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::p0::wasi_unstable;
use wasmtime_wasi::p1::wasi_snapshot_preview1;

use crate::guest::state::Guest;
use crate::link::file_modules::call::{Call, INVALID};
use crate::link::preview1::{PREVIEW0, PREVIEW1, preview0_functions};

/// Linked by `wasi_overrides`.
const POLL: &str = "poll_oneoff";

pub(super) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    for name in preview0_functions().filter(|name| *name != POLL) {
        linker.alias(PREVIEW1, name, PREVIEW0, name)?;
    }
    linker.func_wrap_async(
        PREVIEW0,
        "fd_seek",
        |caller: Caller<'_, Guest>, (fd, offset, whence, to): (i32, i64, i32, i32)| {
            Box::new(fd_seek(caller, fd, offset, whence, to))
        },
    )?;
    linker.func_wrap_async(
        PREVIEW0,
        "fd_filestat_get",
        |caller: Caller<'_, Guest>, (fd, to): (i32, i32)| Box::new(fd_filestat_get(caller, fd, to)),
    )?;
    linker.func_wrap_async(
        PREVIEW0,
        "path_filestat_get",
        |caller: Caller<'_, Guest>, arguments: (i32, i32, i32, i32, i32)| {
            Box::new(path_filestat_get(caller, arguments))
        },
    )?;
    Ok(())
}

/// Positions are relative to the current one, the end and the start, in this order; in preview 1 the start is first.
async fn fd_seek(caller: Caller<'_, Guest>, fd: i32, offset: i64, whence: i32, to: i32) -> Result<i32> {
    let whence = match whence {
        0 => 1,
        1 => 2,
        2 => 0,
        _ => return Ok(INVALID),
    };
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let (context, mut memory) = call.parts();
    executor.run(wasi_snapshot_preview1::fd_seek(context, &mut memory, fd, offset, whence, to)).await
}

/// The count of links has 32 bits here.
async fn fd_filestat_get(caller: Caller<'_, Guest>, fd: i32, to: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let (context, mut memory) = call.parts();
    executor.run(wasi_unstable::fd_filestat_get(context, &mut memory, fd, to)).await
}

async fn path_filestat_get(
    caller: Caller<'_, Guest>,
    (fd, flags, path, path_bytes, to): (i32, i32, i32, i32, i32),
) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let (context, mut memory) = call.parts_for_paths();
    let done = wasi_unstable::path_filestat_get(context, &mut memory, fd, flags, path, path_bytes, to);
    executor.run(done).await
}
