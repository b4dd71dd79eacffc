//! Reloading: however a file is created, changed or deleted, the plugins in service follow, and an incomplete file
//! is never loaded.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use wasmill_model::{RunRequest, Runner};
use wasmill_runtime::{
    InputBudget, LoaderConfig, PluginInfo, PluginState, Runtime, RuntimeConfig, WatchMode,
};

use crate::support::{Host, SOON, done, limits, run};

const WATCHES: [WatchMode; 2] = [WatchMode::Notify, WatchMode::Poll(Duration::from_millis(50))];

/// Overwrites a file with other bytes.
type Replace = fn(&Path, &[u8]);

/// Returns a plugin that outputs these four letters.
fn tiny(answer: &str) -> Vec<u8> {
    assert_eq!(answer.len(), 4);
    wat::parse_str(include_str!("../../../../tests/guests/tiny.wat").replace("TEXT", answer)).unwrap()
}

/// Returns that plugin padded to a larger size.
fn padded(answer: &str, padding_bytes: u32) -> Vec<u8> {
    let mut wasm = tiny(answer);
    // A custom section: its size in five bytes of LEB128, then its empty name.
    let size = padding_bytes + 1;
    wasm.push(0);
    wasm.extend((0..5).map(|part| ((size >> (7 * part)) & 0x7f) as u8 | if part < 4 { 0x80 } else { 0 }));
    wasm.extend(std::iter::repeat_n(0, size as usize));
    wasm
}

struct Watched {
    folder: TempDir,
    runtime: Runtime,
    changes: Arc<AtomicUsize>,
}

