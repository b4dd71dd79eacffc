//! The page with the form of a schedule: when it runs, and the task that it creates.

use maud::{Markup, html};

use super::{ROOT, missed_words};
use crate::part::command;
use crate::part::text::{brief, visible};
use crate::problem::{Problem, alert};
use crate::shell::{Page, Place, Site};
use crate::submit::{Request, default_button, fields};

/// What is entered of a schedule.
#[derive(Clone, Debug)]
pub struct ScheduleForm {
    /// Its name; of one that is there already, it is fixed.
    pub name: String,
    /// Whether it is there already.
    pub is_stored: bool,
    /// When it runs.
    pub cron: String,
    /// Zone of that time.
    pub timezone: String,
    /// What becomes of runs that were missed: `skip`, `one` or `all`.
    pub missed: String,
    /// Whether a run may start while another runs.
    pub overlap: bool,
    /// The task that it creates.
    pub request: Request,
    /// Names of the plugins that can run.
    pub plugins: Vec<String>,
    /// Why it was refused.
    pub problem: Option<Problem>,
}

impl Default for ScheduleForm {
    fn default() -> Self {
        Self {
            name: String::new(),
            is_stored: false,
            cron: String::new(),
            timezone: "UTC".to_owned(),
            missed: "one".to_owned(),
            overlap: false,
            request: Request::default(),
            plugins: Vec::new(),
            problem: None,
        }
    }
}

/// Shows the form.
pub fn edit(site: &Site, form: &ScheduleForm) -> Page {
    let title = if form.is_stored {
        format!("Edit schedule {}", brief(&form.name, 64))
    } else {
        "New schedule".to_owned()
    };
    let main = html! {
        p { a href="schedules" { "‹ Schedules" } }
        h1 { (title) }
        @if let Some(problem) = &form.problem { (alert(problem)) }
        @if !site.rights.schedule { p.empty { "This key may not change schedules." } }
        @else if form.plugins.is_empty() && form.request.plugin.is_empty() { p.empty { "No plugin is ready." } }
        @else { (shown(form)) }
    };
    Page { title, place: Place::Schedules, root: ROOT, scripts: &[], is_live: false, main }
}

fn shown(form: &ScheduleForm) -> Markup {
    let problem = form.problem.as_ref();
    let options = ["skip", "one", "all"];
    html! {
        form.card.stack id="new" method="post" action="schedule" {
            (default_button("Store"))
            @if form.is_stored { input type="hidden" name="stored" value="1"; }
            h2 { "When" }
            (field(problem, "name", &html! { "Name" }, &html! { input type="text" name="name" value=(form.name) readonly[form.is_stored] required maxlength="64" placeholder="nightly" autocomplete="off" spellcheck="false"; }))
            (field(problem, "cron", &html! { "Cron expression: minute, hour, day, month, weekday" }, &html! { input.mono type="text" name="cron" value=(form.cron) required placeholder="30 2 * * *" autocomplete="off" spellcheck="false"; }))
            (field(problem, "timezone", &html! { "Time zone" }, &html! { input type="text" name="timezone" value=(form.timezone) placeholder="Europe/Berlin" autocomplete="off" spellcheck="false"; }))
            label { span { "If runs were missed" } select name="missed" { @for option in options { option value=(option) selected[option == form.missed] { (missed_words(option)) } } } }
            label.check { span { "A run may start while another runs" } input type="checkbox" name="overlap" value="true" checked[form.overlap]; }
            h2 { "Task of each run" }
            (fields(&form.plugins, &form.request, problem, "/task"))
            (lines(form))
            div.buttons { button.primary type="submit" { "Store" } a.button href="schedules" { "Back" } }
        }
    }
}

/// A field, with what is wrong with it.
fn field(problem: Option<&Problem>, name: &str, label: &Markup, input: &Markup) -> Markup {
    let errors = problem.map(|problem| problem.errors.as_slice()).unwrap_or_default();
    let pointer = format!("/{name}");
    html! {
        div.field {
            label { span { (label) } (input) }
            @for error in errors.iter().filter(|error| error.pointer.as_deref() == Some(&pointer)) { p.error { (visible(&error.detail)) } }
        }
    }
}

fn lines(form: &ScheduleForm) -> Markup {
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let (name, cron) = (or(&form.name, "NAME"), or(&form.cron, "30 2 * * *"));
    let task = form.request.to_json().unwrap_or_else(|_| "{}".to_owned());
    let body = format!("{{\"cron\":{},\"task\":{task}}}", crate::part::json::string(&cron));
    let command = format!(
        "wasmill schedule set {} {} {}",
        command::quote(&name),
        command::quote(&cron),
        command::quote(&form.request.plugin)
    );
    command::lines("PUT", &format!("/schedules/{name}"), Some(&body), Some(&command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;
    use crate::problem::FieldError;

    #[test]
    fn what_was_entered_stays_and_errors_stand_beside_it() {
        let error = |pointer: &str| FieldError {
            pointer: Some(pointer.to_owned()),
            detail: format!("wrong <{pointer}>"),
            ..FieldError::default()
        };
        let errors = ["/cron", "/task/timeout", "/task/input/depth"].map(error).to_vec();
        let request = Request {
            plugin: "fetch".into(),
            schema: Some(r#"{"type":"object","properties":{"depth":{"type":"integer"}}}"#.into()),
            input: r#"{"depth":9}"#.into(),
            options: vec![("timeout".into(), "soon".into())],
            ..Request::default()
        };
        let form = ScheduleForm {
            name: "\"><script>".into(),
            cron: "<99>".into(),
            request,
            plugins: vec!["fetch".into()],
            problem: Some(Problem { status: 422, errors, ..Problem::default() }),
            ..ScheduleForm::default()
        };
        let site = Site { rights: Rights::ALL, ..Site::default() };
        let html = edit(&site, &form).whole(&site);
        for part in ["value=\"&lt;99&gt;\"", "value=\"soon\"", "name=\"/depth\" value=\"9\""] {
            assert!(html.contains(part), "{part}: {html}");
        }
        for pointer in ["/cron", "/task/timeout", "/task/input/depth"] {
            assert!(
                html.contains(&format!("<p class=\"error\">wrong &lt;{pointer}&gt;</p>")),
                "{pointer}: {html}"
            );
        }
        assert!(!html.contains("\"><script>"));
        let reader = Site { rights: Rights { watch: true, ..Rights::default() }, ..Site::default() };
        assert!(!edit(&reader, &form).whole(&reader).contains("<form class=\"card"));
    }

    #[test]
    fn the_name_of_one_that_is_there_is_fixed() {
        let site = Site { rights: Rights::ALL, ..Site::default() };
        let form = ScheduleForm {
            name: "nightly".into(),
            is_stored: true,
            plugins: vec!["a".into()],
            ..ScheduleForm::default()
        };
        let html = edit(&site, &form).whole(&site);
        assert!(
            html.contains("value=\"nightly\" readonly") && html.contains("Edit schedule nightly"),
            "{html}"
        );
    }
}
