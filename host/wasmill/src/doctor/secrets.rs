//! Checks that the secrets of plugins can be read, and that nobody else can read their files. It never shows a value.

use super::keys::readable;
use super::report::Check;
use crate::settings::Settings;

const NAME: &str = "secrets";

pub(super) fn checks(settings: &Settings) -> Vec<Check> {
    let secrets = settings.secrets.secrets();
    let mut checks = Vec::new();
    for name in secrets.names() {
        if let Err(why) = secrets.check(name) {
            checks.push(Check::warn(
                NAME,
                format!("the secret {name} cannot be used: {why}"),
                "plugins that use it are rejected",
                format!("correct it, or its line in [secrets] of {}", settings.config.display()),
            ));
        }
    }
    checks.extend(secrets.files().filter_map(|path| readable(NAME, path)));
    if checks.is_empty() && secrets.names().next().is_some() {
        checks.push(Check::ok(NAME, format!("{} can be read", secrets.names().count())));
    }
    checks
}
