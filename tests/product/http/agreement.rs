//! The server accepts exactly what the OpenAPI document allows.
//!
//! Requests are generated from the schemas with a fixed seed, and mutated in one place. The document decides
//! whether each is valid. A valid one may only be refused for reasons that no schema can express, such as an
//! unknown plugin; `is_excused` lists them.

use hyper::{Method, StatusCode, Uri};
use serde_json::{Map, Value, json};
use wasmill_model::{InvalidDuration, parse_duration};
use wasmill_tests::document::Document;
use wasmill_tests::{Answer, Client, Server};

const DAY: u64 = 86_400;

/// A deterministic random number generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.roll() % most as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Generates values from schemas.
struct Maker<'a> {
    document: &'a Document,
    dice: Dice,
}

impl Maker<'_> {
    fn fits(&self, schema: &Value, value: &Value) -> bool {
        self.document.check_value(schema, value).is_ok()
    }

    /// Generates a valid value.
    fn value(&mut self, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().expect("a name");
            let schema = self.document.json()["components"]["schemas"][name].clone();
            return self.value(&schema);
        }
        for any in ["anyOf", "oneOf"] {
            if let Some(of) = schema[any].as_array() {
                let of = self.dice.pick(of).clone();
                return self.value(&of);
            }
        }
        if let Some(all) = schema["enum"].as_array() {
            return self.dice.pick(all).clone();
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        let Some(kind) = kinds.first().map(|_| *self.dice.pick(&kinds)) else { return self.anything(2) };
        match kind {
            "null" => Value::Null,
            "boolean" => json!(self.dice.one_in(2)),
            "integer" | "number" => self.number(schema, kind == "integer"),
            "string" => self.string(schema),
            "array" => {
                let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
                let count = least + self.dice.below(3);
                (0..count).map(|_| self.value(&schema["items"])).collect()
            }
            _ => self.object(schema),
        }
    }

    fn object(&mut self, schema: &Value) -> Value {
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let few = if properties.len() > 6 { 5 } else { 2 };
        let mut made = Map::new();
        for (name, schema) in &properties {
            if required.iter().any(|required| *required == name) || self.dice.one_in(few) {
                made.insert(name.clone(), self.value(schema));
            }
        }
        made.into()
    }

    fn number(&mut self, schema: &Value, is_whole: bool) -> Value {
        let least = schema["minimum"].as_f64().unwrap_or(-1e6);
        let most = schema["maximum"].as_f64().unwrap_or(1e6);
        let between = least + (most - least).min(1e9) * (self.dice.below(1_001) as f64 / 1_000.0);
        let number = *self.dice.pick(&[least, most, between, 0.0_f64.clamp(least, most)]);
        match (is_whole, self.dice.one_in(2)) {
            (true, true) => json!(number.round().clamp(least, most)),
            (true, false) => json!(number.round().clamp(least, most) as i64),
            (false, _) => json!(number),
        }
    }

    fn string(&mut self, schema: &Value) -> Value {
        for _ in 0..500 {
            let value = json!(self.text());
            if self.fits(schema, &value) {
                return value;
            }
        }
        panic!("no text fits {schema}");
    }

    /// Generates a text that is meaningful somewhere.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of text")]
    fn text(&mut self) -> String {
        let number = [0, 1, 5, 30, 90, 366, 100_000][self.dice.below(7)];
        let unit = *self.dice.pick(&[
            "",
            "ns",
            "us",
            "ms",
            "s",
            "sec",
            "seconds",
            "m",
            "min",
            "M",
            "h",
            "hours",
            "d",
            "days",
            "w",
            "weeks",
            "month",
            "months",
            "y",
            "year",
            "S",
            "µs",
            "fortnights",
            "msec",
            "mins",
            "hr",
            "wk",
        ]);
        let space = *self.dice.pick(&["", "", " ", "\t", "\u{a0}", "\n"]);
        match self.dice.below(14) {
            0..=3 => format!("{number}{space}{unit}"),
            4 => format!("{number}.5{unit}{space}{number}{unit}"),
            5 => format!("{space}{number}{unit}{space}"),
            6 => self
                .dice
                .pick(&["noop", "misbehave", "io-stub", "nobody", "No", "a b", ".a", "a/b", "-"])
                .to_string(),
            7 => self
                .dice
                .pick(&["tenant 7", "ü💣", "", "\u{7f}", "a\u{85}b", "\"", "'", "a\tb", "\u{0}"])
                .to_string(),
            8 => "x".repeat(*self.dice.pick(&[1, 63, 64, 65, 255, 256])),
            9 => "ü".repeat(*self.dice.pick(&[64, 65, 128, 255, 256])),
            10 => {
                let urls = [
                    "http://127.0.0.1:9/",
                    "https://example.com/hook?a=b",
                    "http://[::1]",
                    "HTTP://a/",
                    "ftp://a/",
                    "http://",
                    "http:///a",
                    "http://a b",
                    "http://user@a/",
                    "http://a/#b",
                    "//a",
                    "http://a:99999/",
                    "http://a\u{7}/",
                    "https://ä/",
                    "http://a/%zz",
                    "http://a:/",
                    "http://?",
                ];
                self.dice.pick(&urls).to_string()
            }
            11 => {
                let moments = [
                    "2026-11-23T07:26:49Z",
                    "2026-11-23T07:26:49.123456789+01:00",
                    "2026-11-23 07:26:49Z",
                    "2026-11-23t07:26:49z",
                    "2026-11-23",
                    "2026-02-30T00:00:00Z",
                    "1969-12-31T23:59:59Z",
                    "9999-12-31T23:59:59Z",
                    "2026-11-23T07:26:49",
                    "2026-11-23T07:26:49+0100",
                    "2026-11-23T07:26Z",
                    "2016-12-31T23:59:60Z",
                    "2026-11-23T24:00:00Z",
                ];
                self.dice.pick(&moments).to_string()
            }
            12 => {
                let ids = [
                    "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061",
                    "0192F3C4-5D6E-7F80-9A0B-1C2D3E4F5061",
                    "0192f3c45d6e7f809a0b1c2d3e4f5061",
                    "{0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061}",
                    "urn:uuid:0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061",
                    "0192f3c4",
                    "0192f3c4-5d",
                    "0192-",
                ];
                self.dice.pick(&ids).to_string()
            }
            _ => {
                let words = [
                    "@daily",
                    "*/5 * * * *",
                    "0 0 1 1 *",
                    "UTC",
                    "Europe/Berlin",
                    "refuse",
                    "return",
                    "run",
                    "cancel",
                    "dependencies",
                    "skip",
                    "one",
                    "all",
                    "failed",
                    "completed",
                    "waiting",
                    "true",
                    "false",
                    "+5",
                    "12",
                    "-0",
                    "1e1",
                    "1.0",
                    "007f",
                    "ffff",
                ];
                self.dice.pick(&words).to_string()
            }
        }
    }

    /// Generates any JSON.
    fn anything(&mut self, depth: usize) -> Value {
        match self.dice.below(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.dice.one_in(2)),
            2 => self
                .dice
                .pick(&[json!(0), json!(-1), json!(1.0), json!(0.5), json!(1e300), json!(-0.0)])
                .clone(),
            3 | 4 => json!(self.text()),
            5 => json!([]),
            6 => (0..self.dice.below(3)).map(|_| self.anything(depth - 1)).collect(),
            _ => {
                let names = ["item", "first", "url", "on", "x", "", "a/b", "factor"];
                let fields = (0..self.dice.below(3))
                    .map(|_| ((*self.dice.pick(&names)).to_owned(), self.anything(depth - 1)))
                    .collect::<Map<_, _>>();
                fields.into()
            }
        }
    }

    /// Mutates a value in one place, usually making it invalid.
    fn change(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() && !self.dice.one_in(5) => {
                let at = self.dice.below(fields.len());
                let name = fields.keys().nth(at).expect("a field").clone();
                if self.dice.one_in(8) {
                    let moved = fields.remove(&name).expect("a field");
                    fields.insert(format!("{name}s"), moved);
                } else {
                    self.change(&mut fields[&name]);
                }
            }
            Value::Array(items) if !items.is_empty() && self.dice.one_in(2) => {
                let at = self.dice.below(items.len());
                self.change(&mut items[at]);
            }
            Value::Object(fields) if self.dice.one_in(2) => {
                let fresh = self.anything(1);
                fields.insert("further".to_owned(), fresh);
            }
            Value::Array(items) if self.dice.one_in(2) => {
                let fresh = self.anything(1);
                let times = *self.dice.pick(&[1, 17, 101]);
                items.extend(std::iter::repeat_n(fresh, times));
            }
            value => *value = self.anything(2),
        }
    }
}

