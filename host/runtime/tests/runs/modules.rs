//! Unmodified core modules for WASI preview 1 run as plugins.

use std::sync::Arc;

use serde_json::json;
use wasmill_model::{Cause, Failure};
use wasmill_runtime::{DirRule, Permissions, PluginConfig, Runtime};

use crate::permissions::folders;
use crate::support::{Host, finish, finish_with, plugin_config, runtime_of};

/// The prelude of every module: imports, a memory, and `say`, which writes to stdout or stderr.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func $iovec (param $at i32) (param $bytes i32)
        (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $bytes)))
    (func $say (param $fd i32) (param $at i32) (param $bytes i32)
        (call $iovec (local.get $at) (local.get $bytes))
        (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    (data (i32.const 64) "last words\n")
"#;

/// Writes its arguments, then its variables, each terminated by a NUL.
const TELL: &str = r#"(func (export "_start")
    (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
    (drop (call $args_get (i32.const 1024) (i32.const 4096)))
    (call $say (i32.const 1) (i32.const 4096) (i32.load (i32.const 20)))
    (drop (call $env_sizes (i32.const 16) (i32.const 20)))
    (drop (call $env_get (i32.const 1024) (i32.const 4096)))
    (call $say (i32.const 1) (i32.const 4096) (i32.load (i32.const 20))))"#;

/// Copies stdin to stdout.
const CAT: &str = r#"(func (export "_start")
    (loop $more
        (call $iovec (i32.const 4096) (i32.const 4096))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.load (i32.const 8)) (then
            (call $say (i32.const 1) (i32.const 4096) (i32.load (i32.const 8)))
            (br $more)))))"#;

/// Writes a megabyte at a time forever, ignoring errors.
const FLOOD: &str = r#"(func (export "_start")
    (loop $more (call $say (i32.const 1) (i32.const 0) (i32.const 65536)) (br $more)))"#;

/// Closes stdout, then writes to it.
const CLOSE: &str = r#"(func (export "_start")
    (drop (call $fd_close (i32.const 1)))
    (call $say (i32.const 1) (i32.const 64) (i32.const 11)))"#;

/// Prints a line if a global or its second page holds anything, then writes to both.
const SOIL: &str = r#"(global $run (mut i32) (i32.const 0))
    (func (export "_start") (local $at i32)
        (local.set $at (i32.const 65536))
        (loop $more
            (if (i32.or (global.get $run) (i32.load (local.get $at)))
                (then (call $say (i32.const 1) (i32.const 64) (i32.const 11)) (return)))
            (i32.store (local.get $at) (i32.const -1))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if $more (i32.lt_u (local.get $at) (i32.const 131072))))
        (global.set $run (i32.const 1)))"#;

const SPIN: &str = r#"(func (export "_start")
    (call $say (i32.const 2) (i32.const 64) (i32.const 11)) (loop $more (br $more)))"#;

fn exit(code: i32) -> String {
    format!(
        r#"(func (export "_start")
            (call $say (i32.const 2) (i32.const 64) (i32.const 11))
            (call $proc_exit (i32.const {code})))"#
    )
}

/// Opens a path in its first folder and prints the error number, 0 for success.
fn open(path: &str) -> String {
    let bytes = path.len();
    format!(
        r#"(data (i32.const 128) "{path}")
        (func (export "_start")
            (i32.store8 (i32.const 200) (i32.add (i32.const 48) (i32.ne (i32.const 0) (call $path_open
                (i32.const 3) (i32.const 1) (i32.const 128) (i32.const {bytes})
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 204)))))
            (call $say (i32.const 1) (i32.const 200) (i32.const 1)))"#
    )
}

fn module(code: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {PRELUDE} {code})")).unwrap()
}

fn runtime(code: &str) -> Runtime {
    runtime_of("module", &module(code), plugin_config())
}

async fn run(code: &str, input: &str) -> Result<String, Failure> {
    finish(&runtime(code), "module", input).await
}

#[tokio::test]
async fn a_module_sees_its_arguments_and_variables() {
    let input = json!({ "args": ["-n", "1"], "env": { "COLOUR": "blue" } }).to_string();
    assert_eq!(run(TELL, &input).await.unwrap(), "module\0-n\x001\0COLOUR=blue\0");
    assert_eq!(run(TELL, "null").await.unwrap(), "module\0");
}

