//! Overrides some WASI functions of wasmtime: those in which a guest can wait, to record its status, and those
//! whose time or memory wasmtime does not bound. All others are wasmtime's.
//!
//! Called when the linkers are created. The imports of `wasmill:task` record the status in `host_imports`, most of
//! preview 1 in `Guest::preview1`.

mod http;
mod random;

use std::time::{Duration, Instant};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime::{AsContextMut, Caller, Extern, Result};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::{I32Exit, WasiView};
use wasmtime_wasi_io::bindings::wasi::io::{poll, streams};

use wiggle::GuestMemory;

use crate::guest::call_error::ExitedWithoutCode;
use crate::guest::state::Guest;
use crate::link::file_components;
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
    random::add(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Replaces `poll_oneoff` of preview 1, with which programs sleep, and the random functions.
pub(crate) fn add_preview1(linker: &mut wasmtime::Linker<Guest>) -> Result<()> {
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |caller: Caller<'_, Guest>, (wanted, events, count, found): (i32, i32, i32, i32)| {
            Box::new(poll_oneoff(caller, wanted, events, count, found))
        },
    )?;
    random::add_preview1(linker)
}

/// Ends a guest as wasmtime does, but marks a failure without an exit code.
fn exit(status: Result<(), ()>) -> Result<()> {
    match status {
        Ok(()) => Err(I32Exit(0).into()),
        Err(()) => Err(ExitedWithoutCode.into()),
    }
}

async fn poll_oneoff(
    mut caller: Caller<'_, Guest>,
    wanted: i32,
    events: i32,
    count: i32,
    found: i32,
) -> Result<i32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("the module exports no memory");
    };
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    match shortest_timer(bytes, wanted, count) {
        Some(time) => guest.status().begin_call_for(HostCall::PollOneoff, time),
        None => guest.status().begin_call(HostCall::PollOneoff),
    }
    // wasmtime-wasi would block the thread if the context allows blocking for files.
    if let (1, Some(time)) = (count, shortest_timer(bytes, wanted, count))
        && is_of_known_clock(bytes, wanted)
    {
        tokio::time::sleep(time).await;
        return complete_sleep(memory.data_mut(&mut caller), wanted, events, found);
    }
    let context = guest.preview1_unnoted();
    context.set_hostcall_fuel(fuel);
    let mut memory = GuestMemory::Unshared(bytes);
    wasi_snapshot_preview1::poll_oneoff(context, &mut memory, wanted, events, count, found).await
}

/// The interface in wasmtime's version; the linker matches any compatible version to it.
const EXIT: &str = "wasi:cli/exit@0.2.12";

/// The layout of a subscription: its size, and the offsets of the kind, and of id, time and flags of a clock.
const SUBSCRIPTION_BYTES: usize = 48;
const KIND_AT: usize = 8;
const CLOCK_AT: usize = 16;
const TIME_AT: usize = 24;
const FLAGS_AT: usize = 40;
const CLOCK: u8 = 0;
const ABSOLUTE: u8 = 1;
const MONOTONIC: u32 = 1;
/// The size of an event. Both the kind of a clock and the error of success are 0.
const EVENT_BYTES: usize = 32;
/// Subscriptions that are examined.
const SUBSCRIPTIONS_MAX: usize = 16;

/// Returns the shortest relative timeout. Absolute times are ignored.
fn shortest_timer(memory: &[u8], wanted: i32, count: i32) -> Option<Duration> {
    let count = usize::try_from(count).ok()?.min(SUBSCRIPTIONS_MAX);
    let subscriptions = memory.get(wanted.cast_unsigned() as usize..)?.chunks_exact(SUBSCRIPTION_BYTES);
    let times = subscriptions.take(count).filter_map(|subscription| {
        let is_span = subscription[KIND_AT] == CLOCK && subscription[FLAGS_AT] & ABSOLUTE == 0;
        let time = subscription[TIME_AT..TIME_AT + 8].try_into().ok().map(u64::from_le_bytes);
        time.filter(|_| is_span).map(Duration::from_nanos)
    });
    times.min()
}

/// Returns true if the first subscription is to the realtime or the monotonic clock.
fn is_of_known_clock(memory: &[u8], wanted: i32) -> bool {
    let subscription = memory.get(wanted.cast_unsigned() as usize..).unwrap_or_default();
    let clock = subscription.get(CLOCK_AT..).and_then(|rest| rest.first_chunk());
    clock.is_some_and(|clock| u32::from_le_bytes(*clock) <= MONOTONIC)
}

/// Completes a subscription to a relative timeout that has elapsed.
fn complete_sleep(memory: &mut [u8], wanted: i32, events: i32, found: i32) -> Result<i32> {
    let at = |offset: i32| offset.cast_unsigned() as usize;
    let mut event = [0; EVENT_BYTES];
    if let Some(userdata) = memory.get(at(wanted)..).and_then(|wanted| wanted.first_chunk::<8>()) {
        event[..8].copy_from_slice(userdata);
    }
    for (offset, bytes) in [(events, &event[..]), (found, &1_u32.to_le_bytes()[..])] {
        let place = memory.get_mut(at(offset)..).and_then(|place| place.get_mut(..bytes.len()));
        let Some(place) = place else {
            wasmtime::bail!("poll_oneoff was passed a pointer outside of the memory")
        };
        place.copy_from_slice(bytes);
    }
    Ok(0)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_relative_timeout_is_found() {
        let subscription = |kind, time: u64, flags| {
            let mut bytes = [0; SUBSCRIPTION_BYTES];
            bytes[KIND_AT] = kind;
            bytes[TIME_AT..TIME_AT + 8].copy_from_slice(&time.to_le_bytes());
            bytes[FLAGS_AT] = flags;
            bytes
        };
        let all = [
            subscription(CLOCK, 700, 0),
            subscription(CLOCK, 500, 0),
            subscription(CLOCK, 3, ABSOLUTE),
            subscription(1, 2, 0),
        ];
        let memory = [&[9; 7][..], &all.concat()].concat();
        assert_eq!(shortest_timer(&memory, 7, 4), Some(Duration::from_nanos(500)));
        assert_eq!(shortest_timer(&memory, 7, 1), Some(Duration::from_nanos(700)));
        for nonsense in [(7, 0), (7, -1), (-1, 1), (i32::MAX, 1), (7 + 2 * 48, 2)] {
            assert_eq!(shortest_timer(&memory, nonsense.0, nonsense.1), None, "{nonsense:?}");
        }
    }
}
