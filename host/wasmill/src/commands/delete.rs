//! `wasmill delete`: stops tasks if they wait or run, and forgets them.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::DeleteArgs;
use crate::client::{Ask, Client, block_on};
use crate::commands::{each, grace, patience, with_query};
use crate::exit::Exit;

/// Deletes them; each is over when its line is printed.
pub(crate) fn delete(args: &DeleteArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let parameters: Vec<_> = grace(args.grace).into_iter().collect();
    let patience = patience(args.grace);
    block_on(async {
        let one = async |id| {
            let path = with_query(&format!("/task/{id}"), &parameters);
            client.send(Ask { patience, ..Ask::new(Method::DELETE, &path) }).await?.good()?;
            Ok(format!("{id} deleted"))
        };
        Ok(each(&client, &args.ids, one).await)
    })
}
