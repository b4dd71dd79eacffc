//! `wasmill submit`: submits a task, and waits for it if requested.

use anyhow::{Context, Result};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmill_model::TaskId;

use crate::cli::run::{SubmitArgs, TaskOptions};
use crate::cli::server::WaitArgs;
use crate::client::{Client, ClientRequest, ClientResponse, Task, block_on};
use crate::commands::find::find_all;
use crate::commands::follow::{self, FollowOptions};
use crate::commands::{result, show, trace_context};
use crate::exit::{Exit, cli_error};
use crate::output::{data, note, out};
use crate::terminal::style::Style;

/// The body of `POST /task`, with the given options only.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_conflict: Option<&'a str>,
    #[serde(skip_serializing_if = "<[TaskId]>::is_empty")]
    depends_on: &'a [TaskId],
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<Webhook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
}
/// The webhook to call for all outcomes, or for some.
#[derive(Serialize)]
#[serde(untagged)]
enum Webhook<'a> {
    Everything(&'a str),
    Some { url: &'a str, on: &'a [String] },
}

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
        let body = body(args.plugin.as_deref(), input, &args.options, &after)?;
        let key = args.options.idempotency_key.clone();
        let key = key.map(|key| ("Idempotency-Key", key));
        let headers = key.into_iter().chain(trace_context::headers()).collect();
        let body = Some(("application/json", body.into()));
        let request = ClientRequest { body, headers, ..ClientRequest::new(Method::POST, "/task") };
        let response = client.send(request).await?.error_for_status()?;
        report_created(&client, &response, args.wait).await
    })
}

/// Returns the body of a task request that depends on the tasks `after`.
pub(crate) fn body(
    plugin: Option<&str>,
    input: Option<Box<RawValue>>,
    options: &TaskOptions,
    after: &[TaskId],
) -> Result<String> {
    let TaskOptions {
        timeout,
        max_attempts,
        backoff,
        priority,
        delay,
        run_at,
        tag,
        unique_key,
        on_conflict,
        group,
        on_failure,
        webhook,
        webhook_on,
        with_results,
        ..
    } = options;
    let backoff = backoff.clone().map(RawValue::from_string).transpose().map_err(|error| {
        let example = r#"{"first": "1s", "factor": 2, "max": "5m", "jitter": 0.5}"#;
        cli_error(Exit::Usage, format!("invalid value for --backoff: {error}; use, for example, '{example}'"))
    })?;
    let request = Request {
        plugin,
        input,
        timeout: timeout.as_deref(),
        max_attempts: *max_attempts,
        backoff,
        priority: *priority,
        delay: delay.as_deref(),
        run_at: run_at.as_deref(),
        tags: tag,
        unique_key: unique_key.as_deref(),
        on_conflict: on_conflict.as_deref(),
        depends_on: after,
        on_failure: on_failure.as_deref(),
        input_from: with_results.then_some("dependencies"),
        webhook: webhook.as_deref().map(|url| match webhook_on.as_slice() {
            [] => Webhook::Everything(url),
            on => Webhook::Some { url, on },
        }),
        group: group.as_deref(),
    };
    Ok(serde_json::to_string(&request)?)
}

/// Prints the id of an accepted task; or waits until it has finished and prints its result.
pub(crate) async fn report_created(
    client: &Client,
    response: &ClientResponse,
    args: WaitArgs,
) -> Result<Exit> {
    let TaskCreated { id } = response.read()?;
    let id: TaskId = id.parse().with_context(|| format!("{client} accepted a task without an id"))?;
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
