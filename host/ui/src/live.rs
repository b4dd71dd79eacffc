//! What happens now: events of all tasks, as they come.

use maud::html;

use crate::assets::{self, Asset};
use crate::part::command;
use crate::shell::{Page, Place};

/// Shows the page; `events.js` fills it. `plugins` complete the filter.
pub fn page(plugins: &[String], plugin: Option<&str>) -> Page {
    const SCRIPTS: &[Asset] = &[assets::EVENTS];
    let main = html! {
        h1 { "Live events" }
        form.filters method="get" action="live" {
            label {
                span { "Plugin" }
                select name="plugin" {
                    option value="" { "any" }
                    @for name in plugins { option value=(name) selected[plugin == Some(name)] { (crate::part::text::visible(name)) } }
                }
            }
            div.buttons {
                button type="submit" { "Show" }
                button.script type="button" id="events-pause" aria-pressed="false" { "Pause" }
                button.script type="button" id="events-clear" { "Clear" }
            }
        }
        section {
            p.note id="events-state" { "Connecting …" }
            table.records {
                caption.sr { "Events, newest first" }
                thead { tr { th scope="col" { "Time" } th scope="col" { "Event" } th scope="col" { "Plugin" } th scope="col" { "Task" } th scope="col" { "What" } } }
                tbody id="events" data-plugin=[plugin] {}
            }
            noscript { p { "Events come by script. The " a href="tasks" { "task list" } " shows the newest tasks without it." } }
            (command::lines("GET", "/events?sample=50", None, Some("wasmill watch")))
        }
    };
    Page {
        title: "Live events".to_owned(),
        place: Place::Events,
        root: "../",
        scripts: SCRIPTS,
        is_live: false,
        main,
    }
}
