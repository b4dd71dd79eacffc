//! Parses the options of a task request: timing, labels, uniqueness, dependencies and webhook.
//!
//! `submit` calls it. Each function parses one field, or reports what is expected.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use wasmill_access::Identity;
use wasmill_model::{
    ATTEMPTS_MAX, GROUP_CHARS_MAX, Group, KEY_CHARS_MAX, KeySpace, NewDependencies, OnConflict, Priority,
    TAG_CHARS_MAX, TAGS_MAX, Tag, TaskId, TimeDelta, Timestamp, Unique, UniqueKey, Webhook, parse_duration,
};

use crate::http::fields::{Fields, duration_error, text, whole_number};
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::task::request::dependencies;
use crate::task::request::webhook;

/// Maximum delay of a task.
const DELAY_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The options of one task.
pub(crate) struct Options {
    pub(crate) run_at: Option<Timestamp>,
    /// Whether `run_at` was given as a delay.
    pub(crate) is_delayed: bool,
    pub(crate) priority: Priority,
    pub(crate) tags: Vec<Tag>,
    pub(crate) unique: Option<Unique>,
    pub(crate) dependencies: Option<NewDependencies>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) group: Option<Group>,
}

impl Options {
    /// Keeps a task within the reach of its sender: adds tags and a group that every task within has, and reports what
    /// would be outside. Without a group, the tag with the prefix `group_tag` names it.
    pub(crate) fn within(
        mut self,
        sender: &Identity,
        group_tag: Option<&str>,
        errors: &mut FieldErrors,
    ) -> Self {
        let reach = sender.reach();
        let missing: Vec<_> = reach.tags().iter().filter(|tag| !self.tags.contains(tag)).cloned().collect();
        if !missing.is_empty() {
            self.tags.extend(missing);
            self.tags.sort_unstable();
        }
        if self.tags.len() > TAGS_MAX {
            let added = reach.tags().iter().map(Tag::as_str).collect::<Vec<_>>().join(", ");
            let detail = format!("tags must be at most {TAGS_MAX} with those that the key adds: {added}");
            errors.push(FieldError::field("tags", detail));
        }
        let group = self.group.or_else(|| group_of(&self.tags, group_tag?));
        self.group = group.or_else(|| reach.only_group().cloned());
        if !reach.covers_group(self.group.as_ref().map(Group::as_str)) {
            let groups = reach.groups().iter().map(Group::as_str).collect::<Vec<_>>().join(", ");
            let detail = format!("group must be one that the key reaches: {groups}");
            errors.push(FieldError::field("group", detail));
        }
        if let Some(unique) = &mut self.unique {
            unique.space = sender.space();
        }
        self
    }
}

/// Parses the options of a request; `earlier` holds the ids of the preceding tasks of its batch.
pub(crate) fn take(
    fields: &mut Fields<'_>,
    now: Timestamp,
    earlier: Option<&[TaskId]>,
    errors: &mut FieldErrors,
) -> Options {
    let mut take = |name: &str| fields.take(name);
    let delay = take("delay");
    Options {
        run_at: run_at(delay, take("run_at"), now, errors),
        is_delayed: delay.is_some(),
        priority: priority(take("priority"), errors),
        tags: tags(take("tags"), errors),
        unique: unique(take("unique_key"), take("on_conflict"), errors),
        dependencies: dependencies::DependencyFields {
            depends_on: take("depends_on"),
            on_failure: take("on_failure"),
            input_from: take("input_from"),
            files_from: take("files_from"),
        }
        .read(earlier, errors),
        webhook: webhook::read(take("webhook"), errors),
        group: group(take("group"), errors),
    }
}

/// Parses the timeout. It may exceed the plugin's, which is only a default, but not the host's maximum.
pub(crate) fn timeout(
    value: Option<&RawValue>,
    max: Duration,
    default: Duration,
    errors: &mut FieldErrors,
) -> Duration {
    let Some(value) = value else { return default };
    let parsed = text(value)
        .and_then(|text| parse_duration(&text).ok())
        .filter(|timeout| *timeout >= Duration::from_millis(1) && *timeout <= max);
    parsed.unwrap_or_else(|| {
        let max = humantime::format_duration(max);
        let detail = format!("timeout must be a duration such as \"30s\", from 1ms to {max}");
        errors.push(FieldError::field("timeout", duration_error(detail, text(value).as_deref())));
        default
    })
}

/// Parses the maximum number of attempts.
pub(crate) fn attempts_max(value: Option<&RawValue>, default: u32, errors: &mut FieldErrors) -> u32 {
    let Some(value) = value else { return default };
    let attempts = whole_number(value).and_then(|attempts| u32::try_from(attempts).ok());
    attempts.filter(|attempts| (1..=ATTEMPTS_MAX).contains(attempts)).unwrap_or_else(|| {
        let detail = format!("max_attempts must be an integer from 1 to {ATTEMPTS_MAX}");
        errors.push(FieldError::field("max_attempts", detail));
        default
    })
}

