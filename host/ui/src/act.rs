//! The page that says what an action does, to how many tasks, before it is done. Script opens it as a dialog.

use maud::{Markup, html};

use crate::filters::Filters;
use crate::part::command;
use crate::part::confirm::hidden;
use crate::part::unit;
use crate::problem::{Problem, alert};
use crate::record::short_id;
use crate::shell::{Page, Place};

/// Above this many, the number has to be typed.
pub const TYPED_ABOVE: u64 = 100;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the action of this name")]
pub enum Action {
    Retry,
    Cancel,
    Delete,
    DeletePlugin,
    DeleteSchedule,
}

impl Action {
    /// All of them, by the names that forms send.
    pub const ALL: [(&'static str, Self); 5] = [
        ("retry", Self::Retry),
        ("cancel", Self::Cancel),
        ("delete", Self::Delete),
        ("delete-plugin", Self::DeletePlugin),
        ("delete-schedule", Self::DeleteSchedule),
    ];

    /// Returns the action of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, action)| *action)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }

    /// Returns what became of the tasks, as in `412 deleted`.
    fn done(self) -> &'static str {
        match self {
            Self::Retry => "submitted again",
            Self::Cancel => "cancelled",
            Self::Delete | Self::DeletePlugin | Self::DeleteSchedule => "deleted",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Cancel => "Cancel",
            Self::Delete | Self::DeletePlugin | Self::DeleteSchedule => "Delete",
        }
    }

    fn effect(self, target: &Target) -> &'static str {
        match self {
            Self::Delete if matches!(target, Target::All(..)) => {
                "Only tasks that have finished. Their records, results and logs are gone for good."
            }
            Self::Retry => "Each becomes a new task with the same input. The old ones stay as they are.",
            Self::Cancel => "Those that wait do not start; guests that run are stopped. The records stay.",
            Self::Delete => {
                "Those that wait or run are stopped first. The records, results and logs are gone for good."
            }
            Self::DeletePlugin => {
                "Its file is removed. The manifest stays, running tasks keep their version, and waiting ones wait for a plugin of this name."
            }
            Self::DeleteSchedule => "No further task is created. Tasks that it has created stay.",
        }
    }
}

/// On what it is done.
#[derive(Clone, Debug)]
pub enum Target {
    /// These tasks.
    Ids(Vec<String>),
    /// All tasks that match the filter, of which there are this many now.
    All(Filters, u64),
    /// The plugin or schedule of this name.
    Named(String),
}

/// What the page asks.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What is done.
    pub action: Action,
    /// On what.
    pub target: Target,
    /// Query of the list to which to return.
    pub back: String,
    /// Makes the action happen once, however often the form is sent.
    pub once: String,
    /// Why it was not done.
    pub problem: Option<Problem>,
}

impl Ask {
    /// Returns the request, relative to this page, that does it to all tasks that match, a part at a time: script shows
    /// how far it is. Cancelling needs none: all guests are stopped at once.
    fn parts(&self) -> Option<String> {
        match (self.action, &self.target) {
            (Action::Retry | Action::Delete, Target::All(filters, _)) => {
                let path = format!("{ROOT}task/{}", self.action.name());
                Some(if filters.is_empty() { format!("{path}?all=true") } else { filters.href(&path, &[]) })
            }
            _ => None,
        }
    }
}

const ROOT: &str = "../";

/// Shows the page.
pub fn page(ask: &Ask) -> Page {
    let title = title(ask);
    let count = count(&ask.target);
    let main = html! {
        h1 id="dialog-title" { (title) }
        @if let Some(problem) = &ask.problem { (alert(problem)) }
        (what(ask))
        p { (ask.action.effect(&ask.target)) }
        form method="post" action="do" data-parts=[ask.parts()] data-done=(ask.action.done()) {
            (hidden("action", ask.action.name()))
            (hidden("once", &ask.once))
            (hidden("back", &ask.back))
            (hidden("count", &count.to_string()))
            (fields(&ask.target))
            @if ask.action == Action::Cancel || (ask.action == Action::Delete && !matches!(ask.target, Target::All(..))) {
                label.inline { span { "Time to clean up" } select name="grace" { option value="" { "none: stop now" } option value="5s" { "5 s" } option value="30s" { "30 s" } option value="60s" { "60 s" } } }
            }
            @if count > TYPED_ABOVE {
                label { span { "Type " (count) " to continue" } input type="text" name="typed" inputmode="numeric" autocomplete="off" required pattern=(count); }
            }
            @if let Some((method, path, line)) = lines(ask) { (command::lines(method, &path, None, Some(&line))) }
            div.buttons.end {
                a.button data-close href=(Filters::default().href(&back(ask), &[])) { "Back" }
                @if count > 0 { button type="submit" class=(if ask.action == Action::Retry { "primary" } else { "danger" }) { (label(ask)) } }
            }
        }
    };
    let place = match ask.action {
        Action::DeletePlugin => Place::Plugins,
        Action::DeleteSchedule => Place::Schedules,
        _ => Place::Tasks,
    };
    Page { title, place, root: ROOT, scripts: &[], is_live: false, main }
}

fn count(target: &Target) -> u64 {
    match target {
        Target::Ids(ids) => ids.len() as u64,
        Target::All(_, count) => *count,
        Target::Named(_) => 1,
    }
}

fn tasks(count: u64) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{} tasks", unit::count(count)) }
}

fn title(ask: &Ask) -> String {
    match &ask.target {
        Target::Named(name) => format!("{} {}?", ask.action.verb(), crate::part::text::brief(name, 64)),
        target => format!("{} {}?", ask.action.verb(), tasks(count(target))),
    }
}