#[tokio::test]
async fn an_instance_contains_nothing_of_an_earlier_one() {
    // More runs than slots, so that each pool slot is used again.
    let runtime = runtime(SOIL);
    for _ in 0..20 {
        assert_eq!(finish(&runtime, "module", "null").await.unwrap(), "");
    }
}

#[tokio::test]
async fn stdin_is_the_input_and_stdout_the_result() {
    let text = "äöü".repeat(10_000);
    assert_eq!(run(CAT, &json!(text).to_string()).await.unwrap(), text);
    assert_eq!(run(CAT, "null").await.unwrap(), "");
}

#[tokio::test]
async fn every_exit_code_is_reported_with_the_end_of_stderr() {
    for code in [1, 42, 125, 126, 255, -1] {
        let failure = run(&exit(code), "null").await.unwrap_err();
        assert_eq!(failure.cause, Cause::Exit(code));
        assert!(failure.message.ends_with("the end of its stderr:\nlast words"), "{failure}");
    }
    assert_eq!(run(&exit(0), "null").await.unwrap(), "");
}

#[tokio::test]
async fn a_trap_and_an_endless_recursion_are_traps() {
    for code in ["unreachable", "(call $start)"] {
        let failure = run(&format!(r#"(func $start (export "_start") {code})"#), "null").await.unwrap_err();
        assert_eq!(failure.cause, Cause::Trap, "{failure}");
    }
}

#[tokio::test]
async fn atomic_instructions_without_shared_memory_run_and_never_block() {
    let exits_with_sum = r#"(func (export "_start")
        (drop (i32.atomic.rmw.add (i32.const 128) (i32.const 7)))
        (atomic.fence)
        (drop (memory.atomic.notify (i32.const 128) (i32.const 1)))
        (call $proc_exit (i32.atomic.load (i32.const 128))))"#;
    assert_eq!(run(exits_with_sum, "null").await.unwrap_err().cause, Cause::Exit(7));
    // No other event could wake it.
    let waits = r#"(func (export "_start")
        (drop (memory.atomic.wait32 (i32.const 128) (i32.const 0) (i64.const -1))))"#;
    assert_eq!(run(waits, "null").await.unwrap_err().cause, Cause::Trap);
}

#[tokio::test]
async fn a_flood_of_output_ends_at_the_limit() {
    assert_eq!(run(FLOOD, "null").await.unwrap_err().cause, Cause::ResultLimit);
}

#[tokio::test]
async fn closing_stdout_early_is_harmless() {
    assert_eq!(run(CLOSE, "null").await.unwrap(), "");
}

#[tokio::test]
async fn a_module_that_loops_ends_when_it_is_dropped() {
    let (runtime, host) = (runtime(SPIN), Arc::new(Host::default()));
    let looping = tokio::spawn({
        let (runtime, host) = (runtime.clone(), Arc::clone(&host));
        async move { finish_with(&runtime, "module", "null", &host).await }
    });
    while host.log_text().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(runtime.pool_usage().memories, 1);
    looping.abort();
    assert!(looping.await.unwrap_err().is_cancelled());
    assert_eq!(runtime.pool_usage().memories, 0);
}

#[tokio::test]
async fn a_module_sees_only_its_granted_folders() {
    let (_outer, inner) = folders();
    let dirs = vec![DirRule { host: inner, guest: "/in".to_owned(), write: false }];
    let permitted =
        PluginConfig { permissions: Permissions { dirs, ..Permissions::default() }, ..plugin_config() };
    for (path, opened) in [("file", "0"), ("../secret", "1"), ("way-out", "1"), ("/etc/passwd", "1")] {
        let runtime = runtime_of("module", &module(&open(path)), permitted.clone());
        assert_eq!(finish(&runtime, "module", "null").await.unwrap(), opened, "{path}");
    }
    assert_eq!(run(&open("file"), "null").await.unwrap(), "1");
}

