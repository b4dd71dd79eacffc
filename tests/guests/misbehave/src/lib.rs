//! A plugin that does what its input says, most of it badly. For tests of the host.

use std::time::Duration;

use bindings::exports::wasmill::task::job::Guest;
use bindings::wasmill::task::types::{Failure, FailureKind, Outcome, Retry, RunContext, SaveError};
use bindings::wasmill::task::{host, stop};
use serde::Deserialize;
use wasip2::clocks::monotonic_clock;
use wasip2::io::poll;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package tests:misbehave;

            world guest {
                include wasmill:task/imports@0.2.0;
                export wasmill:task/job@0.2.0;
            }
        ",
        world: "tests:misbehave/guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
        generate_all,
    });
}

/// The action, by the field `do`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Deed {
    /// Returns `text`.
    Echo { text: String },
    /// Returns at once.
    Noop,
    /// Sleeps, then returns.
    Sleep { ms: u64 },
    /// Loops forever.
    Spin,
    /// Executes `unreachable`.
    Trap,
    /// Panics.
    Panic,
    /// Allocates until it is denied, then aborts.
    Hog,
    /// Allocates until it is denied, then returns how many MiB it got.
    HogThenAnswer,
    /// Allocates memory, sleeps, and touches it only then.
    HogLate { mib: usize, ms: u64 },
    /// Recurses until the stack overflows.
    Recurse,
    /// Writes this many bytes to stdout.
    Flood { bytes: u64 },
    /// Writes a line to stdout and one to stderr.
    Log { out: String, err: String },
    /// Exits with a code.
    Exit { code: i32 },
    /// Returns a text of this many bytes.
    Result { bytes: usize },
    /// Fails with this kind and message. It calls the failure permanent, or asks for another attempt after a time.
    Fail {
        kind: Kind,
        message: String,
        #[serde(default)]
        permanent: bool,
        retry_after_ms: Option<u64>,
    },
    /// Saves a checkpoint and returns whether that succeeded.
    Save { state: String },
    /// Saves a checkpoint of this many bytes and returns whether that succeeded.
    SaveBytes { bytes: usize },
    /// Returns the restored checkpoint, or `nothing`.
    Restore,
    /// Saves a checkpoint, then loops forever.
    SaveThenSpin { state: String },
    /// Reports progress (`null` for NaN), then sleeps and returns.
    Progress { fraction: Option<f64>, note: String, ms: u64 },
    /// Returns its context as JSON.
    Context,
    /// Logs its context as JSON, then fails with `io`.
    LogContext,
    /// Counts its attempts in its checkpoint, and fails with `io` until this attempt.
    CountThenFail { succeed_on: u32 },
    /// Holds this many timers at once.
    HoardTimers { count: u32 },
    /// Computes for a millisecond, then sleeps for ten, this many times.
    ComputeNowAndThen { rounds: u32 },
    /// Passes this many bytes to the host in one call.
    Carry { bytes: usize },
    /// Waits, asleep or computing, until it is asked to stop; then records that in a file, saves it and fails.
    /// Returns a text if an earlier attempt was asked.
    Heed { file: Option<String>, computes: bool },
    /// Appends the number of its attempt to a file, this many times, with a pause after each.
    Ledger { file: String, lines: u32, ms: u64 },
    /// Waits for a timer, and at the same time for a request to stop: saves which of them came, or fails.
    AwaitStop { ms: u64 },
    /// Returns its whole input and its dependencies as JSON.
    Dependencies,
    /// Returns what it can see of its environment: arguments, variables, files.
    LookAround,
    /// Writes `line 1` and so on to stdout, with a pause after each.
    Lines { count: u32, ms: u64 },
    /// Writes these bytes to stdout repeatedly, without adding line breaks.
    Write { bytes: Vec<u8>, times: u32 },
    /// Writes the number of the attempt; fails with `io` in the first ones, sleeps forever in attempt `sleeps`.
    LogAttempt { fails: u32, sleeps: u32 },
    /// Fails with `io` in the first attempts, and loops forever in attempt `spins`.
    FailThenSpin { spins: u32 },
    /// Reports progress this many times, as fast as possible, then returns the microseconds taken.
    ProgressOften { calls: u32 },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Io,
    InvalidInput,
    Other,
}

struct Misbehave;

impl Guest for Misbehave {
    fn run(input: String) -> Result<String, Failure> {
        let deed = serde_json::from_str(&input)
            .map_err(|error| failure(FailureKind::InvalidInput, error.to_string()))?;
        commit(deed, &input)
    }
}

bindings::export!(Misbehave with_types_in bindings);

