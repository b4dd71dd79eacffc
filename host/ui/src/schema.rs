//! A form from a JSON Schema, and the JSON that it stands for.
//!
//! A field is named by the JSON pointer of its value. What a form cannot show as it was written is a box for JSON in
//! its place, so no schema is refused and nothing that was entered is lost: form to JSON to form is the same.

mod read;
#[cfg(test)]
mod tests;

use maud::{Markup, html};
use serde_json::{Map, Value};

pub use self::read::read;
use crate::part::json;
use crate::part::text::visible;
use crate::problem::FieldError;

/// Nested objects up to this level are fields of their own.
const LEVELS_MAX: usize = 3;
/// Fields of a form; what is beyond is a box for JSON.
const FIELDS_MAX: usize = 100;
/// Choices of a field; with more, it is a text.
const CHOICES_MAX: usize = 100;
/// Names a field whose value is written as JSON.
pub(crate) const JSON_PREFIX: &str = "json:";

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// JSON pointer of its value.
    pub at: String,
    /// What it is.
    pub label: String,
    /// What is said about it.
    pub help: String,
    /// Whether a value has to be there.
    pub required: bool,
    /// How it is entered, and what is entered.
    pub kind: FieldKind,
}

/// How a value is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A string; in several lines if it may be long.
    Text(String, bool),
    /// A number as it is written.
    Number(String),
    /// One of these, written as JSON.
    Choice(Vec<String>, Option<String>),
    /// Strings, one in each line.
    Lines(String),
    /// Any JSON.
    Json(String),
    /// Members of an object.
    Group(Vec<Field>),
}

/// Lays out a form for a schema with this value, as JSON.
pub fn lay_out(schema: &Value, value: Option<&str>) -> Field {
    let mut left = FIELDS_MAX;
    Layout { root: schema, left: &mut left }.field(schema, String::new(), value, true, 0)
}

struct Layout<'a> {
    root: &'a Value,
    left: &'a mut usize,
}

impl Layout<'_> {
    fn field(
        &mut self,
        schema: &Value,
        at: String,
        value: Option<&str>,
        required: bool,
        level: usize,
    ) -> Field {
        let schema = resolve(self.root, schema);
        let text = |name: &str| schema[name].as_str().unwrap_or_default().to_owned();
        let name = at.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let label = if text("title").is_empty() { name } else { text("title") };
        let help = help(schema);
        let default = schema.get("default").map(Value::to_string);
        let shown = value.map(str::to_owned).or(default.filter(|_| value.is_none()));
        *self.left = self.left.saturating_sub(1);
        let kind = self.kind(schema, &at, shown.as_deref(), level);
        let kind = kind.unwrap_or_else(|| FieldKind::Json(shown.unwrap_or_default()));
        Field { at, label, help, required, kind }
    }

    /// Returns the kind for a value, unless only JSON says it.
    fn kind(&mut self, schema: &Value, at: &str, value: Option<&str>, level: usize) -> Option<FieldKind> {
        if let Some(options) = options(schema) {
            let chosen = value.map(str::to_owned);
            let is_known = chosen.as_ref().is_none_or(|chosen| options.contains(chosen));
            return is_known.then_some(FieldKind::Choice(options, chosen));
        }
        match schema["type"].as_str()? {
            "string" => text(schema, value),
            "integer" | "number" => match value {
                None => Some(FieldKind::Number(String::new())),
                Some(value) => value
                    .starts_with(|first: char| first == '-' || first.is_ascii_digit())
                    .then(|| FieldKind::Number(value.to_owned())),
            },
            "array" => lines(resolve(self.root, &schema["items"]), value),
            "object" if level < LEVELS_MAX && *self.left > 0 => self.group(schema, at, value, level),
            _ => None,
        }
    }

    fn group(&mut self, schema: &Value, at: &str, value: Option<&str>, level: usize) -> Option<FieldKind> {
        let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty())?;
        let members = match value {
            Some(value) => json::members(value)?,
            None => Vec::new(),
        };
        let is_plain = members.iter().all(|(name, _)| properties.contains_key(name));
        let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        // Members that the schema does not name, or names twice, and an object that is there but empty, need JSON.
        if !is_plain || names.len() != members.len() || (value.is_some() && members.is_empty() && level > 0) {
            return None;
        }
        Some(FieldKind::Group(self.fields(schema, properties, at, &members, level)))
    }

    fn fields(
        &mut self,
        schema: &Value,
        properties: &Map<String, Value>,
        at: &str,
        members: &[(String, &serde_json::value::RawValue)],
        level: usize,
    ) -> Vec<Field> {
        let is_required = |name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name))
        };
        let mut fields = Vec::new();
        for (name, property) in properties {
            let value = members.iter().find(|(known, _)| known == name).map(|(_, value)| value.get());
            let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            fields.push(self.field(property, at, value, is_required(name), level + 1));
        }
        fields
    }
}

/// Follows a reference within the schema, at most eight times.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..8 {
        let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) else {
            break;
        };
        let Some(next) = root.pointer(pointer) else { break };
        schema = next;
    }
    schema
}

