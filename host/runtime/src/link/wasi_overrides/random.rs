//! Random bytes, generated in chunks: a guest can ask for many at once, and other guests run in between.

use rand::Rng as _;
use wasmill_model::{Cause, Failure};
use wasmtime::component::Linker;
use wasmtime::{Caller, Extern, Result};

use crate::error::format;
use crate::guest::call_error::RunEnded;
use crate::guest::state::Guest;
use crate::observe::instance_status::HostCall;

/// The interfaces in wasmtime's versions, and their functions.
const COMPONENT: [(&str, &str); 2] = [
    ("wasi:random/random@0.2.12", "get-random-bytes"),
    ("wasi:random/insecure@0.2.12", "get-insecure-random-bytes"),
];
/// Bytes that one call may ask for.
const BYTES_MAX: u64 = 64 << 20;
/// Bytes generated before yielding; a few milliseconds of work.
const PIECE_BYTES: usize = 1 << 20;
/// The error code of success in preview 1.
const SUCCESS: i32 = 0;

pub(super) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    for (interface, function) in COMPONENT {
        linker.instance(interface)?.func_wrap_async(function, |mut store, (bytes,): (u64,)| {
            Box::new(async move { Ok((random_bytes(store.data_mut(), bytes).await?,)) })
        })?;
    }
    Ok(())
}

pub(super) fn add_preview1(linker: &mut wasmtime::Linker<Guest>) -> Result<()> {
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "random_get",
        |caller: Caller<'_, Guest>, (at, bytes): (i32, i32)| Box::new(random_get(caller, at, bytes)),
    )?;
    Ok(())
}

/// Generates random bytes for a component. The host keeps them until the call returns.
async fn random_bytes(guest: &mut Guest, bytes: u64) -> Result<Vec<u8>> {
    check(bytes)?;
    if !guest.account.keep(bytes) {
        wasmtime::bail!("the random bytes do not fit into the memory limit");
    }
    let mut random = vec![0; usize::try_from(bytes)?];
    for piece in random.chunks_mut(PIECE_BYTES) {
        rand::rng().fill_bytes(piece);
        if bytes > PIECE_BYTES as u64 {
            tokio::task::yield_now().await;
        }
    }
    guest.account.release(bytes);
    Ok(random)
}

/// Fills the memory of a core module.
async fn random_get(mut caller: Caller<'_, Guest>, at: i32, bytes: i32) -> Result<i32> {
    caller.data().status().begin_call(HostCall::Preview1);
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("the module exports no memory");
    };
    let (start, bytes) = (at.cast_unsigned() as usize, bytes.cast_unsigned() as usize);
    check(bytes as u64)?;
    let end = start + bytes;
    let mut piece_start = start;
    loop {
        let piece_end = end.min(piece_start + PIECE_BYTES);
        let Some(piece) = memory.data_mut(&mut caller).get_mut(piece_start..piece_end) else {
            wasmtime::bail!("random_get was passed a pointer outside of the memory");
        };
        rand::rng().fill_bytes(piece);
        if piece_end == end {
            return Ok(SUCCESS);
        }
        piece_start = piece_end;
        tokio::task::yield_now().await;
    }
}

fn check(bytes: u64) -> Result<()> {
    if bytes > BYTES_MAX {
        let max = format::bytes(BYTES_MAX);
        let reason = format!("the guest asked for {bytes} random bytes in one call; the limit is {max}");
        return Err(RunEnded(Failure::new(Cause::CallLimit, reason)).into());
    }
    Ok(())
}
