//! Times: as UTC in the HTML, so that a page is the same for everybody and for the next second; `ui.js` shows
//! them as ages.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

/// How `ui.js` shows a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As the time since then, or until then.
    Age,
    /// As a local time.
    Local,
}

/// Shows an RFC 3339 time.
pub fn time(text: &str, show: Show) -> Markup {
    let Some(time) = parse(text) else { return html! { span { (super::text::brief(text, 40)) } } };
    let attribute = match show {
        Show::Age => "age",
        Show::Local => "local",
    };
    html! {
        time datetime=(time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)) data-time=(attribute)
            title=(time.format("%Y-%m-%d %H:%M:%S%.3f UTC")) { (time.format("%Y-%m-%d %H:%M:%S")) " UTC" }
    }
}

/// Shows a time that may be missing.
pub fn optional(text: Option<&str>, show: Show) -> Markup {
    match text {
        Some(text) => time(text, show),
        None => html! { span.none { "–" } },
    }
}

/// Parses an RFC 3339 time.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// Returns the time that is this long before another one, in whole seconds.
pub fn before(time: &str, millis: u64) -> String {
    let millis = i64::try_from(millis).ok().and_then(TimeDelta::try_milliseconds);
    let then = parse(time).zip(millis).and_then(|(time, millis)| time.checked_sub_signed(millis));
    then.map_or_else(String::new, |then| then.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// Returns the milliseconds from one time to another; 0 if they are the other way round.
pub fn between(from: &str, until: &str) -> Option<u64> {
    let passed = parse(until)?.signed_duration_since(parse(from)?);
    Some(u64::try_from(passed.num_milliseconds()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_without_script_and_a_wrong_one_stays_text() {
        let shown = time("2026-11-23T07:26:49.603656725Z", Show::Age).into_string();
        assert!(
            shown.contains("datetime=\"2026-11-23T07:26:49.603Z\"") && shown.ends_with("07:26:49 UTC</time>")
        );
        assert_eq!(time("<b>", Show::Age).into_string(), "<span>&lt;b&gt;</span>");
        assert_eq!(between("2026-11-23T07:00:00Z", "2026-11-23T07:00:01.5Z"), Some(1_500));
        assert_eq!(before("2026-11-23T07:00:02.5Z", 1_600), "2026-11-23T07:00:00Z");
        assert_eq!((before("", 1), before("2026-11-23T07:00:00Z", u64::MAX)), (String::new(), String::new()));
        assert_eq!(between("2026-11-23T07:00:01Z", "2026-11-23T07:00:00Z"), Some(0));
    }
}
