//! The checks of `wasmill doctor`, as the running server sees them.

use maud::{Markup, html};
use serde::Deserialize;

use crate::part::command;
use crate::part::state::badge;
use crate::part::text::visible;
use crate::part::time::{Show, time};
use crate::shell::{Page, Place};

/// `GET /doctor`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Report {
    pub version: String,
    pub ok: bool,
    pub deep: bool,
    pub checks: Vec<Check>,
    pub started_at: String,
    pub checked_at: String,
}

/// One check.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Check {
    pub name: String,
    pub state: String,
    pub found: String,
    pub cost: Option<String>,
    pub fix: Option<String>,
}

/// Shows the page: what fails first.
pub fn page(report: &Report) -> Page {
    let of = |state: &str| report.checks.iter().filter(|check| check.state == state).collect::<Vec<_>>();
    let groups = [("fail", "Broken"), ("warn", "Could be better"), ("ok", "As it should be")];
    let main = html! {
        div.row {
            h1 { "Doctor" }
            div.buttons {
                a.button href="doctor" { "Check again" }
                a.button href="doctor?deep=true" { "Deep check: compiles, writes" }
            }
        }
        p {
            "Version " (visible(&report.version)) ", up since " (time(&report.started_at, Show::Local))
            ", checked " (time(&report.checked_at, Show::Age)) @if report.deep { ", deeply" }
        }
        @for (state, title) in groups { (group(title, &of(state))) }
        (command::lines("GET", "/doctor", None, Some("wasmill doctor")))
    };
    Page { title: "Doctor".to_owned(), place: Place::Doctor, root: "../", scripts: &[], is_live: false, main }
}

fn group(title: &str, checks: &[&Check]) -> Markup {
    html! {
        @if !checks.is_empty() {
            section {
                h2 { (title) " (" (checks.len()) ")" }
                ul.checks {
                    @for check in checks {
                        li {
                            p { (badge(word(&check.state))) " " b { (visible(&check.name)) } " " (visible(&check.found)) }
                            @if let Some(cost) = &check.cost { p.note { (visible(cost)) } }
                            @if let Some(fix) = &check.fix { p { "Do: " (visible(fix)) " " (command::copy(&visible(fix))) } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the word of a state.
fn word(state: &str) -> &str {
    match state {
        "ok" => "good",
        "fail" => "broken",
        "warn" => "degraded",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Site;

    #[test]
    fn what_fails_comes_first_and_text_is_text() {
        let check = |state: &str, name: &str| Check {
            name: name.to_owned(),
            state: state.to_owned(),
            found: "<script>\u{202e}".to_owned(),
            cost: Some("<b>".to_owned()),
            fix: Some("<i>".to_owned()),
        };
        let report = Report {
            checks: vec![check("ok", "kernel"), check("fail", "disk"), check("warn", "slots")],
            ..Report::default()
        };
        let shown = page(&report).whole(&Site::default());
        let at = |text: &str| shown.find(text).expect("shown");
        assert!(at("<b>disk") < at("<b>slots") && at("<b>slots") < at("<b>kernel"), "{shown}");
        assert!(!shown.contains("<script>\u{27e8}") && !shown.contains("<i>"));
    }
}
