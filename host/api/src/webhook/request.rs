//! Reads the field `webhook` of a task request: a URL, or an object that says of which ends it is told.

use axum::http::Uri;
use schemars::JsonSchema;
use serde_json::value::RawValue;
use wasmill_egress::Endpoint;
use wasmill_model::{TaskState, Webhook};

use crate::field_errors::{Fault, Faults};
use crate::fields::{Fields, text};

/// Bytes of the longest URL.
const URL_BYTES_MAX: usize = 2_048;

/// Whom to tell when the task ends.
// For the API document only.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Webhook")]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) enum WebhookWish {
    /// Told of every end.
    Everything(Url),
    Some(Chosen),
}

/// Where to tell it, and of which ends.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) struct Chosen {
    url: Url,
    /// Of which ends; of all unless said otherwise.
    #[schemars(length(min = 1))]
    on: Option<Vec<End>>,
}

/// An end of a task.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) enum End {
    Completed,
    Failed,
    Cancelled,
}

/// Where to tell it: an absolute URL without a user and without a fragment.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) struct Url(
    #[schemars(length(max = URL_BYTES_MAX), regex(pattern = r#"^[Hh][Tt][Tt][Pp][Ss]?://[!-"$-~]+$"#))]
    String,
);

/// Reads the field, or says what it would have to be.
pub(crate) fn read(value: Option<&RawValue>, faults: &mut Faults) -> Option<Webhook> {
    let value = value?;
    let mut fault = |pointer: &str, detail: String| {
        faults.push(Fault::at(format!("/webhook{pointer}"), detail));
    };
    if let Some(url) = text(value) {
        return check(&url).map_err(|why| fault("", why)).ok().map(|origin| told_of(url, origin, all_ends()));
    }
    let Some(mut fields) = Fields::read(value, &["url", "on"]) else {
        let example = r#"{"url": "https://…", "on": ["failed"]}"#;
        fault(
            "",
            format!(
                "webhook must be a URL such as \"https://example.com/hook\", or an object such as {example}"
            ),
        );
        return None;
    };
    let url = fields.take("url").and_then(text);
    let origin = match url.as_deref().map(check) {
        Some(Ok(origin)) => Some(origin),
        Some(Err(why)) => {
            fault("/url", why);
            None
        }
        None => {
            fault("/url", "webhook.url must be a string such as \"https://example.com/hook\"".to_owned());
            None
        }
    };
    let on = fields.take("on").map_or_else(|| Some(all_ends()), ends);
    if on.is_none() {
        let detail =
            "webhook.on must be an array of at least one of \"completed\", \"failed\", \"cancelled\"";
        fault("/on", detail.to_owned());
    }
    fields.report("/webhook", faults);
    Some(told_of(url?, origin?, on?))
}

fn told_of(url: String, origin: String, on: Vec<TaskState>) -> Webhook {
    Webhook { url, origin, on }
}

fn all_ends() -> Vec<TaskState> {
    TaskState::ALL.into_iter().filter(|state| state.is_final()).collect()
}

fn ends(value: &RawValue) -> Option<Vec<TaskState>> {
    let words: Vec<String> = serde_json::from_str(value.get()).ok()?;
    let known = |word: &String| all_ends().into_iter().find(|end| end.as_str() == word);
    let ends: Vec<_> = words.iter().map(known).collect::<Option<_>>()?;
    (!ends.is_empty()).then_some(ends)
}

/// Returns the origin of a URL that can be told, or says why it cannot.
fn check(url: &str) -> Result<String, String> {
    if url.len() > URL_BYTES_MAX {
        return Err(format!("the URL of a webhook is at most {URL_BYTES_MAX} bytes long"));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the URL of a webhook holds visible ASCII alone; write the rest as %XX".to_owned());
    }
    let begins_with =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !begins_with("https://") && !begins_with("http://") {
        return Err("the URL of a webhook begins with https:// or http://".to_owned());
    }
    // Parsers drop it without a word.
    if url.contains('#') {
        return Err(
            "the URL of a webhook has no fragment: a receiver never sees what is behind the #".to_owned()
        );
    }
    let uri: Uri = url.parse().map_err(|error| format!("the URL of a webhook is not valid: {error}"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let why = "the URL of a webhook names no user and no password: whoever sees the task would see them, and \
                   deliveries are signed";
        return Err(why.to_owned());
    }
    let endpoint =
        Endpoint::of(&uri).ok_or("the URL of a webhook names no host and port that could be reached")?;
    Ok(endpoint.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> (Option<Webhook>, Vec<String>) {
        let value: &RawValue = serde_json::from_str(text).expect(text);
        let mut faults = Faults::default();
        let webhook = read(Some(value), &mut faults);
        (webhook, faults.into_parts().1.into_iter().filter_map(|fault| fault.pointer).collect())
    }

    #[test]
    fn a_url_is_told_of_every_end_and_an_object_of_those_it_names() {
        let (webhook, faults) = read_all(r#""https://Example.com:443/@me?a=b""#);
        let webhook = webhook.expect("a webhook");
        assert!(faults.is_empty() && webhook.on.len() == 3);
        assert_eq!(
            (webhook.url.as_str(), webhook.origin.as_str()),
            ("https://Example.com:443/@me?a=b", "https://example.com")
        );
        let (webhook, _) = read_all(r#"{"url": "http://[::1]:9", "on": ["failed", "failed"]}"#);
        let webhook = webhook.expect("a webhook");
        assert!(webhook.on.iter().all(|end| *end == TaskState::Failed) && webhook.origin == "http://[::1]:9");
        let (webhook, _) = read_all(r#"{"url": "http://a", "on": null}"#);
        assert_eq!(webhook.map(|webhook| webhook.on.len()), Some(3));
        let (webhook, faults) = read_all(r#""HTTPS://A/b""#);
        assert_eq!((webhook.expect("a webhook").origin.as_str(), faults.len()), ("https://a", 0));
        assert_eq!(read(None, &mut Faults::default()), None);
    }

    #[test]
    fn what_cannot_be_told_is_a_fault() {
        let long = format!("\"https://a/{}\"", "x".repeat(2_039));
        for (text, pointers) in [
            ("7", vec![""]),
            (r#""""#, vec![""]),
            (r#""ftp://a/""#, vec![""]),
            (r#""https://""#, vec![""]),
            (r#""https://user:secret@a/""#, vec![""]),
            (r#""https://user@a/""#, vec![""]),
            (r#""https://a/#b""#, vec![""]),
            (r#""https://a:99999/""#, vec![""]),
            (r#""https://a/ b""#, vec![""]),
            (r#""https://ä/""#, vec![""]),
            (&long, vec![""]),
            ("{}", vec!["/url"]),
            (r#"{"url": 7, "on": [], "secret": "s"}"#, vec!["/url", "/on", "/secret"]),
            (r#"{"url": "https://a", "on": ["running"]}"#, vec!["/on"]),
            (r#"{"url": "a", "on": "failed"}"#, vec!["/url", "/on"]),
        ] {
            let (webhook, faults) = read_all(text);
            let expected: Vec<_> = pointers.iter().map(|pointer| format!("/webhook{pointer}")).collect();
            assert_eq!((webhook, faults), (None, expected), "{text}");
        }
    }
}
