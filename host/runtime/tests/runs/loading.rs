//! Which files become plugins, and why others are rejected.

use std::path::Path;

use tempfile::TempDir;
use wasmill_model::Runner;
use wasmill_runtime::{PluginInfo, PluginSource, PluginState, Runtime, RuntimeConfig, RuntimeError};

use crate::support::{finish, limits, misbehave, noop};

/// A component with a function `$f` of a type that nobody asks for, which exports this.
fn exports(export: &str) -> String {
    format!(
        r#"(component
            (core module $m (func (export "f") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "f")))
            (instance $run (export "run" (func $f)))
            (instance $resume (export "resume" (func $f)))
            {export})"#
    )
}

/// A plugin that returns `TEXT`, with something else beside it.
fn tiny(beside: &str) -> String {
    let text = include_str!("../../../../tests/guests/tiny.wat").trim_end();
    format!("{} {beside})", text.strip_suffix(')').unwrap())
}

const HTTP_SERVER: &str = r#"(component
    (instance $handler) (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))"#;

const WASI_0_3: &str = r#"(component
    (instance $run) (export "wasi:cli/run@0.3.0" (instance $run)))"#;

const LIBRARY: &str = r#"(component
    (instance $sums) (export "acme:library/sums@1.0.0" (instance $sums)))"#;

const UNKNOWN_IMPORT: &str = r#"(component
    (import "acme:database/query@1.0.0" (instance (export "ask" (func))))
    (core module $m (func (export "f") (result i32) i32.const 0))
    (core instance $i (instantiate $m))
    (func $f (result u32) (canon lift (core func $i "f")))
    (instance $job (export "run" (func $f)))
    (export "wasmill:task/job@0.2.0" (instance $job)))"#;

const LARGE_MEMORY: &str = r#"(component
    (core module $m (memory 1000) (func (export "f") (result i32) i32.const 0))
    (core instance $i (instantiate $m))
    (func $f (result u32) (canon lift (core func $i "f")))
    (instance $job (export "run" (func $f)))
    (export "wasmill:task/job@0.2.0" (instance $job)))"#;

