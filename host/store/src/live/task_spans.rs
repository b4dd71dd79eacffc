//! The spans of a task: each wait, each run, and the whole from its creation to its end.
//!
//! Spans are built in the transaction that ends them and exported after it commits, so each is exported
//! exactly once, by the next host if this one dies.

use wasmill_model::{Failure, RunTrace, Span, SpanId, Timestamp, Tracer, Usage};

use crate::live::live_runs::LiveRun;
use crate::live::run_ref::{RunRef, Traced};

/// How a run ended.
pub struct RunEnd<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// A fixed word, or an exit code.
    pub outcome: String,
    /// The failure message, if it failed.
    pub failure: Option<&'a str>,
    /// What it used.
    pub usage: Option<Usage>,
    /// Digest of the plugin.
    pub digest: Option<&'a str>,
}

impl RunRef {
    /// Returns the trace context for outgoing requests of the run.
    pub fn run_trace(&self, tracer: &Tracer) -> Option<RunTrace> {
        let traced = self.trace.as_ref()?;
        Some(tracer.run(&traced.caller, self.task, self.token))
    }

    /// Builds the span of the wait that ended with the claim.
    pub fn wait_span(&self, tracer: &Tracer, ready_at: Timestamp, end: Timestamp) -> Option<Span> {
        let traced = self.recorded(tracer)?;
        // A requeued task keeps its first `ready_at`; it has waited since this host started at the earliest.
        let again = if self.token > 1 { tracer.started_at() } else { None };
        let start = again.map_or(ready_at, |host| host.max(ready_at)).min(end);
        let at = traced.caller.with_span(SpanId::of_wait(self.task, self.token));
        let span = Span::new(&at, Some(SpanId::of_task(self.task)), "wait", (start, end));
        Some(self.with_task(span))
    }

    /// Builds the span of a finished run.
    pub fn run_span(&self, tracer: &Tracer, end: RunEnd<'_>) -> Option<Span> {
        let traced = self.recorded(tracer)?;
        let RunEnd { at: ended_at, outcome, failure, usage, digest } = end;
        let at = traced.caller.with_span(SpanId::of_run(self.task, self.token));
        let span = Span::new(
            &at,
            Some(SpanId::of_task(self.task)),
            format!("run {}", self.plugin),
            (traced.started_at.unwrap_or(ended_at), ended_at),
        );
        let mut span = self.with_task(span).with("wasmill.outcome", outcome);
        if let Some(digest) = digest {
            span = span.with("wasmill.plugin.digest", digest.to_owned());
        }
        if let Some(usage) = usage {
            let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            span = span
                .with("wasmill.cpu_ms", millis(usage.cpu))
                .with("wasmill.queue_ms", millis(usage.queue))
                .with("wasmill.peak_memory_bytes", usage.memory_bytes)
                .with("wasmill.http_requests", usage.http_requests);
        }
        Some(match failure {
            Some(failure) => span.failed(failure),
            None => span,
        })
    }

    /// Builds the span of a finished task.
    pub fn task_span(
        &self,
        tracer: &Tracer,
        state: &'static str,
        failure: Option<&Failure>,
        end: Timestamp,
    ) -> Option<Span> {
        let traced = self.recorded(tracer)?;
        let at = traced.caller.with_span(SpanId::of_task(self.task));
        let name = format!("task {}", self.plugin);
        let span = Span::new(&at, Some(traced.caller.span_id), name, (traced.created_at, end));
        let span = self.with_task(span).with("wasmill.state", state);
        Some(match failure {
            Some(failure) => span.failed(&failure.message),
            None => span,
        })
    }

    /// Builds the span of a task that was stopped or removed, and before it that of its run, if it was running.
    pub fn stop_spans(
        &self,
        tracer: &Tracer,
        run: Option<&LiveRun>,
        outcome: &'static str,
        now: Timestamp,
    ) -> Vec<Span> {
        if self.trace.is_none() {
            return Vec::new();
        }
        let run_span = run.and_then(|run| {
            let digest = run.digest();
            let (outcome, usage) = (outcome.to_owned(), run.usage_of_run(now));
            self.run_span(
                tracer,
                RunEnd { at: now, outcome, failure: None, usage, digest: digest.as_deref() },
            )
        });
        run_span.into_iter().chain(self.task_span(tracer, outcome, None, now)).collect()
    }

    fn recorded(&self, tracer: &Tracer) -> Option<&Traced> {
        self.trace.as_deref().filter(|traced| tracer.records(&traced.caller))
    }

    /// Adds the attributes that all spans of a task have.
    fn with_task(&self, span: Span) -> Span {
        span.with("wasmill.task", self.task.to_string())
            .with("wasmill.plugin", self.plugin.to_string())
            .with("wasmill.attempt", u64::from(self.attempt))
    }
}
