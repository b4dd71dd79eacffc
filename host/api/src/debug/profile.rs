//! `GET /debug/pprof/profile`: what computes in this process, in the format of pprof.
//!
//! Guests are shown by plugin and function, as they are found when they give way on a tick. The host is
//! shown by thread, as the kernel accounts for it. No signal is sent and no stack of the host is walked, so
//! a profile can do no harm to what runs; for the functions of the host there is `perf record -g`.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use wasmill_model::Timestamp;
use wasmill_runtime::GuestSample;

use crate::debug::DebugState;
use crate::debug::pprof::{Frame, Profile};
use crate::debug::threads::{Computed, Threads};
use crate::field_errors::{Fault, Faults};
use crate::params::{Param, Params, whole_number};
use crate::problem::Problem;

/// How long a profile takes unless asked otherwise, as in Go.
const SECONDS: u64 = 30;
/// The longest one.
const SECONDS_MAX: u64 = 300;
/// How often a guest that computes is looked at.
const PERIOD: Duration = Duration::from_millis(1);
/// The name of the threads that guests run on.
const GUEST_THREAD: &str = "guest";

const COMMENT: &str = "wasmill: guests by function, found on each tick; the host by thread, from the kernel";

pub(super) async fn profile(State(debug): State<DebugState>, query: RawQuery) -> Result<Response, Problem> {
    let time = check(query.0.as_deref())?;
    // Ends when this is dropped, too, as when the client goes away.
    let sampling = debug.runtime.start_sampling().ok_or_else(Problem::profile_under_way)?;
    let (began, threads) = (debug.clock.now(), Threads::look());
    tokio::time::sleep(time).await;
    let computed = Threads::look().since(&threads);
    let guests = sampling.finish();
    let profile = write(&guests, computed.into_iter().collect(), began, time).map_err(|error| {
        tracing::error!(%error, "failed to write a profile");
        Problem::internal_fault("a profile could not be written")
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
    ];
    Ok((headers, profile).into_response())
}

fn write(
    guests: &[GuestSample],
    threads: Vec<(Option<String>, Computed)>,
    began: Timestamp,
    took: Duration,
) -> std::io::Result<Vec<u8>> {
    let mut profile = Profile::default();
    for guest in guests {
        add_guest(&mut profile, guest);
    }
    // Guests are counted above; what is left of their threads is the host's work for them.
    let mut of_guests: Duration = guests.iter().map(|guest| guest.cpu).sum();
    for (name, Computed { user, kernel }) in threads {
        let shown = name.as_deref().unwrap_or("threads that ended");
        let mut rest = |time: Duration| {
            let taken = if shown == GUEST_THREAD { time.min(of_guests) } else { Duration::ZERO };
            of_guests -= taken;
            time - taken
        };
        for (part, time) in [("user", rest(user)), ("kernel", rest(kernel))] {
            add_host(&mut profile, shown, part, time);
        }
    }
    let began = began.timestamp_nanos_opt().unwrap_or(0);
    profile.finish(began, took, PERIOD, COMMENT)
}

fn add_guest(profile: &mut Profile, guest: &GuestSample) {
    let file = format!("{}.wasm", guest.plugin);
    let frame = |name: &str| Frame { name: name.to_owned(), file: file.clone() };
    let mut stack: Vec<_> = guest.functions.iter().map(|name| frame(name)).collect();
    if stack.is_empty() {
        stack.push(frame("[turns shorter than a tick]"));
    }
    stack.push(frame(&format!("[plugin {}]", guest.plugin)));
    let digest = guest.digest.get(..12).unwrap_or(&guest.digest);
    let labels = [("plugin", guest.plugin.as_str()), ("digest", digest), ("thread", GUEST_THREAD)];
    profile.add(&stack, &labels, guest.polls, guest.cpu);
}

fn add_host(profile: &mut Profile, thread: &str, part: &str, time: Duration) {
    if time.is_zero() {
        return;
    }
    let frame = |name: String| Frame { name, file: "host".to_owned() };
    let stack = [
        frame(format!("[{thread}: {part}]")),
        frame(format!("[thread {thread}]")),
        frame("[host]".to_owned()),
    ];
    let polls = u64::try_from(time.as_millis() / PERIOD.as_millis()).unwrap_or(0).max(1);
    profile.add(&stack, &[("thread", thread)], polls, time);
}

fn check(query: Option<&str>) -> Result<Duration, Problem> {
    let params = Params::read(query, &[Param::single("seconds")]).map_err(Problem::invalid_request)?;
    let (mut seconds, mut faults) = (SECONDS, Faults::default());
    for (name, value) in params.iter() {
        match whole_number(value) {
            Some(asked) if (1..=SECONDS_MAX).contains(&asked) => seconds = asked,
            _ => {
                let detail = format!("seconds must be a whole number from 1 to {SECONDS_MAX}");
                faults.push(Fault::parameter(name, detail));
            }
        }
    }
    Problem::unless(faults, Duration::from_secs(seconds))
}
