//! `wasmill retry`: submits new tasks with the input of old ones; selected by id or by filter.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::RetryArgs;
use crate::client::{Client, ClientRequest, ClientResponse, block_on, trace_context};
use crate::commands::find::{find, for_each_task};
use crate::commands::submit;
use crate::exit::{Exit, cli_error};

/// Submits the tasks, and waits for the one task if requested.
pub(crate) fn retry(args: &RetryArgs) -> Result<Exit> {
    let RetryArgs { selection, wait, server } = args;
    selection.check("retry")?;
    if wait.wait && selection.ids.len() != 1 {
        return Err(cli_error(Exit::Usage, "--wait waits for one task: give one id"));
    }
    let client = Client::new(server)?;
    block_on(async {
        match selection.ids.as_slice() {
            [] => {
                selection.run_in_parts(&client, "/task/retry", "submitted again", wait.json).await?;
                Ok(Exit::Done)
            }
            [id] => {
                let response = retry_one(&client, find(&client, *id).await?).await?;
                submit::report_created(&client, &response, *wait).await
            }
            several => {
                let one = async |id| {
                    let response = retry_one(&client, id).await?;
                    if wait.json { Ok(response.text()) } else { submit::created_id(&client, &response) }
                };
                Ok(for_each_task(&client, several, one).await)
            }
        }
    })
}

async fn retry_one(client: &Client, id: wasmill_model::TaskId) -> Result<ClientResponse> {
    let path = format!("/task/{id}/retry");
    let request =
        ClientRequest { headers: trace_context::headers(), ..ClientRequest::new(Method::POST, &path) };
    client.send(request).await?.error_for_status()
}
