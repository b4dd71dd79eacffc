//! What was entered into a form, as JSON.

use serde_json::value::RawValue;

use super::{Field, FieldKind, JSON_PREFIX};
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
    // A box for JSON may stand for a field of any kind.
    if let Some(text) = entered(&format!("{JSON_PREFIX}{}", form.at)) {
        let text = text.trim();
        return if text.is_empty() { Ok(None) } else { checked(form, text).map(Some) };
    }
    let text = || entered(&form.at);
    let given = || text().filter(|text| !text.is_empty());
    Ok(match &form.kind {
        FieldKind::Group(fields) => {
            let mut members = Vec::new();
            for field in fields {
                let name =
                    field.at.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
                members.extend(read(field, entered)?.map(|value| (name, value)));
            }
            (form.at.is_empty() || !members.is_empty()).then(|| json::object(&members))
        }
        FieldKind::Text(..) => given().map(|text| json::string(&text.replace("\r\n", "\n"))),
        // What is not a number is sent as a string, which the schema refuses with words of its own.
        FieldKind::Number(_) => given().map(|text| number(text.trim()).unwrap_or_else(|| json::string(text))),
        FieldKind::Choice(..) => given().map(|text| checked(form, text)).transpose()?,
        FieldKind::Lines(_) => {
            let lines: Vec<_> =
                text().unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            (!lines.is_empty()).then(|| serde_json::to_string(&lines).unwrap_or_default())
        }
        FieldKind::Json(_) => None,
    })
}

fn number(text: &str) -> Option<String> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| raw.get().to_owned())
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
