//! The JSON Schema of a plugin's input: compiled when the plugin is loaded, checked for each task.
//!
//! Created by the manifest; the API checks inputs before it stores tasks. Nothing is ever fetched: a reference must
//! resolve within the schema. A check ends within its budget, whatever the schema and the input.

mod expansion;
mod metered;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};

use self::metered::{Allowance, BudgetExceeded, Metered, MeteredJson, metered};
use crate::error::format;

/// Violations reported per input.
const VIOLATIONS_MAX: usize = 20;
/// Bytes kept of each message.
const MESSAGE_BYTES_MAX: usize = 300;
/// Bytes kept of each pointer.
const POINTER_BYTES_MAX: usize = 300;
/// Bytes of a compiled pattern. Matching time is proportional to this times the length of the text.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// The maximum size of the errors that the validator creates for one input, including nested ones. A unit is about
/// 100 bytes, so this is 60 MB at worst: 30,000 errors about small values, or one about all of a large input.
const ERRORS_MAX: u64 = 600_000;
/// Steps for the checks of one request, whatever its size. A million take about 30 ms.
const STEPS: u64 = 1_000_000;
/// Additional steps for each byte of input. Most schemas take fewer than ten.
const STEPS_PER_BYTE: u64 = 50;
/// The maximum wall-clock time for the checks of one request.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);
/// Steps of a check on a shared thread.
const SHORT_STEPS: u64 = 20_000;
/// Bytes of input of a check on a shared thread: parsing takes time as well.
const SHORT_BYTES_MAX: usize = 16 << 10;

const TOO_COMPLEX: &str = "checking the input against the plugin's schema takes too many steps; make it \
                           simpler or shorter";
const TOO_MANY_VIOLATIONS: &str =
    "the input does not match the plugin's schema, with too many violations to list";

/// The schema of a plugin's input. Cheap to clone.
#[derive(Clone)]
pub struct InputSchema {
    validator: Arc<Validator<MeteredJson>>,
    schema: Arc<Value>,
    /// As in its file: parsed, its properties would lose their order, in which people read them.
    text: Arc<str>,
}

/// A violation of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A JSON pointer into the input; empty for the whole input.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

/// The computation allowed for the checks of one request, all its inputs together.
#[derive(Debug)]
pub struct InputBudget {
    steps: u64,
    until: Instant,
    /// The budget does not grow with the input.
    is_short: bool,
    is_spent: bool,
}

impl InputBudget {
    /// Returns a budget for a thread that may block: seconds at worst.
    pub fn full() -> Self {
        Self { steps: STEPS, until: Instant::now() + CHECK_TIME_MAX, is_short: false, is_spent: false }
    }

    /// Returns a budget for a shared thread: about a millisecond.
    pub fn short() -> Self {
        Self { steps: SHORT_STEPS, is_short: true, ..Self::full() }
    }

    /// Returns true if the budget was exceeded, so that violations may be wrong or incomplete.
    pub fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Extends the budget for an input of this size.
    fn grow(&mut self, bytes: usize) {
        if !self.is_short {
            self.steps += STEPS_PER_BYTE * bytes as u64;
        } else if bytes > SHORT_BYTES_MAX {
            self.is_spent = true;
        }
    }

    fn spend<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, BudgetExceeded> {
        if self.is_spent {
            return Err(BudgetExceeded);
        }
        let allowance = Allowance { steps: self.steps, errors: ERRORS_MAX, until: self.until };
        let (worked, left) = metered(allowance, work);
        self.steps = left.steps;
        worked
    }
}

