//! `wasmill dev`: builds and runs again whenever a source changes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wasmill_tests::terminal::Terminal;
use wasmill_tests::{MISBEHAVE, command, tiny};

/// Builds by copying the version that the one source names.
const BUILD: &str = "v=$(cat src/version.txt); echo building $v; cp $v.bin plugin.wasm";

/// Creates a project with two versions of a plugin, and one that waits.
fn project() -> TempDir {
    let project = tempfile::tempdir().expect("a folder");
    let path = project.path();
    fs::create_dir(path.join("src")).expect("created");
    fs::write(path.join("one.bin"), tiny::plugin("one!")).expect("written");
    fs::write(path.join("two.bin"), tiny::plugin("two!")).expect("written");
    fs::write(path.join("waits.bin"), MISBEHAVE).expect("written");
    save(path, "one");
    project
}

/// Saves the source as an editor does: into a new file that replaces it.
fn save(project: &Path, version: &str) {
    let draft = project.join("src/.version.txt.swp");
    fs::write(&draft, version).expect("written");
    fs::rename(draft, project.join("src/version.txt")).expect("renamed");
}

/// The command in the background, with its output in a file; dropping it kills it.
struct Dev<'a> {
    child: Child,
    project: &'a Path,
}

impl<'a> Dev<'a> {
    fn start(project: &'a Path, options: &[&str]) -> Self {
        let args = [&["dev"], options, &["--", "sh", "-c", BUILD]].concat();
        // Hidden, or each line of it would be a change.
        let output = File::create(project.join(".output")).expect("created");
        let mut command = command(project, &args);
        command.stdin(Stdio::null()).stderr(output.try_clone().expect("a file")).stdout(output);
        Self { child: command.spawn().expect("it starts"), project }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.project.join(".output")).expect("output")
    }

    /// Waits until the output has this text this many times.
    fn until(&self, text: &str, times: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.output().matches(text).count() < times {
            assert!(Instant::now() < until, "no {times} times '{text}': {}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Dev<'_> {
    fn drop(&mut self) {
        // Both fail if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the processes whose current folder is this one.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().expect("a folder");
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let here =
        processes.filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder));
    here.map(|process| fs::read_to_string(process.path().join("cmdline")).unwrap_or_default()).collect()
}

#[test]
fn a_saved_source_is_built_and_run_again() {
    let project = project();
    let dev = Dev::start(project.path(), &[]);
    dev.until("waiting for a change", 1);
    let output = dev.output();
    assert!(output.contains("building one\n") && output.contains("\none!\n"), "{output}");

    save(project.path(), "two");
    dev.until("waiting for a change", 2);
    let output = dev.output();
    assert!(output.contains("src/version.txt has changed") && output.contains("\ntwo!\n"), "{output}");

    // Neither an output of the build nor a source that is saved as it was is a change.
    fs::create_dir(project.path().join("target")).expect("created");
    fs::write(project.path().join("target/lib.rs"), "").expect("written");
    save(project.path(), "two");
    save(project.path(), "none");
    dev.until("the build failed (exit status: 1)", 1);
    dev.until("waiting for a change", 3);
    assert_eq!(dev.output().matches("building: sh -c").count(), 3, "{}", dev.output());

    save(project.path(), "one");
    dev.until("\none!\n", 2);
}

#[test]
fn a_change_ends_the_run() {
    let project = project();
    save(project.path(), "waits");
    let dev = Dev::start(project.path(), &["plugin.wasm", "--input", r#"{"do": "sleep", "ms": 600000}"#]);
    dev.until("running: plugin.wasm", 1);
    save(project.path(), "two");
    dev.until("\ntwo!\n", 1);
    let output = dev.output();
    assert_eq!(output.matches("has changed").count(), 1, "{output}");
}

#[test]
fn cases_are_run_instead_of_one_task() {
    let project = project();
    let cases = "[[case]]\nname = \"is the first\"\nresult = \"one!\"\n";
    fs::write(project.path().join("plugin.test.toml"), cases).expect("written");
    let dev = Dev::start(project.path(), &["--test"]);
    dev.until("1 of 1 cases passed", 1);
    save(project.path(), "two");
    dev.until("+ two!", 1);
    dev.until("it failed (exit status: 1)", 1);
}

#[test]
fn ctrl_c_ends_everything_that_was_started() {
    let project = project();
    save(project.path(), "waits");
    let input = r#"{"do": "sleep", "ms": 600000}"#;
    let run = ["dev", "--input", input, "--", "sh", "-c", BUILD];
    // During a run, and during a build that has started something itself.
    let build = ["dev", "--", "sh", "-c", "echo building; sleep 600 & wait"];
    for (args, shows) in [(&run[..], "running: "), (&build, "building\n")] {
        let mut terminal = Terminal::start(project.path(), args);
        terminal.until_shows(shows.trim_end());
        // The command itself, and at least one child.
        let until = Instant::now() + Duration::from_secs(20);
        while processes_in(project.path()).len() < 3 {
            assert!(Instant::now() < until, "{:?}", processes_in(project.path()));
            std::thread::sleep(Duration::from_millis(10));
        }
        terminal.press("\x03");
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{shown}");
        let left: Vec<_> = processes_in(project.path())
            .into_iter()
            .filter(|command| !command.starts_with("script"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_cannot_start_is_told() {
    let project = project();
    let output = command(project.path(), &["dev", "--", "no-such-program"]).output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && printed.contains("build command 'no-such-program'"), "{printed}");
    let output =
        command(project.path(), &["dev", "--watch", "gone", "--", "true"]).output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(5) && printed.contains("gone of --watch does not exist"),
        "{printed}"
    );
    // A build that makes no plugin is reported, and may make one after a change.
    let mut dev = Dev::start(project.path(), &["other.wasm"]);
    dev.until("the build succeeded, but there is no other.wasm", 1);
    dev.until("waiting for a change", 1);
    assert!(dev.child.try_wait().expect("a state").is_none());
}