/// Returns true if a field is missing or `null`.
fn lacks(request: &Value, name: &str) -> bool {
    request[name].is_null() || request[name].as_array().is_some_and(Vec::is_empty)
}

fn seconds(text: &Value) -> Option<f64> {
    match parse_duration(text.as_str()?) {
        Ok(span) => Some(span.as_secs_f64()),
        Err(InvalidDuration::Number) => Some(f64::INFINITY),
        Err(_) => None,
    }
}

/// Returns true if a valid task request may be refused for this error.
fn is_excused(request: &Value, pointer: &str, index: Option<usize>) -> bool {
    let field = pointer.split('/').nth(1).unwrap_or_default();
    let is_over = |name: &str, least: f64, most: f64| {
        seconds(&request[name]).is_some_and(|seconds| !(least..=most).contains(&seconds))
    };
    match field {
        "plugin" => !["noop", "misbehave", "io-stub"].iter().any(|known| request["plugin"] == **known),
        // `io-stub`, the default plugin, validates its own input.
        "input" => lacks(request, "plugin") || request["plugin"] == "io-stub",
        "timeout" => is_over("timeout", 0.001, DAY as f64),
        "delay" => is_over("delay", 0.0, 366.0 * DAY as f64),
        // Not both, and at most a year ahead.
        "run_at" => {
            !lacks(request, "delay") || request["run_at"].as_str().is_some_and(|at| at.starts_with('9'))
        }
        "backoff" => {
            let of = |name: &str| seconds(&request["backoff"][name]);
            let (first, most) = (of("first"), of("max"));
            first.or(most).is_some_and(|_| first.unwrap_or(0.0) > most.unwrap_or(f64::INFINITY))
                || [first, most].into_iter().flatten().any(|wait| wait > 7.0 * DAY as f64)
        }
        // No plugin here has a folder for them.
        "files" | "files_from" => true,
        "on_conflict" => lacks(request, "unique_key"),
        "on_failure" | "input_from" => lacks(request, "depends_on"),
        "depends_on" => {
            let position: Option<usize> =
                pointer.split('/').nth(2).and_then(|position| position.parse().ok());
            let Some(on) = position.map(|position| &request["depends_on"][position]) else { return false };
            let item = on["item"].as_f64();
            // These ids belong to no task.
            on.is_string() || index.is_none_or(|index| item.is_some_and(|item| item >= index as f64))
        }
        "webhook" => {
            let url = request["webhook"].as_str().or(request["webhook"]["url"].as_str()).unwrap_or_default();
            let Ok(uri) = url.parse::<Uri>() else { return true };
            let Some(authority) = uri.authority() else { return true };
            let port = authority.as_str().rsplit(':').next().filter(|_| authority.as_str().contains(':'));
            authority.as_str().contains('@')
                || uri.host().is_none_or(str::is_empty)
                || (uri.port().is_none() && port.is_some() && !authority.as_str().ends_with(']'))
                || uri.port().is_some_and(|port| port.as_u16() == 0)
        }
        _ => false,
    }
}

