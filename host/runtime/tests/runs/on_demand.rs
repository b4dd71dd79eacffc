//! Guests that do not fit into the pools run beside those that do.

use std::sync::OnceLock;

use wasmill_model::{Cause, Limits, Runner};
use wasmill_runtime::{PluginConfig, Runtime, RuntimeConfig};

use crate::support::{self, finish, noop, runtime_of};

fn plugin_config() -> PluginConfig {
    PluginConfig::default()
}

/// Returns a module with this many bytes of initial data, which exits with the last of them.
fn with_image(bytes: usize) -> Vec<u8> {
    let pages = bytes.div_ceil(64 << 10);
    let last = bytes - 1;
    let image = format!("{}\\07", "x".repeat(last));
    wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") {pages})
            (data (i32.const 0) "{image}")
            (func (export "_start")
                (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 120)) (then unreachable))
                ;; The next run must not see this.
                (i32.store8 (i32.const 0) (i32.const 1))
                (call $exit (i32.load8_u (i32.const {last})))))"#
    ))
    .unwrap()
}

/// Returns a module that throws and catches this many times, then exits with the last value caught, modulo 99.
fn exceptions(times: u32) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (tag $oops (param i32))
    (func $throws (param i32) (throw $oops (local.get 0)))
    (func (export "_start") (local $round i32) (local $caught i32)
        (loop $again
            (block $done
                (block $handler (result i32)
                    (try_table (catch $oops $handler) (call $throws (local.get $round)))
                    (br $done))
                (local.set $caught))
            (local.set $round (i32.add (local.get $round) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $round) (i32.const {times}))))
        (call $exit (i32.rem_u (local.get $caught) (i32.const 99)))))"#
    ))
    .unwrap()
}

/// A module with an uncaught exception.
const UNCAUGHT: &str = r#"(module (memory (export "memory") 1) (tag $oops)
    (func (export "_start") (throw $oops)))"#;

/// Returns a module with a table of this size that recurses this deeply and returns. Each call keeps four numbers
/// on the stack, as a parser would.
fn deep(table: u32, calls: u32) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (table {table} funcref)
            (func $down (param i64 i64 i64 i64) (result i64)
                (if (i64.eqz (local.get 0)) (then (return (i64.const 0))))
                (call $down (i64.sub (local.get 0) (i64.const 1))
                    (i64.add (local.get 1) (local.get 0)) (local.get 1) (local.get 2))
                (i64.xor (i64.add (local.get 0) (local.get 1)))
                (i64.xor (i64.mul (local.get 2) (local.get 3))))
            (func (export "_start")
                (drop (call $down (i64.const {calls}) (i64.const 2) (i64.const 3) (i64.const 4)))))"#
    ))
    .unwrap()
}

#[tokio::test]
async fn a_large_guest_runs_beside_a_small_one() {
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    let large = LARGE.get_or_init(|| with_image(30 << 20));
    let config = RuntimeConfig { slots: 4, limits: Limits::default(), memory_total_bytes: None };
    let runtime = Runtime::new(config, &[("large", large), ("noop", noop())], None).unwrap();
    assert_eq!(runtime.plugins().len(), 2);
    for _ in 0..3 {
        let failure = finish(&runtime, "large", "null").await.unwrap_err();
        assert_eq!(failure.cause, Cause::Exit(7), "{failure}");
        finish(&runtime, "noop", "null").await.unwrap();
    }
    assert_eq!(runtime.pool_usage().memories, 0);
}

#[tokio::test]
async fn exceptions_are_thrown_and_caught() {
    let runtime = runtime_of("thrower", &exceptions(1_001), plugin_config());
    let failure = finish(&runtime, "thrower", "null").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Exit(1_000 % 99), "{failure}");
}

#[tokio::test]
async fn a_caught_exception_is_freed() {
    // Each takes some dozen bytes: together they would far exceed the guest's limit of 64 MiB.
    let runtime = runtime_of("thrower", &exceptions(10_000_000), plugin_config());
    let failure = finish(&runtime, "thrower", "null").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Exit(9_999_999 % 99), "{failure}");
}

#[tokio::test]
async fn an_uncaught_exception_is_a_trap() {
    let runtime = runtime_of("thrower", &wat::parse_str(UNCAUGHT).unwrap(), plugin_config());
    let failure = finish(&runtime, "thrower", "null").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Trap, "{failure}");
}

#[tokio::test]
async fn a_large_table_and_a_deep_stack_fit() {
    let runtime = runtime_of("deep", &deep(30_000, 10_000), plugin_config());
    finish(&runtime, "deep", "null").await.unwrap();
    let runtime = runtime_of("deeper", &deep(30_000, 10_000_000), plugin_config());
    let failure = finish(&runtime, "deeper", "null").await.unwrap_err();
    assert!(failure.message.starts_with("stack overflow"), "{failure}");
}

#[tokio::test]
async fn a_small_program_has_the_stack_of_wasmtimes_default() {
    // 48 bytes per call at the very least.
    let runtime = runtime_of("deep", &deep(10, 6_000), support::plugin_config());
    let details = runtime.plugins_info().remove(0).details.unwrap();
    assert!(!details.is_on_demand);
    finish(&runtime, "deep", "null").await.unwrap();
    let runtime = runtime_of("deeper", &deep(10, 10_000_000), support::plugin_config());
    let failure = finish(&runtime, "deeper", "null").await.unwrap_err();
    assert!(failure.message.starts_with("stack overflow"), "{failure}");
}

#[tokio::test]
async fn a_plugin_may_have_more_memory_than_the_pools() {
    let limits = Limits { memory_bytes: 256 << 20, ..Limits::default() };
    let grows = r#"(module (memory (export "memory") 1)
        (func (export "_start")
            (if (i32.eq (memory.grow (i32.const 3000)) (i32.const -1)) (then unreachable))))"#;
    let runtime =
        runtime_of("grows", &wat::parse_str(grows).unwrap(), PluginConfig { limits, ..plugin_config() });
    finish(&runtime, "grows", "null").await.unwrap();
    let runtime = runtime_of("grows", &wat::parse_str(grows).unwrap(), plugin_config());
    assert_eq!(finish(&runtime, "grows", "null").await.unwrap_err().cause, Cause::MemoryLimit);
}

#[tokio::test]
async fn a_looping_on_demand_guest_yields_and_ends_when_dropped() {
    let spin = r#"(module (memory (export "memory") 1) (table 30000 funcref)
        (func (export "_start") (loop $more (br $more))))"#;
    let runtime = runtime_of("spin", &wat::parse_str(spin).unwrap(), plugin_config());
    let looping = tokio::spawn({
        let runtime = runtime.clone();
        async move { finish(&runtime, "spin", "null").await }
    });
    // There is only one thread, so each iteration here means that the loop yielded.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    looping.abort();
    assert!(looping.await.unwrap_err().is_cancelled());
}
