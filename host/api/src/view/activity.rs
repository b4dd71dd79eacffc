//! What a run is doing: its state, the host call that it waits in, its connections, and what it has used.
//!
//! Shown by `GET /task/{id}/activity`, and by `/debug/tasks` of the debug port for all runs.

use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::Timestamp;
use wasmill_runtime::{HostCall, HttpCall, InstanceInfo, InstanceState, TcpSocketInfo, TcpSocketState};
use wasmill_scheduler::RunInfo;

use super::time::Rfc3339;
use crate::openapi::schema::{DigestSchema, IdSchema, NameSchema};

/// States of a run.
pub(crate) const STATES: [&str; 4] = ["starting", "computing", "waiting", "ending"];

/// A run on this host.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(crate) struct RunView {
    #[schemars(with = "IdSchema")]
    pub(crate) task: String,
    #[schemars(with = "NameSchema")]
    pub(crate) plugin: String,
    /// `starting`: it is being instantiated; `computing`; `waiting` in a host call; `ending`: its guest is gone, and its
    /// outcome is being stored.
    #[schemars(extend("enum" = STATES))]
    pub(crate) state: &'static str,
    /// What it is doing, for people.
    pub(crate) activity: String,
    pub(crate) attempt: u32,
    /// Maximum number of attempts, including the first, and one more for each host crash.
    pub(crate) max_attempts: u32,
    /// Time since the run was created.
    pub(crate) age_ms: u64,
    /// Wall-clock limit of the attempt.
    pub(crate) timeout_ms: u64,
    /// True if its guest was asked to stop.
    pub(crate) stop_requested: bool,
    /// The host call that it waits in; `null` unless `waiting`.
    pub(crate) call: Option<CallView>,
    /// Its instance; `null` if the guest is gone.
    pub(crate) instance: Option<InstanceView>,
}

/// A host call that has not returned.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HostCall")]
pub(crate) struct CallView {
    /// The interface, and the function where it is known.
    pub(crate) name: &'static str,
    pub(crate) waited_ms: u64,
    /// When it returns at the latest, if it is known.
    pub(crate) until: Option<Rfc3339>,
}

/// A running instance.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Instance")]
pub(crate) struct InstanceView {
    /// SHA-256 of the plugin file.
    #[schemars(with = "DigestSchema")]
    pub(crate) digest: String,
    /// Kind of the plugin.
    pub(crate) kind: &'static str,
    /// The engine that it runs on: `pooled`, or `on-demand`.
    pub(crate) profile: &'static str,
    /// Whether it is on a thread now.
    pub(crate) on_thread: bool,
    pub(crate) cpu_ms: u64,
    /// Bytes of its memories and tables.
    pub(crate) memory_bytes: u64,
    /// Bytes of its tables.
    pub(crate) tables_bytes: u64,
    /// Its memory limit.
    pub(crate) memory_max_bytes: u64,
    /// Its open HTTP requests.
    pub(crate) http: Vec<HttpView>,
    /// Its open TCP sockets and look-ups.
    pub(crate) tcp: Vec<TcpView>,
}

/// An open HTTP request of a guest.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenHttpRequest")]
pub(crate) struct HttpView {
    pub(crate) method: String,
    /// Scheme, host and port.
    pub(crate) origin: String,
    /// Whether the head of the response has arrived.
    pub(crate) has_head: bool,
    /// How long it has been open.
    pub(crate) ms: u64,
}

/// An open TCP socket or look-up of a guest.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenTcpSocket")]
pub(crate) struct TcpView {
    /// The destination as the manifest names it.
    pub(crate) to: String,
    /// `looking-up`, `open`, `connecting` or `connected`.
    pub(crate) state: &'static str,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// How long it has been open.
    pub(crate) ms: u64,
}

impl RunView {
    pub(crate) fn new(run: &RunInfo, instance: Option<InstanceInfo>, now: Timestamp) -> Self {
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
            age_ms: instance.as_ref().map_or(0, |instance| millis(instance.age)),
            timeout_ms: millis(run.timeout),
            stop_requested: run.asked_to_stop,
            call,
            instance: instance.map(InstanceView::new),
        }
    }
}

impl InstanceView {
    fn new(instance: InstanceInfo) -> Self {
        Self {
            digest: instance.digest.to_string(),
            kind: instance.kind.as_str(),
            profile: if instance.is_on_demand { "on-demand" } else { "pooled" },
            on_thread: instance.state == InstanceState::Computing { on_thread: true },
            cpu_ms: millis(instance.cpu),
            memory_bytes: instance.memory_bytes,
            tables_bytes: instance.tables_bytes,
            memory_max_bytes: instance.memory_bytes_max,
            http: instance.http.into_iter().map(HttpView::new).collect(),
            tcp: instance.tcp.into_iter().map(TcpView::new).collect(),
        }
    }
}

impl HttpView {
    fn new(call: HttpCall) -> Self {
        let HttpCall { method, origin, has_head, started_at } = call;
        Self { method, origin, has_head, ms: millis(Instant::now().saturating_duration_since(started_at)) }
    }
}

impl TcpView {
    fn new(socket: TcpSocketInfo) -> Self {
        let TcpSocketInfo { to, state, sent_bytes, received_bytes, started_at } = socket;
        let ms = millis(Instant::now().saturating_duration_since(started_at));
        Self { to, state: state.as_str(), sent_bytes, received_bytes, ms }
    }
}

/// Describes what an instance is doing.
fn describe(instance: &InstanceInfo, now: Timestamp) -> (&'static str, String, Option<CallView>) {
    match instance.state {
        InstanceState::Starting => ("starting", "instantiating, or waiting for a thread".to_owned(), None),
        InstanceState::Computing { on_thread: true } => ("computing", "on a thread".to_owned(), None),
        InstanceState::Computing { on_thread: false } => {
            ("computing", "yielded, waiting for a thread".to_owned(), None)
        }
        InstanceState::Waiting { call, waited, left } => {
            let until = left.and_then(|left| now.checked_add_signed(chrono::Duration::from_std(left).ok()?));
            let activity = describe_wait(call, instance, until.map(format_time).as_deref());
            let until = until.map(Rfc3339);
            ("waiting", activity, Some(CallView { name: call.as_str(), waited_ms: millis(waited), until }))
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
        HostCall::SubmitChildren => "submitting children".to_owned(),
        HostCall::Children => "reading its children".to_owned(),
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn format_time(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
