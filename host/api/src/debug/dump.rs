//! The content of `/debug/tasks`, and its text format.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use serde::Serialize;
use wasmill_model::Timestamp;
use wasmill_runtime::{HostCall, HttpCall, InstanceInfo, InstanceState, TcpSocketInfo, TcpSocketState};
use wasmill_scheduler::{RunInfo, Slots};

/// States of a run.
pub(super) const STATES: [&str; 4] = ["starting", "computing", "waiting", "ending"];

/// All runs at one time.
#[derive(Serialize)]
pub(super) struct Dump {
    time: String,
    slots_total: usize,
    slots_used: usize,
    /// Number of matching runs, which may exceed the limit.
    found: usize,
    tasks: Vec<TaskDump>,
}

/// One run.
#[derive(Serialize)]
pub(super) struct TaskDump {
    pub(super) task: String,
    pub(super) plugin: String,
    pub(super) state: &'static str,
    /// What it is doing, for people.
    activity: String,
    attempt: u32,
    max_attempts: u32,
    pub(super) age_ms: u128,
    timeout_ms: u128,
    stop_requested: bool,
    /// The host call it is waiting in, if any.
    call: Option<CallDump>,
    /// Its instance; `null` when the guest is gone and its outcome is being stored.
    instance: Option<InstanceDump>,
}

#[derive(Serialize)]
struct CallDump {
    name: &'static str,
    waited_ms: u128,
    until: Option<String>,
}

#[derive(Serialize)]
struct InstanceDump {
    digest: String,
    kind: &'static str,
    profile: &'static str,
    /// Whether it is on a thread now.
    on_thread: bool,
    cpu_ms: u128,
    memory_bytes: u64,
    tables_bytes: u64,
    memory_max_bytes: u64,
    /// Its open HTTP requests.
    http: Vec<HttpDump>,
    /// Its open TCP sockets and look-ups.
    tcp: Vec<TcpDump>,
}

#[derive(Serialize)]
struct TcpDump {
    to: String,
    state: &'static str,
    sent_bytes: u64,
    received_bytes: u64,
    ms: u128,
}

#[derive(Serialize)]
struct HttpDump {
    method: String,
    origin: String,
    has_head: bool,
    ms: u128,
}

impl Dump {
    pub(super) fn new(now: Timestamp, slots: Slots, found: usize, tasks: Vec<TaskDump>) -> Self {
        Self { time: format_time(now), slots_total: slots.total, slots_used: slots.used, found, tasks }
    }
}

impl TaskDump {
    pub(super) fn new(run: &RunInfo, instance: Option<InstanceInfo>, now: Timestamp) -> Self {
        let (state, activity, call) = match &instance {
            None => ("ending", "guest is gone, storing its outcome".to_owned(), None),
            Some(instance) => describe(instance, now),
        };
        Self {
            task: run.task.to_string(),
            plugin: run.plugin.to_string(),
            state,
            activity,
            attempt: run.attempt,
            max_attempts: run.attempts_max,
            age_ms: instance.as_ref().map_or(0, |instance| instance.age.as_millis()),
            timeout_ms: run.timeout.as_millis(),
            stop_requested: run.asked_to_stop,
            call,
            instance: instance.map(InstanceDump::new),
        }
    }
}

impl InstanceDump {
    fn new(instance: InstanceInfo) -> Self {
        Self {
            digest: instance.digest.to_string(),
            kind: instance.kind.as_str(),
            profile: if instance.is_on_demand { "on-demand" } else { "pooled" },
            on_thread: instance.state == InstanceState::Computing { on_thread: true },
            cpu_ms: instance.cpu.as_millis(),
            memory_bytes: instance.memory_bytes,
            tables_bytes: instance.tables_bytes,
            memory_max_bytes: instance.memory_bytes_max,
            http: instance.http.into_iter().map(HttpDump::new).collect(),
            tcp: instance.tcp.into_iter().map(TcpDump::new).collect(),
        }
    }
}

impl HttpDump {
    fn new(call: HttpCall) -> Self {
        let HttpCall { method, origin, has_head, started_at } = call;
        Self {
            method,
            origin,
            has_head,
            ms: Instant::now().saturating_duration_since(started_at).as_millis(),
        }
    }
}

impl TcpDump {
    fn new(socket: TcpSocketInfo) -> Self {
        let TcpSocketInfo { to, state, sent_bytes, received_bytes, started_at } = socket;
        let ms = Instant::now().saturating_duration_since(started_at).as_millis();
        Self { to, state: state.as_str(), sent_bytes, received_bytes, ms }
    }
}

/// Describes what an instance is doing.
fn describe(instance: &InstanceInfo, now: Timestamp) -> (&'static str, String, Option<CallDump>) {
    match instance.state {
        InstanceState::Starting => ("starting", "instantiating, or waiting for a thread".to_owned(), None),
        InstanceState::Computing { on_thread: true } => ("computing", "on a thread".to_owned(), None),
        InstanceState::Computing { on_thread: false } => {
            ("computing", "yielded, waiting for a thread".to_owned(), None)
        }
        InstanceState::Waiting { call, waited, left } => {
            let until = left.and_then(|left| now.checked_add_signed(chrono::Duration::from_std(left).ok()?));
            let until = until.map(format_time);
            let activity = describe_wait(call, instance, until.as_deref());
            (
                "waiting",
                activity,
                Some(CallDump { name: call.as_str(), waited_ms: waited.as_millis(), until }),
            )
        }
    }
}

