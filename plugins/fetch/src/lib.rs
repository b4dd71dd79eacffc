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

use bindings::wasmill::task::failures::Failure;
use bindings::wasmill::task::run;
use get::GetError;
use journey::{Journey, Request};
use url::Url;

struct Fetch;

impl bindings::Guest for Fetch {
    fn run_task(input: String) -> Result<String, Failure> {
        let request = Request::parse(&input).map_err(Failure::InvalidInput)?;
        let urls = request.urls.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>();
        let urls = urls.map_err(Failure::InvalidInput)?;

        let mut journey = saved_journey().unwrap_or_default();
        println!("{} of {} URLs were done before", journey.pages.len(), urls.len());
        while let Some(url) = urls.get(journey.pages.len()) {
            let done = journey.pages.len();
            run::progress(done as f64 / urls.len() as f64, &format!("{} of {}: {url}", done + 1, urls.len()));
            let page = get::get(url, request.text_bytes).map_err(|error| failure(url, error))?;
            println!("{} {url}", page.status);
            journey.pages.push(page);
            run::save(&journey.encode()).map_err(Failure::Other)?;
        }
        run::progress(1.0, "done");
        Ok(journey.result())
    }
}

bindings::export!(Fetch with_types_in bindings);

fn saved_journey() -> Option<Journey> {
    run::restore().and_then(|state| Journey::decode(&state))
}

fn failure(url: &Url, error: GetError) -> Failure {
    match error {
        // A retry would not help: the manifest of this plugin does not allow the URL.
        GetError::Denied => Failure::InvalidInput(format!("{url} is not permitted by fetch.toml")),
        GetError::Unreachable(reason) => Failure::Io(format!("{url}: {reason}")),
    }
}
