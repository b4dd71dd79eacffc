//! The answers of socket functions.

use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::SocketResult;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;

use crate::guest::state::Guest;

pub(super) type Store<'a> = StoreContextMut<'a, Guest>;

/// The answer of a function that can fail.
pub(super) type Answer<T> = Result<(std::result::Result<T, ErrorCode>,)>;

pub(super) fn answer<T>(done: SocketResult<T>) -> Answer<T> {
    match done {
        Ok(done) => Ok((Ok(done),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
