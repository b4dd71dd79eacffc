//! JSON as a tree whose values are as they were written: numbers keep their digits, and members their order.

use maud::{Markup, html};
use serde_json::value::RawValue;

use crate::part::json;
use crate::part::text::{block, visible};

/// Values and levels of JSON that are drawn, and levels that are open.
const NODES_MAX: usize = 2_000;
const LEVELS_MAX: usize = 32;
const LEVELS_OPEN: usize = 3;

/// Shows JSON; `None` if it is none.
pub(super) fn tree(text: &str) -> Option<Markup> {
    let value = serde_json::from_str::<&RawValue>(text).ok()?;
    let mut left = NODES_MAX;
    let drawn = node(None, value, 0, &mut left);
    Some(html! {
        div.json { (drawn) }
        @if left == 0 { p.note { "Only the first " (NODES_MAX) " values are shown; the download has all." } }
    })
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
