//! What an operation answers, and how the API document says it.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::SchemaOf;
use super::values::Anything;
use crate::problem::Document;
use crate::problem_kind::Kind;

/// What is answered when all is well.
pub(crate) struct Answer {
    about: &'static str,
    /// Content type, schema and example; several where the client chooses one.
    contents: Vec<(&'static str, SchemaOf, Option<Value>)>,
    headers: Map<String, Value>,
    links: Map<String, Value>,
}

impl Answer {
    /// Answers without a body.
    pub(crate) fn empty(about: &'static str) -> Self {
        Self { about, contents: Vec::new(), headers: Map::new(), links: Map::new() }
    }

    /// Answers with JSON, such as this.
    pub(crate) fn json<T: JsonSchema>(about: &'static str, example: Value) -> Self {
        let content = ("application/json", SchemaGenerator::subschema_for::<T> as SchemaOf, Some(example));
        Self { contents: vec![content], ..Self::empty(about) }
    }

    /// Answers with JSON of any shape.
    pub(crate) fn any_json(about: &'static str) -> Self {
        let content = ("application/json", SchemaGenerator::subschema_for::<Anything> as SchemaOf, None);
        Self { contents: vec![content], ..Self::empty(about) }
    }

    /// Answers with text of another kind.
    pub(crate) fn text(about: &'static str, media_type: &'static str) -> Self {
        let content = (media_type, SchemaGenerator::subschema_for::<String> as SchemaOf, None);
        Self { contents: vec![content], ..Self::empty(about) }
    }

    /// Answers with server-sent events as well, where the client asks for them.
    pub(crate) fn or_events(mut self) -> Self {
        self.contents.push(("text/event-stream", SchemaGenerator::subschema_for::<String>, None));
        self
    }

    /// Answers with lines of JSON as well, where the request was made of them.
    pub(crate) fn or_lines(mut self) -> Self {
        self.contents.push(("application/x-ndjson", SchemaGenerator::subschema_for::<String>, None));
        self
    }

    /// Adds a header that always comes with it.
    pub(crate) fn header(self, name: &str, about: &str, pattern: &str) -> Self {
        self.with_header(name, about, pattern, true)
    }

    /// Adds a header that may come with it.
    pub(crate) fn optional_header(self, name: &str, about: &str, pattern: &str) -> Self {
        self.with_header(name, about, pattern, false)
    }

    fn with_header(mut self, name: &str, about: &str, pattern: &str, required: bool) -> Self {
        let schema = json!({"type": "string", "pattern": pattern});
        let header = json!({"description": about, "required": required, "schema": schema});
        self.headers.insert(name.to_owned(), header);
        self
    }

    /// Says that the key `id` of the body is what these operations take as `id`.
    pub(crate) fn id_leads_to(mut self, operations: &[&str]) -> Self {
        for operation in operations {
            let link = json!({"operationId": operation, "parameters": {"id": "$response.body#/id"}});
            self.links.insert((*operation).to_owned(), link);
        }
        self
    }

    pub(crate) fn document(self, schemas: &mut SchemaGenerator) -> Value {
        let mut answer = json!({"description": self.about});
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

/// Describes the answer for all kinds of problems with one status.
pub(crate) fn problem(status: u16, kinds: &[Kind], schemas: &mut SchemaGenerator) -> Value {
    let about: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}.", kind.code, kind.title)).collect();
    let mut codes: Vec<_> = kinds.iter().map(|kind| kind.code).collect();
    codes.dedup();
    let mut schema = schemas.subschema_for::<Document<'_>>().to_value();
    schema["properties"] = json!({"status": {"const": status}, "code": {"enum": codes}});
    let mut answer = json!({
        "description": about.join(" "),
        "content": {"application/problem+json": {"schema": schema}},
    });
    if kinds.iter().any(|kind| kind.retry_after_secs.is_some()) {
        let always = kinds.iter().all(|kind| kind.retry_after_secs.is_some());
        let about = "After how many seconds it may be tried again.";
        let schema = json!({"type": "integer", "minimum": 1});
        answer["headers"]["Retry-After"] =
            json!({"description": about, "required": always, "schema": schema});
    }
    answer
}
