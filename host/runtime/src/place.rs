//! Where one guest is right now: starting, computing, or waiting in which call of the host.
//!
//! Written by whoever polls the guest, and by what carries out its calls; read by `instances` for those who
//! look from outside. It costs a run a few stores to memory that nobody else writes, and decides nothing.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::http_calls::HttpCalls;
use crate::samples::Stack;

/// A call of the host in which a guest can wait. Calls that answer at once are not told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// `sleep` of the contract.
    Sleep,
    /// `save` of the contract: a checkpoint is being made durable.
    Save,
    /// `restore` of the contract.
    Restore,
    /// `wasi:io/poll`: the guest waits for a timer, a file or an HTTP call.
    Poll,
    /// `wasi:io/streams`: a file, or the body of an HTTP call, is read or written.
    Stream,
    /// `wasi:filesystem`.
    Files,
    /// `poll_oneoff` of WASI preview 1: mostly a sleep.
    PollOneoff,
    /// Any other call of WASI preview 1, of which only those on files can wait.
    Preview1,
}

impl HostCall {
    const ALL: [Self; 8] = [
        Self::Sleep,
        Self::Save,
        Self::Restore,
        Self::Poll,
        Self::Stream,
        Self::Files,
        Self::PollOneoff,
        Self::Preview1,
    ];

    /// Returns the word that machines read: the interface, and the function where it is known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "wasmill:task/run.sleep",
            Self::Save => "wasmill:task/run.save",
            Self::Restore => "wasmill:task/run.restore",
            Self::Poll => "wasi:io/poll",
            Self::Stream => "wasi:io/streams",
            Self::Files => "wasi:filesystem",
            Self::PollOneoff => "wasi_snapshot_preview1.poll_oneoff",
            Self::Preview1 => "wasi_snapshot_preview1",
        }
    }
}

/// What the guest does, in the lowest byte of a number whose other bytes count its calls; a call is its
/// index in [`HostCall::ALL`] above these.
const STARTS: u64 = 0;
const COMPUTES: u64 = 1;
const CALLS: u64 = 2;
const DEED_BITS: u32 = 8;
const DEED_MASK: u64 = (1 << DEED_BITS) - 1;

/// Whether a thread polls the guest.
const NEVER_POLLED: u8 = 0;
const ON_THREAD: u8 = 1;
const OFF_THREAD: u8 = 2;

/// Where one guest is. Times are nanoseconds since the run was begun; 0 is none.
#[derive(Debug)]
pub(crate) struct Place {
    born: Instant,
    thread: AtomicU8,
    deed: AtomicU64,
    /// When the guest began to wait in the call that it waits in, and which one that was.
    since: AtomicU64,
    since_deed: AtomicU64,
    /// When the call is over at the latest, where that is known.
    until: AtomicU64,
    cpu: AtomicU64,
    tables_bytes: AtomicU64,
    http: OnceLock<Arc<HttpCalls>>,
    /// The stack of the turn that has just ended, while samples are taken.
    stack: Mutex<Option<Stack>>,
}

