//! The functions of wasi:http that store a string of the guest without a bound in wasmtime.

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use crate::guest::state::Guest;

/// The interface in wasmtime's version; the linker matches any compatible version to it.
const TYPES: &str = "wasi:http/types@0.2.12";
/// Bytes of a method; the longest registered one has 17.
const METHOD_BYTES_MAX: usize = 64;
/// Bytes of an authority; a host name has at most 253.
const AUTHORITY_BYTES_MAX: usize = 512;

type Answer = Result<(std::result::Result<(), ()>,)>;

pub(super) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]outgoing-request.set-method", set_method)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority)?;
    Ok(())
}

fn set_method(
    mut store: StoreContextMut<'_, Guest>,
    (request, method): (Resource<HostOutgoingRequest>, Method),
) -> Answer {
    if matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_method(request, method)?,))
}

fn set_authority(
    mut store: StoreContextMut<'_, Guest>,
    (request, authority): (Resource<HostOutgoingRequest>, Option<String>),
) -> Answer {
    if authority.as_ref().is_some_and(|authority| authority.len() > AUTHORITY_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_authority(request, authority)?,))
}
