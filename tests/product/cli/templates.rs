//! The projects of `wasmill plugin new` build as their README says, and their test cases pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wasmill_tests::{binary, builds_plugins, command, skip, wasmill};

/// The folder where `.ci/plugin-tools` installs.
fn tools() -> PathBuf {
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home"));
    caches.unwrap_or_else(|| home().join(".cache")).join("wasmill/plugin-tools")
}

/// Returns a shell command with these tools and the binary in its path.
fn shell(folder: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    builds_plugins(&mut command);
    let binary = binary().expect("a binary");
    let own = binary.parent().expect("its folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [own, tools().join("python/bin"), tools().join("node/node_modules/.bin")];
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).expect("a path");
    command.env("PATH", path).env("XDG_CACHE_HOME", binary.with_file_name("tests-cache"));
    // Compilers keep what they build of their libraries here.
    command.env("ZIG_GLOBAL_CACHE_DIR", tools().join("zig-cache"));
    command.env("GOCACHE", tools().join("go-cache")).env("GOFLAGS", "-mod=mod");
    command
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, b"\n", &output.stderr].concat()).into_owned()
}

/// Returns the commands of the README up to those that need a server.
fn commands(readme: &str) -> Vec<&str> {
    let (_, block) = readme.split_once("\nBuild it, test it").expect("how to build it");
    let commands = block.lines().filter_map(|line| line.strip_prefix("    "));
    commands.take_while(|line| !line.contains("PLUGINS_FOLDER")).collect()
}

/// Creates a project, and does what its README says; `tool` succeeds where its tools are installed.
fn builds_as_documented(language: &str, tool: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    if !shell(folder.path(), &format!("{tool} >/dev/null 2>&1")).status().expect("a shell").success() {
        return skip(&format!("the project in {language} needs its tools: .ci/plugin-tools installs them"));
    }
    let new = ["plugin", "new", "0.hello", "--lang", language];
    let created = wasmill(folder.path(), &new);
    assert_eq!(created.code, 0, "{created:?}");
    assert!(wasmill(folder.path(), &new).err.contains("nothing was written"));
    let project = folder.path().join("0.hello");
    if language.ends_with('s') {
        // As `npm install` does, without fetching them again.
        std::os::unix::fs::symlink(tools().join("node/node_modules"), project.join("node_modules"))
            .expect("a link");
    }
    let readme = fs::read_to_string(project.join("README.md")).expect("a README");
    let commands = commands(&readme);
    assert!(commands.len() >= 3, "{commands:?}");
    for line in &commands {
        let output = shell(&project, line).output().expect("a shell");
        assert!(output.status.success(), "{line}: {}", shown(&output));
        if line.starts_with("wasmill test") {
            assert!(shown(&output).contains("3 of 3 cases passed"), "{}", shown(&output));
        }
        if line.starts_with("wasmill plugin check") {
            assert!(shown(&output).contains("Greets the name"), "{}", shown(&output));
        }
    }
    // Everything that a build leaves behind is ignored by git, but what was there before.
    let listed =
        shell(&project, "git init -q && git status --porcelain -uall --ignored=no").output().expect("git");
    let listed = shown(&listed);
    assert!(!listed.contains(".wasm\n") && listed.contains("README.md"), "{listed}");
    let mut run = command(&project, &["run", "0.hello.wasm", "--quiet"]);
    assert_eq!(run.output().expect("a run").stdout, b"Hello, world!\n");
}

#[test]
fn a_rust_project_builds_as_documented() {
    builds_as_documented("rust", "true");
}

#[test]
fn a_c_project_builds_as_documented() {
    builds_as_documented("c", "python3 -m ziglang version");
}

#[test]
fn a_zig_project_builds_as_documented() {
    builds_as_documented("zig", "python3 -m ziglang version");
}

#[test]
fn a_go_project_builds_as_documented() {
    builds_as_documented("go", "go version");
}

#[test]
fn a_python_project_builds_as_documented() {
    builds_as_documented("python", "componentize-py --version");
}

#[test]
fn a_javascript_project_builds_as_documented() {
    builds_as_documented("js", "command -v componentize-qjs");
}

#[test]
fn a_typescript_project_builds_as_documented() {
    builds_as_documented("ts", "command -v componentize-qjs && command -v esbuild && command -v tsc");
}
