//! The current activity of one guest: starting, computing, or waiting in a host call.
//!
//! Written by the thread that polls the guest and by the host calls; read by `instances` for the debug port and by
//! the memory monitor. A run pays a few stores to memory that no other thread writes. This module decides nothing.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::http_calls::HttpCalls;
use crate::observe::samples::Stack;
use crate::observe::stack_requests::StackRequests;
use crate::observe::tcp_sockets::TcpSockets;

/// A host call in which a guest can wait. Calls that return immediately are not tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// `sleep` of `wasmill:task`.
    Sleep,
    /// `save` of `wasmill:task`: a checkpoint is being made durable.
    Save,
    /// `restore` of `wasmill:task`.
    Restore,
    /// `dependencies` of `wasmill:task`.
    Dependencies,
    /// `next-event` of `wasmill:task`.
    NextEvent,
    /// `submit-children` of `wasmill:task`.
    SubmitChildren,
    /// `children` of `wasmill:task`.
    Children,
    /// `wasi:io/poll`: the guest waits for a timer, a file, a socket or an HTTP request.
    Poll,
    /// `wasi:io/streams`: the guest reads or writes a file, a socket or an HTTP body.
    Stream,
    /// `wasi:filesystem`.
    Files,
    /// `poll_oneoff` of WASI preview 1: usually a sleep.
    PollOneoff,
    /// Any other call of WASI preview 1; only file calls can wait.
    Preview1,
    /// `wasi:sockets`: the guest waits for the right to open a socket.
    Sockets,
}

impl HostCall {
    const ALL: [Self; 13] = [
        Self::Sleep,
        Self::Save,
        Self::Restore,
        Self::Dependencies,
        Self::NextEvent,
        Self::SubmitChildren,
        Self::Children,
        Self::Poll,
        Self::Stream,
        Self::Files,
        Self::PollOneoff,
        Self::Preview1,
        Self::Sockets,
    ];

    /// Returns the machine-readable name: the interface, and the function where it is known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "wasmill:task/host.sleep",
            Self::Save => "wasmill:task/host.save",
            Self::Restore => "wasmill:task/host.restore",
            Self::Dependencies => "wasmill:task/host.dependencies",
            Self::NextEvent => "wasmill:task/host.next-event",
            Self::SubmitChildren => "wasmill:task/host.submit-children",
            Self::Children => "wasmill:task/host.children",
            Self::Poll => "wasi:io/poll",
            Self::Stream => "wasi:io/streams",
            Self::Files => "wasi:filesystem",
            Self::PollOneoff => "wasi_snapshot_preview1.poll_oneoff",
            Self::Preview1 => "wasi_snapshot_preview1",
            Self::Sockets => "wasi:sockets",
        }
    }
}

/// The activity is encoded in the lowest byte of a counter whose upper bytes count the host calls. A host call is
/// its index in [`HostCall::ALL`] plus `IN_CALL`. The counter tells two consecutive calls of the same kind apart.
const STARTING: u64 = 0;
const COMPUTING: u64 = 1;
const IN_CALL: u64 = 2;
const ACTIVITY_BITS: u32 = 8;
const ACTIVITY_MASK: u64 = (1 << ACTIVITY_BITS) - 1;

/// Whether a thread is polling the guest.
const NEVER_POLLED: u8 = 0;
const ON_THREAD: u8 = 1;
const OFF_THREAD: u8 = 2;

/// The status of one guest. Times are nanoseconds since the run was created; 0 means none.
///
/// The fields are written without a lock, so a reader can see a mix of two moments. `thread` is stored last, with
/// release ordering, and loaded first: a reader that sees the guest off its thread also sees the call it waits in.
#[derive(Debug)]
pub(crate) struct InstanceStatus {
    created_at: Instant,
    thread: AtomicU8,
    activity: AtomicU64,
    /// When the current wait began, and the `activity` that it belongs to.
    since: AtomicU64,
    since_activity: AtomicU64,
    /// The deadline of the current call, if it has one.
    until: AtomicU64,
    cpu: AtomicU64,
    tables_bytes: AtomicU64,
    http: OnceLock<Arc<HttpCalls>>,
    tcp: OnceLock<Arc<TcpSockets>>,
    /// The stack of the last poll, while sampling is on.
    stack: Mutex<Option<Stack>>,
    stack_requests: StackRequests,
}

