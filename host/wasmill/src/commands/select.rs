//! The tasks that `cancel`, `delete` and `retry` act on: given by id, or selected by a filter.

use anyhow::Result;
use hyper::Method;
use serde::Deserialize;

use crate::cli::server::SelectionArgs;
use crate::client::{Client, ClientRequest, trace_context};
use crate::commands::query::with_query;
use crate::exit::{Exit, cli_error};
use crate::output::{data, out};

/// Tasks that one request handles, and those that it counts: each has an answer long before the time limit.
const PART: u64 = 1_000;
const PART_COUNTED: u64 = 10_000;

impl SelectionArgs {
    /// Refuses ids together with options, and neither.
    pub(super) fn check(&self, verb: &str) -> Result<()> {
        let is_filtered = self.all || !self.filter.parameters().is_empty();
        if !self.ids.is_empty() && is_filtered {
            return Err(cli_error(Exit::Usage, "select tasks either by id or by options, not both"));
        }
        if self.ids.is_empty() && !is_filtered {
            let ways = "by id, by options such as --state, --plugin or --tag, or --all";
            return Err(cli_error(Exit::Usage, format!("select the tasks to {verb}: {ways}")));
        }
        Ok(())
    }

    /// Returns the options as query parameters of the API.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = self.filter.parameters();
        parameters.extend(self.all.then(|| ("all", "true".to_owned())));
        parameters.extend(self.dry_run.then(|| ("dry_run", "true".to_owned())));
        parameters
    }

    /// Does it to all selected tasks, a part per request, and prints how many there were.
    ///
    /// `done` is what became of them. With `json` each response is printed instead, one per line.
    pub(super) async fn run_in_parts(
        &self,
        client: &Client,
        path: &str,
        done: &str,
        json: bool,
    ) -> Result<()> {
        let (mut total, mut cursor) = (Part::default(), None);
        loop {
            let mut parameters = self.parameters();
            let limit = if self.dry_run { PART_COUNTED } else { PART };
            parameters.push(("limit", limit.to_string()));
            parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
            let path = with_query(path, &parameters);
            let request = ClientRequest {
                headers: trace_context::headers(),
                ..ClientRequest::new(Method::POST, &path)
            };
            let response = client.send(request).await?.error_for_status()?;
            if json {
                data!("{}", response.text());
            }
            let part: Part = response.read()?;
            total.add(&part);
            if let Some(stopped) = part.stopped_by {
                let Stopped { code, detail } = stopped;
                let text = format!("{} {done}, then it stopped: {code}: {detail}", tasks(total.count));
                return Err(cli_error(Exit::Failed, text));
            }
            cursor = part.next;
            if cursor.is_none() {
                break;
            }
        }
        if !json {
            out!(
                "{} {}{done}{}",
                tasks(total.count),
                if self.dry_run { "would be " } else { "" },
                total.left_out()
            );
        }
        Ok(())
    }
}

/// The answer to one request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    #[serde(alias = "retried", alias = "deleted")]
    count: u64,
    held: u64,
    refused: u64,
    next: Option<String>,
    stopped_by: Option<Stopped>,
}

#[derive(Deserialize)]
struct Stopped {
    code: String,
    detail: String,
}

impl Part {
    fn add(&mut self, part: &Self) {
        self.count += part.count;
        self.held += part.held;
        self.refused += part.refused;
    }

    /// Says how many were passed over, and why.
    fn left_out(&self) -> String {
        let mut text = String::new();
        if self.held > 0 {
            text.push_str(&format!(
                "; {} left out: their unique key is taken, or a dependency is gone",
                self.held
            ));
        }
        if self.refused > 0 {
            text.push_str(&format!(
                "; {} left out: their plugin is gone or refuses their input",
                self.refused
            ));
        }
        text
    }
}

/// Words a number of tasks.
pub(super) fn tasks(count: u64) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
}
