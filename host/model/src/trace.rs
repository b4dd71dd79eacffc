//! Traces: the context of a request, and the spans of its task.

mod context;
mod span;
mod tracer;

pub use context::{InvalidTraceContext, SpanId, TraceContext, TraceId};
pub use span::{Span, SpanAttribute, SpanKind};
pub use tracer::{RunTrace, Sampler, Tracer, TracerStats};
