//! Checks that the webhook secrets can be read. It never shows them.

use super::report::Check;
use crate::config::Config;
use crate::serve::checked::webhook_secrets;

pub(super) fn secrets(config: &Config) -> Check {
    match webhook_secrets(config) {
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
