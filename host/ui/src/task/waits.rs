//! Why a task waits, in words.

use maud::{Markup, html};

use crate::part::text::visible;
use crate::part::time::{Show, time};
use crate::part::unit;
use crate::record::{Why, short_id};

/// Shows the reasons, if it waits.
pub(super) fn section(why: Option<&Why>, root: &str) -> Markup {
    html! {
        div id="why" data-live {
            @if let Some(why) = why.filter(|why| !why.reasons.is_empty()) {
                section aria-labelledby="why-title" {
                    h2 id="why-title" { "Why it waits" }
                    ul.why {
                        @for reason in &why.reasons {
                            li {
                                (visible(&reason.detail))
                                @if reason.on == "this-host" { " " span.note { "on this host" } }
                                @if let Some(until) = &reason.until { " " span.note { (time(until, Show::Age)) } }
                                @for id in reason.tasks.iter().take(10) { " " a.mono href={ (root) "ui/task/" (id) } { "…" (short_id(id)) } }
                            }
                        }
                    }
                    @if let Some(ahead) = why.ahead { p.note { (unit::count(ahead)) " tasks of its plugin and group are before it." } }
                }
            }
        }
    }
}
