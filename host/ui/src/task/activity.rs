//! What a running task is doing right now: the call that it waits in, its open connections, or where it computes.

use maud::{Markup, html};

use crate::part::command;
use crate::part::text::brief;
use crate::part::time::{Show, before, parse, time};
use crate::part::unit;
use crate::record::{Activity, HostCall, Instance, Task};

/// Connections that are listed; the rest is counted.
const CONNECTIONS_MAX: usize = 10;
/// Characters of the name of a function, and of what it is doing.
const NAME_CHARS_MAX: usize = 200;

/// Shows it, if the task runs.
pub(super) fn section(task: &Task, activity: Option<&Activity>) -> Markup {
    html! {
        div id="activity" data-live {
            @if let Some(activity) = activity.filter(|_| task.state == "running") {
                section aria-labelledby="activity-title" {
                    h2 id="activity-title" { "What it does now" }
                    (now(activity))
                    @if let Some(instance) = activity.run.as_ref().and_then(|run| run.instance.as_ref()) { (connections(instance, &activity.read_at)) }
                    @if let Some(functions) = &activity.functions { (stack(functions)) }
                    (command::lines("GET", &format!("/task/{}/activity", task.id), None, None))
                }
            }
        }
    }
}

fn now(activity: &Activity) -> Markup {
    let run = activity.run.as_ref();
    html! {
        p {
            @if let Some(run) = run { b { (brief(&run.state, 20)) } ": " }
            (with_time(&activity.summary))
        }
        @if let Some(run) = run {
            p.note {
                @if let Some(call) = &run.call { (waits_in(call, &activity.read_at)) }
                @if let Some(instance) = &run.instance { "Memory " (unit::bytes(instance.memory_bytes)) " of " (unit::bytes(instance.memory_max_bytes)) "." }
            }
        }
    }
}

/// Shows what it does; a time at the end as one of the reader.
fn with_time(summary: &str) -> Markup {
    match summary.rsplit_once("until ").filter(|(_, until)| parse(until).is_some()) {
        Some((what, until)) => html! { (brief(what, 500)) "until " (time(until, Show::Local)) },
        None => html! { (brief(summary, 500)) },
    }
}

/// Times are those at which something began, so that the page stays the same while nothing happens.
fn waits_in(call: &HostCall, read_at: &str) -> Markup {
    html! {
        "In " code { (brief(&call.name, 80)) } " for " (time(&before(read_at, call.waited_ms), Show::Age)) ". "
    }
}

fn connections(instance: &Instance, read_at: &str) -> Markup {
    let count = instance.http.len() + instance.tcp.len();
    let tcp_max = CONNECTIONS_MAX.saturating_sub(instance.http.len());
    html! {
        @if count > 0 {
            ul.why {
                @for request in instance.http.iter().take(CONNECTIONS_MAX) {
                    li {
                        (brief(&request.method, 20)) " " (brief(&request.origin, NAME_CHARS_MAX)) ": "
                        (if request.has_head { "reads the body of the response" } else { "waits for the response" })
                        ", for " (time(&before(read_at, request.ms), Show::Age))
                    }
                }
                @for socket in instance.tcp.iter().take(tcp_max) {
                    li {
                        "TCP " (brief(&socket.to, NAME_CHARS_MAX)) ": " (brief(&socket.state, 20))
                        ", for " (time(&before(read_at, socket.ms), Show::Age))
                        ", sent " (unit::bytes(socket.sent_bytes)) ", received " (unit::bytes(socket.received_bytes))
                    }
                }
            }
            @if count > CONNECTIONS_MAX { p.note { (count - CONNECTIONS_MAX) " more connections." } }
        }
    }
}

/// Shows the functions, innermost first; a function that calls itself is one entry.
fn stack(functions: &[String]) -> Markup {
    let runs: Vec<_> = functions.chunk_by(|inner, outer| inner == outer).collect();
    html! {
        h3 { "Functions, innermost first" }
        ol.functions tabindex="0" {
            @for run in &runs {
                li { code { (brief(&run[0], NAME_CHARS_MAX)) } @if run.len() > 1 { span.note { " " (run.len()) " times" } } }
            }
        }
        @if runs.is_empty() { p.empty { "The stack is empty." } }
    }
}
