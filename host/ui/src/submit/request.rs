//! A task request as people enter it: fields for what they change most, JSON for the rest.

use serde_json::value::RawValue;

use crate::part::json;
use crate::problem::FieldError;
use crate::schema::{Field, FieldKind, fill, lay_out, read, sent};

/// The option for what has no field.
pub const MORE: &str = "more";

/// Options of a task besides its input: name, label, hint.
pub const OPTIONS: [(&str, &str, &str); 9] = [
    ("timeout", "Timeout", "10m"),
    ("max_attempts", "Attempts", "3"),
    ("delay", "Delay", "30s"),
    ("priority", "Priority", "0"),
    ("tags", "Tags, separated by commas", "tenant:42, nightly"),
    ("unique_key", "Unique key", "report-7"),
    ("group", "Group", "tenant 42"),
    ("webhook", "Webhook", "https://example.com/hook"),
    (MORE, "Other keys of the request, as JSON", "{\"backoff\": {\"first\": \"1s\"}}"),
];

/// What is entered of a task request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its plugin.
    pub plugin: String,
    /// The schema of the plugin, as its file has it.
    pub schema: Option<String>,
    /// The input as JSON; empty for none.
    pub input: String,
    /// What was entered for the options.
    pub options: Vec<(String, String)>,
    /// Whether the input is shown as JSON although there is a schema.
    pub as_json: bool,
    /// The form as it was sent, if it was.
    pub sent: SentForm,
}

/// A form as it was sent.
#[derive(Clone, Debug, Default)]
pub struct SentForm {
    form: Option<Field>,
    /// What was sent of the form that the input was taken from, encoded, and that input.
    kept: Option<(String, String)>,
}

impl Request {
    /// Takes a request apart into fields. What no field shows as it was written goes into one for JSON.
    pub fn of_json(task: &str) -> Self {
        let mut request = Self::default();
        let mut more = Vec::new();
        for (name, value) in json::members(task).unwrap_or_default() {
            let value = value.get();
            match (name.as_str(), field(&name, value)) {
                ("plugin", Some(plugin)) => request.plugin = plugin,
                ("input", _) => value.clone_into(&mut request.input),
                (_, Some(entered)) => request.options.push((name, entered)),
                _ => more.push((name, value.to_owned())),
            }
        }
        if !more.is_empty() {
            request.options.push((MORE.to_owned(), json::object(&more)));
        }
        request
    }

    /// Takes over what was sent of a form that was laid out for a plugin with this schema.
    ///
    /// # Errors
    ///
    /// A box for JSON in the form has something else. The request has what was entered nevertheless.
    pub fn of_form(pairs: &[(&str, &str)], schema: Option<String>) -> (Self, Result<(), FieldError>) {
        let value = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let text = |name: &str| value(name).unwrap_or_default().to_owned();
        let option = |name: &str| Some((name.to_owned(), text(&format!("option-{name}"))));
        let mut request = Self {
            plugin: text("laid-out"),
            schema,
            options: OPTIONS.iter().filter_map(|(name, ..)| option(name)).collect(),
            as_json: value("shown") == Some("json"),
            input: text("input").trim().to_owned(),
            ..Self::default()
        };
        request.options.retain(|(_, entered)| !entered.is_empty());
        let kept = value("kept").zip(value("was"));
        request.sent.kept = kept.map(|(kept, was)| (kept.to_owned(), was.to_owned()));
        let Some(mut form) = request.fresh() else { return (request, Ok(())) };
        let read = read(&form, &value);
        fill(&mut form, &value);
        request.sent.form = Some(form);
        let read = read.map(|input| request.input = input.unwrap_or_default());
        (request, read)
    }

    /// Returns the empty form of the input, if there is one.
    fn fresh(&self) -> Option<Field> {
        let form = lay_out(self.schema.as_deref().filter(|_| !self.as_json)?, None);
        is_form(&form).then_some(form)
    }

    /// Returns the form of the input, if one is shown.
    pub(super) fn form(&self) -> Option<Field> {
        if self.sent.form.is_some() {
            return self.sent.form.clone();
        }
        let schema = self.schema.as_deref().filter(|_| !self.as_json)?;
        let form = lay_out(schema, Some(self.input.trim()).filter(|input| !input.is_empty()));
        is_form(&form).then_some(form)
    }

    /// Shows the input as JSON or as a form; back from JSON that nobody has changed, the form is as it was.
    pub fn show_as(&mut self, json: bool) {
        if json {
            let form = self.sent.form.take();
            let pairs = form.as_ref().map(sent).unwrap_or_default();
            let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            self.sent.kept = form.map(|_| (pairs, self.input.clone()));
        }
        self.as_json = json;
        let kept = self.sent.kept.as_ref().filter(|(_, was)| !json && same(was, &self.input));
        if let Some((kept, _)) = kept
            && let Some(mut form) = self.fresh()
        {
            let pairs: Vec<_> = form_urlencoded::parse(kept.as_bytes()).into_owned().collect();
            fill(&mut form, &|name| {
                pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            });
            self.sent.form = Some(form);
        }
    }

