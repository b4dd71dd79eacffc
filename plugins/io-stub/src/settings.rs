//! The input of a task: how long to wait and how often to fail.

use serde::Deserialize;

/// The maximum wait: a day.
const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// The settings of a task; all are optional.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
        // serde would also accept an array of the fields in order.
        if !input.starts_with('{') {
            return Err(format!("the input must be an object such as {EXAMPLE}"));
        }
        let settings: Self = serde_json::from_str(input)
            .map_err(|error| format!("{error}; the input is an object such as {EXAMPLE}"))?;
        settings.check()
    }

    fn check(self) -> Result<Self, String> {
        let Self { min_ms, max_ms, fail_rate } = self;
        if min_ms > max_ms {
            Err(format!("min_ms ({min_ms}) must not be greater than max_ms ({max_ms})"))
        } else if max_ms > WAIT_MS_MAX {
            Err(format!("max_ms ({max_ms}) must be at most {WAIT_MS_MAX}, which is a day"))
        } else if !(0.0..=1.0).contains(&fail_rate) {
            Err(format!("fail_rate ({fail_rate}) must be from 0.0 to 1.0"))
        } else {
            Ok(self)
        }
    }
}

const EXAMPLE: &str = r#"{"min_ms": 180000, "max_ms": 300000, "fail_rate": 0.1}"#;