/// A [`Place`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) age: Duration,
    pub(crate) state: InstanceState,
    pub(crate) cpu: Duration,
    pub(crate) tables_bytes: u64,
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// It is being made, or is about to be.
    Starting,
    /// It computes, on a thread or in line for one.
    Computing {
        /// Whether it is on a thread right now.
        on_thread: bool,
    },
    /// It waits in a call of the host.
    Waiting {
        /// The call.
        call: HostCall,
        /// For how long.
        waited: Duration,
        /// How much longer at most, where that is known.
        left: Option<Duration>,
    },
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            thread: AtomicU8::new(NEVER_POLLED),
            deed: AtomicU64::new(STARTS),
            since: AtomicU64::new(0),
            since_deed: AtomicU64::new(0),
            until: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            tables_bytes: AtomicU64::new(0),
            http: OnceLock::new(),
            stack: Mutex::new(None),
        }
    }

    /// Notes that the instance was made and runs from now on.
    pub(crate) fn has_started(&self) {
        self.deed.store(COMPUTES, Relaxed);
    }

    /// Notes that a thread polls the guest.
    pub(crate) fn enter_thread(&self) {
        self.thread.store(ON_THREAD, Relaxed);
    }

    /// Notes that the thread was given back, and how much the guest has computed so far.
    pub(crate) fn leave_thread(&self, cpu: Duration) {
        self.cpu.store(nanos(cpu), Relaxed);
        let deed = self.deed.load(Relaxed);
        // A guest may be polled more than once in one call.
        if deed & DEED_MASK >= CALLS && self.since_deed.load(Relaxed) != deed {
            self.since.store(self.now(), Relaxed);
            self.since_deed.store(deed, Relaxed);
        }
        self.thread.store(OFF_THREAD, Release);
    }

    /// Notes that the guest gave way to others in the middle of computing.
    pub(crate) fn gives_way(&self) {
        let deed = self.deed.load(Relaxed);
        // One that starts may compute, too, and still starts.
        if deed & DEED_MASK >= CALLS {
            self.deed.store((deed & !DEED_MASK) | COMPUTES, Relaxed);
        }
    }

    /// Notes a call. When it returns is not noted: the guest then computes, and stays on its thread until
    /// it gives way or calls again.
    pub(crate) fn enter(&self, call: HostCall) {
        self.note(call, 0);
    }

    /// Notes a call that is over in so long.
    pub(crate) fn enter_for(&self, call: HostCall, time: Duration) {
        self.note(call, self.now().saturating_add(nanos(time)).max(1));
    }

    /// Notes a call that is over at this moment.
    pub(crate) fn enter_until(&self, call: HostCall, until: Instant) {
        self.note(call, nanos(until.saturating_duration_since(self.born)).max(1));
    }

    fn note(&self, call: HostCall, until: u64) {
        // One thread at a time polls a guest, so nobody else writes.
        let calls = (self.deed.load(Relaxed) >> DEED_BITS).wrapping_add(1);
        self.until.store(until, Relaxed);
        self.deed.store((calls << DEED_BITS) | (CALLS + call as u64), Relaxed);
    }

    /// Notes how much the tables of the guest take of its memory.
    pub(crate) fn note_tables(&self, bytes: u64) {
        self.tables_bytes.store(bytes, Relaxed);
    }

    /// Returns the list of the HTTP calls of the guest, which is made when it first makes one.
    pub(crate) fn http(&self) -> &Arc<HttpCalls> {
        self.http.get_or_init(Arc::default)
    }

    /// Returns the list if the guest ever made an HTTP call.
    pub(crate) fn http_if_any(&self) -> Option<&Arc<HttpCalls>> {
        self.http.get()
    }

    /// Leaves the stack of the turn that ends now for [`Place::take_stack`].
    pub(crate) fn leave_stack(&self, stack: Stack) {
        *self.stack.lock().unwrap_or_else(PoisonError::into_inner) = Some(stack);
    }

    pub(crate) fn take_stack(&self) -> Option<Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when the run was begun.
    pub(crate) fn born(&self) -> Instant {
        self.born
    }

    /// Looks where the guest is.
    pub(crate) fn look(&self) -> Seen {
        let thread = self.thread.load(Acquire);
        let deed = self.deed.load(Relaxed);
        let now = self.now();
        let call = (deed & DEED_MASK).checked_sub(CALLS).and_then(|call| HostCall::ALL.get(call as usize));
        let state = match (thread, call) {
            (NEVER_POLLED, _) => InstanceState::Starting,
            (OFF_THREAD, Some(&call)) => InstanceState::Waiting {
                call,
                waited: Duration::from_nanos(now.saturating_sub(self.since.load(Relaxed))),
                left: Some(self.until.load(Relaxed))
                    .filter(|until| *until > 0)
                    .map(|until| Duration::from_nanos(until.saturating_sub(now))),
            },
            _ if deed & DEED_MASK == STARTS => InstanceState::Starting,
            _ => InstanceState::Computing { on_thread: thread == ON_THREAD },
        };
        Seen {
            age: Duration::from_nanos(now),
            state,
            cpu: Duration::from_nanos(self.cpu.load(Relaxed)),
            tables_bytes: self.tables_bytes.load(Relaxed),
        }
    }

    fn now(&self) -> u64 {
        nanos(self.born.elapsed())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_seen_where_it_is() {
        let place = Place::new();
        assert_eq!(place.look().state, InstanceState::Starting);
        place.enter_thread();
        place.gives_way();
        assert_eq!(place.look().state, InstanceState::Starting, "a start function may compute");
        place.has_started();
        assert_eq!(place.look().state, InstanceState::Computing { on_thread: true });
        place.leave_thread(Duration::from_millis(3));
        assert_eq!(place.look().state, InstanceState::Computing { on_thread: false });
        assert_eq!(place.look().cpu, Duration::from_millis(3));
        place.enter_thread();
        place.enter(HostCall::Files);
        assert_eq!(place.look().state, InstanceState::Computing { on_thread: true });
        place.leave_thread(Duration::from_millis(3));
        let InstanceState::Waiting { call: HostCall::Files, left: None, .. } = place.look().state else {
            panic!("{place:?}");
        };
        place.enter_thread();
        place.gives_way();
        place.leave_thread(Duration::from_millis(4));
        assert_eq!(place.look().state, InstanceState::Computing { on_thread: false });
    }

    #[test]
    fn a_wait_begins_once_however_often_the_guest_is_polled_in_it() {
        let place = Place::new();
        place.has_started();
        let wait = || {
            place.enter_thread();
            place.leave_thread(Duration::ZERO);
            place.since.load(Relaxed)
        };
        place.enter_for(HostCall::Sleep, Duration::from_secs(60));
        let first = wait();
        assert_eq!(wait(), first);
        let InstanceState::Waiting { left: Some(left), .. } = place.look().state else { panic!("{place:?}") };
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(1), "{left:?}");
        place.enter(HostCall::Sleep);
        assert!(wait() > first, "the same call again is another wait");
        let InstanceState::Waiting { left: None, .. } = place.look().state else { panic!("{place:?}") };
    }
}
