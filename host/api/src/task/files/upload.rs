//! A task request as a form, whose files are stored as they arrive: they may be larger than memory.
//!
//! The first part, `task`, is the request without its files; each part `files` is one of them, and its file name is the name
//! that it has in the task.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use schemars::JsonSchema;
use wasmill_model::{FileBudget, FileName, NewTask};
use wasmill_runtime::PluginConfig;
use wasmill_store::Staging;

use crate::http::body::BodyMax;
use crate::http::form_stream::FormStream;
use crate::http::multipart::{Event, HEAD_BYTES_MAX, PartHead};
use crate::openapi::schema::BinarySchema;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, escaped, truncated_quote};
use crate::state::Api;
use crate::task::files::given::{check_room, file_name};
use crate::task::files::stage::StagedFiles;
use crate::task::request::schema::TaskRequest;

/// The parts of a form.
const TASK: &str = "task";
const FILES: &str = "files";

/// A task request with files, as a form.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct TaskForm {
    /// The task request, without `files`. It comes first.
    task: Option<TaskRequest>,
    /// Files that the plugin finds in its scratch folder, each with its name there as the file name of its part.
    #[schemars(with = "Option<Vec<BinarySchema>>")]
    files: Option<Vec<()>>,
}

/// A task whose files are stored, and what distinguishes its request from others.
pub(crate) struct Uploaded {
    pub(crate) task: NewTask,
    pub(crate) staged: StagedFiles,
    pub(crate) request: Vec<u8>,
}

/// Reads a form. `check` turns the request into a task, before any file is read.
pub(crate) async fn read(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    boundary: &str,
    check: impl AsyncFnOnce(Bytes) -> Result<NewTask, Problem>,
) -> Result<Uploaded, Problem> {
    let mut form = FormStream::open(&api.config.body, headers, body, boundary).await?;
    let (mut request, mut event) = match form.next().await? {
        Event::Part(head) if head.name == TASK => task_part(api, &mut form).await?,
        event => (Vec::new(), event),
    };
    let request_bytes = request.len() as u64;
    let task = check(Bytes::from(request.clone())).await?;
    let config = api.runtime.plugin_config(&task.plugin).unwrap_or_default();
    form.allow(form_max(&config, request_bytes))?;
    let mut files = Files::new(api, task, &config);
    loop {
        event = match event {
            Event::Part(head) => files.read(&mut form, head).await?,
            Event::End => break,
            Event::Bytes(_) => form.next().await?,
        };
    }
    form.finish().await?;
    let Files { mut task, staged, .. } = files;
    // It waits from now on.
    task.created_at = api.clock.now();
    for file in &task.files {
        request.push(0);
        request.extend_from_slice(file.name.as_str().as_bytes());
        request.push(0);
        request.extend_from_slice(&file.content.sha256);
    }
    Ok(Uploaded { task, staged, request })
}

/// Reads the bytes of the first part, and what follows them.
async fn task_part(api: &Api, form: &mut FormStream) -> Result<(Vec<u8>, Event), Problem> {
    let bytes_max = api.config.body.bytes_max;
    let mut request = Vec::new();
    loop {
        match form.next().await? {
            Event::Bytes(bytes) if request.len() + bytes.len() > bytes_max => {
                let detail =
                    format!("the part '{TASK}' is larger than the setting body_max, {bytes_max} bytes");
                return Err(Problem::invalid_request(FieldError::body(detail)));
            }
            Event::Bytes(bytes) => {
                form.hold(bytes.len() as u64).await?;
                request.extend_from_slice(&bytes);
            }
            event => return Ok((request, event)),
        }
    }
}

/// The maximum size of a form: its files, the request, and the headers of each part with the boundary before them.
fn form_max(config: &PluginConfig, request_bytes: u64) -> BodyMax {
    let limits = config.limits.files;
    let heads = (u64::from(limits.count_max) + 2).saturating_mul(HEAD_BYTES_MAX as u64 + 128);
    let bytes = limits.total_bytes_max.saturating_add(heads).saturating_add(request_bytes);
    BodyMax { bytes: usize::try_from(bytes).unwrap_or(usize::MAX), setting: Some("files_max") }
}

/// The files of a form so far.
struct Files<'a> {
    api: &'a Api,
    config: &'a PluginConfig,
    budget: FileBudget,
    bytes: u64,
    task: NewTask,
    staged: StagedFiles,
}

impl<'a> Files<'a> {
    fn new(api: &'a Api, task: NewTask, config: &'a PluginConfig) -> Self {
        let budget = FileBudget::new(config.limits.files);
        Self { api, config, budget, bytes: 0, task, staged: StagedFiles::default() }
    }

    /// Stores one file, and returns what follows it.
    async fn read(&mut self, form: &mut FormStream, head: PartHead) -> Result<Event, Problem> {
        let name = self.name(head)?;
        let refused = |why: String| {
            let pointer = format!("/{FILES}/{}", escaped(name.as_str()));
            Problem::invalid_request(FieldError::at(pointer, why))
        };
        let mut staging = Staging::begin(&self.api.store, self.task.created_at).await?;
        loop {
            match form.next().await? {
                Event::Bytes(bytes) => {
                    let more = bytes.len() as u64;
                    let grown = self.budget.grow(&name, staging.bytes(), more);
                    grown.map_err(|refusal| refused(refusal.to_string()))?;
                    self.bytes += more;
                    self.check_room()?;
                    staging.write(&bytes).await?;
                }
                event => {
                    let staged = staging.finish().await?;
                    self.staged.add(&mut self.task, name, staged);
                    return Ok(event);
                }
            }
        }
    }

    /// Returns the name of the next file, if there may be one.
    fn name(&mut self, head: PartHead) -> Result<FileName, Problem> {
        let refused = |detail: String| Problem::invalid_request(FieldError::field(FILES, detail));
        let part = truncated_quote(&head.name);
        if head.name == TASK {
            let detail = format!("the part '{TASK}' must appear once and come first");
            return Err(Problem::invalid_request(FieldError::body(detail)));
        }
        if head.name != FILES {
            let detail = format!("the form has an unknown part '{part}'; known parts: {TASK}, {FILES}");
            return Err(Problem::invalid_request(FieldError::body(detail)));
        }
        let Some(given) = head.file_name else {
            let detail = format!(
                "a part '{FILES}' has no file name, which is the name of the file in the task, such as \
                 filename=\"in.txt\""
            );
            return Err(refused(detail));
        };
        self.budget.add().map_err(|refusal| refused(refusal.to_string()))?;
        self.check_room()?;
        let earlier = self.task.files.iter().map(|file| &file.name);
        file_name(&given, earlier).map_err(|why| {
            Problem::invalid_request(FieldError::at(format!("/{FILES}/{}", escaped(&given)), why))
        })
    }

    /// Checks that the files fit into the scratch folder, with the one that is being read.
    fn check_room(&self) -> Result<(), Problem> {
        let count = self.task.files.len() as u64 + 1;
        let checked = check_room(self.config, count, self.bytes);
        checked.map_err(|why| Problem::invalid_request(FieldError::field(FILES, why)))
    }
}
