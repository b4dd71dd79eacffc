//! `wasmill login` and `wasmill logout`: the key that commands send to a server.

use anyhow::Result;
use serde::Deserialize;

use crate::cli::server::{LoginArgs, LogoutArgs};
use crate::client::{Address, Client, block_on, forget_key, given_key, store_key};
use crate::exit::{Exit, cli_error};
use crate::output::{data, note};
use crate::terminal::text::sanitize;

/// The shown parts of the answer.
#[derive(Deserialize)]
struct OwnKey {
    name: Option<String>,
    scopes: Vec<String>,
    expires: Option<String>,
}

/// Stores a key that the server takes.
pub(crate) fn login(args: &LoginArgs) -> Result<Exit> {
    let usage = |why| cli_error(Exit::Usage, why);
    let key = given_key(args.server.key_file.as_deref()).map_err(usage)?;
    let client = Client::with_key(&args.server, &key)?;
    let response = block_on(async { client.get("/key").await?.error_for_status() })?;
    let OwnKey { name, scopes, expires } = response.read()?;
    let Some(name) = name else {
        let why = format!("{client} asks for no key, so there is nothing to store");
        return Err(cli_error(Exit::Conflict, why));
    };
    let path = store_key(client.address(), &key).map_err(|why| cli_error(Exit::Failed, why))?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let ends = expires.map_or("never ends".to_owned(), |end| format!("ends at {}", sanitize(&end)));
    note!("key {} may {} and {ends}", sanitize(&name), sanitize(&scopes.join(",")));
    note!("stored in {}; commands send it to {client}", path.display());
    Ok(Exit::Done)
}

/// Forgets the key of a server; what is not there is forgotten, too.
pub(crate) fn logout(args: &LogoutArgs) -> Result<Exit> {
    let address: Address = args.server.parse().map_err(|why: String| cli_error(Exit::Usage, why))?;
    let was_there = forget_key(&address).map_err(|why| cli_error(Exit::Failed, why))?;
    if was_there {
        note!("forgot the key of {address}; `wasmill key revoke` on its machine ends it");
    } else {
        note!("no key of {address} is stored");
    }
    Ok(Exit::Done)
}
