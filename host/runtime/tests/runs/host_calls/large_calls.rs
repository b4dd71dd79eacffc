//! Calls with large arguments, and failures that follow a denied allocation.

use std::sync::Arc;

use wasmill_model::{Cause, Failure, Limits};
use wasmill_runtime::PluginConfig;

use crate::support::{Host, finish_with, limits, plugin_config, runtime_of};

/// Runs a module with this main function and 40 pages of memory.
async fn run(main: &str) -> Result<String, Failure> {
    let module = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
            (memory (export "memory") 40)
            (func (export "_start") {main}))"#
    );
    let runtime = runtime_of("asks", &wat::parse_str(module).unwrap(), plugin_config());
    finish_with(&runtime, "asks", "null", &Arc::new(Host::default())).await
}

#[tokio::test]
async fn random_bytes_fill_the_whole_buffer() {
    let two_mib = r"
        (if (call $random_get (i32.const 8) (i32.const 2097152)) (then unreachable))
        (if (i64.eqz (i64.load (i32.const 8))) (then unreachable))
        (if (i64.eqz (i64.load (i32.const 2097152))) (then unreachable))
        (if (i64.ne (i64.load (i32.const 2097160)) (i64.const 0)) (then unreachable))";
    assert_eq!(run(two_mib).await, Ok(String::new()));
    assert_eq!(run("(drop (call $random_get (i32.const 0) (i32.const 0)))").await, Ok(String::new()));
}

#[tokio::test]
async fn too_many_random_bytes_fail_with_the_limit() {
    let failure = run("(drop (call $random_get (i32.const 0) (i32.const 67108865)))").await.unwrap_err();
    assert_eq!(failure.cause, Cause::CallLimit);
    assert!(
        failure.message.contains("67108865 random bytes") && failure.message.contains("64 MiB"),
        "{failure}"
    );
    for outside in ["(i32.const 2621440) (i32.const 8)", "(i32.const 2000000) (i32.const 1000000)"] {
        let failure = run(&format!("(drop (call $random_get {outside}))")).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Trap, "{failure}");
    }
}

#[tokio::test]
async fn a_program_that_exits_out_of_memory_learns_its_limit() {
    let gives_up = "(drop (memory.grow (i32.const 1000))) (call $proc_exit (i32.const 1))";
    let failure = run(gives_up).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Exit(1));
    assert!(failure.message.contains("`memory` of 8 MiB (limits.memory"), "{failure}");
    let failure = run("(call $proc_exit (i32.const 1))").await.unwrap_err();
    assert!(!failure.message.contains("memory"), "{failure}");
}

#[tokio::test]
async fn an_input_counts_against_the_memory_of_its_plugin() {
    let module = r#"(module (memory (export "memory") 40) (func (export "_start")))"#;
    let limits = Limits { memory_bytes: 3 << 20, ..limits() };
    let runtime =
        runtime_of("small", &wat::parse_str(module).unwrap(), PluginConfig { limits, ..plugin_config() });
    let host = Arc::new(Host::default());
    assert!(finish_with(&runtime, "small", r#""text""#, &host).await.is_ok());
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let failure = finish_with(&runtime, "small", &large, &host).await.unwrap_err();
    assert_eq!(failure.cause, Cause::MemoryLimit, "{failure}");
}
