//! Specifies an operation: its parameters, body and responses.
//!
//! Each endpoint has a function `spec` next to its handler.

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use wasmill_access::Scope;

use super::request::{Bounds, Needs, Param, RequestSpec, is_submit};
use super::response::{self, ResponseSpec};
use super::schemas::{SchemaOf, Schemas};
use crate::openapi::schema::{IdSchema, NameSchema, ScheduleNameSchema, plain};
use crate::problem::kind::{
    ANY_OPERATION, AUDIT_UNAVAILABLE, CROSS_ORIGIN, INVALID_REQUEST, JSON_BODY, KEY_CHECK, OUT_OF_REACH,
    ProblemKind,
};

/// The body of an operation without one: empty, or an empty object.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct EmptyBody {}

/// A group of operations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tag {
    Tasks,
    Plugins,
    Server,
}

impl Tag {
    pub(crate) const ALL: [(Self, &'static str); 3] = [
        (Self::Tasks, "Submit, watch and cancel tasks."),
        (Self::Plugins, "List and change plugins."),
        (Self::Server, "Inspect and control the server."),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Plugins => "plugins",
            Self::Server => "server",
        }
    }
}

/// One method of one path.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Whether it is a page of the dashboard, which the document leaves out.
    pub(crate) is_page: bool,
    takes_any_query: bool,
    /// Set by the route table.
    needs: Needs,
    bounds: Bounds,
    id: &'static str,
    tag: Tag,
    summary: &'static str,
    detail: String,
    parameters: Vec<Value>,
    body: Option<Body>,
    responses: Vec<(u16, ResponseSpec)>,
    problems: Vec<ProblemKind>,
}

