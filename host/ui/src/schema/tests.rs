//! Form to JSON to form is the same, whatever the schema.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::problem::FieldError;

fn laid_out(schema: &Value, value: Option<&str>) -> Field {
    lay_out(&schema.to_string(), value)
}

/// Returns what a browser sends of a form that nobody has changed.
fn pairs(form: &Field) -> BTreeMap<String, String> {
    // A text area sends CRLF for each line end.
    sent(form).into_iter().map(|(name, value)| (name, value.replace('\n', "\r\n"))).collect()
}

fn read_pairs(schema: &Value, pairs: &BTreeMap<String, String>) -> Result<Option<String>, FieldError> {
    read(&laid_out(schema, None), &|name| pairs.get(name).map(String::as_str))
}

fn through(schema: &Value, value: &str) -> String {
    let form = laid_out(schema, Some(value));
    let pairs = pairs(&form);
    // Shown again after it was refused, it is the same form.
    let mut again = laid_out(schema, None);
    fill(&mut again, &|name| pairs.get(name).map(String::as_str));
    assert_eq!(sent(&again), sent(&form));
    read_pairs(schema, &pairs).expect("JSON").expect("a value")
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,5}",
        "[ -~\u{e4}\u{202e}\n\r\t]{0,9}",
        Just("0".to_owned()),
        Just("2026-02-28".to_owned()),
        Just("2026-02-31".to_owned()),
        Just("2026-11-30T10:00:00Z".to_owned()),
        Just("2026-11-30T10:00:00.5+01:00".to_owned()),
        Just("ada@example.com".to_owned()),
        Just(" https://example.com/\u{e4}".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON", |number| number.is_finite()).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d/~|]{1,2}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "string", "maxLength": 1_000})),
        Just(json!({"type": "string", "writeOnly": true, "default": "x"})),
        prop_oneof!["date", "date-time", "email", "uri", "time"]
            .prop_map(|format| json!({"type": "string", "format": format})),
        Just(json!({"type": ["null", "string"]})),
        Just(json!({"type": "integer", "minimum": 0, "default": 7})),
        Just(json!({"type": "number"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"const": "a"})),
        Just(json!({"enum": ["fast", 1, null]})),
        Just(json!({"oneOf": [{"const": "b", "title": "B"}, {"const": 2}]})),
        Just(json!({"type": "array", "items": {"type": "string"}})),
        Just(json!({"type": "array", "items": {"type": "integer"}})),
        Just(json!({"type": "array", "items": {"type": "object"}})),
        Just(json!(true)),
        Just(json!({"$ref": "#/nowhere"})),
        Just(json!({"$ref": "#"})),
        Just(json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]})),
        Just(json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let group = (prop::collection::btree_map("[a-d/~|]{1,2}", inner.clone(), 0..4), any::<bool>())
            .prop_map(|(properties, all)| {
                let required: Vec<_> = properties.keys().filter(|_| all).cloned().collect();
                json!({"type": "object", "properties": properties, "required": required})
            });
        let variants = (prop::collection::vec(inner, 1..4), prop_oneof!["oneOf", "anyOf"])
            .prop_map(|(variants, word)| json!({ word: variants }));
        prop_oneof![group, variants]
    })
}

proptest! {
    #[test]
    fn a_form_made_from_a_schema_sends_what_the_json_view_shows(schema in schemas(), value in values()) {
        prop_assert_eq!(through(&schema, &value.to_string()), value.to_string());
    }

    #[test]
    fn every_schema_has_a_form(schema in values()) {
        let html = show(&laid_out(&schema, None), "/input", &[]).into_string();
        prop_assert!(!html.contains("<script"));
    }

    #[test]
    fn names_are_those_of_one_field_each(schema in schemas()) {
        let sent = sent(&laid_out(&schema, None));
        let names: std::collections::BTreeSet<_> = sent.iter().map(|(name, _)| name).collect();
        prop_assert_eq!(names.len(), sent.len());
    }

    #[test]
    fn what_was_entered_is_shown_again_whatever_it_is(schema in schemas(), text in "[ -~\u{e4}]{0,12}") {
        let entered: BTreeMap<_, _> = sent(&laid_out(&schema, None)).into_iter().map(|(name, _)| (name, text.clone())).collect();
        let mut form = laid_out(&schema, None);
        fill(&mut form, &|name| entered.get(name).map(String::as_str));
        let shown = sent(&form);
        for (name, value) in shown {
            // A choice has only its own values.
            let is_entered = value == text || name.starts_with(PICK_PREFIX) || value.is_empty();
            prop_assert!(is_entered || text.is_empty(), "{name}: {value:?} in place of {text:?}");
        }
    }
}

