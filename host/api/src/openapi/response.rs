//! Specifies the responses of an operation.

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::schemas::SchemaOf;
use crate::openapi::schema::AnyJson;
use crate::problem::ProblemDocument;
use crate::problem::kind::ProblemKind;

/// A successful response.
pub(crate) struct ResponseSpec {
    description: &'static str,
    /// Media type, schema and example; several if the client chooses one.
    contents: Vec<(&'static str, SchemaOf, Option<Value>)>,
    headers: Map<String, Value>,
    links: Map<String, Value>,
}

impl ResponseSpec {
    /// Specifies a response without a body.
    pub(crate) fn empty(description: &'static str) -> Self {
        Self { description, contents: Vec::new(), headers: Map::new(), links: Map::new() }
    }

    /// Specifies a JSON response, with an example.
    pub(crate) fn json<T: JsonSchema>(description: &'static str, example: Value) -> Self {
        let content = ("application/json", SchemaGenerator::subschema_for::<T> as SchemaOf, Some(example));
        Self { contents: vec![content], ..Self::empty(description) }
    }

    /// Specifies a JSON response of any shape.
    pub(crate) fn any_json(description: &'static str) -> Self {
        let content = ("application/json", SchemaGenerator::subschema_for::<AnyJson> as SchemaOf, None);
        Self { contents: vec![content], ..Self::empty(description) }
    }

    /// Specifies a text response of this media type.
    pub(crate) fn text(description: &'static str, media_type: &'static str) -> Self {
        let content = (media_type, SchemaGenerator::subschema_for::<String> as SchemaOf, None);
        Self { contents: vec![content], ..Self::empty(description) }
    }

    /// Specifies a response of bytes.
    pub(crate) fn bytes(description: &'static str) -> Self {
        let schema: SchemaOf = |_| json_schema!({"type": "string", "format": "binary"});
        Self { contents: vec![("application/octet-stream", schema, None)], ..Self::empty(description) }
    }

    /// Adds server-sent events, for clients that accept them.
    pub(crate) fn or_events(mut self) -> Self {
        self.contents.push(("text/event-stream", SchemaGenerator::subschema_for::<String>, None));
        self
    }

    /// Adds bytes of any type, for clients that accept them.
    pub(crate) fn or_bytes(mut self) -> Self {
        self.contents.push(("*/*", SchemaGenerator::subschema_for::<String>, None));
        self
    }

    /// Adds newline-delimited JSON, for requests in that format.
    pub(crate) fn or_lines(mut self) -> Self {
        self.contents.push(("application/x-ndjson", SchemaGenerator::subschema_for::<String>, None));
        self
    }

    /// Adds a header that is always present.
    pub(crate) fn header(self, name: &str, description: &str, pattern: &str) -> Self {
        self.with_header(name, description, pattern, true)
    }

    /// Adds an optional header.
    pub(crate) fn optional_header(self, name: &str, description: &str, pattern: &str) -> Self {
        self.with_header(name, description, pattern, false)
    }

    fn with_header(mut self, name: &str, description: &str, pattern: &str, required: bool) -> Self {
        let schema = json!({"type": "string", "pattern": pattern});
        let header = json!({"description": description, "required": required, "schema": schema});
        self.headers.insert(name.to_owned(), header);
        self
    }

    /// Links the `id` of the body to the parameter `id` of these operations.
    pub(crate) fn id_leads_to(mut self, operations: &[&str]) -> Self {
        for operation in operations {
            let link = json!({"operationId": operation, "parameters": {"id": "$response.body#/id"}});
            self.links.insert((*operation).to_owned(), link);
        }
        self
    }

    pub(crate) fn document(self, schemas: &mut SchemaGenerator) -> Value {
        let mut answer = json!({"description": self.description});
        for (media_type, schema, example) in self.contents {
            let mut content = json!({"schema": schema(schemas)});
            if let Some(example) = example {
                content["example"] = example;
            }
            answer["content"][media_type] = content;
        }
        if !self.headers.is_empty() {
            answer["headers"] = self.headers.into();
        }
        if !self.links.is_empty() {
            answer["links"] = self.links.into();
        }
        answer
    }
}

/// Describes the response for all problems with one status.
pub(crate) fn problem(status: u16, kinds: &[ProblemKind], schemas: &mut SchemaGenerator) -> Value {
    let description: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}.", kind.code, kind.title)).collect();
    let mut codes: Vec<_> = kinds.iter().map(|kind| kind.code).collect();
    codes.dedup();
    let mut schema = schemas.subschema_for::<ProblemDocument<'_>>().to_value();
    schema["properties"] = json!({"status": {"const": status}, "code": {"enum": codes}});
    let mut answer = json!({
        "description": description.join(" "),
        "content": {"application/problem+json": {"schema": schema}},
    });
    if kinds.iter().any(|kind| kind.retry_after_secs.is_some()) {
        let always = kinds.iter().all(|kind| kind.retry_after_secs.is_some());
        let description = "Seconds to wait before a retry.";
        let schema = json!({"type": "integer", "minimum": 1});
        answer["headers"]["Retry-After"] =
            json!({"description": description, "required": always, "schema": schema});
    }
    answer
}
