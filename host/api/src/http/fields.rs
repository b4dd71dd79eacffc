//! Reads the fields of a JSON object in a request.
//!
//! All request objects are read here, so that unknown and duplicate fields are refused everywhere. Values
//! stay raw; the caller parses each one.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use wasmill_model::{InvalidDuration, parse_duration};

use crate::problem::field_errors::{ERRORS_MAX, FieldError, FieldErrors, escaped, truncated_quote};

/// The fields of one object.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    known: &'static [&'static str],
    values: BTreeMap<&'static str, &'a RawValue>,
    /// The first unknown fields, and the number of further ones.
    unknown: Vec<String>,
    unknown_more: usize,
    duplicate: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Returns an object without fields.
    pub(crate) fn empty(known: &'static [&'static str]) -> Self {
        Self { known, values: BTreeMap::new(), unknown: Vec::new(), unknown_more: 0, duplicate: Vec::new() }
    }

    /// Reads an object with these known fields; `None` if the value is not an object.
    pub(crate) fn read(value: &'a RawValue, known: &'static [&'static str]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        deserializer.deserialize_map(FieldsVisitor(Self::empty(known))).ok()
    }

    /// Removes and returns the value of a field; `null` counts as missing.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.values.remove(name).filter(|value| value.get() != "null")
    }

    /// Reports unknown and duplicate fields; `parent` is the JSON pointer of the object.
    pub(crate) fn report(&self, parent: &str, errors: &mut FieldErrors) {
        for name in &self.duplicate {
            errors.push(FieldError::at(
                format!("{parent}/{name}"),
                format!("field '{name}' appears more than once"),
            ));
        }
        for name in &self.unknown {
            let detail = format!("unknown field '{}'", truncated_quote(name));
            errors.push(FieldError::at(format!("{parent}/{}", escaped(name)), detail).known(self.known));
        }
        errors.add_unlisted(self.unknown_more);
    }
}

struct FieldsVisitor<'a>(Fields<'a>);

impl<'a> Visitor<'a> for FieldsVisitor<'a> {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let Self(mut fields) = self;
        while let Some(name) = map.next_key_seed(FieldNameSeed(fields.known))? {
            match name {
                FieldName::Known(name) => {
                    if fields.values.insert(name, map.next_value()?).is_some()
                        && !fields.duplicate.contains(&name)
                    {
                        fields.duplicate.push(name);
                    }
                }
                FieldName::Unknown(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if fields.unknown.len() < ERRORS_MAX {
                        fields.unknown.push(name);
                    } else {
                        fields.unknown_more += 1;
                    }
                }
            }
        }
        Ok(fields)
    }
}

/// A field name while it is read.
enum FieldName {
    Known(&'static str),
    Unknown(String),
}

struct FieldNameSeed(&'static [&'static str]);

impl<'a> DeserializeSeed<'a> for FieldNameSeed {
    type Value = FieldName;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<FieldName, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldNameSeed {
    type Value = FieldName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<FieldName, E> {
        let known = self.0.iter().find(|known| **known == name);
        Ok(known.map_or_else(|| FieldName::Unknown(name.to_owned()), |known| FieldName::Known(known)))
    }
}

/// Parses an integer; `3.0` and `3e0` are integers too, as in JSON Schema.
pub(crate) fn whole_number(value: &RawValue) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    let number: f64 = serde_json::from_str(value.get()).ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// Completes the error for an invalid duration: one in months or years is refused because they have no fixed
/// length.
pub(crate) fn duration_error(detail: String, text: Option<&str>) -> String {
    match text.map(parse_duration) {
        Some(Err(why @ InvalidDuration::NoFixedLength)) => format!("{detail}; {why}"),
        _ => detail,
    }
}

/// Parses a string.
pub(crate) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["a", "b"];

    fn read(text: &str) -> Option<Fields<'_>> {
        Fields::read(serde_json::from_str(text).expect(text), &KNOWN)
    }

    fn pointers(text: &str) -> Vec<String> {
        let mut errors = FieldErrors::default();
        read(text).expect(text).report("/c", &mut errors);
        errors.into_parts().1.into_iter().filter_map(|error| error.pointer).collect()
    }

    #[test]
    fn known_fields_keep_their_raw_values() {
        let mut fields = read(r#" {"b": null, "\u0061": [1,  2]} "#).expect("an object");
        assert_eq!(fields.take("a").map(RawValue::get), Some("[1,  2]"));
        assert!(fields.take("b").is_none() && fields.take("a").is_none());
        for text in ["7", "null", "[]", "\"a\"", "[\"a\", 1]"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn unknown_and_duplicate_fields_are_errors() {
        assert!(pointers(r#"{"a": 1, "b": 2}"#).is_empty());
        assert_eq!(pointers(r#"{"a": 1, "a": 1, "a": null, "x/y~": 2}"#), ["/c/a", "/c/x~1y~0"]);
        let many: Vec<_> = (0..5_000).map(|n| format!("\"x{n}\": {n}")).collect();
        let many = format!("{{{}}}", many.join(","));
        let mut errors = FieldErrors::default();
        read(&many).expect("an object").report("", &mut errors);
        let (detail, _) = errors.into_parts();
        assert!(
            detail.ends_with("; and 4990 more") && detail.matches("known fields:").count() == 1,
            "{detail}"
        );
    }

    #[test]
    fn integers_are_parsed_in_every_notation() {
        let read = |text: &str| whole_number(serde_json::from_str(text).expect(text));
        for (text, number) in [("1", 1), ("1.0", 1), ("1e2", 100), ("-0", 0), ("-0.0", 0), ("-12E+1", -120)] {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in ["0.5", "1e300", "9007199254740993", "\"1\"", "true", "[1]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
