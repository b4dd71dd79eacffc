//! The content of a file decides which engine runs it, or why it is rejected, with default limits and pools.

use wasmill_model::{Cause, Limits};
use wasmill_runtime::{LoaderConfig, PluginState, Runtime, RuntimeConfig};

use crate::support::finish;

/// Loads a file with the default configuration of a server.
fn load(wasm: &[u8]) -> Runtime {
    let config = RuntimeConfig { slots: 4, limits: Limits::default(), memory_total_bytes: None };
    Runtime::start(config, &[("guest", wasm.to_vec().leak())], LoaderConfig::default()).unwrap()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn refusal_of(wasm: &[u8]) -> String {
    match load(wasm).plugins_info().remove(0).state {
        PluginState::Rejected(reason) => reason,
        other => panic!("it is {other:?}"),
    }
}

fn refusal(text: &str) -> String {
    refusal_of(&wat(text))
}

/// Runs a guest and returns whether it ran on the on-demand engine.
async fn runs_roomy(text: &str) -> (Result<String, Cause>, bool) {
    let runtime = load(&wat(text));
    let info = runtime.plugins_info().remove(0);
    assert_eq!(info.state, PluginState::Ready, "{text}");
    let ended = finish(&runtime, "guest", "null").await.map_err(|failure| failure.cause);
    (ended, info.details.unwrap().is_on_demand)
}

#[tokio::test]
async fn a_small_module_with_exceptions_runs_outside_of_the_pools() {
    for body in [
        "(drop (block $h (result i32) (try_table (catch $t $h) (throw $t (i32.const 7))) (i32.const 0)))",
        "(block $h (try_table (catch_all $h) (throw $t (i32.const 7))))",
        "(drop (block $h (result exnref) (try_table (catch_all_ref $h) (throw $t (i32.const 7))) unreachable))",
        "(local exnref) (block $h (result i32 exnref) (try_table (catch_ref $t $h) (throw $t (i32.const 7))) \
         unreachable) (local.set 0) drop",
        // It throws nothing.
        "",
    ] {
        let text = format!(
            r#"(module (memory (export "memory") 1) (tag $t (param i32)) (func (export "_start") {body}))"#
        );
        assert_eq!(runs_roomy(&text).await, (Ok(String::new()), true), "{body}");
    }
    let uncaught = r#"(module (memory (export "memory") 1) (tag $t) (func (export "_start") (throw $t)))"#;
    assert_eq!(runs_roomy(uncaught).await, (Err(Cause::Trap), true));
}

#[tokio::test]
async fn a_program_that_exits_in_its_start_function_is_completed() {
    let exits = |code: i32| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1) (func $first (call $exit (i32.const {code}))) (start $first)
                (func (export "_start") unreachable))"#
        )
    };
    assert_eq!(runs_roomy(&exits(0)).await, (Ok(String::new()), false));
    assert_eq!(runs_roomy(&exits(7)).await, (Err(Cause::Exit(7)), false));
}

#[test]
fn a_table_over_the_memory_limit_is_rejected_at_load() {
    let table = |elements: u32| {
        format!(
            r#"(module (memory (export "memory") 1) (table {elements} funcref) (func (export "_start")))"#
        )
    };
    let reason = refusal(&table(10_000_000));
    assert!(reason.contains("memory and tables are 76 MiB") && reason.contains("limit `memory`"), "{reason}");
    assert_eq!(load(&wat(&table(1_000_000))).plugins_info()[0].state, PluginState::Ready);
}

