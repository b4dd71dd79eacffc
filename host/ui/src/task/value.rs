//! The tabs that show what a task was given, has saved and has returned.

use maud::{Markup, html};

use super::tree::tree;
use super::viewer::{Content, Kind, TEXT_MAX, Wanted, kind_of, shown};
use crate::part::text::{brief, visible};
use crate::part::{command, unit};
use crate::record::Task;

/// Shows the result.
pub(super) fn result(task: &Task, result: Option<&Content>, wanted: Wanted, root: &str) -> Markup {
    let raw = format!("{root}ui/raw/{}/result", task.id);
    html! {
        // Only as long as there is none: what is there no longer changes.
        section id="value" data-live[result.is_none()] aria-labelledby="value-title" {
            h2 id="value-title" { "Result" }
            @match result {
                None if task.is_final() => p.empty { "No result: the task is " (visible(&task.state)) "." },
                None => p.empty { "No result yet." },
                Some(content) => {
                    (about(content, &raw, &format!("result-{}", task.short_id())))
                    (shown(content, &raw, wanted, "result"))
                    (command::lines("GET", &format!("/task/{}/result", task.id), None, Some(&format!("wasmill result {}", task.id))))
                },
            }
        }
    }
}

/// Shows the input.
pub(super) fn input(task: &Task, input: &Content, wanted: Wanted, root: &str) -> Markup {
    let raw = format!("{root}ui/raw/{}/input", task.id);
    html! {
        section aria-labelledby="value-title" {
            h2 id="value-title" { "Input" }
            (about(input, &raw, &format!("input-{}", task.short_id())))
            (shown(input, &raw, wanted, "input"))
            (command::lines("GET", &format!("/task/{}/input", task.id), None, Some(&format!("wasmill status {} --input", task.id))))
        }
    }
}

/// Shows the checkpoint.
pub(super) fn checkpoint(task: &Task, saved: Option<&Content>, wanted: Wanted, root: &str) -> Markup {
    let raw = format!("{root}ui/raw/{}/checkpoint", task.id);
    html! {
        section id="value" data-live aria-labelledby="value-title" {
            h2 id="value-title" { "Checkpoint" }
            @match saved {
                None if task.is_final() => p.empty { "Finished tasks have no checkpoint." },
                None => p.empty { "No checkpoint saved yet." },
                Some(content) => {
                    p.note { "What the guest saved last. Its next attempt starts with it." }
                    (about(content, &raw, &format!("checkpoint-{}", task.short_id())))
                    (shown(content, &raw, wanted, "checkpoint"))
                },
            }
            (command::lines("GET", &format!("/task/{}/checkpoint", task.id), None, None))
        }
    }
}

/// Shows the record as the interface returns it.
pub(super) fn record(task: &Task, json: &str) -> Markup {
    html! {
        section aria-labelledby="value-title" {
            h2 id="value-title" { "Record" }
            @match tree(json) { Some(tree) => (tree), None => pre.value { (visible(json)) } }
            (command::lines("GET", &format!("/task/{}", task.id), None, Some(&format!("wasmill status {} --json", task.id))))
        }
    }
}

/// Shows how much it is and of which type, and links to it as a file of this name.
fn about(content: &Content, raw: &str, name: &str) -> Markup {
    let kind = kind_of(content);
    let is_text = !matches!(kind, Kind::Picture(_) | Kind::Bytes(_));
    html! {
        div.buttons {
            span.note { (unit::bytes(content.bytes.len() as u64)) @if let Some(media) = &content.media { " · " (brief(media, 80)) } }
            a.button.small href={ (raw) "?download=1" } download={ (name) "." (kind.extension()) } { "Download" }
            @if is_text && content.bytes.len() <= TEXT_MAX { (command::copy_from(raw)) }
        }
    }
}
