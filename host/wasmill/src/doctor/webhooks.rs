//! Checks that the webhook secrets can be read. It never shows them.

use super::report::Check;
use crate::serve::webhook_config::webhook_secrets;
use crate::settings::Settings;

pub(super) fn secrets(settings: &Settings) -> Check {
    match webhook_secrets(settings) {
        Ok(secrets) if secrets.is_empty() => Check::ok("webhooks", "unsigned, there is no secret"),
        Ok(_) => Check::ok("webhooks", "signed"),
        Err(error) => Check::fail(
            "webhooks",
            format!("{error:#}"),
            "serve does not start",
            "echo \"whsec_$(head -c 32 /dev/urandom | base64)\" > FILE, and name it with --webhook-secret-file",
        ),
    }
}
