//! Input validation of the built-in plugin at submit time, by the plugin's own rules.

#[path = "../../../../plugins/io-stub/src/settings.rs"]
#[expect(unreachable_pub, reason = "it is a module of the plugin")]
mod settings;

/// Returns what is wrong with an input of `io-stub`.
pub(crate) fn check(input: &str) -> Result<(), String> {
    settings::Settings::parse(input).map(|_| ())
}
