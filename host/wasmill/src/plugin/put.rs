//! `wasmill plugin put`: uploads a plugin to a running server, or replaces one.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use data_encoding::BASE64;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use wasmill_model::PluginName;
use wasmill_runtime::{FILE_BYTES_MAX, SIGNATURE_BYTES_MAX, read_file};

use crate::cli::PutArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::exit::{Exit, cli_error, read_error};
use crate::output::{data, out};
use crate::terminal::text::sanitize;

/// Time limit for the response: the server compiles the plugin first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The shown parts of what an upload would change.
#[derive(Deserialize)]
struct Preview {
    digest: String,
    compile_ms: u64,
    changes: Changes,
}

#[derive(Deserialize)]
struct Changes {
    replaces: Option<String>,
    imports: Names,
    schema_changed: bool,
    permissions: Permissions,
    settings: BTreeMap<String, Setting>,
}

#[derive(Deserialize)]
struct Names {
    added: Vec<String>,
    removed: Vec<String>,
}

#[derive(Deserialize)]
struct Permissions {
    http: Names,
    tcp: Names,
    env: Names,
    dirs: Names,
    scratch: Names,
    secrets: Names,
}

#[derive(Deserialize)]
struct Setting {
    from: Value,
    to: Value,
}

/// Uploads the file; once the line is printed, new tasks use it.
pub(crate) fn put(args: &PutArgs) -> Result<()> {
    let PutArgs { file, name, signature, dry_run, json, server } = args;
    let name = match name {
        Some(name) => name.clone(),
        None => name_from_stem(&file.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let wasm = read_file(file, FILE_BYTES_MAX).map_err(|error| read_error(file.display(), &error))?;
    let headers = signature_of(file, signature.as_deref())?;
    let client = Client::new(server)?;
    let query = if *dry_run { "?dry_run=true" } else { "" };
    let path = format!("/plugins/{name}{query}");
    let body = Some(("application/wasm", wasm.into()));
    let timeout = REQUEST_TIMEOUT;
    let request = ClientRequest { body, headers, timeout, ..ClientRequest::new(Method::PUT, &path) };
    let response = block_on(async { client.send(request).await?.error_for_status() })?;
    match (json, response.status) {
        (true, _) => data!("{}", response.text()),
        (false, _) if *dry_run => preview(name.as_str(), &response.read()?),
        (false, StatusCode::CREATED) => out!("{name} added"),
        (false, _) => out!("{name} replaced"),
    }
    Ok(())
}

/// Returns the header with the signature of a file, if there is one.
fn signature_of(file: &Path, named: Option<&Path>) -> Result<Vec<(&'static str, String)>> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".minisig");
    let path = named.unwrap_or(Path::new(&beside));
    match read_file(path, SIGNATURE_BYTES_MAX) {
        Ok(signature) => Ok(vec![("wasmill-signature", BASE64.encode(&signature))]),
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(read_error(path.display(), &error)),
    }
}

/// Prints what an upload would change, a line for each.
fn preview(name: &str, preview: &Preview) {
    let Preview { digest, compile_ms, changes } = preview;
    let was = changes.replaces.as_deref().map_or("nothing".to_owned(), short);
    out!("{name} would be {}, in place of {was}; compiled in {compile_ms} ms", short(digest));
    let Permissions { http, tcp, env, dirs, scratch, secrets } = &changes.permissions;
    for (what, names) in [
        ("import", &changes.imports),
        ("http", http),
        ("tcp", tcp),
        ("env", env),
        ("dirs", dirs),
        ("scratch", scratch),
        ("secret", secrets),
    ] {
        for (sign, names) in [('+', &names.added), ('-', &names.removed)] {
            for name in names {
                out!("  {sign} {what} {}", sanitize(name));
            }
        }
    }
    if changes.schema_changed {
        out!("  the schema of its input changes");
    }
    for (setting, Setting { from, to }) in &changes.settings {
        out!(
            "  {}: {} becomes {}",
            sanitize(setting),
            sanitize(&from.to_string()),
            sanitize(&to.to_string())
        );
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn name_from_stem(stem: &str) -> Result<PluginName> {
    stem.parse().map_err(|error| {
        cli_error(Exit::Usage, format!("'{stem}' is not a valid plugin name, use --name: {error}"))
    })
}
