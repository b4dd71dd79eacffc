//! What a task was given and has returned, as something to read.
//!
//! Nothing of it becomes markup of this page. JSON keeps the text of its numbers; pictures and HTML come from
//! `ui/raw`, whose answers are sandboxed by their policy.

use maud::{Markup, html};
use serde_json::value::RawValue;

use crate::part::text::{block, visible};
use crate::part::{command, unit};
use crate::part::{hex, json};
use crate::record::Task;

/// Text above this size is shown in part.
const TEXT_MAX: usize = 64 << 10;
/// JSON above this size is shown as text.
const JSON_MAX: usize = 1 << 20;
/// Values and levels of JSON that are drawn, and levels that are open.
const NODES_MAX: usize = 2_000;
const LEVELS_MAX: usize = 32;
const LEVELS_OPEN: usize = 3;
/// Largest picture that is shown.
const RAW_IMAGE_MAX: usize = 8 << 20;

/// What a text is, judged by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON document.
    Json,
    /// A picture in SVG.
    Svg,
    /// A page in HTML, which is shown as one only if the reader asks for it.
    Html,
    /// Anything else.
    Text,
}

/// Judges a text.
pub fn kind_of(text: &str) -> Kind {
    let start = text.trim_start();
    let begins = |with: &str| start.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    if begins("<svg") || (begins("<?xml") && start.get(..1_024).unwrap_or(start).contains("<svg")) {
        return Kind::Svg;
    }
    if begins("<!doctype html") || begins("<html") {
        return Kind::Html;
    }
    let is_json = text.len() <= JSON_MAX && serde_json::from_str::<&RawValue>(text).is_ok();
    if is_json { Kind::Json } else { Kind::Text }
}

/// Shows the result.
pub(super) fn result(task: &Task, result: Option<&str>, as_page: bool, root: &str) -> Markup {
    html! {
        // Only as long as there is none: what is there no longer changes.
        section id="value" data-live[result.is_none()] aria-labelledby="value-title" {
            h2 id="value-title" { "Result" }
            @match result {
                None if task.is_final() => p.empty { "It has no result: " (visible(&task.state)) "." },
                None => p.empty { "There is none yet." },
                Some(text) => {
                    (about(text, &format!("{root}ui/raw/{}/result", task.id), task))
                    (shown(text, &format!("{root}ui/raw/{}/result", task.id), as_page, "result"))
                    (command::lines("GET", &format!("/task/{}/result", task.id), None, Some(&format!("wasmill result {}", task.id))))
                },
            }
        }
    }
}

/// Shows the input.
pub(super) fn input(task: &Task, input: &str, root: &str) -> Markup {
    let raw = format!("{root}ui/raw/{}/input", task.id);
    html! {
        section aria-labelledby="value-title" {
            h2 id="value-title" { "Input" }
            (about(input, &raw, task))
            (shown(input, &raw, false, "input"))
            (command::lines("GET", &format!("/task/{}/input", task.id), None, Some(&format!("wasmill status {} --input", task.id))))
        }
    }
}