fn run_at(
    delay: Option<&RawValue>,
    run_at: Option<&RawValue>,
    now: Timestamp,
    errors: &mut FieldErrors,
) -> Option<Timestamp> {
    if delay.is_some() && run_at.is_some() {
        errors.push(FieldError::field("run_at", "delay and run_at cannot be combined"));
    }
    let run_at_max = now + TimeDelta::from_std(DELAY_MAX).unwrap_or_default();
    if let Some(value) = delay {
        let delay = text(value)
            .and_then(|text| parse_duration(&text).ok())
            .filter(|delay| *delay <= DELAY_MAX)
            .and_then(|delay| now.checked_add_signed(TimeDelta::from_std(delay).ok()?));
        if delay.is_none() {
            let detail = "delay must be a duration such as \"30s\", at most 366 days".to_owned();
            errors.push(FieldError::field("delay", duration_error(detail, text(value).as_deref())));
        }
        return delay;
    }
    let time = text(run_at?)
        .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
        .map(|time| time.with_timezone(&Utc))
        .filter(|time| *time <= run_at_max);
    if time.is_none() {
        let detail = "run_at must be a time such as \"2026-11-23T07:26:49Z\", at most 366 days ahead";
        errors.push(FieldError::field("run_at", detail));
    }
    time
}

fn priority(value: Option<&RawValue>, errors: &mut FieldErrors) -> Priority {
    let Some(value) = value else { return Priority::default() };
    let priority = whole_number(value).and_then(Priority::of);
    priority.unwrap_or_else(|| {
        let max = Priority::MAX;
        let detail = format!("priority must be an integer from -{max} to {max}");
        errors.push(FieldError::field("priority", detail));
        Priority::default()
    })
}

fn tags(value: Option<&RawValue>, errors: &mut FieldErrors) -> Vec<Tag> {
    let Some(value) = value else { return Vec::new() };
    let texts: Option<Vec<String>> = serde_json::from_str(value.get()).ok();
    let tags: Option<Vec<Tag>> = texts
        .filter(|texts| texts.len() <= TAGS_MAX)
        .and_then(|texts| texts.iter().map(|text| text.parse().ok()).collect());
    let Some(mut tags) = tags else {
        let detail = format!(
            "tags must be an array of at most {TAGS_MAX} strings, each of 1 to {TAG_CHARS_MAX} characters without control \
             characters"
        );
        errors.push(FieldError::field("tags", detail));
        return Vec::new();
    };
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn unique(
    key: Option<&RawValue>,
    on_conflict: Option<&RawValue>,
    errors: &mut FieldErrors,
) -> Option<Unique> {
    let on_conflict = match on_conflict.map(|value| text(value).unwrap_or_default()) {
        None => OnConflict::default(),
        Some(_) if key.is_none() => {
            errors.push(FieldError::field("on_conflict", "on_conflict requires unique_key"));
            OnConflict::default()
        }
        Some(word) if word == "refuse" => OnConflict::Refuse,
        Some(word) if word == "return" => OnConflict::Return,
        Some(_) => {
            errors.push(FieldError::field("on_conflict", "on_conflict must be \"refuse\" or \"return\""));
            OnConflict::default()
        }
    };
    let key: Option<UniqueKey> = text(key?).and_then(|text| text.parse().ok());
    if key.is_none() {
        let detail = format!(
            "unique_key must be a string of 1 to {KEY_CHARS_MAX} characters without control characters"
        );
        errors.push(FieldError::field("unique_key", detail));
    }
    Some(Unique { key: key?, on_conflict, space: KeySpace::default() })
}

fn group(value: Option<&RawValue>, errors: &mut FieldErrors) -> Option<Group> {
    let group = text(value?).and_then(|text| text.parse().ok());
    if group.is_none() {
        let detail =
            format!("group must be a string of 1 to {GROUP_CHARS_MAX} characters without control characters");
        errors.push(FieldError::field("group", detail));
    }
    group
}

/// Returns the group named by the first tag with this prefix.
fn group_of(tags: &[Tag], prefix: &str) -> Option<Group> {
    tags.iter().find_map(|tag| tag.as_str().strip_prefix(prefix)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Options, Vec<String>) {
        let body: &RawValue = serde_json::from_str(body).expect("JSON");
        let mut fields = Fields::read(body, &crate::task::submit::FIELDS).expect("an object");
        let mut errors = FieldErrors::default();
        let options = take(&mut fields, DateTime::UNIX_EPOCH, None, &mut errors);
        fields.report("", &mut errors);
        (options, errors.into_parts().1.into_iter().filter_map(|error| error.pointer).collect())
    }

    #[test]
    fn options_are_parsed() {
        let (options, errors) = read(
            r#"{"delay": "90s", "priority": -7, "tags": ["b", "a", "b"], "unique_key": "k", "on_conflict": "return",
                "group": "tenant 42"}"#,
        );
        assert_eq!(options.group.as_ref().map(Group::as_str), Some("tenant 42"));
        assert!(errors.is_empty());
        assert_eq!(options.run_at, Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(90)));
        assert_eq!(options.priority.get(), -7);
        assert_eq!(options.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(options.unique.map(|unique| unique.on_conflict), Some(OnConflict::Return));
        let (options, _) = read(r#"{"run_at": "1970-01-01T01:00:05+01:00", "tags": null}"#);
        assert_eq!(options.run_at, Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(5)));
        let (options, errors) = read("{}");
        assert!(options.run_at.is_none() && options.unique.is_none() && errors.is_empty());
    }

    #[test]
    fn a_tag_with_the_prefix_sets_the_group() {
        let tags =
            |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a tag")).collect::<Vec<Tag>>();
        let group = |texts: &[&str]| group_of(&tags(texts), "tenant:").map(|group| group.as_str().to_owned());
        assert_eq!(group(&["eu", "tenant:42"]).as_deref(), Some("42"));
        assert_eq!(group(&["tenant:", "tenants:1", "a tenant:2"]), None);
    }

    #[test]
    fn invalid_options_are_errors() {
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