fn commit(deed: Deed, input: &str) -> Result<String, Failure> {
    match deed {
        Deed::Echo { text } => return Ok(text),
        Deed::Noop => {}
        Deed::Sleep { ms } => sleep(ms),
        Deed::Spin => spin(),
        Deed::Trap => fall_into_a_trap(),
        Deed::Panic => panic!("this guest panics on purpose"),
        Deed::Hog => hog_all(),
        Deed::HogThenAnswer => return Ok(format!("{} MiB", hog().len())),
        Deed::HogLate { mib, ms } => return Ok(hog_late(mib, ms)),
        Deed::Recurse => return Ok(recurse(0).to_string()),
        Deed::Flood { bytes } => flood(bytes),
        Deed::Log { out, err } => {
            println!("{out}");
            eprintln!("{err}");
        }
        Deed::Exit { code } => std::process::exit(code),
        Deed::Result { bytes } => return Ok("x".repeat(bytes)),
        Deed::Fail { kind, message, permanent, retry_after_ms } => {
            let after = retry_after_ms.map(|ms| Retry::After(ms.saturating_mul(1_000_000)));
            let retry = if permanent { Some(Retry::Never) } else { after };
            return Err(Failure { retry, ..failure(kind.into(), message) });
        }
        Deed::Save { state } => return Ok(saved(state.as_bytes())),
        Deed::SaveBytes { bytes } => return Ok(saved(&vec![b'x'; bytes])),
        Deed::Restore => return Ok(restored()),
        Deed::SaveThenSpin { state } => {
            saved(state.as_bytes());
            spin();
        }
        Deed::Progress { fraction, note, ms } => {
            host::progress(fraction.unwrap_or(f64::NAN), &note);
            sleep(ms);
        }
        Deed::Context => return Ok(context()),
        Deed::LogContext => {
            println!("{}", context());
            return Err(io("it only logs its context"));
        }
        Deed::CountThenFail { succeed_on } => return count_then_fail(succeed_on),
        Deed::HoardTimers { count } => hoard_timers(count),
        Deed::ComputeNowAndThen { rounds } => compute_now_and_then(rounds),
        Deed::Heed { file, computes } => return heed(file, computes),
        Deed::Carry { bytes } => host::progress(0.5, &"x".repeat(bytes)),
        Deed::Ledger { file, lines, ms } => ledger(&file, lines, ms),
        Deed::AwaitStop { ms } => return await_stop(ms),
        Deed::Dependencies => return Ok(dependencies(input)),
        Deed::LookAround => return Ok(look_around()),
        Deed::Lines { count, ms } => {
            for line in 1..=count {
                println!("line {line}");
                sleep(ms);
            }
        }
        Deed::Write { bytes, times } => write_often(&bytes, times),
        Deed::LogAttempt { fails, sleeps } => return log_attempt(fails, sleeps),
        Deed::FailThenSpin { spins } => {
            if host::context().attempt < spins {
                return Err(io("not yet"));
            }
            spin();
        }
        Deed::ProgressOften { calls } => return Ok(progress_often(calls)),
    }
    Ok("ok".to_owned())
}

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn spin() -> ! {
    let mut rounds = 0_u64;
    loop {
        rounds = std::hint::black_box(rounds.wrapping_add(1));
    }
}

/// Not inlined, so that its name is in the backtrace.
#[inline(never)]
fn fall_into_a_trap() {
    std::arch::wasm32::unreachable();
}

fn compute_now_and_then(rounds: u32) {
    for _ in 0..rounds {
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(1) {
            std::hint::black_box(0);
        }
        sleep(10);
    }
}

fn heed(file: Option<String>, computes: bool) -> Result<String, Failure> {
    if host::restore().is_some() {
        return Ok("was asked to stop before".to_owned());
    }
    host::progress(0.5, "waits to be asked");
    if computes {
        while !host::stop_requested() {}
    } else {
        while !host::sleep(3_600_000_000_000) {}
    }
    if let Some(file) = file {
        std::fs::write(file, "asked to stop").expect("the folder is there");
    }
    // For a cancelled task this fails, as its checkpoint is of no use.
    let _ = host::save(b"asked to stop");
    Err(failure(FailureKind::Other, "was asked to stop".to_owned()))
}

fn ledger(file: &str, lines: u32, ms: u64) {
    let attempt = host::context().attempt;
    for _ in 0..lines {
        let mut file =
            std::fs::File::options().append(true).create(true).open(file).expect("the folder is there");
        std::io::Write::write_all(&mut file, format!("{attempt}\n").as_bytes()).expect("written");
        sleep(ms);
    }
}

fn await_stop(ms: u64) -> Result<String, Failure> {
    let stop = stop::subscribe();
    assert!(!stop.ready(), "nobody asked yet");
    let timer = monotonic_clock::subscribe_duration(ms * 1_000_000);
    host::progress(0.5, "waits for both");
    let ready = poll::poll(&[&timer, &stop]);
    // Another one is ready at once, and both stay ready.
    assert_eq!((stop.ready(), stop::subscribe().ready()), (host::stop_requested(), host::stop_requested()));
    let came = ready.iter().map(|&index| ["timer", "stop"][index as usize]).collect::<Vec<_>>().join(" and ");
    println!("{came} came");
    if came == "timer" { Ok(came) } else { Err(failure(FailureKind::Other, came)) }
}

