//! `wasmill files`: lists the files of a task, and gets one.

use std::fs::Permissions;
use std::io::{IsTerminal, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use wasmill_model::{IdPrefix, TaskId};

use crate::cli::files::{FilesArgs, FilesCommand, GetFileArgs};
use crate::client::{Client, ClientRequest, block_on};
use crate::commands::find::find;
use crate::exit::{Exit, cli_error};
use crate::output::{self, data, out};
use crate::terminal::text::{format_bytes, padded, truncated};

/// What a name keeps in a path.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// Columns of the name in the table.
const NAME_COLUMNS: usize = 40;

/// A file as the server lists it.
#[derive(Deserialize)]
struct TaskFile {
    name: String,
    direction: String,
    media_type: String,
    bytes: u64,
}

/// Lists the files of a task, or gets one.
pub(crate) fn files(args: &FilesArgs) -> Result<Exit> {
    match (&args.command, args.id) {
        (Some(FilesCommand::Get(args)), _) => get(args),
        (None, Some(id)) => list(args, id),
        (None, None) => Err(cli_error(Exit::Usage, "name a task, as in wasmill files ID".to_owned())),
    }
}

fn list(args: &FilesArgs, id: IdPrefix) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, id).await?;
        let response = client.get(&format!("/task/{id}/files")).await?.error_for_status()?;
        if args.json {
            data!("{}", response.text());
            return Ok(Exit::Done);
        }
        for TaskFile { name, direction, media_type, bytes } in response.read_list()? {
            let (name, size) = (padded(&truncated(&name, 200), NAME_COLUMNS), format_bytes(bytes));
            out!("{direction:<6}  {name}  {size:>10}  {media_type}");
        }
        Ok(Exit::Done)
    })
}

fn get(args: &GetFileArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        let name = utf8_percent_encode(args.name.as_str(), &KEPT);
        let direction = if args.input { "?direction=input" } else { "" };
        let path = format!("/task/{id}/files/{name}{direction}");
        match &args.output {
            Some(file) => save(&client, &path, file).await?,
            None => print(&client, id, &path, args).await?,
        }
        Ok(Exit::Done)
    })
}

/// Writes a response to a file, which appears once it is whole.
async fn save(client: &Client, path: &str, file: &Path) -> Result<()> {
    let failed = || format!("failed to write {}", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut body = open(client, path).await?;
    // As a file that is created otherwise.
    let permissions = Permissions::from_mode(0o666);
    let partial = tempfile::Builder::new().permissions(permissions).tempfile_in(folder);
    let mut partial = partial.with_context(failed)?;
    while let Some(bytes) = next(client, &mut body).await? {
        partial.write_all(&bytes).with_context(failed)?;
    }
    partial.persist(file).with_context(failed)?;
    Ok(())
}

/// Writes a response to stdout; to a terminal only if it is text.
async fn print(client: &Client, id: TaskId, path: &str, args: &GetFileArgs) -> Result<()> {
    let mut body = open(client, path).await?;
    let is_terminal = stdout().is_terminal();
    let mut shown = Vec::new();
    while let Some(bytes) = next(client, &mut body).await? {
        if is_terminal {
            shown.extend_from_slice(&bytes);
        } else {
            output::bytes(&bytes);
        }
    }
    match String::from_utf8(shown) {
        Ok(text) if is_terminal => output::text(&text),
        Ok(_) => {}
        Err(_) => {
            let name = &args.name;
            let message = format!(
                "{name} of task {id} is no text; write it to a file with -o, or send stdout to another program"
            );
            return Err(cli_error(Exit::Usage, message));
        }
    }
    Ok(())
}

async fn open(client: &Client, path: &str) -> Result<Incoming> {
    client.open_checked(ClientRequest::new(Method::GET, path)).await
}

/// Returns the next bytes of a response; fails if it breaks off.
async fn next(client: &Client, body: &mut Incoming) -> Result<Option<hyper::body::Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| client.broken_off(&error))?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
