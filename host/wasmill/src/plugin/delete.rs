//! `wasmill plugin delete`: takes plugins of a running server out of service.

use anyhow::Result;
use hyper::Method;

use crate::cli::DeletePluginArgs;
use crate::client::{Ask, Client, block_on};
use crate::output::say;

/// Deletes them, one after another, up to the first that cannot be.
pub(crate) fn delete(args: &DeletePluginArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    block_on(async {
        for name in &args.names {
            let path = format!("/plugins/{name}");
            client.send(Ask::new(Method::DELETE, &path)).await?.good()?;
            say!("{name} deleted");
        }
        Ok(())
    })
}
