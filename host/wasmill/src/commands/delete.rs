//! `wasmill delete`: stops tasks if they wait or run, and forgets them.

use std::time::Duration;

use anyhow::Result;
use hyper::Method;

use crate::cli::server::DeleteArgs;
use crate::client::{Ask, Client, PATIENCE, block_on};
use crate::commands::{grace, with_query};
use crate::exit::{self, Exit};
use crate::output::{say, tell};

/// Deletes them; each is over when its line is printed.
pub(crate) fn delete(args: &DeleteArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let parameters: Vec<_> = grace(args.grace).into_iter().collect();
    let patience = PATIENCE.saturating_add(args.grace.map_or(Duration::ZERO, |grace| grace.0));
    block_on(async {
        let mut end = Exit::Done;
        for id in &args.ids {
            let path = with_query(&format!("/task/{id}"), &parameters);
            let answer = client.send(Ask { patience, ..Ask::new(Method::DELETE, &path) }).await;
            match answer.and_then(crate::client::Answer::good) {
                Ok(_) => say!("{id} deleted"),
                // The others are deleted all the same.
                Err(error) => {
                    tell!("wasmill: {error:#}");
                    end = exit::of(&error);
                }
            }
        }
        Ok(end)
    })
}
