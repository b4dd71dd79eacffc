//! One thing that took its time, as a trace shows it. Plain data.
//!
//! The API, the store and the runtime make spans; the binary sends them where they are collected.

use std::borrow::Cow;

use crate::{SpanId, Timestamp, TraceContext, TraceId};

/// Bytes kept of what a failure says.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// Something that began and has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace that it is part of.
    pub trace_id: TraceId,
    /// Its own name in it.
    pub id: SpanId,
    /// What it is a part of; `None` if the trace begins with it.
    pub parent: Option<SpanId>,
    /// What others along the way want to be handed on.
    pub state: Option<Box<str>>,
    /// One of few words.
    pub name: Cow<'static, str>,
    /// Which side of a request it is, if it is one.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; not before it began.
    pub end: Timestamp,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, SpanAttribute)>,
    /// What went wrong, if something did.
    pub failure: Option<String>,
}

/// Which side of a request a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// It is no request.
    Internal,
    /// This host answered.
    Server,
    /// This host asked.
    Client,
}

/// Something that is known of a span.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanAttribute {
    /// Words.
    Text(Cow<'static, str>),
    /// A count.
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
    /// Makes the span at a place in a trace, of which nothing else is known yet.
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
            // A clock that went back makes it a moment.
            end: end.max(start),
            attributes: Vec::new(),
            failure: None,
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<SpanAttribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Says that it went wrong, and how.
    #[must_use]
    pub fn failed(mut self, message: &str) -> Self {
        self.failure = Some(message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned());
        self
    }
}