    /// Returns what the JSON view keeps of the form before.
    pub(super) fn kept(&self) -> Option<&(String, String)> {
        self.sent.kept.as_ref().filter(|_| self.as_json)
    }

    /// Changes the plugin. What was entered for the input stays, unless that was nothing.
    pub fn change_plugin(&mut self, plugin: &str, schema: Option<String>) {
        let untouched = self.fresh().map(|fresh| sent(&fresh));
        if untouched.is_some() && untouched == self.sent.form.take().map(|form| sent(&form)) {
            self.input.clear();
        }
        plugin.clone_into(&mut self.plugin);
        self.schema = schema;
        self.as_json = false;
        self.sent.kept = None;
    }

    pub(super) fn option(&self, name: &str) -> &str {
        self.options.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns the request, with numbers as they were written.
    ///
    /// # Errors
    ///
    /// The input or the rest is not JSON, or the rest has what a field has, with a pointer into the request.
    pub fn to_json(&self) -> Result<String, FieldError> {
        let error = |pointer: &str, detail: String| FieldError {
            pointer: Some(pointer.to_owned()),
            detail,
            ..FieldError::default()
        };
        // Without one, the server's default plugin runs.
        let plugin = Some(&self.plugin).filter(|plugin| !plugin.is_empty());
        let plugin = plugin.map(|plugin| ("plugin".to_owned(), json::string(plugin)));
        let mut members: Vec<_> = plugin.into_iter().collect();
        let (more, options): (Vec<_>, Vec<_>) = self.options.iter().partition(|(name, _)| name == MORE);
        members.extend(options.into_iter().map(|(name, entered)| (name.clone(), value(name, entered))));
        let input = self.input.trim();
        if !input.is_empty() {
            let raw = serde_json::from_str::<&RawValue>(input);
            let raw =
                raw.map_err(|wrong| error("/input", format!("the input is not valid JSON: {wrong}")))?;
            members.push(("input".to_owned(), raw.get().to_owned()));
        }
        for (_, entered) in more {
            let Some(rest) = json::members(entered) else {
                let detail =
                    "the other keys must be a JSON object such as {\"backoff\": {\"first\": \"1s\"}}";
                return Err(error("/more", detail.to_owned()));
            };
            for (name, value) in rest {
                if members.iter().any(|(known, _)| *known == name) {
                    return Err(error("/more", format!("{name} is entered in a field of its own as well")));
                }
                members.push((name, value.get().to_owned()));
            }
        }
        Ok(json::object(&members))
    }
}

fn is_form(form: &Field) -> bool {
    matches!(form.kind, FieldKind::Group(_) | FieldKind::Variants(..))
}

/// A text area sends other line ends than it got.
fn same(a: &str, b: &str) -> bool {
    a.trim().lines().eq(b.trim().lines())
}

/// Returns what a field shows of a member; `None` if a field would change it.
fn field(name: &str, value: &str) -> Option<String> {
    let text = || {
        let text: String = serde_json::from_str(value).ok()?;
        (!text.is_empty() && text.trim() == text && !text.contains(['\n', '\r', '\0'])).then_some(text)
    };
    match name {
        "tags" => {
            let tags: Vec<String> = serde_json::from_str(value).ok()?;
            let is_plain =
                |tag: &String| !tag.is_empty() && tag.trim() == tag && !tag.contains([',', '\n', '\r', '\0']);
            (!tags.is_empty() && tags.iter().all(is_plain)).then(|| tags.join(", "))
        }
        "webhook" => match json::members(value)?.as_slice() {
            [(name, url)] if name == "url" => field("url", url.get()),
            _ => None,
        },
        "max_attempts" | "priority" => {
            let number: i64 = serde_json::from_str(value).ok()?;
            Some(number.to_string()).filter(|text| text == value)
        }
        "plugin" | "url" => text(),
        _ if OPTIONS.iter().any(|(known, ..)| known == &name && known != &MORE) => text(),
        _ => None,
    }
}

/// Returns the JSON of what was entered for an option.
fn value(name: &str, entered: &str) -> String {
    let entered = entered.trim();
    match name {
        "tags" => {
            let tags = entered.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            json::array(&tags.map(json::string).collect::<Vec<_>>())
        }
        "webhook" => json::object(&[("url".to_owned(), json::string(entered))]),
        "max_attempts" | "priority" => {
            // What is not a number is sent as a string, which the server refuses with words of its own.
            entered.parse::<i64>().map_or_else(|_| json::string(entered), |number| number.to_string())
        }
        _ => json::string(entered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_stays_the_same_through_the_fields() {
        for task in [
            r#"{"plugin":"fetch"}"#,
            r#"{"plugin":"fetch","timeout":"10m","max_attempts":3,"tags":["a:1","b"],"webhook":{"url":"https://x"},"input":{"n":1.10}}"#,
            r#"{"plugin":"fetch","priority":-7,"input":12345678901234567890,"backoff":{"first":"1s"},"timeout":7}"#,
            r#"{"plugin":"fetch","tags":["a,b"],"webhook":{"url":"https://x","on":["failed"]},"group":" x","max_attempts":1.0}"#,
        ] {
            assert_eq!(Request::of_json(task).to_json().expect("JSON"), task);
        }
    }

    #[test]
    fn what_cannot_be_sent_says_where() {
        let with = |name: &str, text: &str| Request {
            plugin: "fetch".to_owned(),
            options: vec![("timeout".to_owned(), "1s".to_owned()), (name.to_owned(), text.to_owned())],
            ..Request::default()
        };
        let pointer = |request: Request| request.to_json().expect_err("refused").pointer;
        for text in ["{", "[]", "{\"timeout\":\"2s\"}", "{\"plugin\":\"x\"}"] {
            assert_eq!(pointer(with(MORE, text)).as_deref(), Some("/more"), "{text}");
        }
        assert_eq!(
            pointer(Request { input: "{".to_owned(), ..Request::default() }).as_deref(),
            Some("/input")
        );
        let request = with("priority", "high").to_json().expect("JSON");
        assert_eq!(request, r#"{"plugin":"fetch","timeout":"1s","priority":"high"}"#);
    }

    const SCHEMA: &str = r#"{"type":"object","properties":{"url":{"type":"string"},"depth":{"type":"integer","default":2},
        "how":{"oneOf":[{"title":"A","type":"string"},{"title":"B","type":"integer"}]}}}"#;

    fn sent_form<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let all =
            [("laid-out", "fetch"), ("shown", "form"), ("/url", ""), ("/depth", "2"), ("pick:/how", "")];
        let all = all.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        all.chain(more.iter().copied()).collect()
    }

    #[test]
    fn switching_views_loses_nothing() {
        let pairs =
            sent_form(&[("/url", "x"), ("/how|0", "not chosen"), ("/how|1", "7"), ("pick:/how", "1")]);
        let (mut request, read) = Request::of_form(&pairs, Some(SCHEMA.to_owned()));
        read.expect("JSON");
        assert_eq!(request.input, r#"{"url":"x","depth":2,"how":7}"#);
        request.show_as(true);
        assert!(request.form().is_none());
        let (kept, was) = request.kept().cloned().expect("kept");
        let back = |input: &str| {
            let pairs =
                [("laid-out", "fetch"), ("shown", "json"), ("input", input), ("kept", &kept), ("was", &was)];
            let (mut request, _) = Request::of_form(&pairs, Some(SCHEMA.to_owned()));
            request.show_as(false);
            sent(&request.form().expect("a form"))
        };
        let text = |pairs: &[(String, String)], name: &str| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        assert_eq!(text(&back(&was), "/how|0").as_deref(), Some("not chosen"));
        let changed = back(r#"{"url":"y","depth":2,"how":"b"}"#);
        assert_eq!(text(&changed, "/how|0").as_deref(), Some("b"));
        assert_eq!(text(&changed, "/url").as_deref(), Some("y"));
    }

    #[test]
    fn another_plugin_gets_what_was_entered_but_no_defaults_of_the_one_before() {
        let other = r#"{"type":"object","properties":{"url":{"type":"string"},"deep":{"type":"integer","default":9}}}"#;
        let changed = |pairs: &[(&str, &str)]| {
            let (mut request, _) = Request::of_form(pairs, Some(SCHEMA.to_owned()));
            request.change_plugin("other", Some(other.to_owned()));
            request
        };
        let untouched = changed(&sent_form(&[]));
        assert_eq!((untouched.input.as_str(), untouched.plugin.as_str()), ("", "other"));
        assert!(sent(&untouched.form().expect("a form")).contains(&("/deep".to_owned(), "9".to_owned())));
        let touched = changed(&sent_form(&[("/url", "x"), ("/depth", "")]));
        assert_eq!(touched.input, r#"{"url":"x"}"#);
        assert!(sent(&touched.form().expect("a form")).contains(&("/url".to_owned(), "x".to_owned())));
    }

    #[test]
    fn a_box_with_something_else_than_json_keeps_it() {
        let pairs = sent_form(&[("json:/how", "{oops"), ("/url", "x")]);
        let (request, read) = Request::of_form(&pairs, Some(SCHEMA.to_owned()));
        assert_eq!(read.expect_err("refused").pointer.as_deref(), Some("/how"));
        let shown = sent(&request.form().expect("a form"));
        assert!(shown.contains(&("json:/how".to_owned(), "{oops".to_owned())));
        assert!(shown.contains(&("/url".to_owned(), "x".to_owned())));
    }
}
