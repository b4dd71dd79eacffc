//! Parses the field `webhook` of a task request: a URL, or an object that also selects outcomes.

use axum::http::Uri;
use schemars::JsonSchema;
use serde_json::value::RawValue;
use wasmill_egress::Endpoint;
use wasmill_model::{TaskState, Webhook};

use crate::http::fields::{Fields, text};
use crate::problem::field_errors::{FieldError, FieldErrors};

/// Maximum length of a URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// Receiver of a webhook when the task finishes.
// For the OpenAPI document only.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Webhook")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum WebhookRequest {
    /// Delivers every outcome.
    Everything(WebhookUrl),
    Some(WebhookObject),
}

/// A URL and selected outcomes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WebhookObject {
    url: WebhookUrl,
    /// Outcomes to deliver, by default all.
    #[schemars(length(min = 1))]
    on: Option<Vec<FinalState>>,
}

/// Outcome of a task.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum FinalState {
    Completed,
    Failed,
    Cancelled,
}

/// An absolute URL without user info and fragment.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WebhookUrl(
    #[schemars(length(max = URL_BYTES_MAX), regex(pattern = r#"^[Hh][Tt][Tt][Pp][Ss]?://[!-"$-~]+$"#))]
    String,
);

/// Parses the field, or reports what is expected.
pub(crate) fn read(value: Option<&RawValue>, errors: &mut FieldErrors) -> Option<Webhook> {
    let value = value?;
    let mut error = |pointer: &str, detail: String| {
        errors.push(FieldError::at(format!("/webhook{pointer}"), detail));
    };
    if let Some(url) = text(value) {
        return check(&url)
            .map_err(|why| error("", why))
            .ok()
            .map(|origin| webhook_for(url, origin, final_states()));
    }
    let Some(mut fields) = Fields::read(value, &["url", "on"]) else {
        let example = r#"{"url": "https://…", "on": ["failed"]}"#;
        error(
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
            error("/url", why);
            None
        }
        None => {
            error("/url", "webhook.url must be a string such as \"https://example.com/hook\"".to_owned());
            None
        }
    };
    let on = fields.take("on").map_or_else(|| Some(final_states()), states);
    if on.is_none() {
        let detail =
            "webhook.on must be an array of at least one of \"completed\", \"failed\", \"cancelled\"";
        error("/on", detail.to_owned());
    }
    fields.report("/webhook", errors);
    Some(webhook_for(url?, origin?, on?))
}

fn webhook_for(url: String, origin: String, on: Vec<TaskState>) -> Webhook {
    Webhook { url, origin, on }
}

fn final_states() -> Vec<TaskState> {
    TaskState::ALL.into_iter().filter(|state| state.is_final()).collect()
}

fn states(value: &RawValue) -> Option<Vec<TaskState>> {
    let status_text: Vec<String> = serde_json::from_str(value.get()).ok()?;
    let known = |word: &String| final_states().into_iter().find(|end| end.as_str() == word);
    let states: Vec<_> = status_text.iter().map(known).collect::<Option<_>>()?;
    (!states.is_empty()).then_some(states)
}

/// Returns the origin of a valid URL, or why it is invalid.
fn check(url: &str) -> Result<String, String> {
    if url.len() > URL_BYTES_MAX {
        return Err(format!("the URL of a webhook may have at most {URL_BYTES_MAX} bytes"));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the URL of a webhook must be visible ASCII; percent-encode other characters".to_owned());
    }
    let begins_with =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !begins_with("https://") && !begins_with("http://") {
        return Err("the URL of a webhook must start with https:// or http://".to_owned());
    }
    // `Uri` drops a fragment silently.
    if url.contains('#') {
        return Err(
            "the URL of a webhook must not have a fragment, which is never sent to a server".to_owned()
        );
    }
    let uri: Uri = url.parse().map_err(|error| format!("the URL of a webhook is not valid: {error}"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let why = "the URL of a webhook must not contain a user or password, since everyone who can read the \
                   task would see them; deliveries are signed instead";
        return Err(why.to_owned());
    }
    let endpoint = Endpoint::of(&uri).ok_or("the URL of a webhook must have a valid host and port")?;
    Ok(endpoint.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> (Option<Webhook>, Vec<String>) {
        let value: &RawValue = serde_json::from_str(text).expect(text);
        let mut errors = FieldErrors::default();
        let webhook = read(Some(value), &mut errors);
        (webhook, errors.into_parts().1.into_iter().filter_map(|error| error.pointer).collect())
    }

    #[test]
    fn a_url_selects_every_outcome_and_an_object_selects_some() {
        let (webhook, errors) = read_all(r#""https://Example.com:443/@me?a=b""#);
        let webhook = webhook.expect("a webhook");
        assert!(errors.is_empty() && webhook.on.len() == 3);
        assert_eq!(
            (webhook.url.as_str(), webhook.origin.as_str()),
            ("https://Example.com:443/@me?a=b", "https://example.com")
        );
        let (webhook, _) = read_all(r#"{"url": "http://[::1]:9", "on": ["failed", "failed"]}"#);
        let webhook = webhook.expect("a webhook");
        assert!(webhook.on.iter().all(|end| *end == TaskState::Failed) && webhook.origin == "http://[::1]:9");
        let (webhook, _) = read_all(r#"{"url": "http://a", "on": null}"#);
        assert_eq!(webhook.map(|webhook| webhook.on.len()), Some(3));
        let (webhook, errors) = read_all(r#""HTTPS://A/b""#);
        assert_eq!((webhook.expect("a webhook").origin.as_str(), errors.len()), ("https://a", 0));
        assert_eq!(read(None, &mut FieldErrors::default()), None);
    }

    #[test]
    fn invalid_webhooks_are_errors() {
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
            let (webhook, errors) = read_all(text);
            let expected: Vec<_> = pointers.iter().map(|pointer| format!("/webhook{pointer}")).collect();
            assert_eq!((webhook, errors), (None, expected), "{text}");
        }
    }
}
