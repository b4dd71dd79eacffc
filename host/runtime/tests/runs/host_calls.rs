//! Host calls of a guest reach its `RunHost`, and the results reach the guest.

mod large_calls;

use std::sync::Arc;

use wasmill_model::{Cause, DependencyResult, Failure, RunRequest, Runner, TaskId, TaskState};

use crate::support::{Host, SOON, commit_with, done, run, shared};

#[tokio::test]
async fn a_checkpoint_reaches_the_next_attempt() {
    let host = Arc::new(Host::default());
    assert_eq!(commit_with(r#"{"do":"restore"}"#, &host).await.unwrap(), "nothing");
    assert_eq!(commit_with(r#"{"do":"save","state":"half way"}"#, &host).await.unwrap(), "saved");
    assert_eq!(commit_with(r#"{"do":"restore"}"#, &host).await.unwrap(), "half way");
}

#[tokio::test]
async fn an_attempt_resumes_from_the_last_checkpoint() {
    let host = Arc::new(Host::default());
    let action = r#"{"do":"count-then-fail","succeed_on":3}"#;
    for _ in 0..2 {
        assert_eq!(commit_with(action, &host).await.unwrap_err().cause, Cause::Io);
    }
    assert_eq!(commit_with(action, &host).await.unwrap(), "succeeded on attempt 3");
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_is_the_fault_of_the_host() {
    let host = Arc::new(Host { is_broken: true, ..Host::default() });
    let failure = commit_with(r#"{"do":"restore"}"#, &host).await.unwrap_err();
    assert_eq!((failure.cause, failure.message.as_str()), (Cause::HostFault, "the disk is gone"));
}

#[tokio::test]
async fn a_checkpoint_that_the_host_cannot_store_is_an_error_for_the_guest() {
    let host = Arc::new(Host { is_broken: true, ..Host::default() });
    assert_eq!(commit_with(r#"{"do":"save","state":"half way"}"#, &host).await.unwrap(), "the disk is full");
}

#[tokio::test]
async fn dependencies_come_by_a_call_and_leave_the_input_alone() {
    let of = |byte, outcome, result: Option<&str>| DependencyResult {
        id: TaskId::from_bytes([byte; 16]),
        outcome,
        result: result.map(Into::into),
    };
    let results = vec![
        of(1, TaskState::Completed, Some("two\n\"lines\"")),
        of(2, TaskState::Failed, None),
        of(3, TaskState::Cancelled, None),
    ];
    let host = Arc::new(Host { dependencies: Ok(results), ..Host::default() });
    let action = r#"{"do":"dependencies"}"#;
    let ask = async |pass_results| {
        let run = RunRequest { pass_results, ..run(action, &host) };
        let read = done(shared().run(run)).await.unwrap();
        serde_json::from_str::<serde_json::Value>(&read).unwrap()
    };
    let input = serde_json::json!({"do": "dependencies"});
    let dependencies = serde_json::json!([
        {"id": "01010101-0101-0101-0101-010101010101", "outcome": "completed", "result": "two\n\"lines\""},
        {"id": "02020202-0202-0202-0202-020202020202", "outcome": "failed", "result": null},
        {"id": "03030303-0303-0303-0303-030303030303", "outcome": "cancelled", "result": null},
    ]);
    assert_eq!(ask(true).await, serde_json::json!({"input": input, "dependencies": dependencies}));
    assert_eq!(ask(false).await, serde_json::json!({"input": input, "dependencies": []}));
}

#[tokio::test]
async fn dependencies_that_are_not_available_end_only_a_run_that_asks_for_them() {
    let gone = Failure::new(Cause::InvalidInput, "the task was deleted");
    let host = Arc::new(Host { dependencies: Err(gone.clone()), ..Host::default() });
    let asks = RunRequest { pass_results: true, ..run(r#"{"do":"dependencies"}"#, &host) };
    assert_eq!(done(shared().run(asks)).await, Err(gone));
    let does_not = RunRequest { pass_results: true, ..run(r#"{"do":"noop"}"#, &host) };
    assert_eq!(done(shared().run(does_not)).await, Ok("ok".to_owned()));
}

#[tokio::test]
async fn a_guest_waits_for_a_timer_and_a_request_to_stop_at_once() {
    let host = Arc::new(Host::default());
    assert_eq!(commit_with(r#"{"do":"await-stop","ms":20}"#, &host).await.unwrap(), "timer");
    let host = Arc::new(Host::default());
    let waiting = tokio::spawn(done(shared().run(run(r#"{"do":"await-stop","ms":3600000}"#, &host))));
    host.progressed().await;
    host.stop.send_replace(true);
    let stopped = tokio::time::timeout(SOON, waiting).await.expect("it wakes").unwrap();
    assert_eq!(stopped, Err(Failure::new(Cause::Plugin, "stop")));
}

#[tokio::test]
async fn progress_is_clamped() {
    for (reported, clamped) in [("0.5", 0.5), ("-1", 0.0), ("7.5", 1.0), ("null", 0.0)] {
        let host = Arc::new(Host::default());
        let note = "ä".repeat(200);
        let action = format!(r#"{{"do":"progress","fraction":{reported},"note":"{note}","ms":0}}"#);
        commit_with(&action, &host).await.unwrap();
        let progress = host.progressed().await;
        assert_eq!(progress.fraction, clamped, "{reported}");
        assert_eq!(progress.note, "ä".repeat(128));
    }
}

#[tokio::test]
async fn the_context_names_task_plugin_and_attempt() {
    let host = Arc::new(Host::default());
    let run = RunRequest { attempt: 2, attempts_max: 5, ..run(r#"{"do":"context"}"#, &host) };
    let expected = format!(r#"{{"attempt":2,"max_attempts":5,"plugin":"misbehave","task":"{}"}}"#, run.task);
    assert_eq!(done(shared().run(run)).await.unwrap(), expected);
}

#[tokio::test]
async fn both_output_streams_are_the_log() {
    let host = Arc::new(Host::default());
    commit_with(r#"{"do":"log","out":"to stdout","err":"to stderr"}"#, &host).await.unwrap();
    assert_eq!(host.log_text(), "to stdout\nto stderr\n");
}
