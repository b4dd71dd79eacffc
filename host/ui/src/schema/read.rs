//! What was entered into a form, as JSON.

use serde_json::value::RawValue;

use super::fill::{is_of_number, member, text};
use super::{Field, FieldKind, Items, JSON_PREFIX, PICK_PREFIX};
use crate::part::json;
use crate::problem::FieldError;

/// Reads what was entered into the fields of this form.
///
/// # Errors
///
/// A box for JSON that has something else.
pub fn read<'a>(
    form: &Field,
    entered: &impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<String>, FieldError> {
    value(form, entered, form.at.is_empty())
}

/// An object without members is one only if somebody has chosen it.
fn value<'a>(
    form: &Field,
    entered: &impl Fn(&str) -> Option<&'a str>,
    may_be_empty: bool,
) -> Result<Option<String>, FieldError> {
    // A box for JSON may stand for a field of any kind.
    if let Some(text) = entered(&format!("{JSON_PREFIX}{}", form.name)) {
        let text = text.trim();
        return if text.is_empty() { Ok(None) } else { checked(form, text).map(Some) };
    }
    let given = || entered(&form.name).filter(|text| !text.is_empty());
    Ok(match &form.kind {
        FieldKind::Group(fields) => {
            let mut members = Vec::new();
            for field in fields {
                members.extend(value(field, entered, false)?.map(|value| (member(&field.at), value)));
            }
            (may_be_empty || !members.is_empty()).then(|| json::object(&members))
        }
        FieldKind::Variants(variants, _) => {
            let picked = entered(&format!("{PICK_PREFIX}{}", form.name));
            match picked.and_then(|picked| variants.get(picked.parse::<usize>().ok()?)) {
                Some(variant) => value(variant, entered, true)?,
                None => None,
            }
        }
        FieldKind::Text(_, shape) => given().map(|entered| text(entered, *shape)),
        FieldKind::Number(_) => given().map(number),
        FieldKind::Choice(..) => given().map(|text| checked(form, text)).transpose()?,
        FieldKind::Lines(_, items) => {
            let lines = given().unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
            let lines: Vec<_> = lines
                .map(|line| if *items == Items::Numbers { number(line) } else { json::string(line) })
                .collect();
            (!lines.is_empty()).then(|| json::array(&lines))
        }
        FieldKind::Json(_) => None,
    })
}

/// What is not a number is sent as a string, which the schema refuses with words of its own.
fn number(text: &str) -> String {
    let raw = serde_json::from_str::<&RawValue>(text.trim()).ok();
    let raw = raw.filter(|raw| raw.get().starts_with(is_of_number));
    raw.map_or_else(|| json::string(text), |raw| raw.get().to_owned())
}

fn checked(form: &Field, text: &str) -> Result<String, FieldError> {
    let raw = serde_json::from_str::<&RawValue>(text);
    raw.map(|raw| raw.get().to_owned()).map_err(|error| FieldError {
        pointer: Some(form.at.clone()),
        detail: format!(
            "{} is not valid JSON: {error}",
            if form.label.is_empty() { "this" } else { &form.label }
        ),
        ..FieldError::default()
    })
}