/// Returns the values of an enumeration, a constant or a boolean, as JSON.
fn options(schema: &Value) -> Option<Vec<String>> {
    if schema["type"] == "boolean" {
        return Some(vec!["true".to_owned(), "false".to_owned()]);
    }
    if let Some(value) = schema.get("const") {
        return Some(vec![value.to_string()]);
    }
    let values = schema["enum"].as_array().filter(|values| (1..=CHOICES_MAX).contains(&values.len()))?;
    Some(values.iter().map(Value::to_string).collect())
}

fn text(schema: &Value, value: Option<&str>) -> Option<FieldKind> {
    let length = schema["maxLength"].as_u64().unwrap_or(0);
    let is_long = length > 200 || schema.get("contentMediaType").is_some();
    let Some(value) = value else { return Some(FieldKind::Text(String::new(), is_long)) };
    let text: String = serde_json::from_str(value).ok()?;
    // A browser changes line ends, and a field that is empty is left out.
    let changes = text.contains('\r') || text.contains('\0') || text.is_empty();
    let is_long = is_long || text.contains('\n');
    (!changes && json::string(&text) == value).then_some(FieldKind::Text(text, is_long))
}

/// Returns the kind for an array of strings.
fn lines(items: &Value, value: Option<&str>) -> Option<FieldKind> {
    if items["type"] != "string" || items.get("enum").is_some() {
        return None;
    }
    let Some(value) = value else { return Some(FieldKind::Lines(String::new())) };
    let items: Vec<String> = serde_json::from_str(value).ok()?;
    let is_line =
        |item: &String| !item.is_empty() && item.trim() == item && !item.contains(['\n', '\r', '\0']);
    if !items.iter().all(is_line) || items.is_empty() || serde_json::to_string(&items).ok()? != value {
        return None;
    }
    Some(FieldKind::Lines(items.join("\n")))
}

fn help(schema: &Value) -> String {
    let mut parts: Vec<String> = schema["description"].as_str().map(str::to_owned).into_iter().collect();
    for (name, words) in
        [("minimum", "at least"), ("maximum", "at most"), ("format", "format"), ("pattern", "pattern")]
    {
        match &schema[name] {
            Value::String(text) => parts.push(format!("{words} {text}")),
            Value::Number(number) => parts.push(format!("{words} {number}")),
            _ => {}
        }
    }
    if schema["type"] == "array" {
        parts.push("one in each line".to_owned());
    }
    if let Some(example) = schema["examples"].as_array().and_then(|examples| examples.first()) {
        parts.push(format!("such as {example}"));
    }
    parts.join("; ")
}

/// Shows a form, with the errors of its fields beside them. `under` is the pointer of the whole in the request.
pub fn show(field: &Field, under: &str, errors: &[FieldError]) -> Markup {
    let pointer = format!("{under}{}", field.at);
    let own: Vec<_> = errors.iter().filter(|error| error.pointer.as_deref() == Some(&pointer)).collect();
    if let FieldKind::Group(fields) = &field.kind {
        let inner = html! {
            @if !field.help.is_empty() { p.note { (visible(&field.help)) } }
            @for error in &own { p.error { (visible(&error.detail)) } }
            @for field in fields { (show(field, under, errors)) }
        };
        return if field.at.is_empty() {
            html! { div.stack { (inner) } }
        } else {
            html! { fieldset.stack { legend { (visible(&field.label)) } (inner) } }
        };
    }
    let id = format!("f{}", field.at);
    let described = format!("{id}-about");
    html! {
        div.field {
            label for=(id) { span { (visible(&field.label)) @if field.required { " *" } @if matches!(field.kind, FieldKind::Json(_)) { " (JSON)" } } }
            (control(field, &id, &described, !own.is_empty()))
            div id=(described) {
                @if !field.help.is_empty() { p.note { (visible(&field.help)) } }
                @for error in &own { p.error { (visible(&error.detail)) } }
            }
        }
    }
}

fn control(field: &Field, id: &str, described: &str, is_wrong: bool) -> Markup {
    let invalid = is_wrong.then_some("true");
    let at = &field.at;
    html! {
        @match &field.kind {
            FieldKind::Text(text, false) => input type="text" id=(id) name=(at) value=(text) aria-describedby=(described) aria-invalid=[invalid] autocomplete="off";,
            FieldKind::Number(text) => input type="text" inputmode="decimal" id=(id) name=(at) value=(text) aria-describedby=(described) aria-invalid=[invalid] autocomplete="off";,
            // The first line end of a text area is not part of its value.
            FieldKind::Text(text, true) | FieldKind::Lines(text) => textarea id=(id) name=(at) aria-describedby=(described) aria-invalid=[invalid] { "\n" (text) },
            FieldKind::Json(text) => textarea.mono id=(id) name={ (JSON_PREFIX) (at) } aria-describedby=(described) aria-invalid=[invalid] spellcheck="false" { "\n" (text) },
            FieldKind::Choice(options, chosen) => select id=(id) name=(at) aria-describedby=(described) aria-invalid=[invalid] {
                @if !field.required || chosen.is_none() { option value="" { "–" } }
                @for option in options { option value=(option) selected[chosen.as_ref() == Some(option)] { (visible(option.trim_matches('"'))) } }
            },
            FieldKind::Group(_) => {},
        }
    }
}
