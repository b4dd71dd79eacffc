//! W3C Trace Context of a task: <https://www.w3.org/TR/trace-context/>.
//!
//! The API reads it from requests, the store keeps it with the task, the runtime propagates it. An invalid
//! context is ignored, never refused.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::TaskId;

/// Maximum bytes of a propagated `tracestate`; a longer one is dropped, as the specification allows.
const STATE_BYTES_MAX: usize = 512;

/// A trace id; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Returns the bytes of the id.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Creates a random id.
    pub fn random() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    /// Returns the last 56 bits, which are random, as a number from 0 to 1, for sampling decisions.
    pub fn sampling_value(&self) -> f64 {
        let last = u64::from_be_bytes(last_half(&self.0)) & ((1 << 56) - 1);
        last as f64 / (1_u64 << 56) as f64
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// A span id; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// Returns the bytes of the id.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// Creates a random id.
    pub fn random() -> Self {
        // The halves of a UUID each have fixed bits, in different positions.
        let (first, last) = Uuid::new_v4().as_u64_pair();
        Self::of_number(first ^ last)
    }

    /// Returns the span id of a task. It is derived from the task, so every host knows it.
    pub fn of_task(task: TaskId) -> Self {
        Self::of_number(u64::from_be_bytes(last_half(task.as_bytes())))
    }

    /// Returns the span id of the wait before a claim of a task.
    pub fn of_wait(task: TaskId, claim: i64) -> Self {
        Self::derived(task, claim, 1)
    }

    /// Returns the span id of the run of a claim: the next host knows it if this one dies.
    pub fn of_run(task: TaskId, claim: i64) -> Self {
        Self::derived(task, claim, 2)
    }

    /// Mixes the numbers like splitmix64, so that ids of one trace do not collide.
    fn derived(task: TaskId, claim: i64, what: u64) -> Self {
        let of_task = u64::from_be_bytes(last_half(task.as_bytes()));
        let step = claim.cast_unsigned().wrapping_mul(4).wrapping_add(what);
        let mut mixed = of_task.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::of_number(mixed ^ (mixed >> 31))
    }

    fn of_number(number: u64) -> Self {
        Self(number.max(1).to_be_bytes())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// A trace context: spans that follow have its span as their parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace id.
    pub trace_id: TraceId,
    /// The parent span id.
    pub span_id: SpanId,
    /// Whether the caller records the trace.
    pub sampled: bool,
    /// The `tracestate` of the caller, propagated unchanged.
    pub state: Option<Box<str>>,
}

impl TraceContext {
    /// Reads the headers `traceparent` and, if present, `tracestate`. Returns `None` for an invalid
    /// `traceparent`; an invalid `tracestate` is dropped.
    pub fn read(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut context = parse(traceparent)?;
        context.state = tracestate.map(str::trim).filter(|state| is_state(state)).map(Box::from);
        Some(context)
    }

    /// Returns the value of the header `traceparent`.
    pub fn traceparent(&self) -> String {
        let Self { trace_id, span_id, sampled, .. } = self;
        format!("00-{trace_id}-{span_id}-0{}", u8::from(*sampled))
    }

    /// Returns the context of another span of the same trace.
    pub fn with_span(&self, span_id: SpanId) -> Self {
        Self { span_id, ..self.clone() }
    }
}

/// Writes the stored form: `traceparent`, and `tracestate` after a space.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())?;
        self.state.as_ref().map_or(Ok(()), |state| write!(f, " {state}"))
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        let (traceparent, state) =
            text.split_once(' ').map_or((text, None), |(first, rest)| (first, Some(rest)));
        Self::read(traceparent, state).ok_or(InvalidTraceContext)
    }
}

/// The text is not a trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trace context is a traceparent such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct InvalidTraceContext;

/// Parses `traceparent`. Of later versions it reads what they share with version 00.
fn parse(text: &str) -> Option<TraceContext> {
    let text = text.trim_matches([' ', '\t']);
    let mut parts = text.split('-');
    let [version, trace_id, span_id, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let [version] = bytes::<1>(version)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let (trace_id, span_id, [flags]) = (bytes::<16>(trace_id)?, bytes::<8>(span_id)?, bytes::<1>(flags)?);
    if trace_id == [0; 16] || span_id == [0; 8] {
        return None;
    }
    let sampled = flags & 1 == 1;
    Some(TraceContext { trace_id: TraceId(trace_id), span_id: SpanId(span_id), sampled, state: None })
}

/// Returns true if a text can be a `tracestate`: a list of `key=value` in visible characters.
fn is_state(text: &str) -> bool {
    let is_visible = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let mut members = text.split(',').map(str::trim).filter(|member| !member.is_empty()).peekable();
    text.len() <= STATE_BYTES_MAX
        && is_visible
        && members.peek().is_some()
        && members.all(|member| member.split_once('=').is_some_and(|(key, _)| !key.is_empty()))
}

/// Parses hexadecimal digits, which must be lower case.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.len() == 2 * N && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    is_hex.then_some(bytes)
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn last_half(bytes: &[u8; 16]) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = *bytes;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context = TraceContext::read(GOOD, None).expect("valid");
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id.to_string(), "b7ad6b7169203331");
        assert!(context.sampled && context.state.is_none());
        assert_eq!(context.traceparent(), GOOD);
        let not_sampled = TraceContext::read(&GOOD.replace("-01", "-00"), None).expect("valid");
        assert!(!not_sampled.sampled);
        // Unknown flags are not propagated, nor are the fields of later versions.
        for later in [GOOD.replace("-01", "-fd"), GOOD.replace("00-", "cc-") + "-what-will-be"] {
            assert_eq!(TraceContext::read(&later, None).expect("valid").traceparent(), GOOD, "{later}");
        }
    }

    #[test]
    fn an_invalid_traceparent_gives_no_context() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 01",
        ] {
            assert_eq!(TraceContext::read(bad, Some("a=b")), None, "{bad}");
        }
    }

    #[test]
    fn a_tracestate_is_propagated_or_dropped() {
        let state = |text: &str| TraceContext::read(GOOD, Some(text)).expect("valid").state;
        for good in ["congo=t61rcWkgMzE", "a=1,b@c=2, d=x y", "a=b,,c="] {
            assert_eq!(state(good).as_deref(), Some(good));
        }
        for bad in ["", " ", ",", "a", "=b", "a=b,c", "a=\u{1}", "ä=b", &format!("a={}", "b".repeat(511))] {
            assert_eq!(state(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_trace_context_round_trips() {
        for state in [None, Some("a=1, b=2")] {
            let context = TraceContext::read(GOOD, state).expect("valid");
            assert_eq!(context.to_string().parse(), Ok(context));
        }
        assert_eq!("nonsense".parse::<TraceContext>(), Err(InvalidTraceContext));
    }

    #[test]
    fn span_ids_of_a_trace_do_not_collide() {
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let task = TaskId::new();
            let mut ids = vec![SpanId::of_task(task), SpanId::random()];
            ids.extend((1..9).flat_map(|claim| [SpanId::of_wait(task, claim), SpanId::of_run(task, claim)]));
            assert!(ids.into_iter().all(|id| seen.insert(id)));
            assert_eq!(SpanId::of_run(task, 3), SpanId::of_run(task, 3));
        }
    }

    #[test]
    fn sampling_values_are_uniform() {
        let drawn = (0..10_000).filter(|_| TraceId::random().sampling_value() < 0.25).count();
        assert!((2_000..3_000).contains(&drawn), "{drawn}");
    }
}
