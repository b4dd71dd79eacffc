//! The JSON Schema of a plugin's input: compiled once when the plugin is loaded, asked for each task.
//!
//! Made by the manifest; the API asks it before a task is stored. It never fetches anything: a
//! reference must lead to somewhere within the schema.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::words;

/// Violations that are told of one input.
const VIOLATIONS_MAX: usize = 20;
/// Bytes kept of what is told of each.
const MESSAGE_BYTES_MAX: usize = 300;
/// Bytes kept of the pointer of each.
const POINTER_BYTES_MAX: usize = 300;

/// What the input of a plugin must look like. Cheap to clone.
#[derive(Clone)]
pub struct InputSchema {
    validator: Arc<Validator>,
    schema: Arc<Value>,
}

/// One thing about an input that the schema forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A JSON pointer into the input; empty for the whole of it.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl InputSchema {
    /// Compiles a schema, of draft 2020-12 unless it names another.
    ///
    /// # Errors
    ///
    /// Says what is wrong, with a JSON pointer into the schema.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        // This engine takes time that grows with the text, whatever the pattern and the input.
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "its top".to_owned() } else { place };
            words::bounded(format_args!("it is not a valid JSON Schema at {place}: {error}"))
        })?;
        Ok(Self { validator: Arc::new(validator), schema: Arc::new(schema) })
    }

    /// Returns what is wrong with an input, given as the text of a JSON value; no more than a bounded
    /// number of things, each in a bounded text. An input that is left out counts as `null`.
    pub fn violations(&self, input: Option<&str>) -> Vec<Violation> {
        let value = match input.map(serde_json::from_str).transpose() {
            Ok(value) => value.unwrap_or(Value::Null),
            Err(error) => {
                let message = words::bounded(format_args!("it is not JSON: {error}"));
                return vec![Violation { pointer: String::new(), message }];
            }
        };
        let errors = self.validator.iter_errors(&value).take(VIOLATIONS_MAX);
        errors
            .map(|error| Violation {
                pointer: words::cut(error.instance_path().to_string(), POINTER_BYTES_MAX),
                message: words::cut(words::bounded(&error), MESSAGE_BYTES_MAX),
            })
            .collect()
    }
}

impl PartialEq for InputSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InputSchema").field(&self.schema).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THUMB: &str = r#"{
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "pattern": "^https://"},
            "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1}}
        },
        "additionalProperties": false
    }"#;

    fn pointers(schema: &str, input: Option<&str>) -> Vec<String> {
        let violations = InputSchema::compile(schema).unwrap().violations(input);
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn each_violation_has_a_pointer() {
        assert!(pointers(THUMB, Some(r#"{"url": "https://a", "sizes": [1, 2]}"#)).is_empty());
        assert_eq!(pointers(THUMB, Some(r#"{"url": 5, "sizes": [1, 0]}"#)), ["/sizes/1", "/url"]);
        assert_eq!(pointers(THUMB, Some(r#"{"url": "ftp://a"}"#)), ["/url"]);
        assert_eq!(pointers(THUMB, Some("{}")), [""]);
        assert_eq!(pointers(THUMB, None), [""], "no input is null");
        assert!(pointers("true", None).is_empty());
    }

    #[test]
    fn violations_are_bounded_in_number_and_length() {
        let many = format!("[{}]", ["\"x\""; 1_000].join(","));
        assert_eq!(pointers(r#"{"items": {"type": "integer"}}"#, Some(&many)).len(), VIOLATIONS_MAX);
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        let violations = InputSchema::compile(r#"{"type": "integer"}"#).unwrap().violations(Some(&long));
        assert!(violations[0].message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_bad_schema_is_refused_with_a_pointer() {
        let refusal = |schema: &str| InputSchema::compile(schema).unwrap_err();
        let reason = refusal(r#"{"properties": {"url": {"type": "sting"}}}"#);
        assert!(reason.contains("/properties/url/type"), "{reason}");
        assert!(refusal("{").contains("not JSON"));
        assert!(refusal("5").contains("its top"));
    }

    #[test]
    fn nothing_is_fetched() {
        for reference in ["https://example.com/a.json", "file:///etc/passwd", "other.json"] {
            let schema = format!(r#"{{"$ref": "{reference}"}}"#);
            assert!(InputSchema::compile(&schema).is_err(), "{reference}");
        }
        let within = r##"{"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}"##;
        assert_eq!(pointers(within, Some("\"x\"")), [""]);
    }

    #[test]
    fn patterns_that_could_take_for_ever_are_refused() {
        assert!(InputSchema::compile(r#"{"pattern": "^(?=a).*$"}"#).is_err());
    }
}