#[test]
fn an_unsupported_feature_is_named() {
    for (text, named) in [
        ("(module (type $s (struct)) (func (export \"_start\") (drop (struct.new $s))))", "Wasm GC"),
        (
            "(module (func (export \"_start\") (i64.mul_wide_u (i64.const 1) (i64.const 1)) drop drop))",
            "wide arithmetic",
        ),
        (
            "(module (memory (export \"memory\") 1 (pagesize 1)) (func (export \"_start\")))",
            "custom page sizes",
        ),
        (
            "(module (type $f (func)) (type $c (cont $f)) (func $g) (elem declare func $g) \
             (func (export \"_start\") (drop (cont.new $c (ref.func $g)))))",
            "stack switching",
        ),
        ("(module (memory (export \"memory\") i64 1) (func (export \"_start\")))", "wasm64"),
        ("(module (memory (export \"memory\") 1 1 shared) (func (export \"_start\")))", "threads"),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_read\" (func)) (memory 1 1 shared) \
          (func (export \"_start\")))",
            "threads",
        ),
    ] {
        let reason = refusal(text);
        assert!(reason.contains(named) && !reason.contains("damaged"), "{named}: {reason}");
    }
    let asynchronous = r#"(component
        (core module $m (func (export "f")) (func (export "cb") (param i32 i32 i32) (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (type $t (func async))
        (func (export "run") (type $t) (canon lift (core func $i "f") async (callback (core func $i "cb")))))"#;
    let reason = refusal(asynchronous);
    assert!(reason.contains("async functions") && !reason.contains("damaged"), "{reason}");
}

#[test]
fn a_file_with_legacy_exceptions_is_rejected_with_the_fix() {
    // A `try` with a `catch_all`, which the text format no longer supports.
    let legacy = [
        b"\0asm\x01\0\0\0".as_slice(),
        b"\x01\x04\x01\x60\0\0",
        b"\x03\x02\x01\0",
        b"\x07\x0a\x01\x06_start\0\0",
        b"\x0a\x08\x01\x06\0\x06\x40\x19\x0b\x0b",
    ]
    .concat();
    assert!(refusal_of(&legacy).contains("wasm-opt --translate-to-exnref"), "{}", refusal_of(&legacy));
}

#[test]
fn an_unresolved_import_is_reported_before_compilation() {
    let module = |import: &str| {
        format!(r#"(module (import {import} (func)) (memory (export "memory") 1) (func (export "_start")))"#)
    };
    let reason = refusal(&module("\"wasi_snapshot_preview1\" \"sock_open\""));
    assert!(reason.contains("it imports sock_open") && reason.contains("preview 1"), "{reason}");
    let reason = refusal(&module("\"a\" \"b\""));
    assert!(reason.contains("Emscripten") && reason.contains("a.b"), "{reason}");
    let component = r#"(component
        (import "wasi:messaging/producer@0.2.0-draft" (instance
            (type $level (enum "low" "high")) (export "level" (type $l (eq $level)))
            (export "send" (func (param "level" $l) (param "message" string)))))
        (core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (component $c (import "run" (func $f (result (result)))) (export "run" (func $f)))
        (instance $run-i (instantiate $c (with "run" (func $run))))
        (export "wasi:cli/run@0.2.0" (instance $run-i)))"#;
    let reason = refusal(component);
    assert!(reason.contains("`send` of wasi:messaging/producer@0.2.0-draft"), "{reason}");
    assert!(reason.contains("supported packages: wasi:cli, wasi:clocks"), "{reason}");
}

#[test]
fn a_reactor_names_its_functions() {
    let reactor = r#"(module (memory (export "memory") 1) (func (export "_initialize"))
        (func (export "parse")) (func (export "render")))"#;
    let reason = refusal(reactor);
    assert!(reason.contains("(a reactor)") && reason.contains("exports parse, render:"), "{reason}");
}

/// Returns a component of nested instances, each level of which instantiates the one below twice.
fn nested(levels: usize) -> Vec<u8> {
    let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=levels {
        let below = level - 1;
        text.push_str(&format!(
            "(component $c{level} (alias outer 1 $c{below} (component $b)) (instance (instantiate $b)) \
             (instance (instantiate $b)))"
        ));
    }
    text.push_str(&format!("(instance (instantiate $c{levels})))"));
    wat(&text)
}

#[test]
fn a_component_of_exponential_size_is_rejected_before_compilation() {
    for levels in [10, 23, 60, 90] {
        let bytes = nested(levels);
        assert!(bytes.len() < 10_000);
        let reason = refusal_of(&bytes);
        assert!(reason.contains("more than 1000 instances of core modules"), "{levels}: {reason}");
    }
    // Few enough instances; it only lacks an entry point.
    assert!(refusal_of(&nested(5)).contains("exports nothing"));
}

#[test]
fn only_a_hundred_of_a_million_names_are_kept() {
    let exports: String = (0..100_000).map(|n| format!("(export \"e{n}\" (func 0))")).collect();
    let text = format!(r#"(module (func (export "_start")) {exports})"#);
    let info = load(&wat(&text)).plugins_info().remove(0);
    assert_eq!(info.state, PluginState::Ready);
    let exports = &info.details.unwrap().exports;
    assert_eq!((exports.count, exports.first.len()), (100_001, 100));
    let long = format!(r#"(module (func (export "_start")) (export "{}" (func 0)))"#, "x".repeat(90_000));
    let info = load(&wat(&long)).plugins_info().remove(0);
    assert!(info.details.unwrap().exports.first.iter().all(|name| name.len() <= 200));
}
