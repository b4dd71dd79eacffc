//! Validates responses against the OpenAPI document of the server.
//!
//! The client uses it for every response. It is stricter than real clients should be: an undocumented key is
//! an error.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hyper::Method;
use hyper::header::{ALLOW, HeaderMap};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::Answer;

static IS_ENABLED: AtomicBool = AtomicBool::new(true);
static DOCUMENT: OnceLock<Document> = OnceLock::new();

/// Turns validation off, for benchmarks.
pub fn ignore() {
    IS_ENABLED.store(false, Ordering::Relaxed);
}

/// Returns true if responses are validated.
pub(crate) fn is_held() -> bool {
    IS_ENABLED.load(Ordering::Relaxed)
}

/// Returns the document, if it was fetched; it is the same for all servers.
pub(crate) fn known() -> Option<&'static Document> {
    DOCUMENT.get()
}

/// Stores the document.
pub(crate) fn learn(document: Value) -> &'static Document {
    DOCUMENT.get_or_init(|| Document::new(document))
}

/// An OpenAPI document.
pub struct Document {
    json: Value,
    /// Its schemas, with unknown keys forbidden.
    components: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    /// Prepares a document.
    pub fn new(json: Value) -> Self {
        let mut components = json["components"].clone();
        close(&mut components);
        Self { json, components, validators: Mutex::default() }
    }

    /// Returns the original JSON.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Returns method, path and description of each operation.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = self.json["paths"].as_object().into_iter().flatten();
        paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
        })
    }

    /// Validates a response.
    ///
    /// # Errors
    ///
    /// Fails with the difference.
    pub fn check(&self, method: &Method, path: &str, answer: &Answer) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        let status = answer.status.as_u16();
        let Some(methods) = self.methods(path) else {
            return match answer.json["code"].as_str() {
                Some("unknown-route" | "invalid-path") => self.check_problem(answer),
                _ => Err("the path is not documented".to_owned()),
            };
        };
        let name = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
        let Some(operation) = methods.get(&name) else {
            return if status == 405 { self.check_allow(methods, answer) } else { unexpected("the method") };
        };
        let Some(response) = operation["responses"].get(status.to_string()) else {
            return unexpected(&format!("status {status}"));
        };
        check_headers(&response["headers"], &answer.headers)?;
        if *method == Method::HEAD {
            return Ok(());
        }
        let Some(content) = response["content"].as_object() else {
            return if answer.text.is_empty() { Ok(()) } else { unexpected("a body") };
        };
        let media_type = media_type(&answer.headers);
        let Some(content) = content.get(&media_type).or_else(|| content.get("*/*")) else {
            return unexpected(&format!("content type '{media_type}'"));
        };
        // Newline-delimited JSON is not one JSON value.
        if ["/json", "+json"].iter().any(|end| media_type.ends_with(end)) {
            self.check_value(&content["schema"], &answer.json)
        } else {
            Ok(())
        }
    }

    /// Validates a value against a schema of this document.
    ///
    /// # Errors
    ///
    /// Fails with the difference.
    pub fn check_value(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = schema.clone();
        close(&mut schema);
        let key = schema.to_string();
        let known = self.validators().get(&key).cloned();
        let validator = known.map_or_else(|| self.compile(key, &schema), Ok)?;
        let faults: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    fn compile(&self, key: String, schema: &Value) -> Result<Arc<Validator>, String> {
        let whole = json!({"allOf": [schema], "components": self.components});
        let options = jsonschema::options().offline().should_validate_formats(true);
        let validator = Arc::new(options.build(&whole).map_err(|error| format!("not a schema: {error}"))?);
        self.validators().insert(key, Arc::clone(&validator));
        Ok(validator)
    }

    fn validators(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Validator>>> {
        self.validators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_problem(&self, answer: &Answer) -> Result<(), String> {
        if media_type(&answer.headers) != "application/problem+json" {
            return Err("an error that is not problem+json".to_owned());
        }
        self.check_value(&json!({"$ref": "#/components/schemas/Problem"}), &answer.json)
    }

    /// Compares the `Allow` header of a 405 with the document.
    fn check_allow(&self, methods: &serde_json::Map<String, Value>, answer: &Answer) -> Result<(), String> {
        self.check_problem(answer)?;
        let allow = answer.headers.get(ALLOW).and_then(|allow| allow.to_str().ok()).ok_or("no Allow")?;
        let mut allowed: Vec<_> = allow.split(',').map(|name| name.trim().to_lowercase()).collect();
        allowed.retain(|name| name != "head");
        allowed.sort();
        let documented: Vec<_> = methods.keys().cloned().collect();
        if allowed == documented { Ok(()) } else { Err(format!("{allow} is allowed, not {documented:?}")) }
    }

    /// Finds the matching path template, preferring literal segments.
    fn methods(&self, path: &str) -> Option<&serde_json::Map<String, Value>> {
        let fits = |(template, methods)| Some((literals(template, path)?, methods));
        let paths = self.json["paths"].as_object()?;
        let (_, methods) = paths
            .iter()
            .filter_map(|(template, methods)| fits((template, methods)))
            .max_by_key(|(n, _)| *n)?;
        methods.as_object()
    }
}

fn unexpected(what: &str) -> Result<(), String> {
    Err(format!("{what} is not documented"))
}

/// Returns the number of literal segments if the path matches the template.
fn literals(template: &str, path: &str) -> Option<usize> {
    if template.split('/').count() != path.split('/').count() {
        return None;
    }
    template.split('/').zip(path.split('/')).try_fold(0, |count, (template, segment)| {
        match template.starts_with('{') {
            true if !segment.is_empty() => Some(count),
            _ => (template == segment).then_some(count + 1),
        }
    })
}

fn check_headers(documented: &Value, headers: &HeaderMap) -> Result<(), String> {
    for (name, header) in documented.as_object().into_iter().flatten() {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        match value {
            Some(value) => {
                let schema = &header["schema"];
                let value = match schema["type"].as_str() {
                    Some("integer") => value.parse::<i64>().map_or(Value::Null, Value::from),
                    _ => Value::from(value),
                };
                let fits = jsonschema::is_valid(schema, &value);
                if !fits {
                    return Err(format!("{name}: {value} does not fit {schema}"));
                }
            }
            None if header["required"] == true => return Err(format!("{name} is missing")),
            None => {}
        }
    }
    Ok(())
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().to_owned()
}

/// Forbids unknown keys in every object schema.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let describes = fields.get("type").is_some_and(|kind| kind == "object");
            if describes && fields.contains_key("properties") && !fields.contains_key("additionalProperties")
            {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
