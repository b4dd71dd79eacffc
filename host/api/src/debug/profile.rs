//! `GET /debug/pprof/profile`: a CPU profile in the pprof format.
//!
//! Guests are sampled by plugin and function when they yield on an epoch tick. The host is shown by thread,
//! from the kernel's accounting. No signal is sent and no host stack is walked, so profiling cannot disturb
//! what runs; for functions of the host use `perf record -g`.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use wasmill_model::Timestamp;
use wasmill_runtime::GuestSample;

use super::pprof::{Frame, Profile};
use super::state::DebugState;
use super::threads::{CpuTime, Threads};
use crate::http::params::{Params, whole_number};
use crate::openapi::Param;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};

/// Default duration, as in Go.
const SECONDS: u64 = 30;
/// Maximum duration.
const SECONDS_MAX: u64 = 300;
/// Sampling period of guests.
const PERIOD: Duration = Duration::from_millis(1);
/// Name of the threads that run guests.
const GUEST_THREAD: &str = "guest";

const COMMENT: &str = "wasmill: guests by function, sampled on epoch ticks; host by thread, from the kernel";

pub(super) async fn profile(State(debug): State<DebugState>, query: RawQuery) -> Result<Response, Problem> {
    let time = check(query.0.as_deref())?;
    // Dropping it stops the sampling, as when the client hangs up.
    let sampling = debug.runtime.start_sampling().ok_or_else(profile_in_progress)?;
    let (started_at, threads) = (debug.clock.now(), Threads::snapshot());
    tokio::time::sleep(time).await;
    let cpu_time = Threads::snapshot().since(&threads);
    let guests = sampling.finish();
    let profile = write(&guests, cpu_time.into_iter().collect(), started_at, time).map_err(|error| {
        tracing::error!(%error, "failed to encode a profile");
        Problem::internal_error("failed to encode a profile")
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
    ];
    Ok((headers, profile).into_response())
}

fn write(
    guests: &[GuestSample],
    threads: Vec<(Option<String>, CpuTime)>,
    started_at: Timestamp,
    took: Duration,
) -> std::io::Result<Vec<u8>> {
    let mut profile = Profile::default();
    for guest in guests {
        add_guest(&mut profile, guest);
    }
    // Guests are counted above; the rest of their threads' time is host code that serves them.
    let mut guest_time: Duration = guests.iter().map(|guest| guest.cpu).sum();
    for (name, CpuTime { user, kernel }) in threads {
        let shown = name.as_deref().unwrap_or("finished threads");
        let mut rest = |time: Duration| {
            let taken = if shown == GUEST_THREAD { time.min(guest_time) } else { Duration::ZERO };
            guest_time -= taken;
            time - taken
        };
        for (part, time) in [("user", rest(user)), ("kernel", rest(kernel))] {
            add_host(&mut profile, shown, part, time);
        }
    }
    let started_at = started_at.timestamp_nanos_opt().unwrap_or(0);
    profile.finish(started_at, took, PERIOD, COMMENT)
}

fn add_guest(profile: &mut Profile, guest: &GuestSample) {
    let file = format!("{}.wasm", guest.plugin);
    let frame = |name: &str| Frame { name: name.to_owned(), file: file.clone() };
    let mut stack: Vec<_> = guest.functions.iter().map(|name| frame(name)).collect();
    if stack.is_empty() {
        stack.push(frame("[runs shorter than a tick]"));
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
    let (mut seconds, mut errors) = (SECONDS, FieldErrors::default());
    for (name, value) in params.iter() {
        match whole_number(value) {
            Some(selection) if (1..=SECONDS_MAX).contains(&selection) => seconds = selection,
            _ => {
                let detail = format!("seconds must be an integer from 1 to {SECONDS_MAX}");
                errors.push(FieldError::parameter(name, detail));
            }
        }
    }
    Problem::reject_errors(errors, Duration::from_secs(seconds))
}

fn profile_in_progress() -> Problem {
    let detail = "another CPU profile is in progress, and only one can run at a time; try again later";
    let status = StatusCode::CONFLICT;
    let problem = Problem::new(status, "profile-in-progress", "Profile in progress", detail);
    problem.with_retry_after(5)
}