fn check(answer: &Answer, is_allowed: bool, what: &str, is_excused: impl Fn(&str) -> bool) {
    let received = || format!("{what}\n{}", answer.text);
    if !is_allowed {
        assert!(answer.status.is_client_error(), "it is forbidden, and taken: {}", received());
        return;
    }
    if answer.status.is_success() || answer.json["code"] == "unique-key-taken" {
        return;
    }
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", received());
    let errors = answer.json["errors"].as_array().unwrap_or_else(|| panic!("no errors: {}", received()));
    for error in errors {
        let pointer = error["pointer"].as_str().unwrap_or_default();
        assert!(is_excused(pointer), "it is allowed, and refused at {pointer}: {}", received());
    }
}

fn schema_of(document: &Document, method: &str, path: &str) -> Value {
    document.json()["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"].clone()
}

async fn server() -> (Server, Client, &'static Document) {
    let server = Server::start(&["--timeout-max", "1d", "--webhook-allow", "127.0.0.0/8"]);
    let client = server.client();
    client.post("/pause", &json!({})).await;
    let document = client.document().await.expect("a document");
    (server, client, document)
}

#[tokio::test]
async fn a_task_request_is_accepted_exactly_if_the_document_allows_it() {
    let (_server, client, document) = server().await;
    let schema = schema_of(document, "post", "/task");
    let mut maker = Maker { document, dice: Dice(1) };
    let (mut taken, mut refused) = (0, 0);
    for round in 0..1_500 {
        let mut request = maker.value(&schema);
        if round % 3 > 0 {
            maker.change(&mut request);
        }
        let is_allowed = maker.fits(&schema, &request);
        let answer = client.post("/task", &request).await;
        check(&answer, is_allowed, &request.to_string(), |pointer| is_excused(&request, pointer, None));
        *if answer.status.is_success() { &mut taken } else { &mut refused } += 1;
    }
    assert!(taken > 100 && refused > 300, "{taken} taken, {refused} refused");
}

