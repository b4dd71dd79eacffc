//! Trace spans. Plain data.
//!
//! The API, the store and the runtime create them; the binary exports them.

use std::borrow::Cow;

use crate::{SpanId, Timestamp, TraceContext, TraceId};

/// Maximum bytes of a failure message.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// A finished trace span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace id.
    pub trace_id: TraceId,
    /// The span id.
    pub id: SpanId,
    /// The parent span; `None` for the root of the trace.
    pub parent: Option<SpanId>,
    /// The `tracestate` of the caller.
    pub state: Option<Box<str>>,
    /// The name, one of a few.
    pub name: Cow<'static, str>,
    /// The span kind.
    pub kind: SpanKind,
    /// Start time.
    pub start: Timestamp,
    /// End time; not before the start.
    pub end: Timestamp,
    /// Attributes.
    pub attributes: Vec<(&'static str, SpanAttribute)>,
    /// The failure message, if the span failed.
    pub failure: Option<String>,
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Not a request.
    Internal,
    /// A request that this host served.
    Server,
    /// A request that this host made.
    Client,
}

/// The value of a span attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanAttribute {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for SpanAttribute {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for SpanAttribute {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for SpanAttribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Span {
    /// Creates a span of this context without attributes.
    pub fn new(
        at: &TraceContext,
        parent: Option<SpanId>,
        name: impl Into<Cow<'static, str>>,
        (start, end): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            trace_id: at.trace_id,
            id: at.span_id,
            parent,
            state: at.state.clone(),
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            // If the clock went back, the duration is zero.
            end: end.max(start),
            attributes: Vec::new(),
            failure: None,
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<SpanAttribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Marks the span as failed.
    #[must_use]
    pub fn failed(mut self, message: &str) -> Self {
        self.failure = Some(message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned());
        self
    }
}
