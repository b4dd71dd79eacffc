//! Pages for what went wrong.

use maud::{Markup, html};

use crate::part::text::{block, visible};
use crate::shell::login::{elsewhere, form};
use crate::shell::{Page, Place};

/// What a problem document says.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Problem {
    pub status: u16,
    pub title: String,
    pub code: String,
    pub detail: String,
    pub errors: Vec<FieldError>,
}

/// One error of a field.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct FieldError {
    pub pointer: Option<String>,
    pub parameter: Option<String>,
    pub detail: String,
}

/// Shows a problem in place of a page. `provider` is the name of who signs people in elsewhere, if that would help.
pub fn page(problem: &Problem, root: &'static str, provider: Option<&str>) -> Page {
    Page {
        title: problem.title.clone(),
        place: Place::None,
        root,
        scripts: &[],
        is_live: false,
        main: html! {
            h1 { (visible(&problem.title)) }
            (alert(problem))
            @if problem.status == 401 {
                @if let Some(provider) = provider { (elsewhere(root, provider, None)) }
                (form(root, None, None))
            }
            p { a.button href={ (root) "ui/" } { "Overview" } " " a.button href={ (root) "ui/tasks" } { "Tasks" } }
        },
    }
}

/// Shows a problem within a page.
pub fn alert(problem: &Problem) -> Markup {
    html! {
        // It gets the focus, so that a reader need not look for it, in a page as well as in a dialog.
        div.alert role="alert" tabindex="-1" autofocus {
            p { b { (problem.status) " " (visible(&problem.title)) } }
            p.pre { (block(&problem.detail)) }
            @if problem.errors.len() > 1 {
                ul { @for error in &problem.errors { li { (visible(&error.detail)) } } }
            }
            p.note { "code " code { (visible(&problem.code)) } }
        }
    }
}
