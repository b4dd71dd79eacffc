//! `wasmill submit`: submits a task, and waits for it if requested.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_model::TaskId;

use crate::cli::files::FileArg;
use crate::cli::run::{SubmitArgs, TaskOptions};
use crate::cli::server::WaitArgs;
use crate::client::{
    Client, ClientRequest, ClientResponse, Form, REQUEST_TIMEOUT, Task, block_on, trace_context,
};
use crate::commands::find::find_all;
use crate::commands::follow::{self, FollowOptions};
use crate::commands::query::Body;
use crate::commands::{result, show};
use crate::exit::{Exit, cli_error};
use crate::output::{data, note, out};
use crate::terminal::style::Style;

/// How many bytes of files have at least the time limit of a request.
const PACE_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct TaskCreated {
    id: String,
}

/// Submits the task.
pub(crate) fn submit(args: &SubmitArgs) -> Result<Exit> {
    let input = args.input.read()?;
    let client = Client::new(&args.server)?;
    block_on(async {
        let after = find_all(&client, &args.options.after).await?;
        let body = body(args.plugin.as_deref(), input, &args.options, &after)?.to_json();
        let form = form(&args.file, &body.1)?;
        let bytes = form.as_ref().map_or(0, Form::bytes);
        let key = args.options.idempotency_key.clone();
        let key = key.map(|key| ("Idempotency-Key", key));
        let headers = key.into_iter().chain(trace_context::headers()).collect();
        let timeout =
            REQUEST_TIMEOUT.saturating_mul(u32::try_from(1 + bytes / PACE_BYTES).unwrap_or(u32::MAX));
        let body = Some(body);
        let request =
            ClientRequest { body, form, headers, timeout, ..ClientRequest::new(Method::POST, "/task") };
        let response = client.send(request).await?.error_for_status()?;
        report_created(&client, &response, args.wait).await
    })
}

/// Returns the form of a task request with files; `None` without any.
fn form(files: &[FileArg], task: &[u8]) -> Result<Option<Form>> {
    if files.is_empty() {
        return Ok(None);
    }
    let (mut form, mut names) = (Form::new("task", task), BTreeSet::new());
    for FileArg { name, path } in files {
        form.add_file("files", name, path)?;
        if !names.insert(name) {
            let message = format!("two files have the name {name}; give one of them another by NAME=PATH");
            return Err(cli_error(Exit::Usage, message));
        }
    }
    Ok(Some(form.end()))
}

/// Returns the body of a task request that depends on the tasks `after`.
pub(crate) fn body(
    plugin: Option<&str>,
    input: Option<Box<RawValue>>,
    options: &TaskOptions,
    after: &[TaskId],
) -> Result<Body> {
    let backoff = options.backoff.clone().map(RawValue::from_string).transpose().map_err(|error| {
        let example = r#"{"first": "1s", "factor": 2, "max": "5m", "jitter": 0.5}"#;
        cli_error(Exit::Usage, format!("invalid value for --backoff: {error}; use, for example, '{example}'"))
    })?;
    let webhook = options.webhook.as_ref().map(|url| match options.webhook_on.as_slice() {
        [] => json!(url),
        on => json!({"url": url, "on": on}),
    });
    Ok(Body::default()
        .with("plugin", plugin)
        .with("input", input)
        .with("timeout", options.timeout.as_ref())
        .with("max_attempts", options.max_attempts)
        .with("backoff", backoff)
        .with("priority", options.priority)
        .with("delay", options.delay.as_ref())
        .with("run_at", options.run_at.as_ref())
        .with("tags", (!options.tag.is_empty()).then_some(&options.tag))
        .with("unique_key", options.unique_key.as_ref())
        .with("on_conflict", options.on_conflict.as_ref())
        .with("depends_on", (!after.is_empty()).then_some(after))
        .with("on_failure", options.on_failure.as_ref())
        .with("input_from", options.with_results.then_some("dependencies"))
        .with("files_from", options.files_from.as_ref())
        .with("webhook", webhook)
        .with("group", options.group.as_ref()))
}

/// Returns the id of an accepted task.
fn created(client: &Client, response: &ClientResponse) -> Result<TaskId> {
    let TaskCreated { id } = response.read()?;
    id.parse().with_context(|| format!("{client} accepted a task without an id"))
}

/// Returns the id of an accepted task as text.
pub(crate) fn created_id(client: &Client, response: &ClientResponse) -> Result<String> {
    created(client, response).map(|id| id.to_string())
}

/// Prints the id of an accepted task; or waits until it has finished and prints its result.
pub(crate) async fn report_created(
    client: &Client,
    response: &ClientResponse,
    args: WaitArgs,
) -> Result<Exit> {
    let id = created(client, response)?;
    if !args.wait {
        if args.json {
            data!("{}", response.text());
        } else {
            out!("{id}");
        }
        return Ok(Exit::Done);
    }
    if !args.quiet {
        note!("{}", Style::stderr().dim(format!("task {id}")));
    }
    let follow = FollowOptions { with_log: !args.quiet, is_quiet: args.quiet };
    if follow::wait_until_finished(client, id, follow).await? == Exit::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let response = client.get(&format!("/task/{id}")).await?.error_for_status()?;
    let task: Task = response.read()?;
    if args.json {
        data!("{}", response.text());
        return Ok(result::exit_for(&task));
    }
    Ok(show::outcome(&task))
}
