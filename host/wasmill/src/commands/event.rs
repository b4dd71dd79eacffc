//! `wasmill event`: posts an event to a task.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::EventArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::commands::find::find;
use crate::commands::query::with_query;
use crate::exit::Exit;
use crate::output::{data, out};

/// Posts the event; it is stored when the line is printed.
pub(crate) fn event(args: &EventArgs) -> Result<Exit> {
    let payload = args.payload.as_deref().map(crate::input::json_argument).transpose()?;
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        let parameters: Vec<_> = args.name.clone().map(|name| ("name", name)).into_iter().collect();
        let path = with_query(&format!("/task/{id}/event"), &parameters);
        let body = payload.map(|payload| ("application/json", payload.get().to_owned().into()));
        let key = args.idempotency_key.clone().map(|key| ("Idempotency-Key", key));
        let headers = key.into_iter().collect();
        let request = ClientRequest { body, headers, ..ClientRequest::new(Method::POST, &path) };
        let response = client.send(request).await?.error_for_status()?;
        if args.json {
            data!("{}", response.text());
        } else {
            out!("{id} has the event");
        }
        Ok(Exit::Done)
    })
}
