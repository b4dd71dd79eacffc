//! `wasmill submit`: hands a task to a server, and waits for it if asked to.

use anyhow::{Context, Result};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmill_model::TaskId;

use crate::cli::run::{SubmitArgs, TaskOptions};
use crate::cli::server::WaitArgs;
use crate::client::{Answer, Ask, Client, Task, block_on};
use crate::commands::find::find_all;
use crate::commands::follow::{self, Follow};
use crate::commands::{caller, result, show};
use crate::exit::{Exit, told};
use crate::output::{data, say, tell};
use crate::screen::paint::Paint;

/// The body of `POST /task`; what was not asked for is not in it.
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
/// Whom to tell when the task has ended: of every end, or of those named.
#[derive(Serialize)]
#[serde(untagged)]
enum Webhook<'a> {
    Everything(&'a str),
    Some { url: &'a str, on: &'a [String] },
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Submits it.
pub(crate) fn submit(args: &SubmitArgs) -> Result<Exit> {
    let input = args.input.read()?;
    let client = Client::new(&args.server)?;
    block_on(async {
        let after = find_all(&client, &args.options.after).await?;
        let body = body(args.plugin.as_deref(), input, &args.options, &after)?;
        let key = args.options.idempotency_key.clone();
        let key = key.map(|key| ("Idempotency-Key", key));
        let headers = key.into_iter().chain(caller::headers()).collect();
        let body = Some(("application/json", body.into()));
        let ask = Ask { body, headers, ..Ask::new(Method::POST, "/task") };
        let answer = client.send(ask).await?.good()?;
        accepted(&client, &answer, args.wait).await
    })
}

/// Writes a task request, which waits for the tasks `after`.
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
        let example = r#"{"first": "1s", "factor": 2, "most": "5m", "jitter": 0.5}"#;
        told(Exit::Usage, format!("--backoff is no JSON: {error}; one is '{example}'"))
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

/// Prints the id of a task that was accepted; or waits for its end and prints its result.
pub(crate) async fn accepted(client: &Client, answer: &Answer, args: WaitArgs) -> Result<Exit> {
    let Accepted { id } = answer.read()?;
    let id: TaskId = id.parse().with_context(|| format!("{client} accepted a task without an id"))?;
    if !args.wait {
        if args.json {
            data!("{}", answer.text());
        } else {
            say!("{id}");
        }
        return Ok(Exit::Done);
    }
    if !args.quiet {
        tell!("{}", Paint::stderr().dim(format!("task {id}")));
    }
    let follow = Follow { with_log: !args.quiet, is_quiet: args.quiet };
    if follow::until_ended(client, id, follow).await? == Exit::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let answer = client.get(&format!("/task/{id}")).await?.good()?;
    let task: Task = answer.read()?;
    if args.json {
        data!("{}", answer.text());
        return Ok(result::end_of(&task));
    }
    Ok(show::end(&task))
}
