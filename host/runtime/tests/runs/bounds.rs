//! A guest that exceeds a limit gets a failure that names the limit; the host is unaffected.

use std::sync::Arc;

use std::time::Duration;

use wasmill_model::{Cause, Limits, Runner};
use wasmill_runtime::{PluginConfig, Runtime};

use crate::support::{
    Host, commit, commit_with, finish, finish_with, limits, misbehave, plugin_config, run, runtime_of, shared,
};

#[tokio::test]
async fn a_guest_over_its_memory_limit_fails() {
    let failure = commit(r#"{"do":"hog"}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::MemoryLimit);
    assert!(failure.message.contains("`memory` of 8 MiB"), "{failure}");
}

#[tokio::test]
async fn a_guest_can_handle_a_denied_allocation() {
    let result = commit(r#"{"do":"hog-then-answer"}"#).await.unwrap();
    let got: u32 = result.trim_end_matches(" MiB").parse().unwrap();
    assert!((4..8).contains(&got), "{result}");
}

#[tokio::test]
async fn a_result_over_its_limit_names_both_sizes() {
    assert_eq!(commit(r#"{"do":"result","bytes":65536}"#).await.unwrap().len(), 65_536);
    let failure = commit(r#"{"do":"result","bytes":65537}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::ResultLimit);
    let named =
        "the result is 65537 bytes; its limit `result` is 64 KiB (limits.result of the manifest, else";
    assert!(failure.message.starts_with(named), "{failure}");
}

#[tokio::test]
async fn a_result_too_large_to_copy_is_over_its_limit_too() {
    let failure = commit(r#"{"do":"result","bytes":6000000}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::ResultLimit, "{failure}");
}

#[tokio::test]
async fn a_checkpoint_over_its_limit_is_rejected_with_the_limit_and_replaces_nothing() {
    let host = Arc::new(Host::default());
    assert_eq!(commit_with(r#"{"do":"save-bytes","bytes":1024}"#, &host).await.unwrap(), "saved");
    let refusal = commit_with(r#"{"do":"save-bytes","bytes":1025}"#, &host).await.unwrap();
    assert_eq!(refusal, "more than 1024 bytes");
    assert_eq!(host.saved().await.len(), 1_024);
}

#[tokio::test]
async fn a_flood_of_log_output_is_not_buffered() {
    let host = Arc::new(Host::default());
    commit_with(r#"{"do":"flood","bytes":20000000}"#, &host).await.unwrap();
    assert_eq!(*host.log_bytes.lock().unwrap(), 20_000_000);
    assert!(host.log_text().len() < 17 << 10);
}

#[tokio::test]
async fn handles_are_limited() {
    commit(r#"{"do":"hoard-timers","count":100}"#).await.unwrap();
    let failure = commit(r#"{"do":"hoard-timers","count":100000}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::HandleLimit, "{failure}");
    assert!(failure.message.contains("1024 handles"), "{failure}");
}

#[tokio::test]
async fn the_bytes_passed_in_one_call_are_limited() {
    commit(r#"{"do":"carry","bytes":1000000}"#).await.unwrap();
    let failure = commit(r#"{"do":"carry","bytes":4300000}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::CallLimit, "{failure}");
    assert!(failure.message.contains("its limit of 4160 KiB"), "{failure}");
}

/// Returns a guest with two memories and two tables, which grows each to the given number of pages or elements.
fn grower(sizes: [u32; 4]) -> Vec<u8> {
    let [first, second, third, fourth] = sizes;
    wat::parse_str(format!(
        r#"(module
            (memory $a (export "memory") 1) (memory $b 1) (table $c 0 funcref) (table $d 0 funcref)
            (func (export "_start")
                (if (i32.eq (memory.grow $a (i32.const {first})) (i32.const -1)) (then unreachable))
                (if (i32.eq (memory.grow $b (i32.const {second})) (i32.const -1)) (then unreachable))
                (if (i32.eq (table.grow $c (ref.null func) (i32.const {third})) (i32.const -1)) (then unreachable))
                (if (i32.eq (table.grow $d (ref.null func) (i32.const {fourth})) (i32.const -1)) (then unreachable))))"#
    ))
    .unwrap()
}

#[tokio::test]
async fn all_memories_and_tables_of_a_guest_count_against_one_limit() {
    // The limit is 8 MiB, which is 128 pages: two exist from the start, and 8,192 elements take one.
    for (sizes, fits) in [
        ([62, 62, 8_192, 8_192], true),
        ([124, 0, 8_192, 8_192], true),
        ([125, 0, 8_192, 8_192], false),
        ([62, 63, 8_192, 8_192], false),
        ([62, 62, 8_192, 16_385], false),
    ] {
        let runtime = runtime_of("grower", &grower(sizes), plugin_config());
        let ended = finish(&runtime, "grower", "null").await;
        assert_eq!(ended.is_ok(), fits, "{sizes:?}: {ended:?}");
        if let Err(failure) = ended {
            assert_eq!(failure.cause, Cause::MemoryLimit, "{failure}");
            assert!(failure.message.contains("limits.memory"), "{failure}");
        }
    }
}

fn computing_for(cpu: Duration) -> Runtime {
    let limits = Limits { cpu: Some(cpu), ..limits() };
    runtime_of("misbehave", misbehave(), PluginConfig { limits, ..plugin_config() })
}

#[tokio::test]
async fn a_guest_over_its_cpu_limit_fails_with_time_and_limit() {
    let runtime = computing_for(Duration::from_millis(50));
    let host = Arc::new(Host::default());
    let failure = finish_with(&runtime, "misbehave", r#"{"do":"spin"}"#, &host).await.unwrap_err();
    assert_eq!(failure.cause, Cause::CpuLimit);
    for named in ["used 5", " ms of CPU time; its limit `cpu` is 50ms", "limits.cpu", "setting cpu"] {
        assert!(failure.message.contains(named), "{failure}");
    }
    let used = host.meter.read().cpu;
    assert!(used > Duration::from_millis(50), "{used:?}");
}

#[tokio::test]
async fn a_sleeping_guest_uses_no_cpu_time() {
    let runtime = computing_for(Duration::from_millis(50));
    let host = Arc::new(Host::default());
    finish_with(&runtime, "misbehave", r#"{"do":"sleep","ms":300}"#, &host).await.unwrap();
    let used = host.meter.read().cpu;
    assert!(used < Duration::from_millis(20), "{used:?}");
}

#[tokio::test]
async fn cpu_time_of_short_polls_adds_up() {
    let runtime = computing_for(Duration::from_millis(20));
    let failure = finish(&runtime, "misbehave", r#"{"do":"compute-now-and-then","rounds":10000}"#).await;
    assert_eq!(failure.unwrap_err().cause, Cause::CpuLimit);
}

#[tokio::test]
async fn the_meter_shows_memory_and_instantiation_time() {
    let host = Arc::new(Host::default());
    commit_with(r#"{"do":"noop"}"#, &host).await.unwrap();
    let small = host.meter.read();
    assert!(small.memory_bytes >= 64 << 10 && small.memory_bytes < 4 << 20, "{small:?}");
    assert!(small.instantiate > Duration::ZERO, "{small:?}");
    let host = Arc::new(Host::default());
    commit_with(r#"{"do":"hog-then-answer"}"#, &host).await.unwrap();
    let large = host.meter.read().memory_bytes;
    assert!(large > 6 << 20 && large <= limits().memory_bytes, "{large}");
}

#[tokio::test]
async fn the_meter_of_a_running_guest_is_live() {
    let host = Arc::new(Host::default());
    let spinning = tokio::spawn(shared().run(run(r#"{"do":"spin"}"#, &host)));
    while host.meter.read().cpu < Duration::from_millis(20) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(host.meter.read().memory_bytes > 0);
    spinning.abort();
}

#[tokio::test]
async fn a_guest_sees_no_arguments_variables_files_or_network() {
    let seen = commit(r#"{"do":"look-around"}"#).await.unwrap();
    assert_eq!(seen, "0 arguments, 0 variables, 0 files, network: false");
}
