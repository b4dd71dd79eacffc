//! Whole numbers and booleans in settings: the same syntax and errors for flags, variables and the settings file.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};

/// The accepted values, for error messages.
const COUNT: &str = "a whole number, 0 or more";
const BOOL: &str = "true, yes, on or 1, or false, no, off or 0";

/// Parses a whole number from a flag or a variable.
pub(super) fn parse_count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("must be {COUNT}, such as 1000"))
}

/// Parses a boolean from a flag or a variable.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    bool_word(text).ok_or_else(|| format!("must be {BOOL}"))
}

fn bool_word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Deserializes a whole number from the settings file.
pub(super) fn deserialize_count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(CountVisitor(PhantomData)).map(Some)
}

/// Deserializes a boolean from the settings file.
pub(super) fn deserialize_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    deserializer.deserialize_any(BoolVisitor).map(Some)
}

struct CountVisitor<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for CountVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(COUNT)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::custom(format!("{number} is too large")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let number = u64::try_from(number).map_err(|_| E::custom(format!("must be {COUNT}")))?;
        self.visit_u64(number)
    }
}

struct BoolVisitor;

impl Visitor<'_> for BoolVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BOOL)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        bool_word(text).ok_or_else(|| E::custom(format!("must be {BOOL}")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<bool, E> {
        self.visit_str(&number.to_string())
    }
}