/// A module for preview 0, whose positions, file sizes and subscriptions are laid out in another way.
const PREVIEW0: &str = r#"(module
    (import "wasi_unstable" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_unstable" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_unstable" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
    (import "wasi_unstable" "path_filestat_get" (func $stat_at (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_unstable" "path_open" (func $path_open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_unstable" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_unstable" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_unstable" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_unstable" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "file")
    (func $digit (param $value i32)
        (i32.store8 (i32.const 128) (i32.add (i32.const 48) (local.get $value)))
        (i32.store (i32.const 0) (i32.const 128)) (i32.store (i32.const 4) (i32.const 1))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "_start")
        ;; A file of four bytes: its position at the end, and its size by descriptor and by path.
        (call $digit (call $path_open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 4)
            (i32.const 0) (i64.const 2097286) (i64.const 0) (i32.const 0) (i32.const 200)))
        (call $digit (call $fd_seek (i32.load (i32.const 200)) (i64.const 0) (i32.const 1) (i32.const 208)))
        (call $digit (i32.load (i32.const 208)))
        (call $digit (call $fd_seek (i32.load (i32.const 200)) (i64.const 1) (i32.const 2) (i32.const 208)))
        (call $digit (i32.load (i32.const 208)))
        (call $digit (i32.eq (i32.const 28)
            (call $fd_seek (i32.load (i32.const 200)) (i64.const 0) (i32.const 3) (i32.const 208))))
        (call $digit (call $stat (i32.load (i32.const 200)) (i32.const 256)))
        (call $digit (i32.load (i32.const 280)))
        (call $digit (call $stat_at (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 4) (i32.const 320)))
        (call $digit (i32.load (i32.const 344)))
        ;; A sleep of ten milliseconds by the monotonic clock, which follows an identifier.
        (i64.store (i32.const 512) (i64.const 7))
        (i32.store (i32.const 536) (i32.const 1))
        (i64.store (i32.const 544) (i64.const 10000000))
        (call $digit (call $poll (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 704)))
        (call $digit (i32.load (i32.const 704)))
        (call $digit (i32.wrap_i64 (i64.load (i32.const 640))))
        (call $digit (call $args_sizes_get (i32.const 16) (i32.const 20)))
        (call $digit (i32.load (i32.const 16)))
        (call $digit (call $random_get (i32.const 768) (i32.const 16)))
        (call $proc_exit (i32.const 0))))"#;

#[tokio::test]
async fn a_module_for_preview_0_runs_like_one_for_preview_1() {
    let (_outer, inner) = folders();
    let dirs = vec![DirRule { host: inner, guest: "in".to_owned(), write: false }];
    let permissions = Permissions { dirs, ..Permissions::default() };
    let wasm = wat::parse_str(PREVIEW0).unwrap();
    let runtime = runtime_of("module", &wasm, PluginConfig { permissions, ..plugin_config() });
    let input = json!({ "args": ["one"] }).to_string();
    let said = finish(&runtime, "module", &input).await.unwrap();
    // path_open; position 4 at the end, 1 from the start, no fourth kind; sizes; one event with its userdata; arguments.
    assert_eq!(said, "0040110404017020", "{said}");
}

#[tokio::test]
async fn a_module_does_not_sleep_by_a_clock_of_cpu_time() {
    // With the layouts of preview 1 and of preview 0: a second of the CPU time of the process, and of the thread.
    for (module, clock_at, time_at) in [("wasi_snapshot_preview1", 16, 24), ("wasi_unstable", 24, 32)] {
        for clock in [2, 3] {
            let wasm = wat::parse_str(format!(
                r#"(module
                    (import "{module}" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
                    (import "{module}" "proc_exit" (func $proc_exit (param i32)))
                    (memory (export "memory") 1)
                    (func (export "_start")
                        (i32.store (i32.const {clock_at}) (i32.const {clock}))
                        (i64.store (i32.const {time_at}) (i64.const 3600000000000))
                        (call $proc_exit
                            (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#
            ));
            let runtime = runtime_of("module", &wasm.unwrap(), plugin_config());
            let failure = finish(&runtime, "module", "null").await.unwrap_err();
            assert_eq!(failure.cause, Cause::Exit(28), "{module} {clock}: {failure}");
        }
    }
}
