//! `wasmill plugin delete`: deletes plugins from a running server.

use anyhow::Result;
use hyper::Method;

use crate::cli::DeletePluginArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::output::out;

/// Deletes the plugins, up to the first error.
pub(crate) fn delete(args: &DeletePluginArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    block_on(async {
        for name in &args.names {
            let path = format!("/plugins/{name}");
            client.send(ClientRequest::new(Method::DELETE, &path)).await?.error_for_status()?;
            out!("{name} deleted");
        }
        Ok(())
    })
}
