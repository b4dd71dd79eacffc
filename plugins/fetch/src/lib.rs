//! Fetches a list of URLs, one after the other, and returns their responses.
//!
//! It saves a checkpoint after each URL, so that the next attempt, also after a crash of the host, continues with
//! the first URL that is not done. A URL is done when its server responded, with any status. A server that cannot
//! be reached fails the attempt; the manifest asks for three attempts.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "plugin" });
}
mod get;
mod journey;
mod url;

use bindings::exports::wasmill::task::job::Guest;
use bindings::wasmill::task::host;
use bindings::wasmill::task::types::{Failure, FailureKind, Retry, SaveError};
use get::GetError;
use journey::{Journey, Request};
use url::Url;

struct Fetch;

impl Guest for Fetch {
    fn run(input: String) -> Result<String, Failure> {
        let request = Request::parse(&input).map_err(invalid_input)?;
        let urls = request.urls.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>();
        let urls = urls.map_err(invalid_input)?;

        let mut journey = saved_journey().unwrap_or_default();
        println!("{} of {} URLs were done before", journey.pages.len(), urls.len());
        while let Some(url) = urls.get(journey.pages.len()) {
            let done = journey.pages.len();
            host::progress(
                done as f64 / urls.len() as f64,
                &format!("{} of {}: {url}", done + 1, urls.len()),
            );
            let page = get::get(url, request.text_bytes).map_err(|error| not_fetched(url, error))?;
            println!("{} {url}", page.status);
            journey.pages.push(page);
            host::save(&journey.encode()).map_err(not_saved)?;
        }
        host::progress(1.0, "done");
        Ok(journey.result())
    }
}

bindings::export!(Fetch with_types_in bindings);

fn saved_journey() -> Option<Journey> {
    host::restore().and_then(|state| Journey::decode(&state))
}

fn not_fetched(url: &Url, error: GetError) -> Failure {
    match error {
        // A retry would not help: the manifest of this plugin does not allow the URL.
        GetError::Denied => invalid_input(format!("{url} is not permitted by fetch.toml")),
        GetError::Unreachable(reason) => failure(FailureKind::Io, format!("{url}: {reason}"), None),
    }
}

fn not_saved(error: SaveError) -> Failure {
    match error {
        // It would be too large in each attempt.
        SaveError::TooLarge(bytes_max) => {
            let message = format!("the responses exceed the limit of a checkpoint, {bytes_max} bytes");
            failure(FailureKind::Other, message, Some(Retry::Never))
        }
        SaveError::Unavailable(reason) => failure(FailureKind::Io, reason, None),
    }
}

fn invalid_input(message: String) -> Failure {
    failure(FailureKind::InvalidInput, message, None)
}

fn failure(kind: FailureKind, message: String, retry: Option<Retry>) -> Failure {
    Failure { kind, message, retry }
}
