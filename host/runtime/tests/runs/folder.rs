//! A bad file in the plugins folder affects only itself.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use wasmill_runtime::{LoaderConfig, PluginInfo, PluginState, Runtime, RuntimeConfig, WatchMode};

use crate::support::{SOON, limits};

fn program() -> Vec<u8> {
    wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap()
}

/// Starts a runtime that scans its folder frequently.
fn start(folder: &Path) -> Runtime {
    let config = RuntimeConfig { slots: 1, limits: limits(), memory_total_bytes: None };
    let plugins = LoaderConfig {
        folder: Some(folder.to_owned()),
        watch: WatchMode::Poll(Duration::from_millis(50)),
        load_timeout: SOON,
        ..LoaderConfig::default()
    };
    Runtime::start(config, &[], plugins).unwrap()
}

fn info(runtime: &Runtime, name: &str) -> Option<PluginInfo> {
    runtime.plugins_info().into_iter().find(|info| info.name == name)
}

fn until_ready(runtime: &Runtime, name: &str) {
    let deadline = Instant::now() + SOON;
    while info(runtime, name).is_none_or(|info| info.state != PluginState::Ready) {
        assert!(Instant::now() < deadline, "timed out waiting for {name}: {:?}", runtime.plugins_info());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Creates one file of each bad kind in a folder; returns the expected reasons.
fn spoil(folder: &Path) -> Vec<(&'static str, &'static str)> {
    let at = |name: &str| folder.join(name);
    symlink("loop.wasm", at("loop.wasm")).unwrap();
    symlink("/etc/passwd/x.wasm", at("through-a-file.wasm")).unwrap();
    fs::create_dir(at("folder.wasm")).unwrap();
    mknodat(CWD, at("pipe.wasm"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlink("/dev/zero", at("device.wasm")).unwrap();
    fs::write(at("looped-manifest.wasm"), program()).unwrap();
    symlink("looped-manifest.toml", at("looped-manifest.toml")).unwrap();
    fs::write(at("piped-manifest.wasm"), program()).unwrap();
    mknodat(CWD, at("piped-manifest.toml"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(at("looped-schema.wasm"), program()).unwrap();
    fs::write(at("looped-schema.toml"), "[input]\nschema = \"looped.json\"").unwrap();
    symlink("looped.json", at("looped.json")).unwrap();
    symlink("missing", at("nowhere.wasm")).unwrap();
    fs::write(at("lost-manifest.wasm"), program()).unwrap();
    symlink("missing", at("lost-manifest.toml")).unwrap();
    fs::write(at("long.wasm"), b"").unwrap();
    fs::File::options().write(true).open(at("long.wasm")).unwrap().set_len(1 << 40).unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"not-\xff-text.wasm")), program()).unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"not-\xfe-text.wasm")), program()).unwrap();
    vec![
        ("loop", "symbolic links"),
        ("through-a-file", "Not a directory"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
        ("looped-manifest", "its manifest looped-manifest.toml is not valid: it cannot be read"),
        ("piped-manifest", "not a regular file"),
        ("looped-schema", "input.schema looped.json: it cannot be read"),
        ("nowhere", "it is a link that leads nowhere"),
        ("lost-manifest", "its manifest lost-manifest.toml is not valid: it is a link that leads nowhere"),
        ("long", "larger than 128 MiB"),
        ("not-\u{fffd}-text", "a plugin name is"),
    ]
}

#[test]
fn an_unreadable_file_is_rejected_and_affects_no_other() {
    let folder = TempDir::new().unwrap();
    let bad = spoil(folder.path());
    fs::write(folder.path().join("good.wasm"), program()).unwrap();
    let runtime = start(folder.path());
    until_ready(&runtime, "good");
    for (name, reason) in &bad {
        match info(&runtime, name).map(|info| info.state) {
            Some(PluginState::Rejected(rejection)) => {
                assert!(rejection.contains(reason), "{name}: {rejection}");
            }
            other => panic!("{name} is {other:?}"),
        }
    }
    assert_eq!(runtime.plugins_info().len(), bad.len() + 1);
}

#[test]
fn an_unreadable_file_does_not_stop_reloading() {
    let folder = TempDir::new().unwrap();
    let runtime = start(folder.path());
    spoil(folder.path());
    fs::write(folder.path().join("later.wasm"), program()).unwrap();
    until_ready(&runtime, "later");
    // A bad file is replaced by a good one.
    fs::remove_file(folder.path().join("loop.wasm")).unwrap();
    fs::write(folder.path().join("loop.wasm"), program()).unwrap();
    until_ready(&runtime, "loop");
}
