//! The tracer: decides which traces are recorded, and buffers spans until they are exported.
//!
//! Recording a span never waits; the binary fetches and exports them. Beyond the limit, spans are dropped and
//! counted. A disabled tracer holds nothing and costs a comparison.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Clock, Span, SpanId, TaskId, Timestamp, TraceContext, TraceId};

/// Maximum spans in the buffer: about 15 MB.
const SPANS_MAX: usize = 16_384;

/// Decides which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the sampling decision of the caller counts, if there is one.
    pub parent_based: bool,
    /// Share of the other traces to record, from 0.0 to 1.0.
    pub share: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { parent_based: true, share: 1.0 }
    }
}

impl Sampler {
    fn picks(self, caller: Option<&TraceContext>, trace_id: TraceId) -> bool {
        match caller {
            Some(caller) if self.parent_based => caller.sampled,
            // Hosts with the same share record the same traces; see
            // <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>.
            _ => trace_id.sampling_value() >= 1.0 - self.share,
        }
    }
}

/// Span statistics since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracerStats {
    /// Accepted by the collector.
    pub exported: u64,
    /// Dropped because the buffer was full.
    pub dropped: u64,
    /// Rejected by the collector.
    pub refused: u64,
    /// In the buffer.
    pub kept: u64,
}

/// Records spans. Cheap to clone; all clones are the same. The default is disabled.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<TracerState>>);

struct TracerState {
    sampler: Sampler,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    kept: Mutex<VecDeque<Span>>,
    exported: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    on_spans: Box<dyn Fn(usize) + Send + Sync>,
}

impl Tracer {
    /// Creates an enabled tracer. `on_spans` is called with the buffer size after each recording; it must not
    /// wait.
    pub fn new(
        sampler: Sampler,
        clock: Arc<dyn Clock>,
        on_spans: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(TracerState {
            sampler,
            started_at: clock.now(),
            clock,
            kept: Mutex::default(),
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            on_spans: Box::new(on_spans),
        })))
    }

    /// Returns true if the tracer is enabled.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns true if spans of this trace are recorded.
    pub fn records(&self, context: &TraceContext) -> bool {
        self.is_on() && context.sampled
    }

    /// Returns when the tracer was created; `None` if it is disabled.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|inner| inner.started_at)
    }

    /// Returns the current time; `None` if the tracer is disabled.
    pub fn now(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|inner| inner.clock.now())
    }

    /// Starts a span of this host, in the trace of the caller or in a new one. Returns its context, or `None`
    /// if the tracer is disabled.
    pub fn begin(&self, caller: Option<&TraceContext>) -> Option<TraceContext> {
        let inner = self.0.as_ref()?;
        let trace_id = caller.map_or_else(TraceId::random, |caller| caller.trace_id);
        Some(TraceContext {
            trace_id,
            span_id: SpanId::random(),
            sampled: inner.sampler.picks(caller, trace_id),
            state: caller.and_then(|caller| caller.state.clone()),
        })
    }

    /// Returns the trace of the run of a claim, for its outgoing requests.
    pub fn run(&self, caller: &TraceContext, task: TaskId, claim: i64) -> RunTrace {
        if self.records(caller) {
            RunTrace { tracer: self.clone(), context: caller.with_span(SpanId::of_run(task, claim)) }
        } else {
            RunTrace { tracer: Self::default(), context: caller.clone() }
        }
    }

    /// Buffers spans for export, as far as the limit allows.
    pub fn record(&self, spans: impl IntoIterator<Item = Span>) {
        let Some(inner) = &self.0 else { return };
        let mut spans = spans.into_iter();
        let mut kept = inner.kept();
        let before = kept.len();
        let room = SPANS_MAX - before;
        kept.extend(spans.by_ref().take(room));
        let now = kept.len();
        drop(kept);
        inner.dropped.fetch_add(spans.count() as u64, Relaxed);
        if now > before {
            (inner.on_spans)(now);
        }
    }

    /// Removes and returns the oldest spans, at most `limit`.
    pub fn fetch(&self, limit: usize) -> Vec<Span> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let mut kept = inner.kept();
        let count = kept.len().min(limit);
        kept.drain(..count).collect()
    }

    /// Records how many spans the collector accepted and rejected.
    pub fn sent(&self, exported: u64, refused: u64) {
        if let Some(inner) = &self.0 {
            inner.exported.fetch_add(exported, Relaxed);
            inner.refused.fetch_add(refused, Relaxed);
        }
    }

    /// Returns the statistics so far.
    pub fn stats(&self) -> TracerStats {
        self.0.as_ref().map_or_else(TracerStats::default, |inner| TracerStats {
            exported: inner.exported.load(Relaxed),
            dropped: inner.dropped.load(Relaxed),
            refused: inner.refused.load(Relaxed),
            kept: inner.kept().len() as u64,
        })
    }
}

