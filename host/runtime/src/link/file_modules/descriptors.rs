//! The functions on open files.

use wasmtime::{Caller, Result};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};

use crate::guest::state::Guest;
use crate::link::file_modules::call::{APPEND, Call, NO_SPACE, SUCCESS};

pub(super) async fn fd_close(caller: Caller<'_, Guest>, fd: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    call.guest().files.remove(fd.cast_unsigned());
    let (context, mut memory) = call.parts();
    wasi_snapshot_preview1::fd_close(context, &mut memory, fd).await
}

pub(super) async fn fd_renumber(caller: Caller<'_, Guest>, from: i32, to: i32) -> Result<i32> {
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

/// Counts a write at `offset`, or at the current position; returns the error if it exceeds the limit.
pub(super) fn count_write(
    call: &mut Call<'_>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: Option<u64>,
) -> Option<i32> {
    let appends = call.file(fd)?.appends;
    let bytes = call.bytes_to_write(vectors, count);
    let number = fd.cast_unsigned();
    let position = if appends {
        None
    } else {
        let (context, mut memory) = call.parts();
        offset.or_else(|| context.fd_tell(&mut memory, number.into()).ok())
    };
    let files = &call.guest().files;
    files.write(files.get(number)?, position, bytes).is_err().then_some(NO_SPACE)
}

/// Counts a new size of a file; returns the error if it exceeds the limit.
pub(super) fn count_size(call: &mut Call<'_>, fd: i32, size: i64) -> Option<i32> {
    // A negative size is an invalid argument, which the call itself reports.
    let size = u64::try_from(size).ok()?;
    let files = &call.guest().files;
    files.set_size(files.get(fd.cast_unsigned())?, size).is_err().then_some(NO_SPACE)
}

pub(super) fn fd_fdstat_set_flags(caller: Caller<'_, Guest>, fd: i32, flags: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let (context, mut memory) = call.parts();
    let errno = wasi_snapshot_preview1::fd_fdstat_set_flags(context, &mut memory, fd, flags)?;
    if errno == SUCCESS {
        call.guest().files.set_appends(fd.cast_unsigned(), flags & APPEND != 0);
    }
    Ok(errno)
}