struct Body {
    media_types: &'static [&'static str],
    required: bool,
    description: &'static str,
    schema: SchemaOf,
    examples: Vec<(&'static str, Value)>,
    /// A form with files that says the same.
    form: Option<SchemaOf>,
}

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

    /// A page of the dashboard: it has no place in the document.
    pub(crate) fn page(path: &'static str) -> Self {
        Self { is_page: true, ..Self::get(path, "", "") }
    }

    /// What a form of a page sends.
    pub(crate) fn form(path: &'static str) -> Self {
        let schema: SchemaOf = |_| json_schema!({"type": "object"});
        let media_types = &["application/x-www-form-urlencoded"];
        let body =
            Body { media_types, required: true, description: "", schema, examples: Vec::new(), form: None };
        Self { is_page: true, body: Some(body), ..Self::post(path, "", "") }
    }

    /// Adds a query parameter of a page.
    pub(crate) fn parameter(self, name: &str) -> Self {
        self.query(name, "", &json!({"type": "string"}))
    }

    /// Takes whatever a page of another server adds to the query.
    pub(crate) fn any_query(self) -> Self {
        Self { takes_any_query: true, ..self }
    }

    /// Adds a query parameter of a page that may repeat.
    pub(crate) fn parameters(self, name: &str) -> Self {
        self.query(name, "", &json!({"type": "array"}))
    }

    fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        let tag = match path.split('/').nth(1) {
            Some("task" | "events" | "schedules") => Tag::Tasks,
            Some("plugins") => Tag::Plugins,
            _ => Tag::Server,
        };
        let mut problems = ANY_OPERATION.to_vec();
        problems.push(INVALID_REQUEST);
        if method != "get" {
            problems.push(CROSS_ORIGIN);
        }
        let parameters = path.split('/').filter_map(path_parameter).collect();
        Self {
            method,
            path,
            is_page: false,
            takes_any_query: false,
            needs: Needs::Nothing,
            bounds: Bounds::Nothing,
            id,
            tag,
            summary,
            detail: String::new(),
            parameters,
            body: None,
            responses: Vec::new(),
            problems,
        }
    }

    /// Sets what the key of a request has to allow, and how it is kept within its reach.
    pub(crate) fn guarded(mut self, needs: Needs, bounds: Bounds) -> Self {
        if needs != Needs::Nothing {
            self.problems.extend(KEY_CHECK);
            if self.method != "get" && !is_submit(needs, bounds) {
                self.problems.push(AUDIT_UNAVAILABLE);
            }
        }
        if bounds == Bounds::Refused || (bounds == Bounds::Plugin && self.method != "get") {
            self.problems.push(OUT_OF_REACH);
        }
        (self.needs, self.bounds) = (needs, bounds);
        self
    }

    /// Adds a description.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a query parameter; the schema may contain an `example`.
    pub(crate) fn query(mut self, name: &str, description: impl Into<String>, schema: &Value) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "query", "required": false, "description": description.into(), "schema": schema,
        }));
        self
    }

    /// Adds a request header.
    pub(crate) fn header(mut self, name: &str, description: impl Into<String>, schema: &Value) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description.into(), "schema": schema,
        }));
        self
    }

    /// Adds an optional JSON body.
    pub(crate) fn json_body<T: JsonSchema>(
        mut self,
        description: &'static str,
        examples: Vec<(&'static str, Value)>,
    ) -> Self {
        let schema = SchemaGenerator::subschema_for::<T>;
        let media_types = &["application/json"];
        self.body = Some(Body { media_types, required: false, description, schema, examples, form: None });
        self
    }

    /// Allows a form with files in place of JSON.
    pub(crate) fn or_form<T: JsonSchema>(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.form = Some(SchemaGenerator::subschema_for::<T>);
        }
        self
    }

    /// Makes the body required.
    pub(crate) fn body_required(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.required = true;
        }
        self
    }

    /// Adds a required body of form fields.
    pub(crate) fn form_body<T: JsonSchema>(mut self, description: &'static str) -> Self {
        let media_types = &["application/x-www-form-urlencoded"];
        let schema = SchemaGenerator::subschema_for::<T>;
        self.body =
            Some(Body { media_types, required: true, description, schema, examples: Vec::new(), form: None });
        self
    }

    /// Adds a required WebAssembly body.
    pub(crate) fn wasm_body(mut self, description: &'static str) -> Self {
        let media_types = &["application/wasm", "application/octet-stream"];
        let schema: SchemaOf = |_| json_schema!({"type": "string", "format": "binary"});
        self.body =
            Some(Body { media_types, required: true, description, schema, examples: Vec::new(), form: None });
        self
    }

    /// Adds a successful response.
    pub(crate) fn responds(mut self, status: u16, answer: ResponseSpec) -> Self {
        self.responses.push((status, answer));
        self
    }

    /// Adds problems.
    pub(crate) fn problems(mut self, kinds: &[ProblemKind]) -> Self {
        self.problems.extend(kinds);
        self
    }

    /// Returns what the operation accepts.
    pub(crate) fn request_spec(&self) -> RequestSpec {
        let queries = self.parameters.iter().filter(|parameter| parameter["in"] == "query");
        let param = |parameter: &Value| Param {
            name: parameter["name"].as_str().unwrap_or_default().to_owned(),
            is_list: parameter["schema"]["type"] == "array",
        };
        let (params, has_body) = (queries.map(param).collect(), self.body.is_some());
        let (needs, bounds, takes_any_query) = (self.needs, self.bounds, self.takes_any_query);
        RequestSpec { id: self.id, needs, bounds, params, has_body, takes_any_query }
    }

    /// Returns the OpenAPI object of the operation.
    pub(crate) fn document(mut self, schemas: &mut Schemas) -> Value {
        if self.method == "post" && self.body.is_none() {
            self = self.json_body::<EmptyBody>("No content.", Vec::new()).problems(&JSON_BODY);
        }
        let mut operation = json!({
            "operationId": self.id, "tags": [self.tag.as_str()], "summary": self.summary,
        });
        let keys = self.needs.alternatives().into_iter();
        let keys =
            keys.map(|scopes| json!({"key": scopes.into_iter().map(Scope::as_str).collect::<Vec<_>>()}));
        operation["security"] = keys.collect();
        if let Some(bounds) = self.bounds.as_str() {
            operation["x-reach"] = bounds.into();
        }
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
        for (status, answer) in self.responses {
            responses.insert(status.to_string(), answer.document(&mut schemas.responses));
        }
        let mut problems = BTreeMap::<u16, Vec<ProblemKind>>::new();
        for kind in self.problems {
            let kinds = problems.entry(kind.status.as_u16()).or_default();
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        for (status, kinds) in problems {
            responses.insert(status.to_string(), response::problem(status, &kinds, &mut schemas.responses));
        }
        operation["responses"] = responses.into();
        operation
    }
}

/// Describes a path parameter, for a segment in braces.
fn path_parameter(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?.trim_start_matches('*');
    let (description, schema, example) = match name {
        "id" => ("Task id.", plain::<IdSchema>(), "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061"),
        "schedule" => ("Schedule name.", plain::<ScheduleNameSchema>(), "nightly"),
        "file_name" => ("Name of a file of the task.", json!({"type": "string"}), "out/report.json"),
        "file" => ("File of the dashboard.", plain::<NameSchema>(), "ui.css"),
        "name" => ("Plugin name.", plain::<NameSchema>(), "io-stub"),
        _ => unreachable!("path parameter {name} has no description here"),
    };
    Some(json!({
        "name": name, "in": "path", "required": true, "description": description, "schema": schema,
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
        let mut contents: Map<_, _> = contents.collect();
        if let Some(form) = self.form {
            contents.insert("multipart/form-data".to_owned(), json!({"schema": form(schemas)}));
        }
        json!({"description": self.description, "required": self.required, "content": contents})
    }
}