/// Describes a wait. What a handle or stream is for is inferred from the rest of the guest: files from its
/// permissions, HTTP and TCP from its open requests and sockets; its log and stdin never block.
fn describe_wait(call: HostCall, instance: &InstanceInfo, until: Option<&str>) -> String {
    let http: Vec<_> = instance.http.iter().map(|call| format!("{} {}", call.method, call.origin)).collect();
    let http = (!http.is_empty()).then(|| format!("HTTP: {}", http.join(", ")));
    let tcp: Vec<_> = instance.tcp.iter().map(describe_socket).collect();
    let tcp = (!tcp.is_empty()).then(|| format!("TCP: {}", tcp.join(", ")));
    let network = match (http, tcp) {
        (Some(http), Some(tcp)) => Some(format!("{http}; {tcp}")),
        (http, tcp) => http.or(tcp),
    };
    let asleep = until.map(|until| format!("sleeping until {until}"));
    match call {
        HostCall::Sleep | HostCall::PollOneoff => asleep.unwrap_or_else(|| "sleeping".to_owned()),
        HostCall::Save => "saving a checkpoint".to_owned(),
        HostCall::Restore => "restoring its checkpoint".to_owned(),
        HostCall::Dependencies => "reading its dependencies".to_owned(),
        HostCall::NextEvent => "reading its next event".to_owned(),
        HostCall::Files | HostCall::Preview1 => "file operation".to_owned(),
        HostCall::Poll => match (network, asleep) {
            (Some(network), Some(sleep)) => format!("{network}; or {sleep}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) if instance.has_files => "file operation".to_owned(),
            (None, None) => "handle".to_owned(),
        },
        HostCall::Sockets => "waiting for a socket, of which all guests share a number".to_owned(),
        HostCall::Stream => match network {
            Some(network) if instance.has_files => format!("file, or {network}"),
            Some(network) => network,
            None => "file stream".to_owned(),
        },
    }
}

fn describe_socket(socket: &TcpSocketInfo) -> String {
    match socket.state {
        TcpSocketState::LookingUp => format!("looking up {}", socket.to),
        TcpSocketState::Open => "unconnected".to_owned(),
        TcpSocketState::Connecting => format!("connecting to {}", socket.to),
        TcpSocketState::Connected => socket.to.clone(),
    }
}

fn format_time(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, slots_total, slots_used, found, tasks } = self;
        write!(f, "{time}: {slots_used} of {slots_total} slots used")?;
        let mut of_state =
            STATES.map(|state| (state, tasks.iter().filter(|task| task.state == state).count()));
        of_state.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (state, count) in of_state.into_iter().filter(|&(_, count)| count > 0) {
            write!(f, ", {count} {state}")?;
        }
        writeln!(f)?;
        for task in tasks {
            write!(f, "\n{task}")?;
        }
        if *found > tasks.len() {
            writeln!(f, "\n{} more; limit={found} shows all", found - tasks.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, plugin, state, activity, attempt, max_attempts, .. } = self;
        write!(f, "task {task} [{state}")?;
        if let Some(call) = &self.call {
            write!(f, " {}", format_duration(call.waited_ms))?;
        }
        writeln!(f, "]: {activity}")?;
        let (age, timeout) = (format_duration(self.age_ms), format_duration(self.timeout_ms));
        write!(f, "    plugin {plugin}, attempt {attempt} of {max_attempts}, {age} of at most {timeout}")?;
        writeln!(f, "{}", if self.stop_requested { ", stop requested" } else { "" })?;
        if let Some(call) = &self.call {
            writeln!(f, "    in {}", call.name)?;
        }
        let Some(instance) = &self.instance else { return Ok(()) };
        let InstanceDump { digest, kind, profile, cpu_ms, .. } = instance;
        writeln!(f, "    {kind}, {profile}, digest {}", digest.get(..12).unwrap_or(digest))?;
        let (memory, tables) = (instance.memory_bytes, instance.tables_bytes);
        writeln!(
            f,
            "    cpu {}, memory {} of {}, {} of it tables",
            format_duration(*cpu_ms),
            size(memory),
            size(instance.memory_max_bytes),
            size(tables)
        )?;
        for HttpDump { method, origin, has_head, ms } in &instance.http {
            let part = if *has_head { "reading its body" } else { "waiting for the response" };
            writeln!(f, "    http {method} {origin}, for {}, {part}", format_duration(*ms))?;
        }
        Ok(())
    }
}

/// Formats a duration for people.
fn format_duration(ms: u128) -> String {
    let ms = u64::try_from(ms).unwrap_or(u64::MAX);
    match ms {
        0..10_000 => format!("{ms}ms"),
        _ => humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string(),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_short() {
        assert_eq!(format_duration(9_999), "9999ms");
        assert_eq!(format_duration(125_400), "2m 5s");
        assert_eq!([size(12), size(70_000), size(3 << 20)], ["12 B", "68 KiB", "3.0 MiB"]);
    }
}