impl Watched {
    fn start(watch: WatchMode, builtins: &[(&str, &'static [u8])], files: &[(&str, &[u8])]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self::start_in(folder, watch, builtins, "")
    }

    fn start_in(folder: TempDir, watch: WatchMode, builtins: &[(&str, &'static [u8])], below: &str) -> Self {
        let changes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&changes);
        let plugins = LoaderConfig {
            folder: Some(folder.path().join(below)),
            watch,
            load_timeout: SOON,
            on_change: Arc::new(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            }),
            ..LoaderConfig::default()
        };
        let runtime = Runtime::start(
            RuntimeConfig { slots: 2, limits: limits(), memory_total_bytes: None },
            builtins,
            plugins,
        )
        .unwrap();
        Self { folder, runtime, changes }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn info(&self, name: &str) -> Option<PluginInfo> {
        self.runtime.plugins_info().into_iter().find(|info| info.name == name)
    }

    /// Runs a plugin; `None` if it is not in service.
    async fn answer(&self, name: &str) -> Option<String> {
        let run = RunRequest { plugin: name.parse().unwrap(), ..run("null", &Arc::new(Host::default())) };
        done(self.runtime.run(run)).await.ok()
    }

    async fn until_answer(&self, name: &str, answer: Option<&str>) {
        let deadline = Instant::now() + SOON;
        loop {
            let now = self.answer(name).await;
            if now.as_deref() == answer {
                return;
            }
            assert!(Instant::now() < deadline, "{now:?} instead of {answer:?}: {:?}", self.info(name));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "timed out: {:?}", self.runtime.plugins_info());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_rejected(info: &PluginInfo) -> bool {
    matches!(info.state, PluginState::Rejected(_))
}

#[tokio::test]
async fn a_replaced_file_comes_into_service_however_it_is_replaced() {
    let ways: [(&str, Replace); 5] = [
        ("written over", |path, bytes| fs::write(path, bytes).unwrap()),
        ("renamed onto", |path, bytes| {
            fs::write(path.with_extension("new"), bytes).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("removed and made again", |path, bytes| {
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        }),
        ("unpacked with an old time, as by docker cp", |path, bytes| {
            fs::remove_file(path).unwrap();
            let mut file = File::create(path).unwrap();
            file.write_all(bytes).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }),
        ("linked", |path, bytes| {
            let target = path.with_extension(format!("v{}", bytes.len()));
            fs::write(&target, bytes).unwrap();
            symlink(&target, path.with_extension("link")).unwrap();
            fs::rename(path.with_extension("link"), path).unwrap();
        }),
    ];
    for watch in WATCHES {
        let watched = Watched::start(watch, &[], &[("a.wasm", &tiny("v000"))]);
        assert_eq!(watched.answer("a").await.as_deref(), Some("v000"));
        for (number, (way, replace)) in ways.iter().enumerate() {
            let answer = format!("v{:03}", number + 1);
            replace(&watched.path("a.wasm"), &padded(&answer, number as u32));
            watched.until_answer("a", Some(&answer)).await;
            let info = watched.info("a").unwrap();
            assert_eq!((&info.state, &info.in_service), (&PluginState::Ready, &info.digest), "{way}");
        }
    }
}

#[tokio::test]
async fn a_swap_of_the_folder_behind_links_is_detected() {
    for watch in WATCHES {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (version, answer) in [("..one", "one!"), ("..two", "two!")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("a.wasm"), tiny(answer)).unwrap();
        }
        symlink("..one", path("..data")).unwrap();
        symlink("..data/a.wasm", path("a.wasm")).unwrap();
        let watched = Watched::start_in(folder, watch, &[], "");
        assert_eq!(watched.answer("a").await.as_deref(), Some("one!"));
        symlink("..two", watched.path("..next")).unwrap();
        fs::rename(watched.path("..next"), watched.path("..data")).unwrap();
        watched.until_answer("a", Some("two!")).await;
    }
}

#[tokio::test]
async fn a_file_is_in_service_from_its_creation_to_its_deletion() {
    for watch in WATCHES {
        let watched = Watched::start(watch, &[("b", tiny("in b").leak())], &[]);
        fs::write(watched.path("a.wasm"), tiny("new!")).unwrap();
        fs::write(watched.path("b.wasm"), tiny("file")).unwrap();
        watched.until_answer("a", Some("new!")).await;
        watched.until_answer("b", Some("file")).await;
        fs::remove_file(watched.path("a.wasm")).unwrap();
        fs::remove_file(watched.path("b.wasm")).unwrap();
        watched.until_answer("a", None).await;
        watched.until_answer("b", Some("in b")).await;
        assert_eq!(watched.info("a"), None);
    }
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_version_in_service() {
    let watched = Watched::start(WatchMode::Notify, &[], &[("a.wasm", &tiny("good"))]);
    let good = watched.info("a").unwrap().digest;
    fs::write(watched.path("a.wasm"), b"broken").unwrap();
    watched.until(|watched| watched.info("a").is_some_and(|info| is_rejected(&info))).await;
    let info = watched.info("a").unwrap();
    assert!(info.in_service == good && info.digest != good, "{info:?}");
    assert_eq!(watched.answer("a").await.as_deref(), Some("good"));
    fs::write(watched.path("a.wasm"), tiny("next")).unwrap();
    watched.until_answer("a", Some("next")).await;
}

#[tokio::test]
async fn a_slow_copy_is_not_in_service_before_it_is_complete() {
    let watched = Watched::start(WatchMode::Notify, &[], &[("a.wasm", &tiny("old!"))]);
    let old = watched.info("a").unwrap().digest;
    let whole = padded("new!", 30 << 20);
    let path = watched.path("a.wasm");
    File::create(&path).unwrap();
    let mut copy = OpenOptions::new().append(true).open(&path).unwrap();
    for part in whole[..whole.len() - 1].chunks(whole.len().div_ceil(20)) {
        copy.write_all(part).unwrap();
        copy.sync_data().unwrap();
        assert_eq!(watched.info("a").unwrap().in_service, old);
        assert_eq!(watched.answer("a").await.as_deref(), Some("old!"));
    }
    // The copy pauses long enough to be scanned.
    watched.until(|watched| watched.info("a").is_some_and(|info| is_rejected(&info))).await;
    assert_eq!(watched.answer("a").await.as_deref(), Some("old!"));
    copy.write_all(&whole[whole.len() - 1..]).unwrap();
    watched.until_answer("a", Some("new!")).await;
    assert_eq!(watched.info("a").unwrap().size_bytes, whole.len() as u64);
}

#[tokio::test]
async fn a_folder_created_deleted_and_recreated_is_followed() {
    for watch in WATCHES {
        let watched = Watched::start_in(TempDir::new().unwrap(), watch, &[], "plugins");
        let folder = watched.path("plugins");
        for answer in ["once", "more"] {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("a.wasm"), tiny(answer)).unwrap();
            watched.until_answer("a", Some(answer)).await;
            fs::remove_dir_all(&folder).unwrap();
            watched.until_answer("a", None).await;
        }
    }
}

#[tokio::test]
async fn two_hundred_files_are_loaded_at_the_start() {
    let folder = TempDir::new().unwrap();
    for number in 0..200 {
        let name = format!("p{number:03}.wasm");
        let bytes = if number % 2 == 0 { tiny(&format!("{number:04}")) } else { b"broken".to_vec() };
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let watched = Watched::start_in(folder, WatchMode::Notify, &[], "");
    assert_eq!(watched.runtime.plugins().len(), 100);
    assert_eq!(watched.runtime.plugins_info().len(), 200);
    assert_eq!(watched.answer("p198").await.as_deref(), Some("0198"));
}

#[tokio::test]
async fn a_changed_manifest_reloads_its_plugin() {
    let watched = Watched::start(WatchMode::Notify, &[], &[("a.wasm", &tiny("same"))]);
    for change in [true, false] {
        let changes = watched.changes.load(Ordering::SeqCst);
        if change {
            fs::write(watched.path("a.toml"), b"").unwrap();
        } else {
            fs::remove_file(watched.path("a.toml")).unwrap();
        }
        watched.until(|watched| watched.changes.load(Ordering::SeqCst) > changes).await;
        assert_eq!(watched.answer("a").await.as_deref(), Some("same"));
    }
}

#[tokio::test]
async fn adding_changing_or_removing_a_schema_reloads_its_plugin() {
    for watch in WATCHES {
        let manifest: &[u8] = b"input.schema = \"a.json\"";
        let watched = Watched::start(watch, &[], &[("a.wasm", &tiny("good")), ("a.toml", manifest)]);
        let schema = watched.path("a.json");
        for (wanted, allowed, refused) in [("string", "\"1\"", "1"), ("integer", "1", "\"1\"")] {
            fs::write(&schema, format!("{{\"type\": \"{wanted}\"}}")).unwrap();
            let violated = |watched: &Watched, input| {
                let plugin_config = watched.runtime.plugin_config(&"a".parse().unwrap());
                let schema = plugin_config.as_ref().and_then(|plugin_config| plugin_config.schema.as_ref());
                schema.is_some_and(|schema| {
                    !schema.violations(Some(input), &mut InputBudget::full()).is_empty()
                })
            };
            watched.until(|watched| violated(watched, refused) && !violated(watched, allowed)).await;
        }
        fs::remove_file(&schema).unwrap();
        watched.until(|watched| watched.info("a").is_some_and(|info| is_rejected(&info))).await;
    }
}

#[tokio::test]
async fn an_invalid_name_is_rejected_and_affects_no_other() {
    let watched = Watched::start(WatchMode::Notify, &[], &[]);
    fs::write(watched.path("Über.wasm"), tiny("name")).unwrap();
    fs::write(watched.path("a.wasm"), tiny("good")).unwrap();
    watched.until_answer("a", Some("good")).await;
    watched.until(|watched| watched.info("Über").is_some_and(|info| is_rejected(&info))).await;
}
