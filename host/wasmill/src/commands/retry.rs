//! `wasmill retry`: submits a new task with the input of an old one.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::RetryArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::commands::find::find;
use crate::commands::{submit, trace_context};
use crate::exit::Exit;

/// Submits the task, and waits for it if requested.
pub(crate) fn retry(args: &RetryArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        let path = format!("/task/{id}/retry");
        let request =
            ClientRequest { headers: trace_context::headers(), ..ClientRequest::new(Method::POST, &path) };
        let response = client.send(request).await?.error_for_status()?;
        submit::report_created(&client, &response, args.wait).await
    })
}
