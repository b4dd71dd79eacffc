//! `wasmill plugin put`: adds a plugin to a running server, or replaces one.

use std::time::Duration;

use anyhow::Result;
use hyper::{Method, StatusCode};
use wasmill_model::PluginName;

use crate::cli::PutArgs;
use crate::client::{Ask, Client, block_on};
use crate::exit::{Exit, told, unread};
use crate::output::{data, say};

/// How long a server may take: it compiles the plugin before it answers.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Sends the file; when the line is printed, new tasks run it.
pub(crate) fn put(args: &PutArgs) -> Result<()> {
    let PutArgs { file, name, json, server } = args;
    let name = match name {
        Some(name) => name.clone(),
        None => named_by(&file.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let wasm = std::fs::read(file).map_err(|error| unread(file.display(), &error))?;
    let client = Client::new(server)?;
    let path = format!("/plugins/{name}");
    let body = Some(("application/wasm", wasm.into()));
    let ask = Ask { body, patience: PATIENCE, ..Ask::new(Method::PUT, &path) };
    let answer = block_on(async { client.send(ask).await?.good() })?;
    match (json, answer.status) {
        (true, _) => data!("{}", answer.text()),
        (false, StatusCode::CREATED) => say!("{name} added"),
        (false, _) => say!("{name} replaced"),
    }
    Ok(())
}

fn named_by(stem: &str) -> Result<PluginName> {
    stem.parse().map_err(|error| told(Exit::Usage, format!("'{stem}' names no plugin, use --name: {error}")))
}
