//! Every way in which a run can end, and its cause.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{Cause, Failure, Retry, RunRequest, Runner};

use crate::support::{Host, commit, commit_with, run, shared};

#[tokio::test]
async fn a_result_is_returned_unchanged() {
    assert_eq!(commit(r#"{"do":"echo","text":"grüße \u0000 😀"}"#).await.unwrap(), "grüße \0 😀");
    assert_eq!(commit(r#"{"do":"echo","text":""}"#).await.unwrap(), "");
}

#[tokio::test]
async fn a_task_without_input_receives_null() {
    let host = Arc::new(Host::default());
    let run = RunRequest { input: None, ..run("", &host) };
    let failure = shared().run(run).await.unwrap_err();
    assert_eq!(failure.cause, Cause::InvalidInput);
    assert!(failure.message.contains("null"), "{failure}");
}

#[tokio::test]
async fn a_plugin_reports_its_own_failure() {
    for (kind, cause) in [("io", Cause::Io), ("invalid-input", Cause::InvalidInput), ("other", Cause::Plugin)]
    {
        let action = format!(r#"{{"do":"fail","kind":"{kind}","message":"no luck"}}"#);
        let failure = commit(&action).await.unwrap_err();
        assert_eq!((failure.cause, failure.message.as_str()), (cause, "no luck"));
    }
}

#[tokio::test]
async fn a_plugin_says_whether_and_when_another_attempt_is_of_use() {
    for (says, retry) in [
        (r#""permanent":true"#, Retry::Never),
        (r#""retry_after_ms":1500"#, Retry::After(Duration::from_millis(1_500))),
    ] {
        let failure = commit(&format!(r#"{{"do":"fail","kind":"io","message":"no luck",{says}}}"#)).await;
        assert_eq!(failure, Err(Failure { retry: Some(retry), ..Failure::new(Cause::Io, "no luck") }));
    }
}

#[tokio::test]
async fn a_long_message_is_truncated() {
    let action = format!(r#"{{"do":"fail","kind":"io","message":"x{}"}}"#, "ä".repeat(5_000));
    let failure = commit(&action).await.unwrap_err();
    assert_eq!(failure.message.len(), (4 << 10) - 1);
}

#[tokio::test]
async fn a_trap_names_its_reason_and_the_function() {
    let failure = commit(r#"{"do":"trap"}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Trap);
    assert!(failure.message.contains("unreachable"), "{failure}");
    assert!(failure.message.contains("misbehave::fall_into_a_trap"), "{failure}");
    assert!(failure.message.len() <= 4 << 10);
}

#[tokio::test]
async fn a_panic_is_a_trap_and_its_message_is_in_the_log() {
    let host = Arc::new(Host::default());
    let failure = commit_with(r#"{"do":"panic"}"#, &host).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Trap);
    assert!(host.log_text().contains("this guest panics on purpose"), "{}", host.log_text());
}

#[tokio::test]
async fn endless_recursion_is_a_stack_overflow() {
    let failure = commit(r#"{"do":"recurse"}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Trap);
    assert!(failure.message.starts_with("stack overflow"), "{failure}");
    assert!(failure.message.contains("its stack of 512 KiB"), "{failure}");
}

#[tokio::test]
async fn a_task_that_exits_has_no_result_whatever_the_code() {
    // `exit` of WASI 0.2 only carries success or failure.
    for (code, named) in [(0, "exit code 0"), (1, "carries no code)"), (3, "carries no code)")] {
        let failure = commit(&format!(r#"{{"do":"exit","code":{code}}}"#)).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Exit(code.min(1)));
        assert!(failure.message.contains(&format!("{named} without a result")), "{failure}");
    }
}

#[tokio::test]
async fn a_plugin_that_is_not_in_service_is_lost() {
    let host = Arc::new(Host::default());
    let run = RunRequest { plugin: "gone".parse().unwrap(), ..run("", &host) };
    let failure = shared().run(run).await.unwrap_err();
    assert_eq!(failure.cause, Cause::LostPlugin);
}
