//! What the end of a run means for its task.

use std::borrow::Cow;

use wasmill_model::{Cause, Span, TaskFile, TaskState, Timestamp, Tracer, Transition, Usage, WakeOn};

use crate::live::RunEnd;
use crate::{Claim, EventKind, LogPart};

/// Bytes kept of the message of an attempt that was retried; a task has about a hundred at most.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The end of a run, to be applied if its claim still holds and its task has no stop request.
#[derive(Debug)]
pub struct Finish {
    /// The claim of the run.
    pub claim: Claim,
    /// The transition of the task.
    pub next: Transition,
    /// The log of the run.
    pub log: Option<LogPart>,
    /// When the run ended.
    pub now: Timestamp,
}

/// How a run counts when its task waits again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCount {
    /// As one step of an attempt that continues.
    Step,
    /// As an attempt.
    Attempt,
    /// As an attempt that a host crash ended.
    Crash,
    /// Not at all.
    Not,
}

/// How finishing a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The transition was applied.
    Moved,
    /// The task had a stop request: it is cancelled or removed.
    Stopped,
    /// The claim was revoked; nothing changed.
    Lost,
}

impl Finish {
    /// Returns how the run counts, unless its task finishes.
    pub fn count(&self) -> Option<RunCount> {
        match self.next {
            Transition::Completed(_) | Transition::Failed(_) => None,
            Transition::Suspended(..) => Some(RunCount::Step),
            Transition::RetryAt(..) => Some(RunCount::Attempt),
            Transition::Requeued => Some(RunCount::Not),
            Transition::Recovered => Some(RunCount::Crash),
        }
    }

    /// Returns until when the task waits, if it waits for a time; otherwise it waits at its old position.
    pub fn until(&self) -> Option<Timestamp> {
        match &self.next {
            Transition::Suspended(at, _) | Transition::RetryAt(at, _) => Some(*at),
            _ => None,
        }
    }

    /// Returns what resumes the task earlier than [that](Self::until).
    pub fn wake_on(&self) -> WakeOn {
        match &self.next {
            Transition::Suspended(_, suspension) => suspension.wake_on,
            _ => WakeOn::default(),
        }
    }

    /// Returns cause and message of the failure, if the run failed.
    pub fn failure(&self) -> Option<(Cause, &str)> {
        match &self.next {
            Transition::Failed(failure) | Transition::RetryAt(_, failure) => {
                Some((failure.cause, &failure.message))
            }
            _ => None,
        }
    }

    /// Returns cause and message of the attempt if another one follows, which replaces it in the task.
    pub fn attempt_to_keep(&self) -> Option<(Cause, Option<&str>)> {
        match &self.next {
            Transition::RetryAt(_, failure) => {
                let end = failure.message.floor_char_boundary(MESSAGE_BYTES_MAX);
                Some((failure.cause, Some(&failure.message[..end])))
            }
            Transition::Recovered => Some((Cause::HostCrash, None)),
            _ => None,
        }
    }

    /// Returns true if the run counts as one that a host crash ended. The crash that fails a task counts like those
    /// before it.
    pub fn is_crash(&self) -> bool {
        match &self.next {
            Transition::Failed(failure) => failure.cause == Cause::HostCrash,
            next => *next == Transition::Recovered,
        }
    }

    /// Returns the usage of the attempt; none if the run does not count.
    pub fn usage(&self) -> Option<Usage> {
        (self.next != Transition::Requeued).then(|| self.claim.run().usage_at_end(self.now)).flatten()
    }

    /// Returns the files that the run leaves; none unless it completes its task.
    pub fn outputs(&self) -> Vec<TaskFile> {
        match &self.next {
            Transition::Completed(_) => self.claim.run().outputs(),
            _ => Vec::new(),
        }
    }

    /// Returns the event of the transition.
    pub fn event(&self) -> EventKind {
        match &self.next {
            Transition::Completed(_) => EventKind::Completed,
            Transition::Failed(failure) => EventKind::Failed(failure.cause),
            Transition::Suspended(at, _) => EventKind::Suspended(*at),
            Transition::RetryAt(at, _) => EventKind::Retrying(*at),
            Transition::Requeued | Transition::Recovered => EventKind::Retrying(self.now),
        }
    }

    /// Returns the log to append to that of the task.
    ///
    /// An empty one is recorded after earlier runs, whose text would pass for its own otherwise, but not for a run
    /// that does not count or is one of several steps of its attempt, which share a log.
    pub fn log_to_keep(&self) -> Option<Cow<'_, LogPart>> {
        let run = self.claim.run();
        let is_step = matches!(self.next, Transition::Suspended(..)) || run.is_resumed();
        self.log_or_silence(self.next != Transition::Requeued && !is_step)
    }

    /// Returns the log to append to that of the task if it is cancelled.
    pub fn log_to_keep_when_cancelled(&self) -> Option<Cow<'_, LogPart>> {
        self.log_or_silence(!self.claim.run().is_resumed())
    }

    fn log_or_silence(&self, counts: bool) -> Option<Cow<'_, LogPart>> {
        let silence = || (self.claim.token() > 1 && counts).then(|| Cow::Owned(self.claim.run().empty_log()));
        self.log.as_ref().map(Cow::Borrowed).or_else(silence)
    }

    /// Builds the span of the run, and that of the task if it finished.
    pub fn spans(&self, tracer: &Tracer) -> Vec<Span> {
        let run = self.claim.run();
        let run_ref = run.run_ref();
        if run_ref.trace.is_none() {
            return Vec::new();
        }
        let (outcome, failure) = match &self.next {
            Transition::Completed(_) => ("completed".to_owned(), None),
            Transition::Failed(failure) | Transition::RetryAt(_, failure) => {
                (failure.cause.to_string(), Some(failure.message.as_str()))
            }
            Transition::Suspended(..) => ("suspended".to_owned(), None),
            Transition::Requeued => ("requeued".to_owned(), None),
            Transition::Recovered => (Cause::HostCrash.to_string(), Some("the host died during the run")),
        };
        let digest = run.digest();
        let usage = run.usage_of_run(self.now);
        let end = RunEnd { at: self.now, outcome, failure, usage, digest: digest.as_deref() };
        let mut spans: Vec<_> = run_ref.run_span(tracer, end).into_iter().collect();
        let to: TaskState = self.next.state();
        if to.is_final() {
            let failure = if let Transition::Failed(failure) = &self.next { Some(failure) } else { None };
            spans.extend(run_ref.task_span(tracer, to.as_str(), failure, self.now));
        }
        spans
    }
}
