//! The `[schedule]` table of a manifest: when the plugin runs by itself, and with which input.

use serde::Deserialize;
use serde_json::Value;
use wasmill_model::{InvalidTiming, MissedPolicy, Timing};

use crate::plugin::config::ScheduleConfig;
use crate::plugin::schema::{InputBudget, InputSchema};

/// The key under which the TOML library encodes dates, which JSON lacks.
const DATE: &str = "$__toml_private_datetime";

/// The table as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleTable {
    cron: String,
    timezone: Option<String>,
    missed: Option<String>,
    overlap: Option<bool>,
    input: Option<Value>,
}

impl ScheduleTable {
    pub(super) fn check(self, schema: Option<&InputSchema>) -> Result<ScheduleConfig, String> {
        let Self { cron, timezone, missed, overlap, input } = self;
        let timing =
            Timing::of(&cron, timezone.as_deref().unwrap_or("UTC")).map_err(|error| match error {
                InvalidTiming::Zone => format!("schedule.timezone: {error}"),
                _ => format!("schedule.cron: {error}"),
            })?;
        let missed = match missed.as_deref() {
            None => MissedPolicy::default(),
            Some(word) => MissedPolicy::of(word)
                .ok_or_else(|| format!("schedule.missed must be skip, one or all, not '{word}'"))?,
        };
        let input = input.map(|input| dates_as_text(input).to_string());
        let violation = schema.and_then(|schema| {
            schema.violations(input.as_deref(), &mut InputBudget::full()).into_iter().next()
        });
        if let Some(violation) = violation {
            let position = violation.pointer;
            return Err(format!(
                "schedule.input does not match input.schema: {position}: {}",
                violation.message
            ));
        }
        Ok(ScheduleConfig { timing, missed, overlap: overlap.unwrap_or(true), input })
    }
}

fn dates_as_text(value: Value) -> Value {
    match value {
        Value::Object(mut fields) if fields.len() == 1 && fields.contains_key(DATE) => {
            fields.remove(DATE).unwrap_or_default()
        }
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, dates_as_text(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(dates_as_text).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<ScheduleConfig, String> {
        toml::from_str::<ScheduleTable>(text).map_err(|error| error.message().to_owned())?.check(None)
    }

    #[test]
    fn a_schedule_is_read_with_its_input() {
        let config = check(
            r#"
            cron = "30 2 * * *"
            timezone = "Europe/Berlin"
            missed = "all"
            overlap = false
            input = { urls = ["https://example.com"], since = 2026-01-01T00:00:00Z }
            "#,
        )
        .unwrap();
        assert_eq!((config.timing.expression(), config.timing.zone()), ("30 2 * * *", "Europe/Berlin"));
        assert_eq!((config.missed, config.overlap), (MissedPolicy::All, false));
        let input: Value = serde_json::from_str(&config.input.unwrap()).unwrap();
        assert_eq!(input["since"], "2026-01-01T00:00:00Z");
        assert_eq!(input["urls"][0], "https://example.com");
        let plain = check("cron = \"@daily\"").unwrap();
        assert_eq!(
            (plain.timing.zone(), plain.missed, plain.overlap, plain.input),
            ("UTC", MissedPolicy::One, true, None)
        );
    }

    #[test]
    fn an_invalid_schedule_is_rejected() {
        for (text, named) in [
            ("", "cron"),
            ("cron = \"soon\"", "schedule.cron: "),
            ("cron = \"0 0 30 2 *\"", "schedule.cron: never due"),
            ("cron = \"@daily\"\ntimezone = \"Berlin\"", "schedule.timezone: "),
            ("cron = \"@daily\"\nmissed = \"some\"", "not 'some'"),
            ("cron = \"@daily\"\nevery = 1", "unknown field"),
        ] {
            let reason = check(text).expect_err(text);
            assert!(reason.contains(named), "{text}: {reason}");
        }
        let schema = InputSchema::compile(r#"{"type": "object", "required": ["url"]}"#).unwrap();
        let requested = |text| toml::from_str::<ScheduleTable>(text).unwrap().check(Some(&schema));
        assert!(requested("cron = \"@daily\"\ninput = { url = 1 }").is_ok());
        assert!(requested("cron = \"@daily\"").unwrap_err().contains("does not match"));
    }
}