/// Shows the checkpoint: as text if it is one, else byte by byte.
pub(super) fn checkpoint(task: &Task, bytes: Option<&[u8]>, root: &str) -> Markup {
    let raw = format!("{root}ui/raw/{}/checkpoint", task.id);
    html! {
        section id="value" data-live aria-labelledby="value-title" {
            h2 id="value-title" { "Checkpoint" }
            @match bytes {
                None if task.is_final() => p.empty { "It has finished, and needs none any more." },
                None => p.empty { "It has saved none." },
                Some(bytes) => {
                    p.note { "What the guest saved last. Its next attempt starts with it." }
                    div.buttons {
                        span.note { (unit::bytes(bytes.len() as u64)) }
                        a.button.small href={ (raw) "?download=1" } download={ "checkpoint-" (task.short_id()) } { "Download" }
                    }
                    @match std::str::from_utf8(bytes) {
                        Ok(text) if kind_of(text) == Kind::Json => (tree(text)),
                        Ok(text) if !text.contains('\0') => (plain(text)),
                        _ => (hex::dump(bytes)),
                    }
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
            (tree(json))
            (command::lines("GET", &format!("/task/{}", task.id), None, Some(&format!("wasmill status {} --json", task.id))))
        }
    }
}

fn about(text: &str, raw: &str, task: &Task) -> Markup {
    html! {
        div.buttons {
            span.note { (unit::bytes(text.len() as u64)) }
            a.button.small href={ (raw) "?download=1" } download={ "task-" (task.short_id()) } { "Download" }
            @if text.len() <= TEXT_MAX { (command::copy_from(raw)) }
        }
    }
}

fn shown(text: &str, raw: &str, as_page: bool, what: &str) -> Markup {
    match kind_of(text) {
        Kind::Json => tree(text),
        Kind::Svg if text.len() <= RAW_IMAGE_MAX => html! {
            // As a picture an SVG runs no script and loads nothing.
            img.result src=(raw) alt={ "The " (what) ", a picture that the guest made" };
            details { summary { "As text" } (plain(text)) }
        },
        Kind::Html if as_page => html! {
            p { a.button.small href="?" { "Show as text" } }
            iframe.result src=(raw) sandbox="" referrerpolicy="no-referrer" title={ "The " (what) " as a page, which can run no script" } {}
        },
        Kind::Html => html! {
            p { a.button.small href="?as=page" { "Show as page" } " " span.note { "It can run no script, send nothing and load nothing." } }
            (plain(text))
        },
        Kind::Svg | Kind::Text => plain(text),
    }
}

fn plain(text: &str) -> Markup {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    html! {
        pre.value tabindex="0" { (block(&text[..end])) }
        @if end < text.len() { p.note { "The first " (unit::bytes(end as u64)) " are shown; the download has all." } }
    }
}

/// Shows JSON as a tree whose values are as they were written.
pub(super) fn tree(json: &str) -> Markup {
    let Ok(value) = serde_json::from_str::<&RawValue>(json) else { return plain(json) };
    let mut left = NODES_MAX;
    let drawn = node(None, value, 0, &mut left);
    html! {
        div.json { (drawn) }
        @if left == 0 { p.note { "Only the first " (NODES_MAX) " values are shown; the download has all." } }
    }
}

fn node(name: Option<&str>, value: &RawValue, level: usize, left: &mut usize) -> Markup {
    if *left == 0 {
        return html! {};
    }
    *left -= 1;
    let text = value.get();
    let label = html! { @if let Some(name) = name { span.key { (visible(name)) } ": " } };
    let children = (level < LEVELS_MAX).then(|| children(text)).flatten();
    let Some((open, close, children)) = children else {
        let class = match text.as_bytes().first() {
            Some(b'"') => "string",
            Some(b'-' | b'0'..=b'9') => "number",
            _ => "word",
        };
        return html! { div.leaf { (label) span class=(class) { (scalar(text)) } } };
    };
    if children.is_empty() {
        return html! { div.leaf { (label) (open) (close) } };
    }
    let count = children.len();
    html! {
        details open[level < LEVELS_OPEN] {
            summary { (label) (open) " " span.note { (count) } " " (close) }
            div.branch { @for (name, value) in &children { (node(name.as_deref(), value, level + 1, left)) } }
        }
    }
}

/// Shows a string without its escapes, and anything else as it was written.
fn scalar(text: &str) -> String {
    if let Ok(string) = serde_json::from_str::<String>(text) {
        return format!("\"{}\"", block(&string));
    }
    visible(text).into_owned()
}

type Children<'a> = (&'static str, &'static str, Vec<(Option<String>, &'a RawValue)>);

/// Returns the members of an object or an array in their order.
fn children(text: &str) -> Option<Children<'_>> {
    match text.as_bytes().first()? {
        b'{' => {
            let members = json::members(text)?;
            Some(("{", "}", members.into_iter().map(|(name, value)| (Some(name), value)).collect()))
        }
        b'[' => Some(("[", "]", json::items(text)?.into_iter().map(|value| (None, value)).collect())),
        _ => None,
    }
}
