//! `wasmill dependents`: lists the tasks that depend on a task.

use anyhow::Result;
use serde_json::value::RawValue;

use crate::cli::server::TaskArgs;
use crate::client::{Client, block_on};
use crate::commands::find::find;
use crate::commands::list::{Printer, next};
use crate::commands::query::with_query;
use crate::exit::Exit;

/// Prints the tasks, page by page.
pub(crate) fn dependents(args: &TaskArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        let path = format!("/task/{id}/dependents");
        let (mut printer, mut cursor) = (Printer::new(args.json, false), None);
        loop {
            let parameters: Vec<_> = cursor.map(|cursor| ("cursor", cursor)).into_iter().collect();
            let response = client.get(&with_query(&path, &parameters)).await?.error_for_status()?;
            for record in response.read_list::<Box<RawValue>>()? {
                printer.print(&record)?;
            }
            cursor = next(&response);
            if cursor.is_none() {
                break;
            }
        }
        printer.end(false);
        Ok(Exit::Done)
    })
}
