//! Whole numbers and booleans, the same words for a flag, a variable and a line of the file.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};

const COUNT: &str = "a whole number, 0 or more";
const SWITCH: &str = "true, yes, on or 1, or false, no, off or 0";

/// Reads a whole number of a flag or a variable.
pub(super) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("it must be {COUNT}, such as 1000"))
}

/// Reads a boolean of a flag or a variable.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    word(text).ok_or_else(|| format!("it must be {SWITCH}"))
}

fn word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a whole number of the file.
pub(super) fn read_count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_any(Count(PhantomData)).map(Some)
}

/// Reads a boolean of the file.
pub(super) fn read_switch<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    from.deserialize_any(Switch).map(Some)
}

struct Count<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Count<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(COUNT)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::custom(format!("{number} is too large")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let number = u64::try_from(number);
        number.map_err(|_| E::custom(format!("it must be {COUNT}"))).and_then(|number| self.visit_u64(number))
    }
}

struct Switch;

impl Visitor<'_> for Switch {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SWITCH)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        word(text).ok_or_else(|| E::custom(format!("it must be {SWITCH}")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<bool, E> {
        self.visit_str(&number.to_string())
    }
}
