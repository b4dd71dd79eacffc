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

pub(super) async fn fd_write(
    caller: Caller<'_, Guest>,
    fd: i32,
    vectors: i32,
    count: i32,
    to: i32,
) -> Result<i32> {
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

pub(super) async fn fd_pwrite(
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

pub(super) fn fd_fdstat_set_flags(caller: Caller<'_, Guest>, fd: i32, flags: i32) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let (context, mut memory) = call.parts();
    let errno = wasi_snapshot_preview1::fd_fdstat_set_flags(context, &mut memory, fd, flags)?;
    if errno == SUCCESS {
        call.guest().files.set_appends(fd.cast_unsigned(), flags & APPEND != 0);
    }
    Ok(errno)
}

pub(super) async fn fd_filestat_set_size(caller: Caller<'_, Guest>, fd: i32, size: i64) -> Result<i32> {
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