impl TracerState {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

/// The trace of a run.
#[derive(Clone, Debug)]
pub struct RunTrace {
    /// Disabled if the trace is not recorded here.
    tracer: Tracer,
    context: TraceContext,
}

impl RunTrace {
    /// Returns the context of the run; if the trace is not recorded here, the context of the caller.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Starts a span of the run and returns the current time; `None` if the trace is not recorded here.
    pub fn begin(&self) -> Option<(TraceContext, Timestamp)> {
        Some((self.context.with_span(SpanId::random()), self.tracer.now()?))
    }

    /// Returns the tracer for its spans.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::SystemClock;

    fn tracer(sampler: Sampler) -> Tracer {
        Tracer::new(sampler, Arc::new(SystemClock), |_| {})
    }

    fn caller(sampled: bool) -> TraceContext {
        let flag = u8::from(sampled);
        format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{flag} a=b").parse().expect("valid")
    }

    fn span(tracer: &Tracer) -> Span {
        let context = tracer.begin(None).expect("it is on");
        let now = tracer.now().expect("it is on");
        Span::new(&context, None, "a", (now, now))
    }

    #[test]
    fn a_parent_based_sampler_follows_the_caller() {
        let picks = |parent_based, share, sampled| {
            let caller = caller(sampled);
            tracer(Sampler { parent_based, share }).begin(Some(&caller)).map(|context| context.sampled)
        };
        for (parent_based, share, sampled, picked) in [
            (true, 0.0, true, true),
            (true, 1.0, false, false),
            (false, 0.0, true, false),
            (false, 1.0, false, true),
        ] {
            assert_eq!(picks(parent_based, share, sampled), Some(picked));
        }
    }

    #[test]
    fn a_share_of_new_traces_is_picked() {
        let tracer = tracer(Sampler { parent_based: true, share: 0.25 });
        let picked =
            (0..10_000).filter(|_| tracer.begin(None).is_some_and(|context| context.sampled)).count();
        assert!((2_000..3_000).contains(&picked), "{picked}");
    }

    #[test]
    fn a_trace_continues_with_a_new_span() {
        let caller = caller(true);
        let context = tracer(Sampler::default()).begin(Some(&caller)).expect("it is on");
        assert_eq!((context.trace_id, &context.state), (caller.trace_id, &caller.state));
        assert_ne!(context.span_id, caller.span_id);
    }

    #[test]
    fn an_unrecorded_run_propagates_its_caller() {
        let task = TaskId::new();
        for (tracer, sampled) in [(Tracer::default(), true), (tracer(Sampler::default()), false)] {
            let trace = tracer.run(&caller(sampled), task, 1);
            assert_eq!(trace.context(), &caller(sampled));
            assert!(trace.begin().is_none());
        }
        let trace = tracer(Sampler::default()).run(&caller(true), task, 1);
        assert_eq!(trace.context().span_id, SpanId::of_run(task, 1));
        assert_eq!(trace.context().traceparent().len(), 55);
    }

    #[test]
    fn spans_are_buffered_in_order_and_dropped_ones_are_counted() {
        let recorded = Arc::new(AtomicUsize::new(0));
        let recorder = Arc::clone(&recorded);
        let tracer = Tracer::new(Sampler::default(), Arc::new(SystemClock), move |kept| {
            recorder.store(kept, Relaxed);
        });
        let first = span(&tracer);
        tracer.record([first.clone()]);
        assert_eq!(recorded.load(Relaxed), 1);
        let many: Vec<_> = (0..SPANS_MAX + 9).map(|_| span(&tracer)).collect();
        tracer.record(many);
        let stats = tracer.stats();
        assert_eq!((stats.kept, stats.dropped), (SPANS_MAX as u64, 10));
        assert_eq!(tracer.fetch(1), [first]);
        assert_eq!(tracer.fetch(usize::MAX).len(), SPANS_MAX - 1);
        assert_eq!((tracer.fetch(1).len(), tracer.stats().kept), (0, 0));
    }

    #[test]
    fn a_disabled_tracer_records_nothing() {
        let off = Tracer::default();
        assert!(!off.is_on() && off.begin(None).is_none() && !off.records(&caller(true)));
        off.record([span(&tracer(Sampler::default()))]);
        assert_eq!((off.stats(), off.fetch(9)), (TracerStats::default(), Vec::new()));
    }
}
