//! File access of guests is limited: what they open, write and create, and where their links lead.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use wasmill_model::{Cause, Failure, Limits, Usage};
use wasmill_runtime::{DirRule, HostCall, InstanceInfo, InstanceState, Permissions, PluginConfig, Runtime};

use crate::support::{Host, finish, finish_with, limits, misbehave, plugin_config, program, runtime_of};

/// Imports, a memory, and `note`, which appends the two digits of a number to the output.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link" (func $hard_link
        (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 64)
    (global $noted (mut i32) (i32.const 1024))
    (func $note (param $errno i32)
        (i32.store8 (global.get $noted) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 10))))
        (i32.store8 offset=1 (global.get $noted)
            (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
        (i32.store8 offset=2 (global.get $noted) (i32.const 32))
        (global.set $noted (i32.add (global.get $noted) (i32.const 3))))
    (func $print
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.sub (global.get $noted) (i32.const 1024)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    ;; Opens below the first folder and leaves the number at 16; with 1 it is made if it is missing.
    (func $open (param $path i32) (param $bytes i32) (param $how i32) (result i32)
        (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $bytes)
            (local.get $how) (i64.const 0x60) (i64.const 0) (i32.const 0) (i32.const 16)))
    ;; Reads only, so it may be done in a folder that may only be read.
    (func $look (param $path i32) (param $bytes i32) (result i32)
        (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $bytes)
            (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    ;; Writes this many bytes to the file opened last.
    (func $put (param $bytes i32) (result i32)
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (local.get $bytes))
        (call $fd_write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
    ;; Puts a byte to a place in it.
    (func $put_at (param $offset i64) (result i32)
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 1))
        (call $fd_pwrite (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (local.get $offset) (i32.const 8)))
    (data (i32.const 256) "file") (data (i32.const 272) "new") (data (i32.const 288) "pipe")
    (data (i32.const 304) "../secret") (data (i32.const 320) "/etc/passwd") (data (i32.const 336) "a/../../x")
    (data (i32.const 352) "out") (data (i32.const 368) "old")
    (data (i32.const 384) "p/q/up") (data (i32.const 400) "p/q/up/")
"#;

pub(crate) const FILE: &str = "(i32.const 256) (i32.const 4)";
pub(crate) const NEW: &str = "(i32.const 272) (i32.const 3)";
const PIPE: &str = "(i32.const 288) (i32.const 4)";
const UP: &str = "(i32.const 304) (i32.const 9)";
const ABSOLUTE: &str = "(i32.const 320) (i32.const 11)";
const UP_WITHIN: &str = "(i32.const 336) (i32.const 9)";
pub(crate) const OUT: &str = "(i32.const 352) (i32.const 3)";
pub(crate) const OLD: &str = "(i32.const 368) (i32.const 3)";
const LINK: &str = "(i32.const 384) (i32.const 6)";
const LINK_SLASH: &str = "(i32.const 400) (i32.const 7)";

/// Returns a module of code that ends by printing its notes.
pub(crate) fn module(code: &str) -> Vec<u8> {
    let text = format!(r#"(module {PRELUDE} (func (export "_start") (local $n i32) {code} (call $print)))"#);
    wat::parse_str(text).unwrap()
}

/// Notes the error number of each call.
pub(crate) fn noted(calls: &[String]) -> String {
    calls.iter().map(|call| format!("(call $note {call})")).collect()
}

fn folder() -> (TempDir, PathBuf) {
    let outer = TempDir::new().unwrap();
    let root = outer.path().canonicalize().unwrap();
    std::fs::write(root.join("secret"), "secret").unwrap();
    let inner = root.join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("file"), "file").unwrap();
    (outer, inner)
}

fn permitted(folder: &Path, write: bool, limits: Limits) -> PluginConfig {
    let dirs = vec![DirRule { host: folder.to_owned(), guest: "/in".to_owned(), write }];
    PluginConfig { permissions: Permissions { dirs, ..Permissions::default() }, limits, ..plugin_config() }
}

fn disk(disk_bytes: u64) -> Limits {
    Limits { disk_bytes, ..limits() }
}

fn runtime(folder: &Path, code: &str, limits: Limits) -> Runtime {
    runtime_of("module", &module(code), permitted(folder, true, limits))
}

async fn run(folder: &Path, code: &str, limits: Limits) -> (Result<String, Failure>, Usage) {
    let host = Host::default().into();
    let done = finish_with(&runtime(folder, code, limits), "module", "null", &host).await;
    (done, host.meter.read())
}

async fn program_in(folder: &Path, limits: Limits, args: &[&str]) -> String {
    let runtime = runtime_of("program", program(), permitted(folder, true, limits));
    finish(&runtime, "program", &json!({ "args": args }).to_string()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_could_lead_out_are_not_created() {
    let (_outer, inner) = folder();
    let link = |target| format!("(call $symlink {target} (i32.const 3) {NEW})");
    let code = noted(&[link(UP), link(ABSOLUTE), link(UP_WITHIN), link(FILE)]);
    let (done, _) = run(&inner, &code, limits()).await;
    assert_eq!(done.unwrap(), "63 63 63 00 ");
    assert_eq!(std::fs::read_link(inner.join("new")).unwrap(), Path::new("file"));

    for target in ["../secret", "/etc/passwd", "a/../../secret"] {
        let said = program_in(&inner, limits(), &["link", "/in/own", target]).await;
        assert!(said.starts_with("PermissionDenied"), "{target}: {said}");
    }
    assert_eq!(program_in(&inner, limits(), &["link", "/in/own", "file"]).await, "linked");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_up_are_not_renamed_or_hard_linked() {
    let (_outer, inner) = folder();
    std::fs::create_dir_all(inner.join("p/q")).unwrap();
    let up = inner.join("p/q/up");
    let rename = |from| format!("(call $rename (i32.const 3) {from} (i32.const 3) {NEW})");
    let link = |from| format!("(call $hard_link (i32.const 3) (i32.const 0) {from} (i32.const 3) {NEW})");
    let calls = noted(&[rename(LINK), link(LINK), rename(LINK_SLASH)]);
    // An operator may have links that lead up within the folder, and absolute ones.
    for target in ["../../secret", "/etc/passwd", "../file"] {
        std::os::unix::fs::symlink(target, &up).unwrap();
        let (done, _) = run(&inner, &calls, limits()).await;
        assert_eq!(done.unwrap(), "63 63 63 ", "{target}");
        for command in ["move", "hard-link"] {
            let said = program_in(&inner, limits(), &[command, "/in/p/q/up", "/in/new"]).await;
            assert!(said.starts_with("PermissionDenied"), "{command} {target}: {said}");
        }
        assert!(inner.join("new").symlink_metadata().is_err());
        std::fs::remove_file(&up).unwrap();
    }
    // Other links and files can be renamed and hard-linked.
    std::os::unix::fs::symlink("beside", &up).unwrap();
    assert_eq!(program_in(&inner, limits(), &["move", "/in/p/q/up", "/in/new"]).await, "moved");
    assert_eq!(program_in(&inner, limits(), &["hard-link", "/in/new", "/in/p/q/up"]).await, "linked");
    assert_eq!(program_in(&inner, limits(), &["hard-link", "/in/file", "/in/old"]).await, "linked");
    let (done, _) = run(&inner, &noted(&[link(FILE), rename(FILE), rename(FILE)]), limits()).await;
    assert_eq!(done.unwrap(), "20 00 44 ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_became_a_link_is_refused_and_not_followed() {
    let (_outer, inner) = folder();
    let secrets = inner.with_file_name("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("file"), "secret").unwrap();
    for read in [
        runtime_of("program", program(), permitted(&inner, false, limits())),
        runtime_of(
            "module",
            &module(&noted(&[format!("(call $look {FILE})")])),
            permitted(&inner, false, limits()),
        ),
    ] {
        let plugin = read.plugins_info()[0].name.clone();
        let input = json!({"args": ["read", "/in/file"]}).to_string();
        finish(&read, &plugin, &input).await.unwrap();
        let moved = inner.with_file_name("moved");
        std::fs::rename(&inner, &moved).unwrap();
        std::os::unix::fs::symlink(&secrets, &inner).unwrap();
        let failure = finish(&read, &plugin, &input).await.unwrap_err();
        assert_eq!(failure.cause, Cause::HostFault, "{failure}");
        let named = failure.message.contains(&inner.display().to_string());
        assert!(named && failure.message.contains("replaced"), "{failure}");
        std::fs::remove_file(&inner).unwrap();
        std::fs::rename(&moved, &inner).unwrap();
        finish(&read, &plugin, &input).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_a_run_are_limited_and_counted() {
    let (_outer, inner) = folder();
    let fill = format!(
        "(call $note (call $open {NEW} (i32.const 1)))
         (loop $more (br_if $more (i32.eqz (local.tee $n (call $put (i32.const 65536))))))
         (call $note (local.get $n))"
    );
    // The file itself counts as 4 KiB.
    let limit = (1 << 20) + (4 << 10);
    let (done, used) = run(&inner, &fill, disk(limit)).await;
    assert_eq!(done.unwrap(), "00 51 ");
    assert_eq!((used.disk_written_bytes, used.files_created), (1 << 20, 1));
    assert_eq!(std::fs::metadata(inner.join("new")).unwrap().len(), 1 << 20);

    let host = Host::default().into();
    finish_with(&runtime(&inner, &fill, disk(limit)), "module", "null", &host).await.unwrap();
    let lines = host.log_text().matches("wasmill: a write was refused: one run may write at most").count();
    assert_eq!(lines, 1, "{}", host.log_text());

    let (failed, _) = run(&inner, &format!("{fill} (call $exit (i32.const 1))"), disk(limit)).await;
    let failure = failed.unwrap_err();
    assert_eq!(failure.cause, Cause::DiskLimit, "{failure}");
    assert!(failure.message.contains("limits.disk"), "{failure}");
    let (failed, _) = run(&inner, &format!("{fill} unreachable"), disk(limit)).await;
    assert_eq!(failed.unwrap_err().cause, Cause::DiskLimit);

    let text = "x".repeat(100_000);
    let said = program_in(&inner, disk(64 << 10), &["put", "/in/large", &text]).await;
    // Its libc turns every stream error into an I/O error.
    assert!(said.contains("os error"), "{said}");
    assert!(std::fs::metadata(inner.join("large")).unwrap().len() <= 64 << 10);
    assert_eq!(program_in(&inner, disk(128 << 10), &["put", "/in/large", &text]).await, "written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_counts_as_written() {
    let (_outer, inner) = folder();
    let code = noted(&[
        format!("(call $open {NEW} (i32.const 1))"),
        "(call $set_size (i32.load (i32.const 16)) (i64.const 0x80000000000))".to_owned(),
        "(call $put_at (i64.const 0x80000000000))".to_owned(),
        "(call $put_at (i64.const -1))".to_owned(),
        "(call $set_size (i32.load (i32.const 16)) (i64.const 65536))".to_owned(),
        "(call $put_at (i64.const 131071))".to_owned(),
        "(call $set_size (i32.load (i32.const 16)) (i64.const 10))".to_owned(),
    ]);
    let (done, used) = run(&inner, &code, disk(1 << 20)).await;
    assert_eq!(done.unwrap(), "00 51 51 51 00 00 00 ");
    assert_eq!(used.disk_written_bytes, 131_072, "what makes it shorter counts nothing");
    assert_eq!(std::fs::metadata(inner.join("new")).unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_files_is_limited_by_the_disk_limit() {
    let (_outer, inner) = folder();
    // Creates folders with one-letter names.
    let code = "(local.set $n (i32.const 97))
        (loop $more
            (i32.store8 (i32.const 400) (local.get $n))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.eqz (call $mkdir (i32.const 3) (i32.const 400) (i32.const 1)))))
        (call $note (i32.sub (local.get $n) (i32.const 98)))";
    let (done, used) = run(&inner, code, disk(40 << 10)).await;
    assert_eq!(done.unwrap(), "10 ");
    assert_eq!((used.files_created, used.disk_written_bytes), (10, 0));
    assert_eq!(inner.read_dir().unwrap().count(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_and_devices_are_not_opened() {
    let (_outer, inner) = folder();
    let pipe = inner.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let code = noted(&[
        format!("(call $look {PIPE})"),
        format!("(call $open {PIPE} (i32.const 1))"),
        format!("(call $look {FILE})"),
    ]);
    let (done, _) = run(&inner, &code, limits()).await;
    assert_eq!(done.unwrap(), "58 58 00 ");
    for args in [&["read", "/in/pipe"][..], &["put", "/in/pipe", "x"]] {
        let said = program_in(&inner, limits(), args).await;
        assert!(said.starts_with("Unsupported"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_is_listed_completely() {
    let (_outer, inner) = folder();
    for number in 0..3_000 {
        File::create(inner.join(format!("file-{number:04}"))).unwrap();
    }
    // Counts the entries; as many as fit into 4,096 bytes are read at a time.
    let code = r"
        (local.set $cookie (i64.const 0))
        (loop $fill
            (if (call $fd_readdir (i32.const 3) (i32.const 65536) (i32.const 4096) (local.get $cookie) (i32.const 8))
                (then unreachable))
            (local.set $end (i32.add (i32.const 65536) (i32.load (i32.const 8))))
            (local.set $at (i32.const 65536))
            (block $cut
                (loop $entry
                    (br_if $cut (i32.gt_u (i32.add (local.get $at) (i32.const 24)) (local.get $end)))
                    (local.set $next (i32.add (i32.add (local.get $at) (i32.const 24)) (i32.load offset=16 (local.get $at))))
                    (br_if $cut (i32.gt_u (local.get $next) (local.get $end)))
                    (local.set $cookie (i64.load (local.get $at)))
                    (local.set $count (i32.add (local.get $count) (i32.const 1)))
                    (local.set $at (local.get $next))
                    (br $entry)))
            (br_if $fill (i32.eq (i32.load (i32.const 8)) (i32.const 4096))))
        (call $note (i32.div_u (local.get $count) (i32.const 100)))
        (call $note (i32.rem_u (local.get $count) (i32.const 100)))";
    let text = format!(
        r#"(module {PRELUDE} (func (export "_start")
            (local $cookie i64) (local $at i32) (local $end i32) (local $next i32) (local $count i32)
            {code} (call $print)))"#
    );
    let module = wat::parse_str(text).unwrap();
    let lister = runtime_of("module", &module, permitted(&inner, false, limits()));
    assert_eq!(finish(&lister, "module", "null").await.unwrap(), "30 03 ", "3,001 with `.` and `..`");

    let dirs = vec![DirRule { host: inner, guest: "/".to_owned(), write: false }];
    let permissions = Permissions { dirs, ..Permissions::default() };
    let component = runtime_of("misbehave", misbehave(), PluginConfig { permissions, ..plugin_config() });
    let seen = finish(&component, "misbehave", r#"{"do":"look-around"}"#).await.unwrap();
    assert!(seen.contains(" 3001 files"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_or_replaced_descriptors_are_released() {
    let (_outer, inner) = folder();
    // Opens far more files than one guest may hold, one after the other; then replaces one by another repeatedly.
    let code = format!(
        "(local.set $n (i32.const 5000))
         (loop $more
            (if (call $look {FILE}) (then unreachable))
            (if (call $fd_close (i32.load (i32.const 16))) (then unreachable))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
         (call $note (call $look {FILE}))
         (i32.store (i32.const 20) (i32.load (i32.const 16)))
         (local.set $n (i32.const 5000))
         (loop $more
            (if (call $look {FILE}) (then unreachable))
            (if (call $fd_renumber (i32.load (i32.const 16)) (i32.load (i32.const 20))) (then unreachable))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
         (call $note (i32.const 7))"
    );
    let (done, _) = run(&inner, &code, limits()).await;
    assert_eq!(done.unwrap(), "00 07 ");
}

/// Sleeps for this many nanoseconds, and notes the result.
fn sleep(nanoseconds: u64) -> String {
    format!(
        "(i64.store (i32.const 512) (i64.const 42)) (i64.store offset=24 (i32.const 512) (i64.const {nanoseconds}))
        (i32.store offset=16 (i32.const 512) (i32.const 1))
        (call $note (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 8)))
        (call $note (i32.load (i32.const 8)))
        (call $note (i32.wrap_i64 (i64.load (i32.const 600))))"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sleeping_module_with_folders_blocks_no_thread() {
    let (_outer, inner) = folder();
    let sleeper = runtime(&inner, &sleep(3_600_000_000_000), limits());
    let sleeping = tokio::spawn({
        let sleeper = sleeper.clone();
        async move { finish(&sleeper, "module", "null").await }
    });
    let waits = |instance: &InstanceInfo| {
        matches!(instance.state, InstanceState::Waiting { call: HostCall::PollOneoff, .. })
    };
    while !sleeper.instances().iter().any(waits) {
        tokio::task::yield_now().await;
    }
    let short = runtime(&inner, &sleep(1), limits());
    let other = tokio::spawn(async move { finish(&short, "module", "null").await });
    assert_eq!(other.await.unwrap().unwrap(), "00 01 42 ");
    sleeping.abort();
    assert!(sleeping.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_replace_an_inner_folder_by_a_link_out() {
    let (_outer, inner) = folder();
    std::fs::create_dir(inner.join("out")).unwrap();
    let code = noted(&[
        format!("(call $rename (i32.const 3) {OUT} (i32.const 3) {OLD})"),
        format!("(call $symlink {UP} (i32.const 3) {OUT})"),
        format!("(call $symlink {ABSOLUTE} (i32.const 3) {OUT})"),
    ]);
    assert_eq!(run(&inner, &code, limits()).await.0.unwrap(), "00 63 63 ");
    assert!(inner.join("old").is_dir() && inner.join("out").symlink_metadata().is_err());
}
