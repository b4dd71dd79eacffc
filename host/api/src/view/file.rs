//! JSON view of a file of a task.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use wasmill_model::TaskFile;

use crate::openapi::schema::DigestSchema;

/// A file of a task. `GET /task/{id}/files/{file_name}` returns its bytes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskFile")]
pub(crate) struct FileView {
    /// Its name, such as `in.v` or `out/report.json`; unique among those of its direction.
    name: String,
    /// `input` if it came with the task, `output` if the run that completed the task left it.
    #[schemars(extend("enum" = ["input", "output"]))]
    direction: &'static str,
    /// Its media type, by the ending of its name.
    media_type: String,
    bytes: u64,
    #[schemars(with = "DigestSchema")]
    sha256: String,
}

impl From<TaskFile> for FileView {
    fn from(file: TaskFile) -> Self {
        let TaskFile { direction, name, media, content } = file;
        Self {
            name: name.to_string(),
            direction: direction.as_str(),
            media_type: media.to_string(),
            bytes: content.bytes,
            sha256: content.digest(),
        }
    }
}

impl FileView {
    /// Example for the OpenAPI document.
    pub(crate) fn example() -> Value {
        json!({
            "name": "out/report.json", "direction": "output", "media_type": "application/json", "bytes": 2,
            "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        })
    }
}
