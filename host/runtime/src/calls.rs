//! Links some calls of WASI a second time: those in which a guest can wait, so that each first notes where the guest
//! is, and those of which wasmtime bounds neither the time nor what it keeps. What the rest does stays wasmtime's.
//!
//! Called when the linkers are made. The calls of our own contract note it in `host`, most of WASI preview 1
//! where they are handed their context.

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

use crate::files;
use crate::guest::Guest;
use crate::outcome::ExitedWithoutCode;
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
    files::components::add(linker)?;
    linker.instance(EXIT)?.func_wrap("exit", |_, (status,): (Result<(), ()>,)| exit(status))?;
    http::add(linker)?;
    random::add(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Does the same for `poll_oneoff` of preview 1, which programs sleep with. The linker takes what comes last.
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

/// Ends a guest as wasmtime does, but keeps apart that it said nothing but that it failed.
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
    match shortest(bytes, wanted, count) {
        Some(time) => guest.place().enter_for(HostCall::PollOneoff, time),
        None => guest.place().enter(HostCall::PollOneoff),
    }
    // wasmtime-wasi would put the thread to sleep where it may block for files.
    if let (1, Some(time)) = (count, shortest(bytes, wanted, count))
        && is_of_known_clock(bytes, wanted)
    {
        tokio::time::sleep(time).await;
        return slept(memory.data_mut(&mut caller), wanted, events, found);
    }
    let context = guest.preview1_unnoted();
    context.set_hostcall_fuel(fuel);
    let mut memory = GuestMemory::Unshared(bytes);
    wasi_snapshot_preview1::poll_oneoff(context, &mut memory, wanted, events, count, found).await
}

/// The interface, in the version that wasmtime offers; a linker takes any other one for it.
const EXIT: &str = "wasi:cli/exit@0.2.12";

/// Bytes of a subscription, and where in it there are its kind, and time and flags of a clock.
const SUBSCRIPTION_BYTES: usize = 48;
const KIND_AT: usize = 8;
const CLOCK_AT: usize = 16;
const TIME_AT: usize = 24;
const FLAGS_AT: usize = 40;
const CLOCK: u8 = 0;
const ABSOLUTE: u8 = 1;
const MONOTONIC: u32 = 1;
/// Bytes of an event. The kind of a clock and the error of success are both 0.
const EVENT_BYTES: usize = 32;
/// Subscriptions that are looked at.
const SUBSCRIPTIONS_MAX: usize = 16;

/// Returns the shortest time that is subscribed to. A time of day or of the guest's own clock is left out.
fn shortest(memory: &[u8], wanted: i32, count: i32) -> Option<Duration> {
    let count = usize::try_from(count).ok()?.min(SUBSCRIPTIONS_MAX);
    let subscriptions = memory.get(wanted.cast_unsigned() as usize..)?.chunks_exact(SUBSCRIPTION_BYTES);
    let times = subscriptions.take(count).filter_map(|subscription| {
        let is_span = subscription[KIND_AT] == CLOCK && subscription[FLAGS_AT] & ABSOLUTE == 0;
        let time = subscription[TIME_AT..TIME_AT + 8].try_into().ok().map(u64::from_le_bytes);
        time.filter(|_| is_span).map(Duration::from_nanos)
    });
    times.min()
}

/// Says whether the first subscription is to the time of day or to the clock that only goes forward.
fn is_of_known_clock(memory: &[u8], wanted: i32) -> bool {
    let subscription = memory.get(wanted.cast_unsigned() as usize..).unwrap_or_default();
    let clock = subscription.get(CLOCK_AT..).and_then(|rest| rest.first_chunk());
    clock.is_some_and(|clock| u32::from_le_bytes(*clock) <= MONOTONIC)
}

/// Answers a subscription to a span of time that is over.
fn slept(memory: &mut [u8], wanted: i32, events: i32, found: i32) -> Result<i32> {
    let at = |offset: i32| offset.cast_unsigned() as usize;
    let mut event = [0; EVENT_BYTES];
    if let Some(userdata) = memory.get(at(wanted)..).and_then(|wanted| wanted.first_chunk::<8>()) {
        event[..8].copy_from_slice(userdata);
    }
    for (offset, bytes) in [(events, &event[..]), (found, &1_u32.to_le_bytes()[..])] {
        let place = memory.get_mut(at(offset)..).and_then(|place| place.get_mut(..bytes.len()));
        let Some(place) = place else {
            wasmtime::bail!("poll_oneoff was given a place outside of the memory")
        };
        place.copy_from_slice(bytes);
    }
    Ok(0)
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
        // Each handle in the list counts as one that the guest holds, so there are not many.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_span_is_found_and_nothing_else() {
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
        assert_eq!(shortest(&memory, 7, 4), Some(Duration::from_nanos(500)));
        assert_eq!(shortest(&memory, 7, 1), Some(Duration::from_nanos(700)));
        for nonsense in [(7, 0), (7, -1), (-1, 1), (i32::MAX, 1), (7 + 2 * 48, 2)] {
            assert_eq!(shortest(&memory, nonsense.0, nonsense.1), None, "{nonsense:?}");
        }
    }
}
