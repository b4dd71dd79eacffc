//! The options of a task request that say when it runs, what it is called, and what holds it back.
//!
//! `submit` calls it; each reads one field, or says what it would have to be.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use wasmill_model::{
    Dependencies, Group, OnConflict, Priority, TAGS_MAX, Tag, TaskId, TimeDelta, Timestamp, Unique,
    UniqueKey, Webhook, parse_duration,
};

use crate::depends;
use crate::faults::{Fault, Faults};
use crate::fields::{Fields, text, time_must_be, whole_number};
use crate::webhook;

/// How far ahead a task may be put off: a year.
const DELAY_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The options of one task.
pub(crate) struct Options {
    pub(crate) run_at: Option<Timestamp>,
    /// Whether that was said as a delay.
    pub(crate) is_delayed: bool,
    pub(crate) priority: Priority,
    pub(crate) tags: Vec<Tag>,
    pub(crate) unique: Option<Unique>,
    pub(crate) dependencies: Option<Dependencies>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) group: Option<Group>,
}

/// Takes the options out of the fields of a request; `earlier` are the tasks of its batch before it.
pub(crate) fn take(
    fields: &mut Fields<'_>,
    now: Timestamp,
    earlier: Option<&[TaskId]>,
    faults: &mut Faults,
) -> Options {
    let mut take = |name: &str| fields.take(name);
    let delay = take("delay");
    Options {
        run_at: run_at(delay, take("run_at"), now, faults),
        is_delayed: delay.is_some(),
        priority: priority(take("priority"), faults),
        tags: tags(take("tags"), faults),
        unique: unique(take("unique_key"), take("on_conflict"), faults),
        dependencies: depends::Wishes {
            depends_on: take("depends_on"),
            on_failure: take("on_failure"),
            input_from: take("input_from"),
        }
        .read(earlier, faults),
        webhook: webhook::read(take("webhook"), faults),
        group: group(take("group"), faults),
    }
}

