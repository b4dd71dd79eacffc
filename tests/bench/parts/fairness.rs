//! Response time of each route beside CPU-bound guests. The goal is a p99 of 20 ms.

use std::time::Instant;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::json;
use wasmill_tests::Server;

use crate::report::{Spread, row, title};

const SAMPLES: usize = 300;

/// Measures every route beside this many guests.
pub(crate) async fn measure(guests: usize) -> Result<()> {
    title(&format!("Every route beside {guests} CPU-bound guests"));
    let server = Server::start(&["--timeout", "1h"]);
    let client = server.client();
    for _ in 0..guests {
        let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "spin"}})).await;
        client.until(&id, "running").await;
    }
    let done = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&done, "completed").await;
    let (status, result) = (format!("/task/{done}/status"), format!("/task/{done}/result"));
    for (method, path) in [
        (Method::POST, "/task"),
        (Method::GET, status.as_str()),
        (Method::GET, "/task?limit=100"),
        (Method::GET, result.as_str()),
        (Method::GET, "/stats"),
        (Method::GET, "/plugins"),
    ] {
        let mut samples = Vec::new();
        for _ in 0..SAMPLES {
            let body =
                (method == Method::POST).then(|| ("application/json", br#"{"plugin":"noop"}"#.to_vec()));
            let start = Instant::now();
            let answer = client.send(method.clone(), path, body).await?;
            samples.push(start.elapsed());
            ensure!(answer.status.is_success(), "{path} answered {}", answer.text);
        }
        row(&format!("{method} {}", path.replace(&done, "{id}")), &Spread::of(samples).to_string());
    }
    Ok(())
}
