//! Checks the settings of the trace collector. It sends nothing.

use std::sync::Arc;

use wasmill_model::{Clock, SystemClock};

use super::report::Check;
use crate::settings::Settings;
use crate::telemetry;

pub(super) fn collector(settings: &Settings) -> Check {
    const NAME: &str = "traces";
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match telemetry::traces(settings.otlp_endpoint.as_deref(), &clock) {
        Ok((_, None)) => Check::ok(NAME, "not exported, there is no collector"),
        Ok((_, Some(_))) => Check::ok(NAME, "exported"),
        Err(error) => Check::fail(
            NAME,
            format!("{error:#}"),
            "serve does not start",
            "correct --otlp-endpoint or the variable of OpenTelemetry that the message names",
        ),
    }
}
