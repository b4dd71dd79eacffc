//! The default plugin, io-stub, behaves as documented.

use std::sync::Arc;

use wasmill_model::{Cause, Failure, RunRequest, Runner};

use crate::support::{Host, done, run, shared};

const NOW: &str = r#"{"min_ms":0,"max_ms":0,"fail_rate":0}"#;
const IN_AN_HOUR: &str = r#"{"min_ms":3600000,"max_ms":3600000,"fail_rate":0}"#;
const NOW_FAILED: &str = r#"{"min_ms":0,"max_ms":0,"fail_rate":1}"#;
const IN_AN_HOUR_FAILED: &str = r#"{"min_ms":3600000,"max_ms":3600000,"fail_rate":1}"#;

fn task(input: &str, host: &Arc<Host>) -> RunRequest {
    RunRequest { plugin: "io-stub".parse().unwrap(), ..run(input, host) }
}

async fn finish(input: &str, host: &Arc<Host>) -> Result<String, Failure> {
    done(shared().run(task(input, host))).await
}

/// Starts a run and aborts it while the plugin waits, as a crash of the host would.
async fn crash(input: &str, host: &Arc<Host>) {
    tokio::select! {
        outcome = shared().run(task(input, host)) => panic!("it waits for an hour, but: {outcome:?}"),
        _ = host.progressed() => {}
    }
}

#[tokio::test]
async fn it_waits_then_returns_a_digit() {
    let host = Arc::new(Host::default());
    let result = finish(r#"{"min_ms":1,"max_ms":30,"fail_rate":0}"#, &host).await.unwrap();
    let digit: u8 = result.strip_prefix("io work result = ").unwrap().parse().unwrap();
    assert!(digit <= 9);
    assert_eq!(host.progressed().await.fraction, 1.0);
    assert!(host.log_text().starts_with("waiting "), "{}", host.log_text());
    assert_eq!(host.log_text().lines().count(), 1);
}

#[tokio::test]
async fn without_input_it_waits_three_to_five_minutes() {
    let host = Arc::new(Host::default());
    let run = RunRequest { input: None, ..task("", &host) };
    tokio::select! {
        outcome = shared().run(run) => panic!("it waits for minutes, but: {outcome:?}"),
        _ = host.progressed() => {}
    }
    let log = host.log_text();
    let ms: u64 = log.trim().strip_prefix("waiting ").unwrap().strip_suffix(" ms").unwrap().parse().unwrap();
    assert!((170_000..=300_000).contains(&ms), "{log}");
}

#[tokio::test]
async fn it_fails_with_io_and_starts_over_on_the_next_attempt() {
    let host = Arc::new(Host::default());
    let failure = finish(NOW_FAILED, &host).await.unwrap_err();
    assert_eq!(failure, Failure::new(Cause::Io, "simulated I/O failure"));
    finish(NOW, &host).await.unwrap();
}

#[tokio::test]
async fn after_a_crash_it_keeps_its_decision() {
    let host = Arc::new(Host::default());
    crash(IN_AN_HOUR_FAILED, &host).await;
    assert_eq!(finish(NOW, &host).await.unwrap_err().cause, Cause::Io);

    let host = Arc::new(Host::default());
    crash(IN_AN_HOUR, &host).await;
    let decided = host.saved().await;
    finish(NOW_FAILED, &host).await.unwrap();
    assert_eq!(host.saved().await, decided);
}

#[tokio::test]
async fn an_invalid_input_is_rejected_with_a_reason() {
    for (input, said) in [
        (r#"{"min":1}"#, "unknown field `min`"),
        (r#"{"min_ms":"1"}"#, "invalid type"),
        (r#"{"min_ms":-1}"#, "invalid value"),
        (r#"{"min_ms":2,"max_ms":1}"#, "min_ms (2) must not be greater than max_ms (1)"),
        (r#"{"max_ms":86400001}"#, "which is a day"),
        (r#"{"fail_rate":1.5}"#, "fail_rate (1.5) must be from 0.0 to 1.0"),
        ("[1,2,0.5]", "must be an object"),
    ] {
        let failure = finish(input, &Arc::new(Host::default())).await.unwrap_err();
        assert_eq!(failure.cause, Cause::InvalidInput, "{input}");
        assert!(failure.message.contains(said), "{failure}");
    }
}
