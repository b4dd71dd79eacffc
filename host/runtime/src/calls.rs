//! Links the calls of WASI in which a guest can wait a second time, so that each first notes where the
//! guest is. What the calls do stays wasmtime's.
//!
//! Called when the linkers are made. The calls of our own contract note it in `host`, those of WASI
//! preview 1 where they are handed their context.

use std::time::{Duration, Instant};

use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::filesystem::types as filesystem;
use wasmtime_wasi_io::bindings::wasi::io::{poll, streams};

use crate::guest::Guest;
use crate::place::HostCall;

/// Puts the noting calls in the place of those that were linked before.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    poll::add_to_linker::<Guest, Noting>(linker, |guest| Calls(guest))?;
    monotonic_clock::add_to_linker::<Guest, Noting>(linker, |guest| Calls(guest))?;
    streams::add_to_linker::<Guest, Table>(linker, |guest| {
        guest.place().enter(HostCall::Stream);
        guest.ctx().table
    })?;
    filesystem::add_to_linker::<Guest, WasiFilesystem>(linker, |guest| {
        guest.place().enter(HostCall::Files);
        guest.filesystem()
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

struct Noting;

impl HasData for Noting {
    type Data<'a> = Calls<'a>;
}

/// The calls of one guest.
struct Calls<'a>(&'a mut Guest);

impl Calls<'_> {
    /// Notes a wait, and until when if it is for the newest timer.
    fn wait_for(&self, handles: &[u32]) {
        match self.0.timer {
            Some((timer, until)) if handles.contains(&timer) => {
                self.0.place().enter_until(HostCall::Poll, until);
            }
            _ => self.0.place().enter(HostCall::Poll),
        }
    }

    /// Remembers when a timer rings. Guests make one for each sleep, so the newest is enough.
    fn remember(&mut self, timer: &Resource<DynPollable>, time: Duration) {
        self.0.timer = Instant::now().checked_add(time).map(|until| (timer.rep(), until));
    }
}

impl poll::Host for Calls<'_> {
    async fn poll(&mut self, handles: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        let reps: Vec<_> = handles.iter().map(Resource::rep).collect();
        self.wait_for(&reps);
        poll::Host::poll(self.0.ctx().table, handles).await
    }
}

impl poll::HostPollable for Calls<'_> {
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

impl monotonic_clock::Host for Calls<'_> {
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
