//! `poll_oneoff` of preview 1 and of preview 0, which differ in the layout of a subscription: records the wait, and sleeps
//! without blocking the thread.

use std::time::Duration;

use wasmtime::{AsContextMut, Caller, Extern, Linker, Result};
use wasmtime_wasi::p0::wasi_unstable;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};
use wiggle::GuestMemory;

use crate::guest::state::Guest;
use crate::link::preview1::{PREVIEW0, PREVIEW1};
use crate::observe::instance_status::HostCall;

/// The layout of a subscription: its size, and the offsets of id, time and flags of a clock.
struct Layout {
    bytes: usize,
    clock_at: usize,
    time_at: usize,
    flags_at: usize,
}

const LAYOUT_1: Layout = Layout { bytes: 48, clock_at: 16, time_at: 24, flags_at: 40 };
/// Preview 0 has an identifier before the clock.
const LAYOUT_0: Layout = Layout { bytes: 56, clock_at: 24, time_at: 32, flags_at: 48 };
const KIND_AT: usize = 8;
const CLOCK: u8 = 0;
const ABSOLUTE: u8 = 1;
/// The clocks: realtime, monotonic, and those of CPU time, by which nobody sleeps.
const MONOTONIC: u32 = 1;
const THREAD_CPU_TIME: u32 = 3;
/// The error code of an invalid argument.
const INVALID: i32 = 28;
/// The size of an event. Both the kind of a clock and the error of success are 0.
const EVENT_BYTES: usize = 32;
/// Subscriptions that are examined.
const SUBSCRIPTIONS_MAX: usize = 16;

/// Subscriptions, where to write the events, the number of subscriptions, and where to write that of the events.
type Arguments = (i32, i32, i32, i32);

pub(super) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    for (module, layout) in [(PREVIEW1, &LAYOUT_1), (PREVIEW0, &LAYOUT_0)] {
        linker.func_wrap_async(
            module,
            "poll_oneoff",
            move |caller: Caller<'_, Guest>, arguments: Arguments| {
                Box::new(poll_oneoff(caller, layout, arguments))
            },
        )?;
    }
    Ok(())
}

async fn poll_oneoff(
    mut caller: Caller<'_, Guest>,
    layout: &'static Layout,
    (wanted, events, count, found): Arguments,
) -> Result<i32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("the module exports no memory");
    };
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let timer = layout.shortest_timer(bytes, wanted, count);
    match timer {
        Some(time) => guest.status().begin_call_for(HostCall::PollOneoff, time),
        None => guest.status().begin_call(HostCall::PollOneoff),
    }
    // wasmtime-wasi would block the thread, by whatever clock, if the context allows blocking for files.
    if let (1, Some(time)) = (count, timer) {
        match layout.first_clock(bytes, wanted) {
            Some(..=MONOTONIC) => {
                tokio::time::sleep(time).await;
                return complete_sleep(memory.data_mut(&mut caller), wanted, events, found);
            }
            Some(..=THREAD_CPU_TIME) => return Ok(INVALID),
            // Not a clock; the call fails when it reads that.
            _ => {}
        }
    }
    let context = guest.preview1_unnoted();
    context.set_hostcall_fuel(fuel);
    let mut memory = GuestMemory::Unshared(bytes);
    if layout.bytes == LAYOUT_0.bytes {
        wasi_unstable::poll_oneoff(context, &mut memory, wanted, events, count, found).await
    } else {
        wasi_snapshot_preview1::poll_oneoff(context, &mut memory, wanted, events, count, found).await
    }
}

impl Layout {
    /// Returns the shortest relative timeout. Absolute times are ignored.
    fn shortest_timer(&self, memory: &[u8], wanted: i32, count: i32) -> Option<Duration> {
        let count = usize::try_from(count).ok()?.min(SUBSCRIPTIONS_MAX);
        let subscriptions = memory.get(wanted.cast_unsigned() as usize..)?.chunks_exact(self.bytes);
        let times = subscriptions.take(count).filter_map(|subscription| {
            let is_span = subscription[KIND_AT] == CLOCK && subscription[self.flags_at] & ABSOLUTE == 0;
            let time = subscription[self.time_at..].first_chunk().map(|time| u64::from_le_bytes(*time));
            time.filter(|_| is_span).map(Duration::from_nanos)
        });
        times.min()
    }

    /// Returns the clock of the first subscription.
    fn first_clock(&self, memory: &[u8], wanted: i32) -> Option<u32> {
        let subscription = memory.get(wanted.cast_unsigned() as usize..)?;
        let clock = subscription.get(self.clock_at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*clock))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_relative_timeout_is_found() {
        for layout in [LAYOUT_1, LAYOUT_0] {
            let subscription = |kind, time: u64, flags| {
                let mut bytes = vec![0; layout.bytes];
                bytes[KIND_AT] = kind;
                bytes[layout.time_at..layout.time_at + 8].copy_from_slice(&time.to_le_bytes());
                bytes[layout.flags_at] = flags;
                bytes
            };
            let all = [
                subscription(CLOCK, 700, 0),
                subscription(CLOCK, 500, 0),
                subscription(CLOCK, 3, ABSOLUTE),
                subscription(1, 2, 0),
            ];
            let memory = [&[9; 7][..], &all.concat()].concat();
            let shortest = |wanted, count| layout.shortest_timer(&memory, wanted, count);
            assert_eq!(shortest(7, 4), Some(Duration::from_nanos(500)));
            assert_eq!(shortest(7, 1), Some(Duration::from_nanos(700)));
            let past_the_clocks = 7 + 2 * i32::try_from(layout.bytes).unwrap();
            for nonsense in [(7, 0), (7, -1), (-1, 1), (i32::MAX, 1), (past_the_clocks, 2)] {
                assert_eq!(shortest(nonsense.0, nonsense.1), None, "{nonsense:?}");
            }
        }
    }
}
