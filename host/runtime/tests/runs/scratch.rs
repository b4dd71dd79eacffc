//! The scratch folder of a run: its own, bounded exactly, and gone afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use wasmill_model::{Cause, Failure};
use wasmill_runtime::{DirRule, Permissions, PluginConfig, Runtime, ScratchRule};

use crate::files::{FILE, NEW, OLD, module, noted};
use crate::support::{Host, SOON, finish, finish_with, plugin_config, program, runtime_with_scratch};

/// A runtime with one plugin, and the folder of its scratch folders.
struct Bed {
    base: TempDir,
    runtime: Runtime,
}

impl Bed {
    fn new(wasm: &[u8], bytes_max: u64, files_max: u64) -> Self {
        Self::beside(wasm, bytes_max, files_max, Vec::new())
    }

    fn beside(wasm: &[u8], bytes_max: u64, files_max: u64, dirs: Vec<DirRule>) -> Self {
        let base = TempDir::new().unwrap();
        let scratch = Some(ScratchRule { guest: "/tmp".to_owned(), bytes_max, files_max });
        let permissions = Permissions { dirs, scratch, ..Permissions::default() };
        let config = PluginConfig { permissions, ..plugin_config() };
        let runtime = runtime_with_scratch("plugin", wasm, config, base.path());
        Self { base, runtime }
    }

    async fn run(&self, args: &[&str]) -> Result<String, Failure> {
        finish(&self.runtime, "plugin", &json!({ "args": args }).to_string()).await
    }