impl InputSchema {
    /// Compiles a schema, of draft 2020-12 unless it names another.
    ///
    /// # Errors
    ///
    /// Says what is wrong, with a JSON pointer into the schema.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        expansion::check(&schema)?;
        // The matching time of this engine is linear in the text and the pattern.
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options_for::<MeteredJson>().offline().with_pattern_options(patterns);
        let validator = options.build(&schema).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "its top".to_owned() } else { place };
            format::bounded(format_args!("it is not a valid JSON Schema at {place}: {error}"))
        })?;
        let schema = Self { validator: Arc::new(validator), schema: Arc::new(schema), text: text.into() };
        schema.check_effort()?;
        Ok(schema)
    }

    /// Returns the schema as its file has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Rejects a schema that takes too long even for minimal inputs.
    fn check_effort(&self) -> Result<(), String> {
        for probe in [json!(null), json!(true), json!(0), json!(""), json!([]), json!({})] {
            let mut budget = InputBudget::full();
            if budget.spend(|| self.validator.is_valid(Metered(&probe))).is_err() {
                return Err(format!("checking the input {probe} against it takes over {STEPS} steps"));
            }
        }
        Ok(())
    }

    /// Returns the violations of an input, given as JSON text, bounded in number and size. A missing input counts
    /// as `null`.
    ///
    /// An input for which the budget is exceeded is a violation as well.
    pub fn violations(&self, input: Option<&str>, budget: &mut InputBudget) -> Vec<Violation> {
        let for_input = |message: &str| vec![Violation::for_input(message)];
        budget.grow(input.map_or(0, str::len));
        if budget.is_spent() {
            return for_input(TOO_COMPLEX);
        }
        let value = match input.map(serde_json::from_str).transpose() {
            Ok(value) => value.unwrap_or(Value::Null),
            Err(error) => return for_input(&format::bounded(format_args!("it is not JSON: {error}"))),
        };
        match budget.spend(|| self.validator.is_valid(Metered(&value))) {
            Ok(true) => Vec::new(),
            Ok(false) => self
                .list_violations(&value, budget)
                .unwrap_or_else(|BudgetExceeded| for_input(TOO_MANY_VIOLATIONS)),
            Err(BudgetExceeded) => {
                budget.is_spent = true;
                for_input(TOO_COMPLEX)
            }
        }
    }

    /// Lists the violations of a value, or only the first if listing all is too expensive.
    fn list_violations(
        &self,
        value: &Value,
        budget: &mut InputBudget,
    ) -> Result<Vec<Violation>, BudgetExceeded> {
        let all = budget.spend(|| {
            let errors = self.validator.iter_errors(Metered(value)).take(VIOLATIONS_MAX);
            errors.map(|error| Violation::of(&error)).collect::<Vec<_>>()
        });
        all.or_else(|BudgetExceeded| {
            // A full budget may find more to report.
            budget.is_spent |= budget.is_short;
            let first = budget.spend(|| self.validator.validate(Metered(value)).err())?;
            Ok(first.iter().map(Violation::of).collect())
        })
    }
}

impl Violation {
    pub(crate) fn for_input(message: impl Into<String>) -> Self {
        Self { pointer: String::new(), message: message.into() }
    }

    fn of(error: &ValidationError<'_>) -> Self {
        Self {
            pointer: format::truncate(error.instance_path().to_string(), POINTER_BYTES_MAX),
            message: format::truncate(format::bounded(error), MESSAGE_BYTES_MAX),
        }
    }
}

