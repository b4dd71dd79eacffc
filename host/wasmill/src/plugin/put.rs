//! `wasmill plugin put`: uploads a plugin to a running server, or replaces one.

use std::time::Duration;

use anyhow::Result;
use hyper::{Method, StatusCode};
use wasmill_model::PluginName;
use wasmill_runtime::{FILE_BYTES_MAX, read_file};

use crate::cli::PutArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::exit::{Exit, cli_error, read_error};
use crate::output::{data, out};

/// Time limit for the response: the server compiles the plugin first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Uploads the file; once the line is printed, new tasks use it.
pub(crate) fn put(args: &PutArgs) -> Result<()> {
    let PutArgs { file, name, json, server } = args;
    let name = match name {
        Some(name) => name.clone(),
        None => name_from_stem(&file.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let wasm = read_file(file, FILE_BYTES_MAX).map_err(|error| read_error(file.display(), &error))?;
    let client = Client::new(server)?;
    let path = format!("/plugins/{name}");
    let body = Some(("application/wasm", wasm.into()));
    let request = ClientRequest { body, timeout: REQUEST_TIMEOUT, ..ClientRequest::new(Method::PUT, &path) };
    let response = block_on(async { client.send(request).await?.error_for_status() })?;
    match (json, response.status) {
        (true, _) => data!("{}", response.text()),
        (false, StatusCode::CREATED) => out!("{name} added"),
        (false, _) => out!("{name} replaced"),
    }
    Ok(())
}

fn name_from_stem(stem: &str) -> Result<PluginName> {
    stem.parse().map_err(|error| {
        cli_error(Exit::Usage, format!("'{stem}' is not a valid plugin name, use --name: {error}"))
    })
}
