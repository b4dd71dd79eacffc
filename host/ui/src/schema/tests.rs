//! Form to JSON to form is the same, whatever the schema.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Returns what a browser sends of a form that nobody has changed.
fn sent(field: &Field, pairs: &mut BTreeMap<String, String>) {
    let at = field.at.clone();
    let (at, value) = match &field.kind {
        // A text area sends CRLF for each line end.
        FieldKind::Text(text, true) | FieldKind::Lines(text) => (at, text.replace('\n', "\r\n")),
        FieldKind::Text(text, false) | FieldKind::Number(text) => (at, text.clone()),
        FieldKind::Choice(_, chosen) => (at, chosen.clone().unwrap_or_default()),
        FieldKind::Json(text) => (format!("{JSON_PREFIX}{at}"), text.clone()),
        FieldKind::Group(fields) => return fields.iter().for_each(|field| sent(field, pairs)),
    };
    pairs.insert(at, value);
}

fn through(schema: &Value, value: &str) -> String {
    let form = lay_out(schema, Some(value));
    let mut pairs = BTreeMap::new();
    sent(&form, &mut pairs);
    let fresh = lay_out(schema, None);
    read(&fresh, &|name| pairs.get(name).map(String::as_str)).expect("JSON").expect("a value")
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z]{0,5}", "[ -~\u{e4}\u{202e}\n\r\t]{0,9}", Just("0".to_owned())];
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
            prop::collection::btree_map("[a-d/~]{1,2}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "string", "maxLength": 1_000})),
        Just(json!({"type": "integer", "minimum": 0})),
        Just(json!({"type": "number"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"enum": ["fast", 1, null]})),
        Just(json!({"type": "array", "items": {"type": "string"}})),
        Just(json!({"type": "array", "items": {"type": "integer"}})),
        Just(json!(true)),
        Just(json!({"$ref": "#/nowhere"})),
        Just(json!({"$ref": "#"})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        (prop::collection::btree_map("[a-d/~]{1,2}", inner, 0..4), any::<bool>()).prop_map(
            |(properties, all)| {
                let required: Vec<_> = properties.keys().filter(|_| all).cloned().collect();
                json!({"type": "object", "properties": properties, "required": required})
            },
        )
    })
}

proptest! {
    #[test]
    fn a_form_made_from_a_schema_sends_what_the_json_view_shows(schema in schemas(), value in values()) {
        prop_assert_eq!(through(&schema, &value.to_string()), value.to_string());
    }

    #[test]
    fn every_schema_has_a_form(schema in values()) {
        let html = show(&lay_out(&schema, None), "/input", &[]).into_string();
        prop_assert!(!html.contains("<script"));
    }
}

#[test]
fn numbers_stay_as_they_were_written() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "number"}}});
    for number in ["12345678901234567890", "1.10", "-0.0", "1e400"] {
        assert_eq!(through(&schema, &format!("{{\"n\":{number}}}")), format!("{{\"n\":{number}}}"));
    }
}

#[test]
fn fields_that_are_empty_are_left_out() {
    let schema = json!({"type": "object", "required": ["url"], "properties": {
        "url": {"type": "string"}, "depth": {"type": "integer"}, "mode": {"enum": ["fast"]},
        "tags": {"type": "array", "items": {"type": "string"}}, "more": {"type": "object", "properties": {"a": {"type": "string"}}},
    }});
    let form = lay_out(&schema, None);
    let mut pairs = BTreeMap::new();
    sent(&form, &mut pairs);
    let read = |pairs: &BTreeMap<String, String>| read(&form, &|name| pairs.get(name).map(String::as_str));
    assert_eq!(read(&pairs).expect("JSON").as_deref(), Some("{}"));
    pairs.insert("/tags".to_owned(), "a\r\n\r\n b \r\n".to_owned());
    pairs.insert("/depth".to_owned(), "two".to_owned());
    pairs.insert("/more/a".to_owned(), "x".to_owned());
    let sent = read(&pairs).expect("JSON");
    assert_eq!(sent.as_deref(), Some(r#"{"depth":"two","more":{"a":"x"},"tags":["a","b"]}"#));
}

#[test]
fn errors_stand_beside_their_fields() {
    let schema = json!({"type": "object", "properties": {"depth": {"type": "integer", "title": "<Depth>", "maximum": 5}}});
    let error = FieldError {
        pointer: Some("/input/depth".to_owned()),
        detail: "9 is too <big>".to_owned(),
        ..FieldError::default()
    };
    let html = show(&lay_out(&schema, Some("{\"depth\":9}")), "/input", &[error]).into_string();
    assert!(
        html.contains("aria-invalid=\"true\"")
            && html.contains("9 is too &lt;big&gt;")
            && html.contains("&lt;Depth&gt;")
    );
    assert!(html.contains("at most 5") && html.contains("aria-describedby=\"f/depth-about\""));
}

#[test]
fn what_is_no_json_is_said_at_its_box() {
    let form = lay_out(&json!({}), None);
    assert_eq!(
        read(&form, &|name| (name == "json:").then_some("{")).expect_err("refused").pointer.as_deref(),
        Some("")
    );
}