fn run_at(
    delay: Option<&RawValue>,
    run_at: Option<&RawValue>,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<Timestamp> {
    if delay.is_some() && run_at.is_some() {
        faults.push(Fault::field("run_at", "name delay or run_at, not both"));
    }
    let latest = now + TimeDelta::from_std(DELAY_MAX).unwrap_or_default();
    if let Some(value) = delay {
        let delay = text(value)
            .and_then(|text| parse_duration(&text).ok())
            .filter(|delay| *delay <= DELAY_MAX)
            .and_then(|delay| now.checked_add_signed(TimeDelta::from_std(delay).ok()?));
        if delay.is_none() {
            let detail =
                "delay must be a string with a unit, such as \"30s\", of at most 366 days".to_owned();
            let detail = time_must_be(detail, text(value).as_deref());
            faults.push(Fault::field("delay", detail));
        }
        return delay;
    }
    let moment = text(run_at?)
        .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
        .map(|moment| moment.with_timezone(&Utc))
        .filter(|moment| *moment <= latest);
    if moment.is_none() {
        let detail = "run_at must be a time such as \"2026-11-23T07:26:49Z\", at most 366 days ahead";
        faults.push(Fault::field("run_at", detail));
    }
    moment
}

fn priority(value: Option<&RawValue>, faults: &mut Faults) -> Priority {
    let Some(value) = value else { return Priority::default() };
    let priority = whole_number(value).and_then(Priority::of);
    priority.unwrap_or_else(|| {
        let most = Priority::MAX;
        let detail = format!("priority must be a whole number from -{most} to {most}");
        faults.push(Fault::field("priority", detail));
        Priority::default()
    })
}

fn tags(value: Option<&RawValue>, faults: &mut Faults) -> Vec<Tag> {
    let Some(value) = value else { return Vec::new() };
    let texts: Option<Vec<String>> = serde_json::from_str(value.get()).ok();
    let tags: Option<Vec<Tag>> = texts
        .filter(|texts| texts.len() <= TAGS_MAX)
        .and_then(|texts| texts.iter().map(|text| text.parse().ok()).collect());
    let Some(mut tags) = tags else {
        let detail = format!(
            "tags must be an array of at most {TAGS_MAX} strings, each of 1 to 64 characters without control \
             characters"
        );
        faults.push(Fault::field("tags", detail));
        return Vec::new();
    };
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn unique(key: Option<&RawValue>, on_conflict: Option<&RawValue>, faults: &mut Faults) -> Option<Unique> {
    let on_conflict = match on_conflict.map(|value| text(value).unwrap_or_default()) {
        None => OnConflict::default(),
        Some(_) if key.is_none() => {
            faults.push(Fault::field("on_conflict", "on_conflict is for a task with a unique_key"));
            OnConflict::default()
        }
        Some(word) if word == "refuse" => OnConflict::Refuse,
        Some(word) if word == "return" => OnConflict::Return,
        Some(_) => {
            faults.push(Fault::field("on_conflict", "on_conflict must be \"refuse\" or \"return\""));
            OnConflict::default()
        }
    };
    let key: Option<UniqueKey> = text(key?).and_then(|text| text.parse().ok());
    if key.is_none() {
        let detail = "unique_key must be a string of 1 to 255 characters without control characters";
        faults.push(Fault::field("unique_key", detail));
    }
    Some(Unique { key: key?, on_conflict })
}

fn group(value: Option<&RawValue>, faults: &mut Faults) -> Option<Group> {
    let group = text(value?).and_then(|text| text.parse().ok());
    if group.is_none() {
        let detail = "group must be a string of 1 to 64 characters without control characters";
        faults.push(Fault::field("group", detail));
    }
    group
}

/// Returns the group that a tag names which begins so.
pub(crate) fn group_of(tags: &[Tag], prefix: &str) -> Option<Group> {
    tags.iter().find_map(|tag| tag.as_str().strip_prefix(prefix)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Options, Vec<String>) {
        let body: &RawValue = serde_json::from_str(body).expect("JSON");
        let mut fields = Fields::read(body, &crate::submit::FIELDS).expect("an object");
        let mut faults = Faults::default();
        let options = take(&mut fields, DateTime::UNIX_EPOCH, None, &mut faults);
        fields.report("", &mut faults);
        (options, faults.into_parts().1.into_iter().filter_map(|fault| fault.pointer).collect())
    }

    #[test]
    fn options_are_read() {
        let (options, faults) = read(
            r#"{"delay": "90s", "priority": -7, "tags": ["b", "a", "b"], "unique_key": "k", "on_conflict": "return",
                "group": "tenant 42"}"#,
        );
        assert_eq!(options.group.as_ref().map(Group::as_str), Some("tenant 42"));
        assert!(faults.is_empty());
        assert_eq!(options.run_at, Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(90)));
        assert_eq!(options.priority.get(), -7);
        assert_eq!(options.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(options.unique.map(|unique| unique.on_conflict), Some(OnConflict::Return));
        let (options, _) = read(r#"{"run_at": "1970-01-01T01:00:05+01:00", "tags": null}"#);
        assert_eq!(options.run_at, Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(5)));
        let (options, faults) = read("{}");
        assert!(options.run_at.is_none() && options.unique.is_none() && faults.is_empty());
    }

    #[test]
    fn a_tag_may_name_the_group() {
        let tags =
            |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a tag")).collect::<Vec<Tag>>();
        let group = |texts: &[&str]| group_of(&tags(texts), "tenant:").map(|group| group.as_str().to_owned());
        assert_eq!(group(&["eu", "tenant:42"]).as_deref(), Some("42"));
        assert_eq!(group(&["tenant:", "tenants:1", "a tenant:2"]), None);
    }

    #[test]
    fn options_that_make_no_sense_are_faults() {
        for (body, pointer) in [
            (r#"{"delay": "soon"}"#, "/delay"),
            (r#"{"delay": 5}"#, "/delay"),
            (r#"{"delay": "367days"}"#, "/delay"),
            (r#"{"delay": "1s", "run_at": "1970-01-01T00:00:00Z"}"#, "/run_at"),
            (r#"{"run_at": "tomorrow"}"#, "/run_at"),
            (r#"{"run_at": "9999-01-01T00:00:00Z"}"#, "/run_at"),
            (r#"{"priority": 1001}"#, "/priority"),
            (r#"{"priority": 0.5}"#, "/priority"),
            (r#"{"delay": "5M"}"#, "/delay"),
            (r#"{"priority": 1, "priority": 1}"#, "/priority"),
            (r#"{"priority": "high"}"#, "/priority"),
            (r#"{"tags": "a"}"#, "/tags"),
            (r#"{"tags": [""]}"#, "/tags"),
            (
                r#"{"tags": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}"#,
                "/tags",
            ),
            (r#"{"unique_key": ""}"#, "/unique_key"),
            (r#"{"unique_key": ["a"]}"#, "/unique_key"),
            (r#"{"unique_key": "a", "on_conflict": "replace"}"#, "/on_conflict"),
            (r#"{"on_conflict": "return"}"#, "/on_conflict"),
            (r#"{"webhook": "nowhere"}"#, "/webhook"),
            (r#"{"group": ""}"#, "/group"),
            (r#"{"group": 42}"#, "/group"),
        ] {
            assert_eq!(read(body).1, [pointer], "{body}");
        }
    }
}
