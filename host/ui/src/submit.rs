//! The form that submits a task: made from the schema of its plugin, or as JSON. Both are one state.

use maud::{Markup, html};
use serde_json::Value;

use crate::part::command;
use crate::part::confirm::hidden;
use crate::part::text::visible;
use crate::problem::{Problem, alert};
use crate::schema::{Field, FieldKind, lay_out, show};
use crate::shell::{Page, Place, Site};

const ROOT: &str = "../";

/// Options of a task besides its input: name, label, hint.
pub const OPTIONS: [(&str, &str, &str); 8] = [
    ("timeout", "Timeout", "10m"),
    ("max_attempts", "Attempts", "3"),
    ("delay", "Delay", "30s"),
    ("priority", "Priority", "0"),
    ("tags", "Tags, separated by commas", "tenant:42, nightly"),
    ("unique_key", "Unique key", "report-7"),
    ("group", "Group", "tenant 42"),
    ("webhook", "Webhook", "https://example.com/hook"),
];

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Submit {
    /// Names of the plugins that can run.
    pub plugins: Vec<String>,
    /// The chosen one.
    pub plugin: String,
    /// Its schema.
    pub schema: Option<Value>,
    /// The input as JSON; empty for none.
    pub input: String,
    /// What was entered for the options.
    pub options: Vec<(String, String)>,
    /// Whether the input is shown as JSON although there is a schema.
    pub as_json: bool,
    /// Makes it one task, however often the form is sent.
    pub once: String,
    /// Why it was refused.
    pub problem: Option<Problem>,
}

impl Submit {
    fn option(&self, name: &str) -> &str {
        self.options.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns the fields of the input, if a form is shown.
    pub fn fields(&self) -> Option<Field> {
        let input = Some(self.input.trim()).filter(|input| !input.is_empty());
        let form = lay_out(self.schema.as_ref().filter(|_| !self.as_json)?, input);
        matches!(form.kind, FieldKind::Group(_)).then_some(form)
    }
}

/// Shows the page.
pub fn page(site: &Site, submit: &Submit) -> Page {
    let main = html! {
        h1 { "Submit a task" }
        @if let Some(problem) = &submit.problem { (alert(problem)) }
        @if !site.rights.submit { p.empty { "This key may not submit tasks." } }
        @else if submit.plugins.is_empty() { p.empty { "No plugin is ready." } }
        @else { (choose(submit)) (form(submit)) }
    };
    Page {
        title: "Submit a task".to_owned(),
        place: Place::Submit,
        root: ROOT,
        scripts: &[],
        is_live: false,
        main,
    }
}

/// The choice of a plugin loads its form.
fn choose(submit: &Submit) -> Markup {
    html! {
        form.filters method="get" action="submit" {
            label {
                span { "Plugin" }
                select name="plugin" { @for name in &submit.plugins { option value=(name) selected[*name == submit.plugin] { (visible(name)) } } }
            }
            div.buttons { button type="submit" { "Choose" } }
        }
    }
}

fn form(submit: &Submit) -> Markup {
    let errors = submit.problem.as_ref().map(|problem| problem.errors.as_slice()).unwrap_or_default();
    let wrong = |pointer: &str| {
        errors
            .iter()
            .find(|error| error.pointer.as_deref() == Some(pointer))
            .map(|error| error.detail.as_str())
    };
    let fields = submit.fields();
    let can_switch = submit.schema.is_some();
    html! {
        form.card.stack method="post" action="submit" {
            (hidden("plugin", &submit.plugin))
            (hidden("once", &submit.once))
            (hidden("shown", if fields.is_some() { "form" } else { "json" }))
            div.row {
                h2 { "Input" }
                @if can_switch {
                    div.buttons {
                        @if fields.is_some() { button.small type="submit" name="view" value="json" formnovalidate { "As JSON" } }
                        @else { button.small type="submit" name="view" value="form" formnovalidate { "As a form" } }
                    }
                }
            }
            @match &fields {
                Some(fields) => (show(fields, "/input", errors)),
                None => {
                    label { span { "JSON" } textarea name="input" rows="10" spellcheck="false" aria-invalid=[wrong("/input").map(|_| "true")] { "\n" (submit.input) } }
                    @for error in errors.iter().filter(|error| error.pointer.as_deref().is_some_and(|at| at.starts_with("/input"))) {
                        p.error { code { (visible(error.pointer.as_deref().unwrap_or_default())) } " " (visible(&error.detail)) }
                    }
                },
            }
            details open[OPTIONS.iter().any(|(name, ..)| !submit.option(name).is_empty())] {
                summary { "Options" }
                div.options {
                    @for (name, label, hint) in OPTIONS {
                        div {
                            label { span { (label) } input type="text" name={ "option-" (name) } value=(submit.option(name)) placeholder=(hint) autocomplete="off" aria-invalid=[wrong(&format!("/{name}")).map(|_| "true")]; }
                            @if let Some(error) = wrong(&format!("/{name}")) { p.error { (visible(error)) } }
                        }
                    }
                }
            }
            (command::lines("POST", "/task", Some(&request(submit)), Some(&format!("wasmill submit {} --input '{}'", submit.plugin, "{}"))))
            div.buttons { button.primary type="submit" { "Submit" } }
        }
    }
}

fn request(submit: &Submit) -> String {
    let input = if submit.input.trim().is_empty() { "null" } else { submit.input.trim() };
    format!("{{\"plugin\":{},\"input\":{input}}}", crate::part::json::string(&submit.plugin))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Rights;
    use crate::problem::FieldError;

    fn site() -> Site {
        Site { rights: Rights::ALL, ..Site::default() }
    }

    #[test]
    fn nothing_that_was_entered_is_lost_when_it_is_refused() {
        let error = FieldError {
            pointer: Some("/timeout".into()),
            detail: "timeout must be a duration".into(),
            ..FieldError::default()
        };
        let submit = Submit {
            plugins: vec!["fetch".into()],
            plugin: "fetch".into(),
            schema: Some(json!({"type": "object", "properties": {"url": {"type": "string"}}})),
            input: r#"{"url":"<https>"}"#.into(),
            options: vec![("timeout".into(), "soon".into())],
            problem: Some(Problem { status: 422, errors: vec![error], ..Problem::default() }),
            ..Submit::default()
        };
        let html = page(&site(), &submit).whole(&site());
        assert!(
            html.contains("value=\"&lt;https&gt;\"")
                && html.contains("value=\"soon\"")
                && html.contains("timeout must be a duration")
        );
        let html = page(&site(), &Submit { as_json: true, ..submit }).whole(&site());
        assert!(html.contains("\n{&quot;url&quot;:&quot;&lt;https&gt;&quot;}</textarea>"));
    }

    #[test]
    fn who_may_not_submit_sees_no_form() {
        let reader = Site { rights: Rights { watch: true, ..Rights::default() }, ..Site::default() };
        let submit = Submit { plugins: vec!["fetch".into()], ..Submit::default() };
        assert!(!page(&reader, &submit).whole(&reader).contains("textarea"));
    }
}
