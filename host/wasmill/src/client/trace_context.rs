//! The trace context of this process: `TRACEPARENT` and `TRACESTATE`, as CI systems and command wrappers set them.
//! Invalid values are ignored.

use wasmill_model::TraceContext;

/// Returns the headers that propagate the trace, if there is one.
pub(crate) fn headers() -> Vec<(&'static str, String)> {
    of(|name| std::env::var(name).ok())
}

fn of(read: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let state = read("TRACESTATE");
    let context = read("TRACEPARENT").and_then(|parent| TraceContext::read(&parent, state.as_deref()));
    let Some(context) = context else { return Vec::new() };
    let state = context.state.as_deref().map(|state| ("tracestate", state.to_owned()));
    [("traceparent", context.traceparent())].into_iter().chain(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_from_the_environment_is_propagated_if_valid() {
        let of = |parent: &str, state: Option<&str>| {
            of(|name| if name == "TRACEPARENT" { Some(parent.to_owned()) } else { state.map(str::to_owned) })
        };
        let parent = ("traceparent", PARENT.to_owned());
        assert_eq!(of(PARENT, None), std::slice::from_ref(&parent));
        assert_eq!(of(PARENT, Some("a=1")), [parent.clone(), ("tracestate", "a=1".to_owned())]);
        assert_eq!(of(PARENT, Some("\n")), [parent]);
        assert!(of("nonsense", Some("a=1")).is_empty());
    }
}
