//! What one method of one path takes and answers, and how the API document says it.
//!
//! Each endpoint tells it in a function `about`, next to its code.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};
use super::values::{Id, Name, plain};
use crate::params::Param;
use crate::problem_kind::{CROSS_ORIGIN, INVALID_REQUEST, Kind, OF_ANY, OF_JSON_BODY};

/// What a request may bring to an operation.
#[derive(Debug)]
pub(crate) struct Takes {
    pub(crate) params: Vec<Param>,
    /// Whether a body is read; else it has to be empty.
    pub(crate) has_body: bool,
}

/// The body where none is taken: none, or an object without fields.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Nothing {}

/// What a group of operations is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tag {
    Tasks,
    Plugins,
    Server,
}

impl Tag {
    pub(crate) const ALL: [(Self, &'static str); 3] = [
        (Self::Tasks, "Submit tasks, look after them, stop them."),
        (Self::Plugins, "What can run."),
        (Self::Server, "How the server itself is."),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Plugins => "plugins",
            Self::Server => "server",
        }
    }
}

/// Collects the schemas that the document names.
pub(crate) struct Schemas {
    /// Of what clients send.
    pub(crate) requests: SchemaGenerator,
    /// Of what the server answers: a field that is always written is required.
    pub(crate) answers: SchemaGenerator,
}

/// One method of one path.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    id: &'static str,
    tag: Tag,
    summary: &'static str,
    detail: String,
    parameters: Vec<Value>,
    body: Option<Body>,
    answers: Vec<(u16, Answer)>,
    problems: Vec<Kind>,
}

struct Body {
    media_types: &'static [&'static str],
    required: bool,
    about: &'static str,
    schema: SchemaOf,
    examples: Vec<(&'static str, Value)>,
}

/// Names or writes the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

impl Operation {
    pub(crate) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, id, summary)
    }

    pub(crate) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, id, summary)
    }

    pub(crate) fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("put", path, id, summary)
    }

    pub(crate) fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("delete", path, id, summary)
    }

    fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        let tag = match path.split('/').nth(1) {
            Some("task" | "events" | "schedules") => Tag::Tasks,
            Some("plugins") => Tag::Plugins,
            _ => Tag::Server,
        };
        let mut problems = OF_ANY.to_vec();
        problems.push(INVALID_REQUEST);
        if method != "get" {
            problems.push(CROSS_ORIGIN);
        }
        let parameters = path.split('/').filter_map(path_parameter).collect();
        Self {
            method,
            path,
            id,
            tag,
            summary,
            detail: String::new(),
            parameters,
            body: None,
            answers: Vec::new(),
            problems,
        }
    }

    /// Says more than the summary does.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Takes a parameter in the query; the schema may hold an `example`.
    pub(crate) fn query(mut self, name: &str, about: impl Into<String>, schema: &Value) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "query", "required": false, "description": about.into(), "schema": schema,
        }));
        self
    }

    /// Takes a header.
    pub(crate) fn header(mut self, name: &str, about: impl Into<String>, schema: &Value) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": about.into(), "schema": schema,
        }));
        self
    }

    /// Takes a JSON body, which may be left out.
    pub(crate) fn json_body<T: JsonSchema>(
        mut self,
        about: &'static str,
        examples: Vec<(&'static str, Value)>,
    ) -> Self {
        let schema = SchemaGenerator::subschema_for::<T>;
        let media_types = &["application/json"];
        self.body = Some(Body { media_types, required: false, about, schema, examples });
        self
    }

    /// Does not do without its body.
    pub(crate) fn body_required(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.required = true;
        }
        self
    }

    /// Takes the bytes of a plugin.
    pub(crate) fn wasm_body(mut self, about: &'static str) -> Self {
        let media_types = &["application/wasm", "application/octet-stream"];
        let schema: SchemaOf = |_| json_schema!({"type": "string", "format": "binary"});
        self.body = Some(Body { media_types, required: true, about, schema, examples: Vec::new() });
        self
    }

    /// Answers with this status when all is well.
    pub(crate) fn answers(mut self, status: u16, answer: Answer) -> Self {
        self.answers.push((status, answer));
        self
    }

    /// Answers with these problems when it is not; with an internal error anything may.
    pub(crate) fn problems(mut self, kinds: &[Kind]) -> Self {
        self.problems.extend(kinds);
        self
    }

    /// Returns what a request may bring.
    pub(crate) fn takes(&self) -> Takes {
        let queries = self.parameters.iter().filter(|parameter| parameter["in"] == "query");
        let param = |parameter: &Value| Param {
            name: parameter["name"].as_str().unwrap_or_default().to_owned(),
            is_list: parameter["schema"]["type"] == "array",
        };
        Takes { params: queries.map(param).collect(), has_body: self.body.is_some() }
    }

    /// Returns the operation as OpenAPI says it.
    pub(crate) fn document(mut self, schemas: &mut Schemas) -> Value {
        if self.method == "post" && self.body.is_none() {
            self = self.json_body::<Nothing>("Nothing.", Vec::new()).problems(&OF_JSON_BODY);
        }
        let mut operation = json!({
            "operationId": self.id, "tags": [self.tag.as_str()], "summary": self.summary,
        });
        if !self.detail.is_empty() {
            operation["description"] = self.detail.into();
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body.document(&mut schemas.requests);
        }
        let mut responses = Map::new();
        for (status, answer) in self.answers {
            responses.insert(status.to_string(), answer.document(&mut schemas.answers));
        }
        let mut problems = BTreeMap::<u16, Vec<Kind>>::new();
        for kind in self.problems {
            let kinds = problems.entry(kind.status.as_u16()).or_default();
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        for (status, kinds) in problems {
            responses.insert(status.to_string(), answer::problem(status, &kinds, &mut schemas.answers));
        }
        operation["responses"] = responses.into();
        operation
    }
}

/// Describes a parameter of the path, which the path names in braces.
fn path_parameter(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let (about, schema, example) = match name {
        "id" => ("The id of a task.", plain::<Id>(), "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061"),
        "schedule" => ("The name of a schedule.", plain::<Name>(), "nightly"),
        _ => ("The name of a plugin.", plain::<Name>(), "io-stub"),
    };
    Some(json!({
        "name": name, "in": "path", "required": true, "description": about, "schema": schema,
        "example": example,
    }))
}

impl Body {
    fn document(self, schemas: &mut SchemaGenerator) -> Value {
        let mut content = json!({"schema": (self.schema)(schemas)});
        if !self.examples.is_empty() {
            let named = self.examples.into_iter().map(|(name, value)| (name.into(), json!({"value": value})));
            content["examples"] = Value::Object(named.collect());
        }
        let contents = self.media_types.iter().map(|name| ((*name).to_owned(), content.clone()));
        let contents: Map<_, _> = contents.collect();
        json!({"description": self.about, "required": self.required, "content": contents})
    }
}