#[tokio::test]
async fn a_batch_is_accepted_exactly_if_the_document_allows_it() {
    let (_server, client, document) = server().await;
    let schema = schema_of(document, "post", "/task/batch");
    let mut maker = Maker { document, dice: Dice(2) };
    let mut taken = 0;
    for round in 0..300 {
        let mut request = maker.value(&schema);
        if round % 3 > 0 {
            maker.change(&mut request);
        }
        let is_allowed = maker.fits(&schema, &request);
        let answer = client.post("/task/batch", &request).await;
        check(&answer, is_allowed, &request.to_string(), |pointer| {
            let (index, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
            let index: usize = index.parse().expect("an index");
            is_excused(&request[index], &format!("/{rest}"), Some(index))
        });
        taken += usize::from(answer.status.is_success());
    }
    assert!(taken > 10, "{taken} taken");
}

#[tokio::test]
async fn a_schedule_is_accepted_exactly_if_the_document_allows_it() {
    let (_server, client, document) = server().await;
    let schema = schema_of(document, "put", "/schedules/{schedule}");
    let mut maker = Maker { document, dice: Dice(3) };
    let mut taken = 0;
    for round in 0..600 {
        let mut request = maker.value(&schema);
        if !maker.dice.one_in(4) {
            request["cron"] = json!("*/5 * * * *");
            request["timezone"] = Value::Null;
        }
        if round % 3 > 0 {
            maker.change(&mut request);
        }
        let is_allowed = maker.fits(&schema, &request);
        let body = Some(("application/json", request.to_string().into_bytes()));
        let answer = client.send(Method::PUT, "/schedules/a", body).await.expect("an answer");
        check(&answer, is_allowed, &request.to_string(), |pointer| {
            // No schema can express valid times and zones; `run_at` and dependencies are not allowed in a
            // schedule.
            ["/cron", "/timezone", "/task/run_at", "/task/depends_on"].contains(&pointer)
                || pointer
                    .strip_prefix("/task")
                    .is_some_and(|pointer| is_excused(&request["task"], pointer, None))
        });
        taken += usize::from(answer.status.is_success());
    }
    assert!(taken > 50, "{taken} taken");
}

/// Parses a text as a query parameter of this schema; `None` if ambiguous.
fn meant(schema: &Value, text: &str) -> Option<Value> {
    match schema["type"].as_str() {
        Some("integer") => {
            let is_clear = text == "0" || !text.starts_with('0');
            let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
            let number = text.parse::<u64>().map(|number| json!(number));
            is_clear.then(|| if is_number { number.unwrap_or(json!(text)) } else { json!(text) })
        }
        Some("boolean") => Some(match text {
            "true" => json!(true),
            "false" => json!(false),
            text => json!(text),
        }),
        // Lists may use commas if their items contain none.
        Some("array") => (!text.contains(',')).then(|| json!([text])),
        _ => Some(json!(text)),
    }
}

#[tokio::test]
async fn a_query_is_accepted_exactly_if_the_document_allows_it() {
    let (_server, client, document) = server().await;
    let id = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    let mut maker = Maker { document, dice: Dice(4) };
    let mut received = 0;
    for (method, path, operation) in document.operations() {
        // An open stream does not end.
        if path == "/events" {
            continue;
        }
        let full = path.replace("{id}", &id);
        let method: Method = method.to_uppercase().parse().expect("a method");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] != "query" {
                continue;
            }
            let (name, schema) = (parameter["name"].as_str().expect("a name"), &parameter["schema"]);
            for _ in 0..60 {
                let text = maker.text();
                let Some(value) = meant(schema, &text) else { continue };
                let is_allowed = maker.fits(schema, &value);
                if is_allowed && (name == "wait" || method != Method::GET) {
                    // It would block, or have effects.
                    continue;
                }
                let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let answer = client.send(method.clone(), &format!("{full}?{name}={encoded}"), None).await;
                let what = format!("{method} {path}?{name}={text:?}");
                check(&answer.expect("an answer"), is_allowed, &what, |_| false);
                received += 1;
            }
        }
    }
    assert!(received > 800, "{received}");
}