impl PartialEq for InputSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InputSchema").field(&self.schema).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THUMB: &str = r#"{
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "pattern": "^https://"},
            "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1}}
        },
        "additionalProperties": false
    }"#;

    fn pointers(schema: &str, input: Option<&str>) -> Vec<String> {
        let violations = InputSchema::compile(schema).unwrap().violations(input, &mut InputBudget::full());
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn each_violation_has_a_pointer() {
        assert!(pointers(THUMB, Some(r#"{"url": "https://a", "sizes": [1, 2]}"#)).is_empty());
        assert_eq!(pointers(THUMB, Some(r#"{"url": 5, "sizes": [1, 0]}"#)), ["/sizes/1", "/url"]);
        assert_eq!(pointers(THUMB, Some(r#"{"url": "ftp://a"}"#)), ["/url"]);
        assert_eq!(pointers(THUMB, Some("{}")), [""]);
        assert_eq!(pointers(THUMB, None), [""], "no input is null");
        assert!(pointers("true", None).is_empty());
    }

    #[test]
    fn violations_are_limited_in_number_and_length() {
        let many = format!("[{}]", ["\"x\""; 1_000].join(","));
        assert_eq!(pointers(r#"{"items": {"type": "integer"}}"#, Some(&many)).len(), VIOLATIONS_MAX);
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        let violations = InputSchema::compile(r#"{"type": "integer"}"#)
            .unwrap()
            .violations(Some(&long), &mut InputBudget::full());
        assert!(violations[0].message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn an_invalid_schema_is_rejected_with_a_pointer() {
        let refusal = |schema: &str| InputSchema::compile(schema).unwrap_err();
        let reason = refusal(r#"{"properties": {"url": {"type": "sting"}}}"#);
        assert!(reason.contains("/properties/url/type"), "{reason}");
        assert!(refusal("{").contains("not JSON"));
        assert!(refusal("5").contains("its top"));
    }

    #[test]
    fn nothing_is_fetched() {
        for reference in ["https://example.com/a.json", "file:///etc/passwd", "other.json"] {
            let schema = format!(r#"{{"$ref": "{reference}"}}"#);
            assert!(InputSchema::compile(&schema).is_err(), "{reference}");
        }
        let within = r##"{"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}"##;
        assert_eq!(pointers(within, Some("\"x\"")), [""]);
    }

    #[test]
    fn patterns_with_exponential_time_are_rejected() {
        assert!(InputSchema::compile(r#"{"pattern": "^(?=a).*$"}"#).is_err());
    }

    /// An expression: a sum or a difference of two others, or a number.
    const EXPRESSION: &str = r##"{
        "oneOf": [
            {"type": "number"},
            {"type": "object", "required": ["op", "left", "right"], "properties": {
                "op": {"const": "add"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}}},
            {"type": "object", "required": ["op", "left", "right"], "properties": {
                "op": {"const": "sub"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}}}
        ]
    }"##;

    /// Returns nested sums of this depth around `leaf`.
    fn expression(depth: usize, leaf: &str) -> String {
        (0..depth)
            .fold(leaf.to_owned(), |inner, _| format!(r#"{{"op": "add", "left": {inner}, "right": 1}}"#))
    }

    #[test]
    fn a_deep_invalid_input_is_rejected_without_trying_all_ways() {
        let schema = InputSchema::compile(EXPRESSION).unwrap();
        for depth in [1, 14, 20, 40, 60] {
            let mut budget = InputBudget::full();
            assert!(schema.violations(Some(&expression(depth, "1")), &mut budget).is_empty(), "{depth}");
            let wrong = schema.violations(Some(&expression(depth, "\"x\"")), &mut InputBudget::full());
            assert!(!wrong.is_empty() && wrong.len() <= VIOLATIONS_MAX, "{depth}");
            assert!(!budget.is_spent(), "{depth}");
        }
    }

    #[test]
    fn a_short_budget_reports_that_it_was_exceeded() {
        let schema = InputSchema::compile(r#"{"items": {"type": "integer"}}"#).unwrap();
        let check = |items: usize, mut budget: InputBudget| {
            let violations =
                schema.violations(Some(&format!("[{}]", vec!["1"; items].join(","))), &mut budget);
            (violations.is_empty(), budget.is_spent())
        };
        assert_eq!(check(1_000, InputBudget::short()), (true, false));
        assert_eq!(check(100_000, InputBudget::short()), (false, true));
        assert_eq!(check(100_000, InputBudget::full()), (true, false));
    }

    #[test]
    fn the_checks_of_one_request_share_their_budget() {
        // Each item is tried in more ways than its bytes pay for.
        let ways = vec![r#"{"multipleOf": 1000000}"#; 400].join(",");
        let schema = format!(r#"{{"items": {{"not": {{"anyOf": [{ways}]}}}}}}"#);
        let schema = InputSchema::compile(&schema).unwrap();
        let input = format!("[{}]", vec!["1"; 400].join(","));
        let mut budget = InputBudget::full();
        let checks =
            (0..10_000).take_while(|_| schema.violations(Some(&input), &mut budget).is_empty()).count();
        assert!((1..9_999).contains(&checks), "{checks}");
        assert!(budget.is_spent());
        assert_eq!(schema.violations(Some("[]"), &mut budget)[0].message, TOO_COMPLEX);
    }

    #[test]
    fn a_schema_with_exponentially_many_ways_is_rejected() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let levels = (0..30).map(|level| {
                let next = format!(r##"{{"$ref": "#/$defs/{}"}}"##, level + 1);
                format!(r#""{level}": {{"{keyword}": [{next}, {next}]}}"#)
            });
            let levels: Vec<_> = levels.collect();
            let last = if keyword == "allOf" { "true" } else { "false" };
            let schema =
                format!(r##"{{"$ref": "#/$defs/0", "$defs": {{{}, "30": {last}}}}}"##, levels.join(","));
            let reason = InputSchema::compile(&schema).expect_err(keyword);
            assert!(reason.contains("too many ways"), "{keyword}: {reason}");
        }
    }

    #[test]
    fn a_chain_of_references_does_not_overflow_the_stack() {
        let links: Vec<_> =
            (0..190).map(|n| format!(r##""{n}": {{"$ref": "#/$defs/{}"}}"##, n + 1)).collect();
        let schema = format!(
            r##"{{"$ref": "#/$defs/0", "$defs": {{{}, "190": {{"items": {{"$ref": "#/$defs/0"}}}}}}}}"##,
            links.join(",")
        );
        let schema = InputSchema::compile(&schema).unwrap();
        let nested = format!("{}{}", "[".repeat(120), "]".repeat(120));
        // It returns in either case.
        schema.violations(Some(&nested), &mut InputBudget::full());
    }

    #[test]
    fn a_pattern_that_compiles_too_large_is_rejected() {
        let reason = InputSchema::compile(r#"{"pattern": "^(([a-c]|[b-d]){0,500}x){0,500}$"}"#).unwrap_err();
        assert!(reason.contains("/pattern"), "{reason}");
        assert!(InputSchema::compile(r#"{"pattern": "^[A-Za-z0-9_-]{1,64}(\\.[a-z]{2,24}){1,4}$"}"#).is_ok());
    }

    #[test]
    fn of_very_many_violations_the_first_is_reported() {
        let schema = r#"{"items": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}}"#;
        let schema = InputSchema::compile(schema).unwrap();
        let input = format!("[{}]", vec!["\"x\""; 200_000].join(","));
        let violations = schema.violations(Some(&input), &mut InputBudget::full());
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].pointer, "/0");
    }

    #[test]
    fn nested_errors_do_not_copy_a_large_value_repeatedly() {
        // Each level keeps a copy of everything below it, once per alternative.
        let leaf = format!("[{}]", vec!["{\"a\": \"x\"}"; 20_000].join(","));
        let schema = InputSchema::compile(EXPRESSION).unwrap();
        let violations = schema.violations(Some(&expression(8, &leaf)), &mut InputBudget::full());
        assert_eq!(violations, [Violation::for_input(TOO_MANY_VIOLATIONS)]);
        // A single error about all of it is reported.
        let violations = InputSchema::compile(r#"{"maxItems": 3}"#).unwrap();
        let violations = violations.violations(Some(&leaf), &mut InputBudget::full());
        assert!(violations.len() == 1 && violations[0].message != TOO_MANY_VIOLATIONS, "{violations:?}");
    }

    #[test]
    fn values_are_compared_as_json() {
        for (schema, input, fits) in [
            (r#"{"const": 1}"#, "1.0", true),
            (r#"{"enum": [[1, {"a": "b"}], "x"]}"#, r#"[1.0, {"a": "b"}]"#, true),
            (r#"{"enum": [[1, {"a": "b"}], "x"]}"#, r#"[1, {"a": "c"}]"#, false),
            (r#"{"uniqueItems": true}"#, r#"[{"a": 1}, {"a": 1.0}]"#, false),
            (r#"{"uniqueItems": true}"#, "[1, \"1\"]", true),
            (r#"{"propertyNames": {"maxLength": 2}}"#, r#"{"ä€": 1}"#, true),
            (r#"{"propertyNames": {"maxLength": 2}}"#, r#"{"abc": 1}"#, false),
            (r#"{"patternProperties": {"^x": false}}"#, r#"{"xa": 1}"#, false),
            (r#"{"minLength": 3}"#, "\"äö\"", false),
        ] {
            assert_eq!(pointers(schema, Some(input)).is_empty(), fits, "{schema} {input}");
        }
    }
}
