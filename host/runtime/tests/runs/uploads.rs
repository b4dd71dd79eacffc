//! Uploads, removals and changes of the folder are serialized.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasmill_model::PluginName;
use wasmill_runtime::{
    LoaderConfig, NotReadyError, RemoveOutcome, Runtime, RuntimeConfig, UploadError, WatchMode,
};

use crate::support::{SOON, finish, limits};

/// Returns a program with this much padding, so that each number gives a different file.
fn program(number: u32) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (global i32 (i32.const {number})) (func (export "_start")))"#
    ))
    .unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn start(folder: &TempDir) -> Runtime {
    let config = RuntimeConfig { slots: 2, limits: limits(), memory_total_bytes: None };
    let plugins = LoaderConfig {
        folder: Some(folder.path().to_owned()),
        watch: WatchMode::Poll(Duration::from_millis(50)),
        load_timeout: SOON,
        ..LoaderConfig::default()
    };
    Runtime::start(config, &[], plugins).unwrap()
}

fn name() -> PluginName {
    "guest".parse().unwrap()
}

fn in_service(runtime: &Runtime) -> Option<String> {
    runtime.plugins_info().into_iter().find(|info| info.name == "guest")?.in_service
}

#[test]
fn the_last_upload_is_in_service_despite_concurrent_scans() {
    let folder = TempDir::new().unwrap();
    let runtime = start(&folder);
    for number in 0..40 {
        let bytes = program(number);
        if number % 2 == 0 {
            // The file is seen, and loaded when it is stable; at that time or a moment later, another file replaces
            // it.
            fs::write(folder.path().join("guest.wasm"), program(1_000 + number)).unwrap();
            std::thread::sleep(Duration::from_millis(u64::from(number) * 10));
        }
        runtime.upload(&name(), &bytes, None).unwrap();
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {
            assert_eq!(in_service(&runtime), Some(digest(&bytes)), "round {number}");
        }
    }
}

#[test]
fn a_removed_plugin_does_not_come_back() {
    let folder = TempDir::new().unwrap();
    let runtime = start(&folder);
    for round in 0..40_u32 {
        fs::write(folder.path().join("guest.wasm"), program(round)).unwrap();
        // From before the scan until after the load.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 12));
        assert_eq!(runtime.remove(&name()).unwrap(), RemoveOutcome::Removed);
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {
            assert_eq!(in_service(&runtime), None, "round {round}");
        }
    }
    assert_eq!(runtime.remove(&name()).unwrap(), RemoveOutcome::NotFound);
    assert!(matches!(runtime.check_ready(&name()), Err(NotReadyError::Unknown(_))));
}

#[test]
fn concurrent_uploads_and_removals_match_the_folder() {
    let folder = TempDir::new().unwrap();
    let runtime = start(&folder);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (runtime, is_over) = (&runtime, &is_over);
            scope.spawn(move || {
                for round in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    if round % 5 == 4 {
                        runtime.remove(&name()).unwrap();
                    } else {
                        runtime.upload(&name(), &program(client * 1_000 + round), None).unwrap();
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(700));
        is_over.store(true, Ordering::Relaxed);
    });
    let there = fs::read(folder.path().join("guest.wasm")).ok().map(|bytes| digest(&bytes));
    assert_eq!(in_service(&runtime), there);
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), usize::from(there.is_some()), "{left:?}");
}

#[tokio::test]
async fn a_changed_manifest_reloads_an_uploaded_plugin() {
    let folder = TempDir::new().unwrap();
    let runtime = start(&folder);
    runtime.upload(&name(), &program(1), None).unwrap();
    fs::write(folder.path().join("guest.toml"), "description = \"new\"").unwrap();
    let deadline = Instant::now() + SOON;
    while runtime
        .plugin_config(&name())
        .is_none_or(|plugin_config| plugin_config.description.as_deref() != Some("new"))
    {
        assert!(Instant::now() < deadline, "timed out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    finish(&runtime, "guest", "null").await.unwrap();
}

#[test]
fn a_file_with_another_digest_than_pinned_is_rejected() {
    let folder = TempDir::new().unwrap();
    let (named, other) = (program(1), program(2));
    fs::write(folder.path().join("guest.toml"), format!("sha256 = \"{}\"", digest(&named))).unwrap();
    fs::write(folder.path().join("guest.wasm"), &other).unwrap();
    let runtime = start(&folder);
    match runtime.check_ready(&name()) {
        Err(NotReadyError::Rejected { reason, .. }) => {
            assert!(reason.contains(&digest(&named)) && reason.contains(&digest(&other)), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(runtime.upload(&name(), &program(3), None), Err(UploadError::Rejected(_))));
    runtime.upload(&name(), &named, None).unwrap();
    assert_eq!(in_service(&runtime), Some(digest(&named)));
}

#[test]
fn an_upload_inherits_no_permission_of_another_file() {
    let grants = [
        "[allow]\nenv = { TOKEN = \"secret\" }",
        "[allow]\nhttp = [\"https://example.com\"]",
        "[allow]\ndirs = [{ host = \"/tmp\", guest = \"/in\" }]",
    ];
    for manifest in grants {
        let folder = TempDir::new().unwrap();
        let write = |text: &str| fs::write(folder.path().join("guest.toml"), text).unwrap();
        write(manifest);
        fs::write(folder.path().join("guest.wasm"), program(1)).unwrap();
        let runtime = start(&folder);
        assert_eq!(in_service(&runtime), Some(digest(&program(1))), "the folder is trusted");
        let refused = |bytes: &[u8]| match runtime.upload(&name(), bytes, None) {
            Err(error @ UploadError::Unpinned { .. }) => error.to_string(),
            other => panic!("{manifest}: {other:?}"),
        };
        let reason = refused(&program(2));
        assert!(reason.contains(&digest(&program(2))) && !reason.contains("secret"), "{reason}");
        assert_eq!(in_service(&runtime), Some(digest(&program(1))));
        // The same bytes change nothing.
        runtime.upload(&name(), &program(1), None).unwrap();
        // A deleted file leaves its manifest behind.
        runtime.remove(&name()).unwrap();
        refused(&program(2));
        refused(&program(1));
        write(&format!("sha256 = \"{}\"\n{manifest}", digest(&program(2))));
        refused(&program(1));
        runtime.upload(&name(), &program(2), None).unwrap();
        assert_eq!(in_service(&runtime), Some(digest(&program(2))));
    }
}
