//! What the built-in plugin takes, so that a wrong input is refused when a task is submitted. The rules are those
//! that the plugin itself goes by.

#[path = "../../../plugins/io-stub/src/settings.rs"]
#[expect(unreachable_pub, reason = "it is a module of the plugin")]
mod settings;

/// Says what is wrong with an input of `io-stub`.
pub(crate) fn check(input: &str) -> Result<(), String> {
    settings::Settings::parse(input).map(|_| ())
}
