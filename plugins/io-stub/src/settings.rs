//! The input of a task: how long to wait and how often to fail.
//!
//! The host compiles this module as well, and refuses at submit what the plugin would refuse. No serde and no
//! formatting, which would be half of the plugin.

extern crate alloc;

#[path = "object.rs"]
mod object;

use alloc::string::String;

use object::{Number, Reader};

/// The maximum wait: a day.
const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

const EXAMPLE: &str = r#"{"min_ms": 180000, "max_ms": 300000, "fail_rate": 0.1}"#;

/// The settings of a task; all are optional.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The minimum wait, in milliseconds.
    pub min_ms: u64,
    /// The maximum wait, in milliseconds.
    pub max_ms: u64,
    /// The fraction of runs that fail, from 0.0 to 1.0.
    pub fail_rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { min_ms: 180_000, max_ms: 300_000, fail_rate: 0.1 }
    }
}

impl Settings {
    /// Parses the JSON text of the input; `null` means the defaults.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(input: &str) -> Result<Self, String> {
        let input = input.trim();
        if input == "null" {
            return Ok(Self::default());
        }
        if !input.starts_with('{') {
            return Err(["the input must be an object such as ", EXAMPLE].concat());
        }
        Self::read(input).map_err(|wrong| match wrong {
            Wrong::Syntax(wrong) => [&*wrong, "; the input is an object such as ", EXAMPLE].concat(),
            Wrong::Range(wrong) => wrong,
        })
    }

    fn read(input: &str) -> Result<Self, Wrong> {
        let mut reader = Reader::start(input).map_err(Wrong::Syntax)?;
        let (mut min_ms, mut max_ms, mut fail_rate) = (None, None, None);
        while let Some(key) = reader.key().map_err(Wrong::Syntax)? {
            let field = match &*key {
                "min_ms" => &mut min_ms,
                "max_ms" => &mut max_ms,
                "fail_rate" => &mut fail_rate,
                unknown => return Err(Wrong::Syntax(reader.wrong(&["unknown field `", unknown, KNOWN]))),
            };
            if field.is_some() {
                return Err(Wrong::Syntax(reader.wrong(&["duplicate field `", &key, "`"])));
            }
            let number = reader.number(&key).map_err(Wrong::Syntax)?;
            if &*key != "fail_rate" && number.whole().is_none() {
                let kind =
                    if number.text().starts_with('-') { "invalid value: `" } else { "invalid type: `" };
                let said =
                    [kind, number.text(), "`, expected a whole number of milliseconds for `", &key, "`"];
                return Err(Wrong::Syntax(reader.wrong(&said)));
            }
            *field = Some(number);
        }
        reader.end().map_err(Wrong::Syntax)?;
        let default = Self::default();
        let settings = Self {
            min_ms: min_ms.and_then(|number| number.whole()).unwrap_or(default.min_ms),
            max_ms: max_ms.and_then(|number| number.whole()).unwrap_or(default.max_ms),
            fail_rate: fail_rate.map_or(default.fail_rate, |number| number.approximate()),
        };
        settings.check(fail_rate)
    }

    /// `fail_rate` as it was written, for the message.
    fn check(self, fail_rate: Option<Number>) -> Result<Self, Wrong> {
        let (min_ms, max_ms) = (decimal(self.min_ms), decimal(self.max_ms));
        let wrong = if self.min_ms > self.max_ms {
            ["min_ms (", &min_ms, ") must not be greater than max_ms (", &max_ms, ")"].concat()
        } else if self.max_ms > WAIT_MS_MAX {
            ["max_ms (", &max_ms, ") must be at most ", &decimal(WAIT_MS_MAX), ", which is a day"].concat()
        } else if !(0.0..=1.0).contains(&self.fail_rate) {
            let written = fail_rate.map_or("", |number| number.text());
            ["fail_rate (", written, ") must be from 0.0 to 1.0"].concat()
        } else {
            return Ok(self);
        };
        Err(Wrong::Range(wrong))
    }
}

const KNOWN: &str = "`, expected one of `min_ms`, `max_ms`, `fail_rate`";

/// What is wrong with an input.
enum Wrong {
    /// It is no object of these numbers.
    Syntax(String),
    /// A number is out of range.
    Range(String),
}

/// Returns a number in decimal digits.
pub fn decimal(number: u64) -> String {
    let digit = char::from(b'0' + (number % 10) as u8);
    let mut digits = if number < 10 { String::new() } else { decimal(number / 10) };
    digits.push(digit);
    digits
}
