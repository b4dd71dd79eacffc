//! The form that submits a task: made from the schema of its plugin, or as JSON. Both are one state.

mod request;

use maud::{Markup, html};

pub use self::request::{MORE, OPTIONS, Request};
use crate::part::command;
use crate::part::confirm::hidden;
use crate::part::text::visible;
use crate::problem::{FieldError, Problem, alert};
use crate::schema::show;
use crate::shell::{Page, Place, Site};

const ROOT: &str = "../";

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Submit {
    /// Names of the plugins that can run.
    pub plugins: Vec<String>,
    /// What is entered.
    pub request: Request,
    /// Makes it one task, however often the form is sent.
    pub once: String,
    /// Why it was refused.
    pub problem: Option<Problem>,
}

/// Shows the page.
pub fn page(site: &Site, submit: &Submit) -> Page {
    let main = html! {
        h1 { "Submit a task" }
        @if let Some(problem) = &submit.problem { (alert(problem)) }
        @if !site.rights.submit { p.empty { "This key may not submit tasks." } }
        @else if submit.plugins.is_empty() { p.empty { "No plugin is ready." } }
        @else { (form(submit)) }
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

fn form(submit: &Submit) -> Markup {
    let Submit { plugins, request, once, problem } = submit;
    let (body, command) = lines(request);
    html! {
        form.card.stack method="post" action="submit" {
            (default_button("Submit"))
            (hidden("once", once))
            (fields(plugins, request, problem.as_ref(), ""))
            (command::lines("POST", "/task", Some(&body), Some(&command)))
            div.buttons { button.primary type="submit" { "Submit" } }
        }
    }
}

/// The button that Enter in a field presses, which would else be the first of those that change the form.
pub(crate) fn default_button(label: &str) -> Markup {
    html! { button.sr type="submit" tabindex="-1" aria-hidden="true" { (label) } }
}

/// The fields of a task request, of which `under` is the pointer in what is sent.
pub(crate) fn fields(
    plugins: &[String],
    request: &Request,
    problem: Option<&Problem>,
    under: &str,
) -> Markup {
    let errors = problem.map(|problem| problem.errors.as_slice()).unwrap_or_default();
    html! {
        (choose(plugins, &request.plugin))
        (input(request, errors, &format!("{under}/input")))
        (options(request, errors, under))
    }
}

/// The choice of a plugin shows its form; what was entered stays.
fn choose(plugins: &[String], chosen: &str) -> Markup {
    let is_known = plugins.iter().any(|name| name == chosen);
    html! {
        (hidden("laid-out", chosen))
        div.choose {
            label {
                span { "Plugin" }
                select name="plugin" {
                    @if !is_known { option value=(chosen) selected { (visible(chosen)) " (not ready)" } }
                    @for name in plugins { option value=(name) selected[name == chosen] { (visible(name)) } }
                }
            }
            button type="submit" name="view" value="plugin" formnovalidate { "Choose" }
        }
    }
}

fn input(request: &Request, errors: &[FieldError], under: &str) -> Markup {
    let form = request.form();
    let can_switch = request.schema.is_some();
    let own =
        || errors.iter().filter(|error| error.pointer.as_deref().is_some_and(|at| at.starts_with(under)));
    html! {
        (hidden("shown", if form.is_some() { "form" } else { "json" }))
        div.row {
            h2 { "Input" }
            @if can_switch {
                div.buttons {
                    @if form.is_some() { button.small type="submit" name="view" value="json" formnovalidate { "As JSON" } }
                    @else { button.small type="submit" name="view" value="form" formnovalidate { "As a form" } }
                }
            }
        }
        @match &form {
            Some(form) => (show(form, under, errors)),
            None => {
                @if let Some((kept, was)) = request.kept() { (hidden("kept", kept)) (hidden("was", was)) }
                label { span { "JSON" } textarea name="input" rows="10" spellcheck="false" aria-invalid=[own().next().map(|_| "true")] { "\n" (request.input) } }
                @for error in own() {
                    p.error { code { (visible(error.pointer.as_deref().unwrap_or_default())) } " " (visible(&error.detail)) }
                }
            },
        }
    }
}

fn options(request: &Request, errors: &[FieldError], under: &str) -> Markup {
    let wrong = |name: &str| {
        let pointer = format!("{under}/{name}");
        // The whole of a webhook is its address here.
        let is_of = |at: &str| at == pointer || (name == "webhook" && at.starts_with(&pointer));
        errors
            .iter()
            .find(|error| error.pointer.as_deref().is_some_and(is_of))
            .map(|error| error.detail.as_str())
    };
    html! {
        details open[OPTIONS.iter().any(|(name, ..)| !request.option(name).is_empty() || wrong(name).is_some())] {
            summary { "Options" }
            div.options {
                @for (name, label, hint) in OPTIONS {
                    @let (field, wrong) = (format!("option-{name}"), wrong(name));
                    div.wide[name == MORE] {
                        label {
                            span { (label) }
                            @if name == MORE { textarea.mono name=(field) placeholder=(hint) rows="3" spellcheck="false" aria-invalid=[wrong.map(|_| "true")] { "\n" (request.option(name)) } }
                            @else { input type="text" name=(field) value=(request.option(name)) placeholder=(hint) autocomplete="off" aria-invalid=[wrong.map(|_| "true")]; }
                        }
                        @if let Some(error) = wrong { p.error { (visible(error)) } }
                    }
                }
            }
        }
    }
}

/// Returns the body of the request, and the command that sends the same input.
fn lines(request: &Request) -> (String, String) {
    let body = request.to_json().unwrap_or_else(|_| "{}".to_owned());
    let input = Some(request.input.trim()).filter(|input| !input.is_empty());
    let input = input.map(|input| format!(" --input {}", command::quote(input))).unwrap_or_default();
    (body, format!("wasmill submit {}{input}", command::quote(&request.plugin)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;

    fn site() -> Site {
        Site { rights: Rights::ALL, ..Site::default() }
    }

    fn submit() -> Submit {
        let request = Request {
            plugin: "fetch".into(),
            schema: Some(r#"{"type": "object", "properties": {"url": {"type": "string"}}}"#.into()),
            input: r#"{"url":"<https>"}"#.into(),
            options: vec![("timeout".into(), "soon".into()), (MORE.into(), "{<".into())],
            ..Request::default()
        };
        Submit { plugins: vec!["fetch".into()], request, ..Submit::default() }
    }

    #[test]
    fn nothing_that_was_entered_is_lost_when_it_is_refused() {
        let error = FieldError {
            pointer: Some("/timeout".into()),
            detail: "timeout must be a duration".into(),
            ..FieldError::default()
        };
        let problem = Some(Problem { status: 422, errors: vec![error], ..Problem::default() });
        let mut submit = Submit { problem, ..submit() };
        let html = page(&site(), &submit).whole(&site());
        assert!(
            html.contains("value=\"&lt;https&gt;\"")
                && html.contains("value=\"soon\"")
                && html.contains("\n{&lt;</textarea>")
                && html.contains("timeout must be a duration")
        );
        submit.request.show_as(true);
        let html = page(&site(), &submit).whole(&site());
        assert!(html.contains("\n{&quot;url&quot;:&quot;&lt;https&gt;&quot;}</textarea>"));
    }

    #[test]
    fn a_plugin_that_is_not_ready_stays_chosen() {
        let html = page(&site(), &Submit { plugins: vec!["other".into()], ..submit() }).whole(&site());
        assert!(html.contains("<option value=\"fetch\" selected>fetch (not ready)</option>"), "{html}");
    }

    #[test]
    fn who_may_not_submit_sees_no_form() {
        let reader = Site { rights: Rights { watch: true, ..Rights::default() }, ..Site::default() };
        assert!(!page(&reader, &submit()).whole(&reader).contains("textarea"));
    }
}