fn label(ask: &Ask) -> String {
    title(ask).trim_end_matches('?').to_owned()
}

fn back(ask: &Ask) -> String {
    match ask.action {
        Action::DeletePlugin => "plugins".to_owned(),
        Action::DeleteSchedule => "schedules".to_owned(),
        _ if ask.back.is_empty() => "tasks".to_owned(),
        _ => format!("tasks?{}", ask.back),
    }
}

fn what(ask: &Ask) -> Markup {
    match &ask.target {
        Target::Ids(ids) => html! {
            ul.ids { @for id in ids.iter().take(20) { li { a.mono href={ "task/" (id) } title=(id) { "…" (short_id(id)) } } } }
            @if ids.len() > 20 { p.note { "and " (ids.len() - 20) " more" } }
        },
        Target::All(filters, count) => html! {
            p { "These match now: " b { (tasks(*count)) } }
            p.pre { @if filters.is_empty() { "all tasks" } @else { (crate::part::text::visible(&filters.words())) } }
        },
        Target::Named(_) => html! {},
    }
}

fn fields(target: &Target) -> Markup {
    html! {
        @match target {
            Target::Ids(ids) => { @for id in ids { (hidden("id", id)) } },
            Target::All(filters, _) => {
                (hidden("select", "all"))
                @for (name, value) in filters.iter() { (hidden(name, value)) }
            },
            Target::Named(name) => { (hidden("name", name)) },
        }
    }
}

/// Returns the request and the command that do the same.
fn lines(ask: &Ask) -> Option<(&'static str, String, String)> {
    let quoted =
        |words: &[String]| words.iter().map(|word| command::quote(word)).collect::<Vec<_>>().join(" ");
    Some(match (ask.action, &ask.target) {
        (Action::Retry | Action::Cancel | Action::Delete, Target::All(filters, _)) => {
            let (verb, query) = (ask.action.name(), filters.query());
            let query = if query.is_empty() { "all=true".to_owned() } else { query };
            let options = if filters.is_empty() { " --all".to_owned() } else { filters.options() };
            ("POST", format!("/task/{verb}?{query}"), format!("wasmill {verb}{options}"))
        }
        (Action::Delete, Target::Ids(ids)) => {
            ("DELETE", format!("/task/{}", ids.first()?), format!("wasmill delete {}", quoted(ids)))
        }
        (action @ (Action::Retry | Action::Cancel), Target::Ids(ids)) => (
            "POST",
            format!("/task/{}/{}", ids.first()?, action.name()),
            format!("wasmill {} {}", action.name(), quoted(ids)),
        ),
        (Action::DeletePlugin, Target::Named(name)) => {
            ("DELETE", format!("/plugins/{name}"), format!("wasmill plugin delete {name}"))
        }
        (Action::DeleteSchedule, Target::Named(name)) => {
            ("DELETE", format!("/schedules/{name}"), format!("wasmill schedule delete {name}"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Site;

    fn ask(action: Action, target: Target) -> String {
        let ask =
            Ask { action, target, back: "state=failed".to_owned(), once: "1".to_owned(), problem: None };
        page(&ask).whole(&Site::default())
    }

    #[test]
    fn the_button_carries_the_number_and_many_have_to_be_typed() {
        let filters = Filters::default().with("state", "failed").with("plugin", "fetch");
        let shown = ask(Action::Retry, Target::All(filters.clone(), 412));
        assert!(shown.contains(">Retry 412 tasks</button>") && shown.contains("Type 412 to continue"));
        assert!(
            shown.contains("failed · plugin fetch")
                && shown.contains("wasmill retry --state failed --plugin fetch")
        );
        let few = ask(Action::Retry, Target::All(filters.clone(), 100));
        assert!(!few.contains("to continue") && few.contains(">Retry 100 tasks</button>"));
        let none = ask(Action::Cancel, Target::All(filters, 0));
        assert!(!none.contains("type=\"submit\""));
    }

    #[test]
    fn what_takes_long_is_done_in_parts() {
        let filters = Filters::default().with("state", "failed").with("tag", "a&b");
        let shown = ask(Action::Delete, Target::All(filters.clone(), 7));
        assert!(shown.contains("data-parts=\"../task/delete?state=failed&amp;tag=a%26b\""), "{shown}");
        assert!(shown.contains("wasmill delete --state failed --tag 'a&amp;b'"), "{shown}");
        assert!(shown.contains("Only tasks that have finished") && !shown.contains("name=\"grace\""));
        let shown = ask(Action::Retry, Target::All(Filters::default(), 7));
        assert!(shown.contains("data-parts=\"../task/retry?all=true\""), "{shown}");
        let shown = ask(Action::Cancel, Target::All(filters, 7));
        assert!(!shown.contains("data-parts") && shown.contains("name=\"grace\""));
        assert!(!ask(Action::Delete, Target::Ids(vec!["1".to_owned()])).contains("data-parts"));
    }

    #[test]
    fn every_action_has_a_name() {
        for (name, action) in Action::ALL {
            assert_eq!((Action::named(name), action.name()), (Some(action), name));
        }
        assert_eq!(Action::named("drop"), None);
    }

    #[test]
    fn ids_of_strangers_stay_in_their_attributes() {
        let shown = ask(Action::Delete, Target::Ids(vec!["\"><script>".to_owned(); 30]));
        assert!(!shown.contains("\"><script>") && shown.contains("and 10 more"));
    }
}