fn load(builtins: &[(&str, &'static [u8])], folder: &Path) -> Runtime {
    Runtime::new(
        RuntimeConfig { slots: 2, limits: limits(), memory_total_bytes: None },
        builtins,
        Some(folder),
    )
    .unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Loads one file and returns the reason of its rejection.
fn refusal(bytes: &[u8]) -> String {
    let folder = folder(&[("file.wasm", bytes)]);
    let runtime = load(&[], folder.path());
    assert!(runtime.plugins().is_empty());
    match runtime.plugins_info().as_slice() {
        [PluginInfo { state: PluginState::Rejected(reason), .. }] => reason.clone(),
        other => panic!("one rejected file, not {other:?}"),
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn files_other_than_webassembly_are_rejected_by_type() {
    for (bytes, said) in [
        (vec![], "the file is empty"),
        (b"#!/bin/sh".to_vec(), "this is not WebAssembly: it begins with 0x23212f62"),
        (b"\0as".to_vec(), "this is not WebAssembly"),
        (b"(component)".to_vec(), "this is WebAssembly text"),
        (b"\x7fELF\x02\x01".to_vec(), "precompiled plugins are never loaded"),
        (b"\0asm\x0d".to_vec(), "truncated"),
    ] {
        let refusal = refusal(&bytes);
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[test]
fn a_component_of_another_world_is_rejected_with_what_is_accepted() {
    for (text, said) in [
        ("(component)", "the component exports nothing"),
        (UNKNOWN_IMPORT, "acme:database/query@1.0.0"),
        (LARGE_MEMORY, "its memory is 62 MiB before it does anything; its limit `memory` is 8 MiB"),
        (HTTP_SERVER, "it is an HTTP server"),
        (WASI_0_3, "it is built for WASI 0.3"),
        (LIBRARY, "it exports acme:library/sums@1.0.0"),
        ("(component (core module (memory 1 1 shared)))", "it uses threads"),
    ] {
        let refusal = refusal(&wat(text));
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[test]
fn a_function_of_another_type_is_rejected() {
    for (interface, function) in [
        ("wasmill:task/job@0.2.0", "run"),
        ("wasmill:task/resumable-job@0.2.0", "resume"),
        ("wasi:cli/run@0.2.0", "run"),
    ] {
        let found = refusal(&wat(&exports(&format!(r#"(export "{interface}" (instance ${function}))"#))));
        let said = format!("the function `{function}` that it exports is not that of {interface}");
        assert!(found.contains(&said), "{found}");
        let empty =
            refusal(&wat(&format!(r#"(component (instance $i) (export "{interface}" (instance $i)))"#)));
        assert!(empty.contains(&said), "{empty}");
    }
}

#[test]
fn a_component_for_another_version_of_the_contract_is_told_to_be_rebuilt() {
    let old_import = r#"
        (import "wasmill:task/run@0.1.0" (instance (export "sleep" (func (param "ms" u32) (result bool)))))
        (export "wasi:cli/run@0.2.0" (instance $run))"#;
    for (export, said) in [
        (
            r#"(export "run-task" (func $f))"#,
            "exports the function `run-task`, as plugins of wasmill:task@0.1 did",
        ),
        (
            r#"(export "resume" (func $f))"#,
            "exports the function `resume`, as plugins of wasmill:task@0.1 did",
        ),
        (
            r#"(export "wasmill:task/job@0.3.0" (instance $run))"#,
            "exports wasmill:task/job@0.3.0, which this host",
        ),
        (r#"(export "wasmill:task/job" (instance $run))"#, "exports wasmill:task/job, which this host"),
        (
            r#"(export "wasmill:task/job@0.20.0" (instance $run)) (export "wasi:cli/run@0.2.0" (instance $run))"#,
            "exports wasmill:task/job@0.20.0, which this host does not know",
        ),
        (old_import, "imports wasmill:task/run@0.1.0, which this host does not know"),
    ] {
        let refusal = refusal(&wat(&exports(export)));
        assert!(refusal.contains(said), "{refusal}");
        assert!(refusal.contains("rebuild it for wasmill:task@0.2.0"), "{refusal}");
    }
}

#[test]
fn a_function_of_a_later_patch_of_the_contract_is_named() {
    let later = tiny(r#"(import "wasmill:task/host@0.2.9" (instance (export "fly" (func))))"#);
    let refusal = refusal(&wat(&later));
    assert!(refusal.contains("unresolved import") && refusal.contains("`fly`"), "{refusal}");
}

#[test]
fn a_component_that_exports_both_kinds_of_job_is_rejected() {
    let both = r#"(export "wasmill:task/job@0.2.0" (instance $run))
        (export "wasmill:task/resumable-job@0.2.3" (instance $resume))"#;
    let refusal = refusal(&wat(&exports(both)));
    let said = "it exports both wasmill:task/job@0.2.0 and wasmill:task/resumable-job@0.2.0";
    assert!(refusal.contains(said), "{refusal}");
}

#[tokio::test]
async fn a_job_is_found_by_its_versioned_name_whatever_else_is_exported() {
    let function = r#"(core module $m (func (export "f") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $f (result u32) (canon lift (core func $i "f")))
        (instance $other (export "run" (func $f)))"#;
    for text in [
        tiny(""),
        // A later patch has the same functions, and maybe more.
        tiny("").replace("@0.2.0", "@0.2.7"),
        tiny(&format!(r#"{function} (export "run-task" (func $f)) (export "resume" (func $f))"#)),
        tiny(&format!(r#"{function} (export "wasi:cli/run@0.2.0" (instance $other))"#)),
        // For this host and for a later one.
        tiny(&format!(r#"{function} (export "wasmill:task/job@0.3.0" (instance $other))"#)),
    ] {
        let folder = folder(&[("file.wasm", &wat(&text))]);
        let runtime = load(&[], folder.path());
        assert_eq!(finish(&runtime, "file", "null").await, Ok("TEXT".to_owned()), "{text}");
    }
}

#[test]
fn a_core_module_for_another_target_is_rejected_with_the_target() {
    for (text, said) in [
        ("(module)", "exports nothing, not even `_start`"),
        (r#"(module (func (export "sum")))"#, "a library without `_start`: it exports sum"),
        (r#"(module (func (export "_initialize")))"#, "a library (a reactor) without a main function"),
        (r#"(module (@custom "dylink.0" "") (func (export "f")))"#, "it is a shared library"),
        (
            r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                (func (export "_start")))"#,
            "does not export its memory",
        ),
        (
            r#"(module (import "wasi_unstable" "sock_accept" (func)))"#,
            "which WASI preview 0 does not provide",
        ),
        (r#"(module (import "env" "memory" (memory 1 1 shared)))"#, "it uses threads"),
        (r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#, "it uses threads"),
        (r#"(module (import "wasi" "thread-spawn" (func)))"#, "it uses threads"),
        (r#"(module (import "gojs" "runtime.wasmExit" (func)))"#, "build it with GOOS=wasip1"),
        (r#"(module (import "wbg" "__wbindgen_throw" (func)))"#, "wasm-bindgen"),
        (r#"(module (import "env" "emscripten_resize_heap" (func)))"#, "Emscripten"),
        (r#"(module (import "wasi:cli/run@0.2.0" "f" (func)))"#, "wasm-tools component new"),
        (r#"(module (import "env" "roll" (func)))"#, "imports env.roll, which is not provided"),
        (r#"(module (memory i64 1))"#, "built for wasm64"),
    ] {
        let refusal = refusal(&wat(text));
        assert!(refusal.contains(said), "{refusal}");
        assert!(
            refusal.contains("a plugin is a component that exports wasmill:task/job@0.2.0 or"),
            "{refusal}"
        );
    }
}

#[test]
fn a_start_function_of_another_type_is_rejected() {
    let refusal = refusal(&wat(r#"(module (func (export "_start") (param i32)))"#));
    assert!(refusal.contains("`_start`"), "{refusal}");
}

#[test]
fn a_damaged_or_truncated_file_is_rejected() {
    let whole = misbehave();
    for bytes in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &whole[..100]] {
        assert!(refusal(bytes).contains("damaged, truncated"));
    }
    let mut flipped = whole.to_vec();
    flipped[1_000..1_100].fill(0xff);
    assert!(refusal(&flipped).contains("damaged, truncated"));
}

#[test]
fn a_file_replaces_a_built_in_plugin() {
    let folder = folder(&[("builtin.wasm", noop()), ("notes.txt", b"no plugin")]);
    let runtime = load(&[("builtin", noop())], folder.path());
    let [info] = &runtime.plugins_info()[..] else { panic!("one plugin") };
    assert_eq!(info.source, PluginSource::File(folder.path().join("builtin.wasm")));
    assert_eq!((info.size_bytes, &info.state), (noop().len() as u64, &PluginState::Ready));
    assert_eq!(info.digest.as_ref().map(String::len), Some(64));
}

#[test]
fn a_broken_file_does_not_replace_a_built_in_plugin() {
    let folder = folder(&[("noop.wasm", b"broken")]);
    let runtime = load(&[("noop", noop())], folder.path());
    assert_eq!(runtime.plugins(), ["noop".parse().unwrap()]);
    let [info] = &runtime.plugins_info()[..] else { panic!("one plugin") };
    assert!(matches!((&info.source, &info.state), (PluginSource::File(_), PluginState::Rejected(_))));
    assert!(info.in_service.is_some() && info.in_service != info.digest);
    assert_eq!(runtime.check_ready(&"noop".parse().unwrap()), Ok(()));
}

#[test]
fn a_plugin_not_in_service_has_a_reason() {
    let folder = folder(&[("broken.wasm", b"broken")]);
    let runtime = load(&[("noop", noop())], folder.path());
    let why = |name: &str| runtime.check_ready(&name.parse().unwrap()).unwrap_err().to_string();
    assert!(why("broken").starts_with("plugin 'broken' was rejected: this is not WebAssembly"));
    assert_eq!(why("gone"), "there is no plugin 'gone'; it would be gone.wasm in the plugins folder");
}

#[test]
fn an_invalid_plugin_name_is_rejected() {
    let folder = folder(&[("My Plugin.wasm", noop())]);
    let runtime = load(&[], folder.path());
    assert!(runtime.plugins().is_empty());
    let [info] = &runtime.plugins_info()[..] else { panic!("one file") };
    assert_eq!(info.name, "My Plugin");
    assert!(matches!(&info.state, PluginState::Rejected(reason) if reason.contains("a plugin name is")));
}

#[test]
fn a_folder_named_like_a_plugin_is_rejected() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("folder.wasm")).unwrap();
    let runtime = load(&[], folder.path());
    let [info] = &runtime.plugins_info()[..] else { panic!("one entry") };
    let reason = "failed to read the file: it is not a regular file".to_owned();
    assert_eq!(info.state, PluginState::Rejected(reason));
}

#[test]
fn a_missing_folder_counts_as_empty() {
    let folder = TempDir::new().unwrap();
    assert!(load(&[], &folder.path().join("missing")).plugins_info().is_empty());
}

#[test]
fn a_folder_that_is_a_file_is_an_error() {
    let folder = folder(&[("file", b"")]);
    let path = folder.path().join("file");
    let config = RuntimeConfig { slots: 2, limits: limits(), memory_total_bytes: None };
    let error = Runtime::new(config, &[], Some(&path)).unwrap_err();
    assert!(matches!(error, RuntimeError::PluginsFolder { .. }), "{error}");
}

#[test]
fn more_slots_than_fit_are_an_error_and_not_a_crash() {
    let config = RuntimeConfig { slots: 50_000_000, limits: limits(), memory_total_bytes: None };
    let error = Runtime::new(config, &[], None).unwrap_err();
    assert!(error.to_string().contains("50000000 slots"), "{error}");
}