#[test]
fn numbers_stay_as_they_were_written() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "number"}, "all": {"type": "array", "items": {"type": "number"}}}});
    for number in ["12345678901234567890", "1.10", "-0.0", "1e400"] {
        let value = format!("{{\"all\":[{number},{number}],\"n\":{number}}}");
        let order = lay_out(&schema.to_string(), None);
        assert!(matches!(order.kind, FieldKind::Group(_)));
        assert_eq!(through(&schema, &value), value);
    }
    let form = lay_out(r#"{"type":"object","properties":{"n":{"type":"number","default":1.10}}}"#, None);
    assert_eq!(sent(&form), [("/n".to_owned(), "1.10".to_owned())]);
}

#[test]
fn fields_stand_in_the_order_of_the_schema() {
    let form = lay_out(r#"{"type":"object","properties":{"url":{},"depth":{},"after":{}}}"#, None);
    let FieldKind::Group(fields) = form.kind else { panic!("a group") };
    assert_eq!(
        fields.iter().map(|field| field.label.as_str()).collect::<Vec<_>>(),
        ["url", "depth", "after"]
    );
}

#[test]
fn fields_that_are_empty_are_left_out() {
    let schema = json!({"type": "object", "required": ["url"], "properties": {
        "depth": {"type": "integer"}, "mode": {"enum": ["fast"]}, "more": {"type": "object", "properties": {"a": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "string"}}, "url": {"type": "string"},
    }});
    let mut pairs = pairs(&laid_out(&schema, None));
    assert_eq!(read_pairs(&schema, &pairs).expect("JSON").as_deref(), Some("{}"));
    pairs.insert("/tags".to_owned(), "a\r\n\r\n b \r\n".to_owned());
    pairs.insert("/depth".to_owned(), "two".to_owned());
    pairs.insert("/more/a".to_owned(), "x".to_owned());
    let sent = read_pairs(&schema, &pairs).expect("JSON");
    assert_eq!(sent.as_deref(), Some(r#"{"depth":"two","more":{"a":"x"},"tags":["a","b"]}"#));
}

#[test]
fn a_value_that_is_there_gets_no_defaults() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "default": 1}, "b": {"type": "string"}}});
    assert_eq!(
        read_pairs(&schema, &pairs(&laid_out(&schema, None))).expect("JSON").as_deref(),
        Some(r#"{"a":1}"#)
    );
    assert_eq!(through(&schema, r#"{"b":"x"}"#), r#"{"b":"x"}"#);
}

/// A target is a file, a server, or a name.
fn targets() -> Value {
    json!({"type": "object", "properties": {"to": {"oneOf": [
        {"type": "object", "required": ["kind", "path"], "properties": {"kind": {"const": "file"}, "path": {"type": "string"}}},
        {"type": "object", "title": "A server", "properties": {"kind": {"const": "http"}, "path": {"type": "string", "format": "uri"}, "port": {"type": "integer"}}},
        {"type": "string"},
    ]}}})
}

#[test]
fn a_variant_is_chosen_by_what_is_constant_in_it() {
    let schema = targets();
    for (value, variant) in [
        (r#"{"to":{"kind":"file","path":"a"}}"#, Some(0)),
        (r#"{"to":{"kind":"http","path":"a"}}"#, Some(1)),
        (r#"{"to":{"port":1}}"#, Some(1)),
        (r#"{"to":"a"}"#, Some(2)),
        (r#"{"to":{"kind":"tape"}}"#, None),
        (r#"{"to":7}"#, None),
        ("{}", None),
    ] {
        let form = laid_out(&schema, Some(value));
        let FieldKind::Group(fields) = &form.kind else { panic!("a group") };
        let chosen = match &fields[0].kind {
            FieldKind::Variants(_, chosen) => *chosen,
            _ => None,
        };
        assert_eq!(chosen, variant, "{value}");
        assert_eq!(through(&schema, value), value);
    }
    let html = show(&laid_out(&schema, None), "/input", &[]).into_string();
    for label in ["kind: file", "A server", "string"] {
        assert!(html.contains(&format!("<span>{label}</span>")), "{label}: {html}");
    }
    // What is constant need not be entered.
    let mut pairs = pairs(&laid_out(&schema, None));
    pairs.insert("pick:/to".to_owned(), "1".to_owned());
    assert_eq!(read_pairs(&schema, &pairs).expect("JSON").as_deref(), Some(r#"{"to":{"kind":"http"}}"#));
}

#[test]
fn a_variant_that_is_not_chosen_keeps_its_text_and_sends_nothing() {
    let schema = targets();
    let mut pairs = pairs(&laid_out(&schema, None));
    pairs.insert("pick:/to".to_owned(), "0".to_owned());
    pairs.insert("/to|0/path".to_owned(), "of the file".to_owned());
    pairs.insert("/to|1/path".to_owned(), "of the server".to_owned());
    let read = read_pairs(&schema, &pairs).expect("JSON");
    assert_eq!(read.as_deref(), Some(r#"{"to":{"kind":"file","path":"of the file"}}"#));
    let mut form = laid_out(&schema, None);
    fill(&mut form, &|name| pairs.get(name).map(String::as_str));
    assert!(show(&form, "/input", &[]).into_string().contains("value=\"of the server\""));
}

#[test]
fn times_are_entered_without_a_zone_and_sent_in_utc() {
    let schema = json!({"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}});
    let form = laid_out(&schema, Some(r#"{"at":"2026-11-30T10:00:00Z"}"#));
    let html = show(&form, "/input", &[]).into_string();
    assert!(
        html.contains("type=\"datetime-local\"") && html.contains("value=\"2026-11-30T10:00:00\""),
        "{html}"
    );
    for (entered, sent) in [
        ("2026-11-30T10:00", "2026-11-30T10:00:00Z"),
        ("2026-11-30T10:00:07", "2026-11-30T10:00:07Z"),
        ("2026-11-30T10:00:00+01:00", "2026-11-30T10:00:00+01:00"),
        ("tomorrow", "tomorrow"),
    ] {
        let pairs = BTreeMap::from([("/at".to_owned(), entered.to_owned())]);
        assert_eq!(read_pairs(&schema, &pairs).expect("JSON"), Some(json!({"at": sent}).to_string()));
    }
}

#[test]
fn a_format_has_an_input_of_its_own_where_a_browser_may_check_it() {
    let schema =
        |format| json!({"type": "object", "properties": {"x": {"type": "string", "format": format}}});
    for (format, kind) in [("date", "date"), ("email", "email"), ("uri", "url"), ("hostname", "text")] {
        let html = show(&laid_out(&schema(format), None), "", &[]).into_string();
        assert!(html.contains(&format!("type=\"{kind}\"")), "{format}: {html}");
    }
    let hidden = json!({"anyOf": [schema("email"), schema("date")]});
    let html = show(&laid_out(&hidden, None), "", &[]).into_string();
    assert!(
        html.contains("inputmode=\"email\"")
            && !html.contains("type=\"email\"")
            && !html.contains("type=\"date\"")
    );
}

#[test]
fn what_is_too_large_for_fields_is_one_box() {
    let many: serde_json::Map<_, _> =
        (0..500).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    let schema = json!({"type": "object", "properties": {"small": {"type": "string"}, "wide": {"type": "object", "properties": many}}});
    assert_eq!(sent(&laid_out(&schema, None)).len(), 2);
    let schema = json!({"oneOf": vec![json!({"type": "integer"}); 400]});
    assert!(matches!(laid_out(&schema, None).kind, FieldKind::Json(_)));
}

#[test]
fn errors_stand_beside_their_fields() {
    let schema = json!({"type": "object", "properties": {"depth": {"type": "integer", "title": "<Depth>", "maximum": 5}}});
    let error = FieldError {
        pointer: Some("/input/depth".to_owned()),
        detail: "9 is too <big>".to_owned(),
        ..FieldError::default()
    };
    let html = show(&laid_out(&schema, Some("{\"depth\":9}")), "/input", &[error]).into_string();
    assert!(
        html.contains("aria-invalid=\"true\"")
            && html.contains("9 is too &lt;big&gt;")
            && html.contains("&lt;Depth&gt;")
    );
    assert!(html.contains("at most 5") && html.contains("aria-describedby=\"f/depth-about\""));
}

#[test]
fn what_is_no_json_is_said_at_its_box() {
    let form = lay_out("{}", None);
    assert_eq!(
        read(&form, &|name| (name == "json:").then_some("{")).expect_err("refused").pointer.as_deref(),
        Some("")
    );
}
