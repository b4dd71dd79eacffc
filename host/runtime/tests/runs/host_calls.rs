//! Host calls of a guest reach its `RunHost`, and the results reach the guest.

use std::sync::Arc;

use wasmill_model::{Cause, RunRequest, Runner};

use crate::support::{Host, commit_with, done, run, shared};

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
