//! The hosts that share the database.

use maud::html;

use crate::part::state::{badge, bar};
use crate::part::text::brief;
use crate::part::time::{Show, time};
use crate::part::{command, unit};
use crate::record::Host;
use crate::shell::{Page, Place};

/// Shows the page.
pub fn page(hosts: &[Host]) -> Page {
    let share = |host: &Host| {
        if host.slots.total == 0 { 0.0 } else { host.slots.used as f64 / host.slots.total as f64 }
    };
    let main = html! {
        h1 { "Hosts" }
        section id="hosts" data-live {
            table.records {
                caption.sr { "Hosts, oldest first" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Slots" } th.num scope="col" { "Memory free" } th scope="col" { "Version" } th scope="col" { "Started" } th.num scope="col" { "Lease renewed" } } }
                tbody {
                    @for host in hosts {
                        tr {
                            th scope="row" data-label="Name" { (brief(&host.name, 64)) @if host.this { " " span.note { "this one" } } @if host.on_duty { " " span.note { "on duty" } } }
                            td data-label="State" { (badge(&host.state)) }
                            td data-label="Slots" { (bar(share(host))) " " span.note { (unit::count(host.slots.used)) " of " (unit::count(host.slots.total)) } }
                            td.num data-label="Memory free" { (unit::bytes(host.memory_free_bytes)) }
                            td data-label="Version" { (brief(&host.version, 32)) }
                            td data-label="Started" { (time(&host.started_at, Show::Age)) }
                            td.num data-label="Lease renewed" { (unit::millis(host.lease_age_ms)) " ago" }
                        }
                    }
                }
            }
            (command::lines("GET", "/hosts", None, Some("wasmill hosts")))
        }
    };
    Page { title: "Hosts".to_owned(), place: Place::Hosts, root: "../", scripts: &[], is_live: true, main }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Site;

    #[test]
    fn names_of_strangers_are_text() {
        let host = Host { name: "<script>".into(), state: "\"".into(), ..Host::default() };
        assert!(!page(&[host]).whole(&Site::default()).contains("<script>\""));
    }
}
