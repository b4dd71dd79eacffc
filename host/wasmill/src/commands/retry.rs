//! `wasmill retry`: a new task with the input of an old one.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::RetryArgs;
use crate::client::{Ask, Client, block_on};
use crate::commands::find::find;
use crate::commands::{caller, submit};
use crate::exit::Exit;

/// Submits it, and waits for it if asked to.
pub(crate) fn retry(args: &RetryArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        let path = format!("/task/{id}/retry");
        let ask = Ask { headers: caller::headers(), ..Ask::new(Method::POST, &path) };
        let answer = client.send(ask).await?.good()?;
        submit::accepted(&client, &answer, args.wait).await
    })
}