fn dependencies(input: &str) -> String {
    let all = host::dependencies().into_iter().map(|dependency| {
        let (outcome, result) = match dependency.outcome {
            Outcome::Completed(result) => ("completed", Some(result)),
            Outcome::Failed => ("failed", None),
            Outcome::Cancelled => ("cancelled", None),
        };
        serde_json::json!({ "id": dependency.id, "outcome": outcome, "result": result })
    });
    let input = serde_json::from_str::<serde_json::Value>(input).expect("it was parsed before");
    serde_json::json!({ "input": input, "dependencies": all.collect::<Vec<_>>() }).to_string()
}

fn hog() -> Vec<Vec<u8>> {
    let mut hoard = Vec::new();
    loop {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(1 << 20).is_err() {
            return hoard;
        }
        chunk.resize(1 << 20, 1);
        hoard.push(chunk);
    }
}

fn hog_late(mib: usize, ms: u64) -> String {
    let mut hoard = Vec::<u8>::new();
    if hoard.try_reserve_exact(mib << 20).is_err() {
        return "no memory".to_owned();
    }
    std::thread::sleep(std::time::Duration::from_millis(ms));
    hoard.resize(mib << 20, 1);
    format!("{} MiB", std::hint::black_box(&hoard).len() >> 20)
}

fn hog_all() {
    let hoard = hog();
    std::hint::black_box(&hoard);
    std::process::abort();
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1))) + 1
}

fn flood(bytes: u64) {
    use std::io::Write;
    let line = format!("{}\n", "flood".repeat(819));
    let mut left = bytes;
    let mut stdout = std::io::stdout();
    while left > 0 {
        let chunk = &line.as_bytes()[..line.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        stdout.write_all(chunk).expect("stdout takes everything");
        left -= chunk.len() as u64;
    }
}

fn write_often(bytes: &[u8], times: u32) {
    use std::io::Write;
    let mut stdout = std::io::stdout();
    for _ in 0..times {
        stdout.write_all(bytes).expect("stdout takes everything");
        stdout.flush().expect("stdout takes everything");
    }
}

fn log_attempt(fails: u32, sleeps: u32) -> Result<String, Failure> {
    let attempt = host::context().attempt;
    println!("attempt {attempt} begins");
    eprintln!("attempt {attempt} complains");
    if attempt <= fails {
        return Err(io(format!("attempt {attempt}")));
    }
    if attempt == sleeps {
        sleep(3_600_000);
    }
    Ok(format!("attempt {attempt}"))
}

fn progress_often(calls: u32) -> String {
    let start = std::time::Instant::now();
    for call in 1..=calls {
        host::progress(f64::from(call) / f64::from(calls), "a note of some length");
    }
    start.elapsed().as_micros().to_string()
}

impl From<Kind> for FailureKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Io => Self::Io,
            Kind::InvalidInput => Self::InvalidInput,
            Kind::Other => Self::Other,
        }
    }
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, retry: None }
}

fn io(message: impl Into<String>) -> Failure {
    failure(FailureKind::Io, message.into())
}

fn saved(state: &[u8]) -> String {
    match host::save(state) {
        Ok(()) => "saved".to_owned(),
        Err(SaveError::TooLarge(bytes_max)) => format!("more than {bytes_max} bytes"),
        Err(SaveError::Unavailable(reason)) => reason,
    }
}

fn restored() -> String {
    host::restore().map_or_else(|| "nothing".to_owned(), |state| String::from_utf8_lossy(&state).into_owned())
}

fn context() -> String {
    let RunContext { task, plugin, attempt, max_attempts } = host::context();
    serde_json::json!({ "task": task, "plugin": plugin, "attempt": attempt, "max_attempts": max_attempts })
        .to_string()
}

fn count_then_fail(succeed_on: u32) -> Result<String, Failure> {
    let earlier = host::restore().and_then(|state| String::from_utf8(state).ok());
    let attempt = earlier.and_then(|count| count.parse().ok()).unwrap_or(0) + 1;
    host::save(attempt.to_string().as_bytes()).expect("it is small");
    if attempt < succeed_on {
        return Err(io(format!("attempt {attempt} of {succeed_on}")));
    }
    Ok(format!("succeeded on attempt {attempt}"))
}

fn hoard_timers(count: u32) {
    for _ in 0..count {
        std::mem::forget(monotonic_clock::subscribe_duration(1));
    }
}

fn look_around() -> String {
    let files = std::fs::read_dir("/").map_or(0, Iterator::count);
    let network = std::net::TcpListener::bind("127.0.0.1:0").is_ok();
    format!(
        "{} arguments, {} variables, {files} files, network: {network}",
        std::env::args().count(),
        std::env::vars().count(),
    )
}