    /// Waits until no run has a scratch folder.
    fn until_empty(&self) {
        let deadline = Instant::now() + SOON;
        while folders(self.base.path()) > 0 {
            assert!(Instant::now() < deadline, "a scratch folder is left");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Returns the number of scratch folders of all processes.
fn folders(base: &Path) -> usize {
    let sessions = std::fs::read_dir(base).unwrap().flatten();
    sessions.filter_map(|session| Some(std::fs::read_dir(session.path()).ok()?.count())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_with_one_fixed_name_do_not_see_each_other() {
    let bed = Bed::new(program(), 1 << 20, 10);
    let runs: Vec<_> = (0..4)
        .map(|number| {
            let runtime = bed.runtime.clone();
            tokio::spawn(async move {
                let text = format!("text {number}");
                let input = json!({"args": ["temporary", "/tmp/fixed", text, "200"]}).to_string();
                assert_eq!(finish(&runtime, "plugin", &input).await.unwrap(), text);
            })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
    bed.until_empty();
    assert!(bed.run(&["read", "/tmp/fixed"]).await.unwrap().starts_with("NotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_folder_is_no_space_left_in_a_module() {
    let put = |bytes: u64| format!("(call $put (i32.const {bytes}))");
    let open = |path: &str| format!("(call $open {path} (i32.const 1))");
    let rename = |from, to| format!("(call $rename (i32.const 3) {from} (i32.const 3) {to})");
    let code = noted(&[
        open(NEW),
        put(1_000),
        put(1),
        "(call $set_size (i32.load (i32.const 16)) (i64.const 1001))".to_owned(),
        "(call $set_size (i32.load (i32.const 16)) (i64.const 900))".to_owned(),
        "(call $put_at (i64.const 999))".to_owned(),
        "(call $put_at (i64.const 1000))".to_owned(),
        "(call $put_at (i64.const -1))".to_owned(),
        // Two names are the most.
        format!("(call $hard_link (i32.const 3) (i32.const 0) {NEW} (i32.const 3) {FILE})"),
        open(OLD),
        format!("(call $mkdir (i32.const 3) {OLD})"),
        format!("(call $symlink {FILE} (i32.const 3) {OLD})"),
        rename(NEW, OLD),
        open(NEW),
        rename(NEW, OLD),
        // Two names of one file: nothing happens.
        rename(OLD, FILE),
        open(NEW),
        put(1),
    ]);
    let bed = Bed::new(&module(&code), 1_000, 2);
    let said = finish(&bed.runtime, "plugin", "null").await.unwrap();
    assert_eq!(said, "00 00 51 51 00 00 51 51 00 51 51 51 00 51 44 00 51 51 ");
    bed.until_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_file_without_a_name_is_free_again_in_a_module() {
    let open = |path: &str| format!("(call $open {path} (i32.const 1))");
    let code = noted(&[
        open(NEW),
        "(call $put (i32.const 1000))".to_owned(),
        format!("(call $mkdir (i32.const 3) {OLD})"),
        "(call $fd_close (i32.load (i32.const 16)))".to_owned(),
        open(FILE),
        // The file that it replaces is gone.
        format!("(call $rename (i32.const 3) {FILE} (i32.const 3) {NEW})"),
        "(call $put (i32.const 1000))".to_owned(),
        "(call $put (i32.const 1))".to_owned(),
    ]);
    let bed = Bed::new(&module(&code), 1_000, 3);
    assert_eq!(finish(&bed.runtime, "plugin", "null").await.unwrap(), "00 00 00 00 00 00 00 51 ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_folder_is_a_disk_of_its_own() {
    let outer = TempDir::new().unwrap();
    let host = outer.path().canonicalize().unwrap();
    std::fs::write(host.join("large"), vec![0; 10_000]).unwrap();
    let dirs = vec![DirRule { host: host.clone(), guest: "/in".to_owned(), write: true }];
    let bed = Bed::beside(program(), 1_000, 10, dirs);
    let calls = [
        "rename /in/large /tmp/large",
        "hard-link /in/large /tmp/large",
        "create /tmp/own",
        "hard-link /tmp/own /in/own",
        "rename /tmp/own /in/own",
        "link /tmp/up ../up",
        "link /tmp/absolute /etc",
        "write /in/large 0 20000",
    ];
    let said = bed.run(&[&["files"], &calls[..]].concat()).await.unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), ["no", "no", "ok", "no", "no", "no", "no", "ok"]);
    assert_eq!(std::fs::metadata(host.join("large")).unwrap().len(), 20_000);
    assert_eq!(std::fs::read_dir(&host).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_over_a_full_folder_says_which_limit_it_was() {
    let open = format!("(call $note (call $open {NEW} (i32.const 1)))");
    let code = format!("{open} (call $note (call $put (i32.const 2000))) unreachable");
    let bed = Bed::new(&module(&code), 1_000, 10);
    let host = Arc::new(Host::default());
    let failure = finish_with(&bed.runtime, "plugin", "null", &host).await.unwrap_err();
    assert_eq!(failure.cause, Cause::DiskLimit, "{failure}");
    assert!(failure.message.contains("1000 bytes in 10 files (allow.scratch"), "{failure}");
    assert_eq!(host.log_text().matches("wasmill: a write was refused: the scratch folder").count(), 1);
    bed.until_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_leaves_nothing() {
    let bed = Bed::new(program(), 64 << 20, 1_000);
    let host = Arc::new(Host::default());
    let calls: Vec<_> = (0..100).map(|number| format!("folder /tmp/{number}")).collect();
    bed.run(&[&["files"], &calls.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()).await.unwrap();
    bed.until_empty();
    let running = tokio::spawn({
        let (runtime, host) = (bed.runtime.clone(), Arc::clone(&host));
        let input = json!({"args": ["temporary", "/tmp/fixed", "text", "3600000"]}).to_string();
        async move { finish_with(&runtime, "plugin", &input, &host).await }
    });
    while host.log_text().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(folders(bed.base.path()), 1);
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    bed.until_empty();
    let base = bed.base.path().to_owned();
    drop(bed.runtime);
    let deadline = Instant::now() + SOON;
    while std::fs::read_dir(&base).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "the folder of the process is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const MODEL_BYTES: u64 = 1_000;
const MODEL_FILES: usize = 8;

/// What a disk of these sizes does.
#[derive(Default)]
struct Model {
    /// Sizes by inode, 0 for folders.
    sizes: BTreeMap<u32, u64>,
    /// Inodes by name; folders are in `folders` as well.
    names: BTreeMap<u32, u32>,
    folders: BTreeSet<u32>,
    held: BTreeMap<u32, u32>,
    next: u32,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Names, and open files without one.
    fn files(&self) -> usize {
        let named: BTreeSet<_> = self.names.values().collect();
        let orphans: BTreeSet<_> = self.held.values().filter(|inode| !named.contains(inode)).collect();
        self.names.len() + orphans.len()
    }

    fn tidy(&mut self) {
        let alive: BTreeSet<_> = self.names.values().chain(self.held.values()).copied().collect();
        self.sizes.retain(|inode, _| alive.contains(inode));
    }

    fn add(&mut self, name: u32, bytes: u64) -> bool {
        if self.files() >= MODEL_FILES || self.bytes() + bytes > MODEL_BYTES {
            return false;
        }
        self.next += 1;
        self.names.insert(name, self.next);
        self.sizes.insert(self.next, bytes);
        true
    }

    fn grow(&mut self, name: u32, size: u64) -> bool {
        let inode = self.names[&name];
        let old = self.sizes[&inode];
        let fits = self.bytes() - old + size.max(old) <= MODEL_BYTES;
        if fits {
            self.sizes.insert(inode, size.max(old));
        }
        fits
    }

    /// Makes a call that is valid, and says whether there is room for it.
    fn step(&mut self, kind: u32, name: u32, other: u32, number: u64) -> Option<(String, bool)> {
        let done = if kind < 8 {
            self.step_in_file(kind, name, number)
        } else {
            self.step_of_names(kind, name, other)
        };
        self.tidy();
        done
    }

    fn is_file(&self, name: u32) -> bool {
        self.names.contains_key(&name) && !self.folders.contains(&name)
    }

    fn is_free(&self, name: u32) -> bool {
        !self.names.contains_key(&name)
    }

    fn step_in_file(&mut self, kind: u32, name: u32, number: u64) -> Option<(String, bool)> {
        let path = format!("/tmp/{name}");
        Some(match kind {
            0 | 1 if self.is_file(name) => {
                self.sizes.insert(self.names[&name], 0);
                (format!("create {path}"), true)
            }
            0 | 1 if self.is_free(name) => (format!("create {path}"), self.add(name, 0)),
            2 | 3 if self.is_file(name) => {
                let bytes = number / 2 + 1;
                (format!("write {path} {number} {bytes}"), self.grow(name, number + bytes))
            }
            4 if self.is_file(name) => {
                let size = self.sizes[&self.names[&name]] + number + 1;
                (format!("append {path} {}", number + 1), self.grow(name, size))
            }
            5 if self.is_file(name) => {
                let inode = self.names[&name];
                let fits = number <= self.sizes[&inode] || self.grow(name, number);
                if fits {
                    self.sizes.insert(inode, number);
                }
                (format!("size {path} {number}"), fits)
            }
            6 if self.is_file(name) => {
                self.held.insert(name, self.names[&name]);
                (format!("hold {path}"), true)
            }
            7 => {
                self.held.remove(&name);
                (format!("let-go {path}"), true)
            }
            _ => return None,
        })
    }

    fn step_of_names(&mut self, kind: u32, name: u32, other: u32) -> Option<(String, bool)> {
        let (path, to) = (format!("/tmp/{name}"), format!("/tmp/{other}"));
        Some(match kind {
            8 if self.is_file(name) => {
                self.names.remove(&name);
                (format!("remove {path}"), true)
            }
            9 if self.is_file(name) && !self.folders.contains(&other) => {
                let inode = self.names[&name];
                // Two names of one file: nothing happens.
                if self.names.get(&other) != Some(&inode) {
                    self.names.remove(&name);
                    self.names.insert(other, inode);
                }
                (format!("rename {path} {to}"), true)
            }
            10 if self.is_file(name) && self.is_free(other) => {
                let fits = self.files() < MODEL_FILES;
                if fits {
                    self.names.insert(other, self.names[&name]);
                }
                (format!("hard-link {path} {to}"), fits)
            }
            11 if self.is_free(name) => {
                let fits = self.add(name, 0);
                if fits {
                    self.folders.insert(name);
                }
                (format!("folder {path}"), fits)
            }
            12 if self.folders.remove(&name) => {
                self.names.remove(&name);
                (format!("remove-folder {path}"), true)
            }
            _ => return None,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_folder_holds_is_counted_exactly() {
    let bed = Bed::new(program(), MODEL_BYTES, MODEL_FILES as u64);
    for seed in 1..=40_u64 {
        let (mut model, mut state) = (Model::default(), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % below
        };
        let (mut calls, mut expected) = (vec!["files".to_owned()], Vec::new());
        while expected.len() < 300 {
            let (kind, name, other) = (random(13), random(10), random(10));
            let Ok((kind, name, other)) = narrow(kind, name, other) else { unreachable!() };
            if let Some((call, fits)) = model.step(kind, name, other, random(400)) {
                calls.push(call);
                expected.push(if fits { "ok" } else { "no" });
            }
        }
        let said = bed.run(&calls.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
        for (index, (said, expected)) in said.lines().zip(&expected).enumerate() {
            assert_eq!(said, *expected, "seed {seed}, call {index}: {:?}", &calls[..index + 2]);
        }
        assert_eq!(said.lines().count(), expected.len());
        assert!(expected.contains(&"no") && expected.contains(&"ok"));
    }
}

fn narrow(kind: u64, name: u64, other: u64) -> Result<(u32, u32, u32), std::num::TryFromIntError> {
    Ok((kind.try_into()?, name.try_into()?, other.try_into()?))
}