/// An [`InstanceStatus`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusSnapshot {
    pub(crate) age: Duration,
    pub(crate) state: InstanceState,
    pub(crate) cpu: Duration,
    pub(crate) tables_bytes: u64,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// It is being instantiated, or is about to be.
    Starting,
    /// It is computing, on a thread or queued for one.
    Computing {
        /// Whether it is on a thread at this moment.
        on_thread: bool,
    },
    /// It is waiting in a host call.
    Waiting {
        /// The host call.
        call: HostCall,
        /// How long it has been waiting.
        waited: Duration,
        /// The remaining time, if the call has a deadline.
        left: Option<Duration>,
    },
}

impl InstanceStatus {
    pub(crate) fn new() -> Self {
        Self {
            created_at: Instant::now(),
            thread: AtomicU8::new(NEVER_POLLED),
            activity: AtomicU64::new(STARTING),
            since: AtomicU64::new(0),
            since_activity: AtomicU64::new(0),
            until: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            tables_bytes: AtomicU64::new(0),
            http: OnceLock::new(),
            tcp: OnceLock::new(),
            stack: Mutex::new(None),
            stack_requests: StackRequests::default(),
        }
    }

    /// Records that the instance exists and is running.
    pub(crate) fn set_started(&self) {
        self.activity.store(COMPUTING, Relaxed);
    }

    /// Records that a thread started polling the guest.
    pub(crate) fn set_on_thread(&self) {
        self.thread.store(ON_THREAD, Relaxed);
    }

    /// Records that the thread was released, and the guest's CPU time so far.
    pub(crate) fn set_off_thread(&self, cpu: Duration) {
        self.cpu.store(nanos(cpu), Relaxed);
        let activity = self.activity.load(Relaxed);
        // A guest may be polled more than once during one call.
        if activity & ACTIVITY_MASK >= IN_CALL && self.since_activity.load(Relaxed) != activity {
            self.since.store(self.elapsed_ns(), Relaxed);
            self.since_activity.store(activity, Relaxed);
        }
        self.thread.store(OFF_THREAD, Release);
    }

    /// Records that the guest yielded in the middle of a computation.
    pub(crate) fn yielded(&self) {
        let activity = self.activity.load(Relaxed);
        // A start function may compute as well; its instance is still starting.
        if activity & ACTIVITY_MASK >= IN_CALL {
            self.activity.store((activity & !ACTIVITY_MASK) | COMPUTING, Relaxed);
        }
    }

    /// Records a host call. Its return is not recorded: the guest then computes, and stays on its thread until it
    /// yields or calls again.
    pub(crate) fn begin_call(&self, call: HostCall) {
        self.store_call(call, 0);
    }

    /// Records a host call that ends after `time`.
    pub(crate) fn begin_call_for(&self, call: HostCall, time: Duration) {
        self.store_call(call, self.elapsed_ns().saturating_add(nanos(time)).max(1));
    }

    /// Records a host call that ends at `until`.
    pub(crate) fn begin_call_until(&self, call: HostCall, until: Instant) {
        self.store_call(call, nanos(until.saturating_duration_since(self.created_at)).max(1));
    }

    fn store_call(&self, call: HostCall, until: u64) {
        // Only one thread at a time polls a guest, so there is no other writer.
        let calls = (self.activity.load(Relaxed) >> ACTIVITY_BITS).wrapping_add(1);
        self.until.store(until, Relaxed);
        self.activity.store((calls << ACTIVITY_BITS) | (IN_CALL + call as u64), Relaxed);
    }

    /// Records how much of the guest's memory its tables take.
    pub(crate) fn set_tables_bytes(&self, bytes: u64) {
        self.tables_bytes.store(bytes, Relaxed);
    }

    /// Returns the guest's list of HTTP requests, created on first use.
    pub(crate) fn http(&self) -> &Arc<HttpCalls> {
        self.http.get_or_init(Arc::default)
    }

    /// Returns the list if the guest has ever sent an HTTP request.
    pub(crate) fn http_if_any(&self) -> Option<&Arc<HttpCalls>> {
        self.http.get()
    }

