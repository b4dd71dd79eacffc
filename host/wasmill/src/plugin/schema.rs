//! `wasmill plugin schema`: prints the JSON Schema of a plugin's input.

use anyhow::Result;

use crate::cli::PluginSchemaArgs;
use crate::client::{Client, block_on};
use crate::output;

/// Prints the schema, unchanged.
pub(crate) fn schema(args: &PluginSchemaArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let path = format!("/plugins/{}/schema", args.name);
    let response = block_on(async { client.get(&path).await?.error_for_status() })?;
    output::text(&response.text());
    Ok(())
}
