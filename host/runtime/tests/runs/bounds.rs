//! A guest that asks for too much gets an outcome that names the limit; the host stays well.

use std::sync::Arc;

use wasmill_model::Cause;

use crate::support::{Host, commit, commit_with};

#[tokio::test]
async fn a_memory_hog_ends_at_its_memory_limit() {
    let failure = commit(r#"{"do":"hog"}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::MemoryLimit);
    assert!(failure.message.contains("`memory` of 8 MiB"), "{failure}");
}

#[tokio::test]
async fn a_refused_allocation_harms_no_guest_that_can_do_without() {
    let result = commit(r#"{"do":"hog-then-answer"}"#).await.unwrap();
    let got: u32 = result.trim_end_matches(" MiB").parse().unwrap();
    assert!((4..8).contains(&got), "{result}");
}

#[tokio::test]
async fn an_output_over_its_limit_names_both_sizes() {
    assert_eq!(commit(r#"{"do":"output","bytes":65536}"#).await.unwrap().len(), 65_536);
    let failure = commit(r#"{"do":"output","bytes":65537}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::OutputLimit);
    assert_eq!(failure.message, "the result is 65537 bytes; its limit `output` is 64 KiB");
}

#[tokio::test]
async fn an_output_too_large_to_look_at_is_over_its_limit_too() {
    let failure = commit(r#"{"do":"output","bytes":6000000}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::OutputLimit, "{failure}");
}

#[tokio::test]
async fn a_checkpoint_over_its_limit_is_refused_with_both_sizes() {
    let host = Arc::new(Host::default());
    assert_eq!(commit_with(r#"{"do":"save-bytes","bytes":1024}"#, &host).await.unwrap(), "saved");
    let refusal = commit_with(r#"{"do":"save-bytes","bytes":1025}"#, &host).await.unwrap();
    assert_eq!(refusal, "the checkpoint of 1025 bytes is over its limit of 1 KiB");
    assert_eq!(host.saved().await.len(), 1_024);
}

#[tokio::test]
async fn a_flood_of_output_passes_through_and_is_not_kept() {
    let host = Arc::new(Host::default());
    commit_with(r#"{"do":"flood","bytes":20000000}"#, &host).await.unwrap();
    assert_eq!(*host.log_bytes.lock().unwrap(), 20_000_000);
    assert!(host.log_text().len() < 17 << 10);
}

#[tokio::test]
async fn handles_are_bounded() {
    commit(r#"{"do":"hoard-timers","count":100}"#).await.unwrap();
    let failure = commit(r#"{"do":"hoard-timers","count":100000}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Trap, "{failure}");
}

#[tokio::test]
async fn a_guest_sees_no_arguments_variables_files_or_network() {
    let seen = commit(r#"{"do":"look-around"}"#).await.unwrap();
    assert_eq!(seen, "0 arguments, 0 variables, 0 files, network: false");
}
