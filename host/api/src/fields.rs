//! The fields of a JSON object in a request: those that are known, and what is wrong with the others.
//!
//! Everything that a client sends as an object is read here, so that everywhere the same is refused: a field that
//! is not known, and one that is given twice. Values stay as they came; each is read where it is known what it
//! has to be.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use wasmill_model::{InvalidDuration, parse_duration};

use crate::faults::{FAULTS_MAX, Fault, Faults, escaped, quoted};

/// The fields of one object.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    known: &'static [&'static str],
    values: BTreeMap<&'static str, &'a RawValue>,
    /// The first of those that are not known, and how many there are besides.
    unknown: Vec<String>,
    unnamed: usize,
    twice: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Returns an object without fields.
    pub(crate) fn none(known: &'static [&'static str]) -> Self {
        Self { known, values: BTreeMap::new(), unknown: Vec::new(), unnamed: 0, twice: Vec::new() }
    }

    /// Reads an object that may have these fields; `None` if the value is no object.
    pub(crate) fn read(value: &'a RawValue, known: &'static [&'static str]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        deserializer.deserialize_map(FieldsVisitor(Self::none(known))).ok()
    }

    /// Takes the value of a field out; `null` counts as left out.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.values.remove(name).filter(|value| value.get() != "null")
    }

    /// Says what is wrong with the fields themselves; `parent` is the pointer of the object.
    pub(crate) fn report(&self, parent: &str, faults: &mut Faults) {
        for name in &self.twice {
            faults.push(Fault::at(format!("{parent}/{name}"), format!("field '{name}' is given twice")));
        }
        for name in &self.unknown {
            let detail = format!("unknown field '{}'", quoted(name));
            faults.push(Fault::at(format!("{parent}/{}", escaped(name)), detail).known(self.known));
        }
        faults.count(self.unnamed);
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
        while let Some(name) = map.next_key_seed(KnownName(fields.known))? {
            match name {
                Name::Known(name) => {
                    if fields.values.insert(name, map.next_value()?).is_some()
                        && !fields.twice.contains(&name)
                    {
                        fields.twice.push(name);
                    }
                }
                Name::Unknown(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if fields.unknown.len() < FAULTS_MAX {
                        fields.unknown.push(name);
                    } else {
                        fields.unnamed += 1;
                    }
                }
            }
        }
        Ok(fields)
    }
}

/// The name of a field as it is read.
enum Name {
    Known(&'static str),
    Unknown(String),
}

struct KnownName(&'static [&'static str]);

impl<'a> DeserializeSeed<'a> for KnownName {
    type Value = Name;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KnownName {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        let known = self.0.iter().find(|known| **known == name);
        Ok(known.map_or_else(|| Name::Unknown(name.to_owned()), |known| Name::Known(known)))
    }
}

/// Reads a whole number; as JSON Schema has it, `3.0` and `3e0` are one, too.
pub(crate) fn whole_number(value: &RawValue) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    let number: f64 = serde_json::from_str(value.get()).ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// Says what a time would have to be, and why if months or years were asked for, which have no fixed length.
pub(crate) fn time_must_be(detail: String, found: Option<&str>) -> String {
    match found.map(parse_duration) {
        Some(Err(why @ InvalidDuration::NoFixedLength)) => format!("{detail}; {why}"),
        _ => detail,
    }
}

/// Reads a string.
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
        let mut faults = Faults::default();
        read(text).expect(text).report("/c", &mut faults);
        faults.into_parts().1.into_iter().filter_map(|fault| fault.pointer).collect()
    }

    #[test]
    fn known_fields_are_taken_as_they_came() {
        let mut fields = read(r#" {"b": null, "\u0061": [1,  2]} "#).expect("an object");
        assert_eq!(fields.take("a").map(RawValue::get), Some("[1,  2]"));
        assert!(fields.take("b").is_none() && fields.take("a").is_none());
        for text in ["7", "null", "[]", "\"a\"", "[\"a\", 1]"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn fields_that_are_unknown_or_given_twice_are_faults() {
        assert!(pointers(r#"{"a": 1, "b": 2}"#).is_empty());
        assert_eq!(pointers(r#"{"a": 1, "a": 1, "a": null, "x/y~": 2}"#), ["/c/a", "/c/x~1y~0"]);
        let many: Vec<_> = (0..5_000).map(|n| format!("\"x{n}\": {n}")).collect();
        let many = format!("{{{}}}", many.join(","));
        let mut faults = Faults::default();
        read(&many).expect("an object").report("", &mut faults);
        let (detail, _) = faults.into_parts();
        assert!(detail.ends_with("; and 4990 more") && detail.matches("known are").count() == 1, "{detail}");
    }

    #[test]
    fn whole_numbers_are_read_in_every_spelling() {
        let read = |text: &str| whole_number(serde_json::from_str(text).expect(text));
        for (text, number) in [("1", 1), ("1.0", 1), ("1e2", 100), ("-0", 0), ("-0.0", 0), ("-12E+1", -120)] {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in ["0.5", "1e300", "9007199254740993", "\"1\"", "true", "[1]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
