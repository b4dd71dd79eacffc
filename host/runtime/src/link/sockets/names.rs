//! `wasi:sockets/ip-name-lookup` for components.

use std::task::Poll;

use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network};
use wasmtime_wasi::{WasiView, p2};

use crate::guest::state::Guest;
use crate::link::sockets::call::{Answer, Store};
use crate::tcp::guest_tcp::LookupError;
use crate::tcp::lookup::Lookup;

/// The interface in wasmtime's version; the linker matches any compatible version to it.
const NAMES: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// Replaces all functions of the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    let mut names = linker.instance(NAMES)?;
    names.resource("resolve-address-stream", ResourceType::host::<Lookup>(), |mut store, handle| {
        store.data_mut().ctx().table.delete(Resource::<Lookup>::new_own(handle))?;
        Ok(())
    })?;
    names.func_wrap("resolve-addresses", start)?;
    names.func_wrap("[method]resolve-address-stream.resolve-next-address", next)?;
    names.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Store<'_>, (lookup,): (Resource<Lookup>,)| -> Result<(Resource<DynPollable>,)> {
            Ok((p2::subscribe(store.data_mut().ctx().table, lookup)?,))
        },
    )
}

fn start(mut store: Store<'_>, (network, name): (Resource<Network>, String)) -> Answer<Resource<Lookup>> {
    let guest = store.data_mut();
    guest.ctx().table.get(&network)?;
    let Some(tcp) = &guest.tcp else {
        guest.plugin.denial_log.log_look_up(&guest.redact(name));
        return Ok((Err(ErrorCode::AccessDenied),));
    };
    match Lookup::start(tcp, name) {
        Ok(lookup) => Ok((Ok(guest.ctx().table.push(lookup)?),)),
        Err(error) => Ok((Err(code(error)),)),
    }
}

fn next(mut store: Store<'_>, (lookup,): (Resource<Lookup>,)) -> Answer<Option<IpAddress>> {
    let lookup = store.data_mut().ctx().table.get_mut(&lookup)?;
    Ok((match lookup.next_address() {
        Poll::Ready(Ok(address)) => Ok(address.map(IpAddress::from)),
        Poll::Ready(Err(error)) => Err(code(error)),
        Poll::Pending => Err(ErrorCode::WouldBlock),
    },))
}

fn code(error: LookupError) -> ErrorCode {
    match error {
        LookupError::Denied => ErrorCode::AccessDenied,
        LookupError::Invalid => ErrorCode::InvalidArgument,
        LookupError::Busy => ErrorCode::TemporaryResolverFailure,
        LookupError::NotFound => ErrorCode::NameUnresolvable,
    }
}
