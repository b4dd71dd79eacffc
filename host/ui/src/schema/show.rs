//! A form, as HTML. It works without script: a variant that is not chosen is hidden by the stylesheet.

use maud::{Markup, html};

use super::{Field, FieldKind, JSON_PREFIX, PICK_PREFIX, Shape, VARIANT};
use crate::part::text::visible;
use crate::problem::FieldError;

/// Shows a form, with the errors of its fields beside them. `under` is the pointer of the whole in the request.
pub fn show(field: &Field, under: &str, errors: &[FieldError]) -> Markup {
    let Shown { help, own, .. } = Shown::of(field, under, errors);
    match &field.kind {
        FieldKind::Group(_) if field.at.is_empty() => html! { div.stack { (inner(field, under, errors)) } },
        FieldKind::Group(_) => html! {
            fieldset.stack { legend { (label(field)) } (inner(field, under, errors)) }
        },
        FieldKind::Variants(variants, chosen) => html! {
            fieldset.stack.variants {
                legend { @if field.label.is_empty() { "One of these" } @else { (label(field)) } }
                (help)
                @for error in &own { p.error { (visible(&error.detail)) } }
                @if !field.required || chosen.is_none() { (variant(field, "", chosen.is_none(), "none", &html! {})) }
                @for (index, one) in variants.iter().enumerate() {
                    (variant(field, &index.to_string(), *chosen == Some(index), &one.label, &panel(one, under, errors)))
                }
            }
        },
        _ => html! { (single(field, &label(field), under, errors)) },
    }
}

/// What is said about a field.
struct Shown<'a> {
    help: Markup,
    own: Vec<&'a FieldError>,
}

impl<'a> Shown<'a> {
    fn of(field: &Field, under: &str, errors: &'a [FieldError]) -> Self {
        let pointer = format!("{under}{}", field.at);
        Self {
            help: html! { @if !field.help.is_empty() { p.note { (visible(&field.help)) } } },
            own: errors.iter().filter(|error| error.pointer.as_deref() == Some(&pointer)).collect(),
        }
    }
}

fn label(field: &Field) -> Markup {
    html! {
        (visible(&field.label))
        @if field.required { " *" }
        @if matches!(field.kind, FieldKind::Json(_)) { " (JSON)" }
        @if matches!(field.kind, FieldKind::Text(_, Shape::DateTime)) { " (UTC)" }
    }
}

fn inner(field: &Field, under: &str, errors: &[FieldError]) -> Markup {
    let Shown { help, own } = Shown::of(field, under, errors);
    let FieldKind::Group(fields) = &field.kind else { return html! {} };
    html! {
        (help)
        @for error in &own { p.error { (visible(&error.detail)) } }
        @for field in fields { (show(field, under, errors)) }
    }
}

/// A choice, and what belongs to it.
fn variant(field: &Field, value: &str, is_chosen: bool, label: &str, panel: &Markup) -> Markup {
    let name = format!("{PICK_PREFIX}{}", field.name);
    html! {
        div.variant {
            label.check { input type="radio" name=(name) value=(value) checked[is_chosen]; span { (visible(label)) } }
            @if !panel.0.is_empty() { div.stack.panel { (panel) } }
        }
    }
}

fn panel(one: &Field, under: &str, errors: &[FieldError]) -> Markup {
    match &one.kind {
        FieldKind::Group(_) => inner(one, under, errors),
        FieldKind::Variants(..) => show(one, under, errors),
        _ => single(one, &html! { "Value" }, under, errors),
    }
}

fn single(field: &Field, label: &Markup, under: &str, errors: &[FieldError]) -> Markup {
    let Shown { help, own } = Shown::of(field, under, errors);
    let id = format!("f{}", field.name);
    let described = format!("{id}-about");
    html! {
        div.field {
            label for=(id) { span { (label) } }
            (control(field, &id, &described, !own.is_empty()))
            div id=(described) {
                (help)
                @for error in &own { p.error { (visible(&error.detail)) } }
            }
        }
    }
}

fn control(field: &Field, id: &str, described: &str, is_wrong: bool) -> Markup {
    let invalid = is_wrong.then_some("true");
    let name = &field.name;
    html! {
        @match &field.kind {
            // The first line end of a text area is not part of its value.
            FieldKind::Text(text, Shape::Area) | FieldKind::Lines(text, _) => textarea id=(id) name=(name) aria-describedby=(described) aria-invalid=[invalid] { "\n" (text) },
            FieldKind::Text(text, shape) => {
                @let (kind, mode) = entry(*shape, name.contains(VARIANT));
                // Seconds are shown only if they may be entered.
                input type=(kind) inputmode=[mode] step=[(kind == "datetime-local").then_some("1")] id=(id) name=(name) value=(text) aria-describedby=(described) aria-invalid=[invalid] autocomplete="off";
            },
            FieldKind::Number(text) => input type="text" inputmode="decimal" id=(id) name=(name) value=(text) aria-describedby=(described) aria-invalid=[invalid] autocomplete="off";,
            FieldKind::Json(text) => textarea.mono id=(id) name={ (JSON_PREFIX) (name) } aria-describedby=(described) aria-invalid=[invalid] spellcheck="false" { "\n" (text) },
            FieldKind::Choice(options, chosen) => select id=(id) name=(name) aria-describedby=(described) aria-invalid=[invalid] {
                @if !field.required || chosen.is_none() { option value="" { "–" } }
                @for option in options { option value=(option) selected[chosen.as_ref() == Some(option)] { (visible(option.trim_matches('"'))) } }
            },
            FieldKind::Group(_) | FieldKind::Variants(..) => {},
        }
    }
}

/// Returns the type of an input, and the keyboard that a phone shows for it. A browser refuses to send a form for a field
/// that it finds wrong, so within a variant, which may be hidden, it checks none.
fn entry(shape: Shape, is_in_variant: bool) -> (&'static str, Option<&'static str>) {
    match shape {
        Shape::Line | Shape::Area => ("text", None),
        Shape::Secret => ("password", None),
        Shape::Date => ("date", None),
        Shape::DateTime => ("datetime-local", None),
        Shape::Email if is_in_variant => ("text", Some("email")),
        Shape::Uri if is_in_variant => ("text", Some("url")),
        Shape::Email => ("email", None),
        Shape::Uri => ("url", None),
    }
}
