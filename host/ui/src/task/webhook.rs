//! The webhook of a task: where it stands, and each attempt to deliver it.

use maud::{Markup, html};

use crate::part::command;
use crate::part::confirm::button;
use crate::part::state::badge;
use crate::part::text::{brief, visible};
use crate::part::time::{Show, optional, time};
use crate::part::unit;
use crate::record::{Delivery, Task};
use crate::shell::Site;

/// Shows the delivery.
pub(super) fn section(site: &Site, task: &Task, delivery: Option<&Delivery>, root: &str) -> Markup {
    let fields = [("action", "redeliver"), ("id", task.id.as_str())];
    html! {
        section id="webhook" data-live aria-labelledby="webhook-title" {
            div.row {
                h2 id="webhook-title" { "Webhook" }
                @if site.rights.submit && task.is_final() && delivery.is_some_and(|delivery| delivery.state != "idle") {
                    (button(root, &fields, "Deliver again", ""))
                }
            }
            @match delivery {
                None => p.empty { "This task has no webhook." },
                Some(delivery) => {
                    p.pre { (visible(&delivery.url)) }
                    p { (badge(&delivery.state)) " for " (visible(&delivery.on.join(", "))) " · " (delivery.attempt_count) " attempts" }
                    @if delivery.next_attempt_at.is_some() { p { "Next attempt " (optional(delivery.next_attempt_at.as_deref(), Show::Age)) } }
                    @if !delivery.attempts.is_empty() { (attempts(delivery)) }
                    (command::lines("POST", &format!("/task/{}/webhook/retry", task.id), None, None))
                },
            }
        }
    }
}

fn attempts(delivery: &Delivery) -> Markup {
    html! {
        table.records {
            caption.sr { "Attempts to deliver it, oldest first" }
            thead { tr { th scope="col" { "When" } th scope="col" { "Answer" } th.num scope="col" { "Took" } th scope="col" { "Error" } } }
            tbody {
                @for attempt in &delivery.attempts {
                    tr {
                        td data-label="When" { (time(&attempt.time, Show::Local)) }
                        td data-label="Answer" { @match attempt.status { Some(status) => (status), None => "none" } }
                        td.num data-label="Took" { (unit::millis(attempt.duration_ms)) }
                        td data-label="Error" { (brief(attempt.error.as_deref().unwrap_or("–"), 200)) }
                    }
                }
            }
        }
    }
}
