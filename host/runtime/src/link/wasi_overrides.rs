//! Overrides some WASI functions of wasmtime: those in which a guest can wait, to record its status, and those
//! whose time or memory wasmtime does not bound. All others are wasmtime's.
//!
//! Called when the linkers are created. The imports of `wasmill:task` record the status in `host_imports`, most of
//! preview 1 in `Guest::preview1`.

mod http;
mod poll_oneoff;
mod random;

use std::time::{Duration, Instant};

use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::{I32Exit, WasiView};
use wasmtime_wasi_io::bindings::wasi::io::{poll, streams};

use crate::guest::call_error::ExitedWithoutCode;
use crate::guest::state::Guest;
use crate::link::{file_components, sockets};
use crate::observe::instance_status::HostCall;

/// Replaces functions that were linked before.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    poll::add_to_linker::<Guest, Tracked>(linker, |guest| TrackedCalls(guest))?;
    monotonic_clock::add_to_linker::<Guest, Tracked>(linker, |guest| TrackedCalls(guest))?;
    streams::add_to_linker::<Guest, TableOnly>(linker, |guest| {
        guest.status().begin_call(HostCall::Stream);
        guest.ctx().table
    })?;
    file_components::add(linker)?;
    linker.instance(EXIT)?.func_wrap("exit", |_, (status,): (Result<(), ()>,)| exit(status))?;
    http::add(linker)?;
    sockets::add(linker)?;
    random::add(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Replaces `poll_oneoff` of preview 1 and 0, with which programs sleep, and the random functions of preview 1.
pub(crate) fn add_preview1(linker: &mut wasmtime::Linker<Guest>) -> Result<()> {
    poll_oneoff::add(linker)?;
    random::add_preview1(linker)
}

/// Ends a guest as wasmtime does, but marks a failure without an exit code.
fn exit(status: Result<(), ()>) -> Result<()> {
    match status {
        Ok(()) => Err(I32Exit(0).into()),
        Err(()) => Err(ExitedWithoutCode.into()),
    }
}

/// The interface in wasmtime's version; the linker matches any compatible version to it.
const EXIT: &str = "wasi:cli/exit@0.2.12";

struct TableOnly;

impl HasData for TableOnly {
    type Data<'a> = &'a mut ResourceTable;
}

struct Tracked;

impl HasData for Tracked {
    type Data<'a> = TrackedCalls<'a>;
}

/// The overridden functions of one guest.
struct TrackedCalls<'a>(&'a mut Guest);

impl TrackedCalls<'_> {
    /// Records a wait, with its deadline if it is for the newest timer.
    fn wait_for(&self, handles: &[u32]) {
        match self.0.timer {
            Some((timer, until)) if handles.contains(&timer) => {
                self.0.status().begin_call_until(HostCall::Poll, until);
            }
            _ => self.0.status().begin_call(HostCall::Poll),
        }
    }

    /// Records the deadline of a timer. Guests create one per sleep, so the newest is sufficient.
    fn remember(&mut self, timer: &Resource<DynPollable>, time: Duration) {
        self.0.timer = Instant::now().checked_add(time).map(|until| (timer.rep(), until));
    }
}

impl poll::Host for TrackedCalls<'_> {
    async fn poll(&mut self, handles: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        // Each handle in the list is held by the guest, so their number is bounded.
        let reps: Vec<_> = handles.iter().map(Resource::rep).collect();
        self.wait_for(&reps);
        poll::Host::poll(self.0.ctx().table, handles).await
    }
}

impl poll::HostPollable for TrackedCalls<'_> {
    async fn ready(&mut self, handle: Resource<DynPollable>) -> Result<bool> {
        poll::HostPollable::ready(self.0.ctx().table, handle).await
    }

    async fn block(&mut self, handle: Resource<DynPollable>) -> Result<()> {
        self.wait_for(&[handle.rep()]);
        poll::HostPollable::block(self.0.ctx().table, handle).await
    }

    fn drop(&mut self, handle: Resource<DynPollable>) -> Result<()> {
        poll::HostPollable::drop(self.0.ctx().table, handle)
    }
}

impl monotonic_clock::Host for TrackedCalls<'_> {
    fn now(&mut self) -> Result<u64> {
        monotonic_clock::Host::now(&mut self.0.clocks())
    }

    fn resolution(&mut self) -> Result<u64> {
        monotonic_clock::Host::resolution(&mut self.0.clocks())
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let mut clocks = self.0.clocks();
        let now = monotonic_clock::Host::now(&mut clocks)?;
        let timer = monotonic_clock::Host::subscribe_instant(&mut clocks, when)?;
        self.remember(&timer, Duration::from_nanos(when.saturating_sub(now)));
        Ok(timer)
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let timer = monotonic_clock::Host::subscribe_duration(&mut self.0.clocks(), when)?;
        self.remember(&timer, Duration::from_nanos(when));
        Ok(timer)
    }
}