    /// Returns the guest's list of TCP sockets, created on first use.
    pub(crate) fn tcp(&self) -> &Arc<TcpSockets> {
        self.tcp.get_or_init(Arc::default)
    }

    /// Returns the list if the guest may open TCP sockets.
    pub(crate) fn tcp_if_any(&self) -> Option<&Arc<TcpSockets>> {
        self.tcp.get()
    }

    /// Stores the stack of the poll that is ending, for [`InstanceStatus::take_stack`].
    pub(crate) fn put_stack(&self, stack: Stack) {
        *self.stack.lock().unwrap_or_else(PoisonError::into_inner) = Some(stack);
    }

    pub(crate) fn take_stack(&self) -> Option<Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the requests of readers for the guest's stack.
    pub(crate) fn stack_requests(&self) -> &StackRequests {
        &self.stack_requests
    }

    /// Returns when the run was created.
    pub(crate) fn created_at(&self) -> Instant {
        self.created_at
    }

    /// Reads the current status.
    pub(crate) fn snapshot(&self) -> StatusSnapshot {
        let thread = self.thread.load(Acquire);
        let activity = self.activity.load(Relaxed);
        let elapsed_ns = self.elapsed_ns();
        let call =
            (activity & ACTIVITY_MASK).checked_sub(IN_CALL).and_then(|call| HostCall::ALL.get(call as usize));
        let state = match (thread, call) {
            (NEVER_POLLED, _) => InstanceState::Starting,
            (OFF_THREAD, Some(&call)) => InstanceState::Waiting {
                call,
                waited: Duration::from_nanos(elapsed_ns.saturating_sub(self.since.load(Relaxed))),
                left: Some(self.until.load(Relaxed))
                    .filter(|until| *until > 0)
                    .map(|until| Duration::from_nanos(until.saturating_sub(elapsed_ns))),
            },
            _ if activity & ACTIVITY_MASK == STARTING => InstanceState::Starting,
            _ => InstanceState::Computing { on_thread: thread == ON_THREAD },
        };
        StatusSnapshot {
            age: Duration::from_nanos(elapsed_ns),
            state,
            cpu: Duration::from_nanos(self.cpu.load(Relaxed)),
            tables_bytes: self.tables_bytes.load(Relaxed),
        }
    }

    fn elapsed_ns(&self) -> u64 {
        nanos(self.created_at.elapsed())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_the_guest() {
        let status = InstanceStatus::new();
        assert_eq!(status.snapshot().state, InstanceState::Starting);
        status.set_on_thread();
        status.yielded();
        assert_eq!(status.snapshot().state, InstanceState::Starting, "a start function may compute");
        status.set_started();
        assert_eq!(status.snapshot().state, InstanceState::Computing { on_thread: true });
        status.set_off_thread(Duration::from_millis(3));
        assert_eq!(status.snapshot().state, InstanceState::Computing { on_thread: false });
        assert_eq!(status.snapshot().cpu, Duration::from_millis(3));
        status.set_on_thread();
        status.begin_call(HostCall::Files);
        assert_eq!(status.snapshot().state, InstanceState::Computing { on_thread: true });
        status.set_off_thread(Duration::from_millis(3));
        let InstanceState::Waiting { call: HostCall::Files, left: None, .. } = status.snapshot().state else {
            panic!("{status:?}");
        };
        status.set_on_thread();
        status.yielded();
        status.set_off_thread(Duration::from_millis(4));
        assert_eq!(status.snapshot().state, InstanceState::Computing { on_thread: false });
    }

    #[test]
    fn a_wait_begins_once_however_often_the_guest_is_polled_in_it() {
        let status = InstanceStatus::new();
        status.set_started();
        let wait = || {
            status.set_on_thread();
            status.set_off_thread(Duration::ZERO);
            status.since.load(Relaxed)
        };
        status.begin_call_for(HostCall::Sleep, Duration::from_secs(60));
        let first = wait();
        assert_eq!(wait(), first);
        let InstanceState::Waiting { left: Some(left), .. } = status.snapshot().state else {
            panic!("{status:?}")
        };
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(1), "{left:?}");
        status.begin_call(HostCall::Sleep);
        assert!(wait() > first, "the same call again is another wait");
        let InstanceState::Waiting { left: None, .. } = status.snapshot().state else { panic!("{status:?}") };
    }
}
