//! The trace that this program was called in: `TRACEPARENT` and `TRACESTATE`, as CI systems and wrappers of
//! commands set them. What is none is passed over.

use wasmill_model::TraceContext;

/// Returns the headers that hand the trace on, if there is one.
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
    fn a_trace_of_the_environment_is_handed_on_and_nonsense_is_not() {
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
