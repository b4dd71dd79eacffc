//! Compiles a guest crate to a component, for build scripts and tests.
//!
//! Never touches the target folder or the flags of the calling build, and builds nothing but the guest.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The target of guests, whose output is a component.
pub const TARGET: &str = "wasm32-wasip2";

/// Settings of the outer build that would change the guest, or block on a lock that the outer build holds.
const OUTER_SETTINGS: [&str; 7] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
];

/// Why a guest could not be built.
#[derive(Debug)]
pub struct BuildError(String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BuildError {}

/// Builds a guest from a build script and returns the path of its component. `guest` is its folder, relative to the
/// package of the build script.
///
/// The location of that package is read from the environment at run time: a build script compiled in one clone of
/// the repository may run in another one that shares its target folder.
///
/// All build scripts share one target folder beside cargo's own, so that dependencies are compiled once; the
/// component is copied to `OUT_DIR`, where no other clone or script replaces it. Tells cargo to rerun the script
/// when the guest or the WIT files change. On failure, prints the reason (with the command that adds a missing
/// target) and exits.
pub fn build(guest: &str) -> PathBuf {
    build_below_out_dir(guest).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}

fn build_below_out_dir(guest: &str) -> Result<PathBuf, BuildError> {
    let guest_dir = cargo_env("CARGO_MANIFEST_DIR")?.join(guest);
    rerun_if_changed(&guest_dir);
    let out_dir = cargo_env("OUT_DIR")?;
    let built = build_in(&guest_dir, &shared_target_dir(&out_dir))?;
    let component = out_dir.join(built.file_name().expect("a component is a file"));
    std::fs::copy(&built, &component).map_err(|error| {
        BuildError(format!("failed to copy {} to {}: {error}", built.display(), component.display()))
    })?;
    Ok(component)
}

/// Returns the folder `guests` beside cargo's folder `build`, or one below `out_dir` if cargo uses another layout.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    let profile_dir = out_dir.ancestors().find(|folder| folder.ends_with("build")).and_then(Path::parent);
    profile_dir.unwrap_or(out_dir).join("guests")
}

fn cargo_env(variable: &str) -> Result<PathBuf, BuildError> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.ok_or_else(|| BuildError(format!("{variable} is not set; call this from a build script")))
}

fn rerun_if_changed(guest_dir: &Path) {
    let contract = guest_dir.ancestors().map(|folder| folder.join("wit")).find(|wit| wit.is_dir());
    let manifest = std::fs::read_to_string(guest_dir.join("Cargo.toml")).unwrap_or_default();
    let crates = path_dependencies(&manifest).map(|path| guest_dir.join(path)).chain([guest_dir.to_owned()]);
    let parts =
        crates.flat_map(|folder| ["Cargo.toml", "Cargo.lock", "src", ".cargo"].map(|part| folder.join(part)));
    // What is not there would make cargo run the script each time.
    for watched in parts.filter(|part| part.exists()).chain(contract) {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
}

/// Returns the folders of the dependencies that are in the repository, one `name = { path = "…", … }` a line.
fn path_dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let tables = manifest.lines().filter(|line| line.contains("= {"));
    let paths =
        tables.filter_map(|line| line.split_once("path = \"")).filter_map(|(_, rest)| rest.split_once('"'));
    paths.map(|(path, _)| path)
}

/// Builds the guest in `guest_dir` with its artifacts in `target_dir`, and returns the path of its component. For
/// tests; a build script calls [`build`].
///
/// Guests may share a `target_dir`: it is locked during a build.
///
/// # Errors
///
/// Says what went wrong; if the target is missing, with the command that adds it.
pub fn build_in(guest_dir: &Path, target_dir: &Path) -> Result<PathBuf, BuildError> {
    let manifest = guest_dir.join("Cargo.toml");
    let name = package_name(&manifest)?;
    let output = cargo(guest_dir, target_dir)
        .output()
        .map_err(|error| BuildError(format!("failed to start cargo for guest {name}: {error}")))?;
    if !output.status.success() {
        return Err(failed(&name, &output));
    }
    let component = target_dir.join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
    if component.is_file() {
        Ok(component)
    } else {
        Err(BuildError(format!("guest {name} produced no {}; is it a cdylib?", component.display())))
    }
}

/// The guest's own `.cargo/config.toml` applies: cargo looks for it from the current folder up.
fn cargo(guest_dir: &Path, target_dir: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(guest_dir)
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(target_dir);
    for setting in OUTER_SETTINGS {
        command.env_remove(setting);
    }
    command
}

/// Returns the first `name = "…"` of the manifest, which is the package's.
fn package_name(manifest: &Path) -> Result<String, BuildError> {
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| BuildError(format!("failed to read {}: {error}", manifest.display())))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("name"))
        .filter_map(|rest| rest.trim_start().strip_prefix('='))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .next()
        .ok_or_else(|| BuildError(format!("{} names no package", manifest.display())))
}

fn failed(name: &str, output: &Output) -> BuildError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let target_is_missing = stderr.contains("E0463") || stderr.contains("may not be installed");
    BuildError(if target_is_missing {
        format!("guest {name} needs the target {TARGET}; add it with: rustup target add {TARGET}\n{stderr}")
    } else {
        format!("failed to build guest {name} ({})\n{stderr}", output.status)
    })
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn message(stderr: &str) -> String {
        let output =
            Output { status: ExitStatus::default(), stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() };
        failed("noop", &output).to_string()
    }

    #[test]
    fn a_missing_target_comes_with_the_command_that_adds_it() {
        for stderr in [
            "error[E0463]: can't find crate for `core`",
            "note: the `wasm32-wasip2` target may not be installed",
        ] {
            assert!(message(stderr).contains("rustup target add wasm32-wasip2\n"), "{stderr}");
        }
        assert!(!message("error[E0425]: cannot find value").contains("rustup"));
    }

    #[test]
    fn all_build_scripts_share_one_target_folder() {
        for out_dir in
            ["/clone/target/release/build/wasmill-1a2b/out", "/clone/target/release/build/wasmill/1a2b/out"]
        {
            assert_eq!(shared_target_dir(Path::new(out_dir)), Path::new("/clone/target/release/guests"));
        }
        assert_eq!(shared_target_dir(Path::new("/elsewhere/out")), Path::new("/elsewhere/out/guests"));
    }

    #[test]
    fn the_dependencies_in_the_repository_are_read_from_the_manifest() {
        let manifest = "[lib]\npath = \"src/lib.rs\"\n[dependencies]\nserde = { version = \"1\" }\n\
                        guest = { path = \"../../sdk/guest\", default-features = false }\n";
        assert_eq!(path_dependencies(manifest).collect::<Vec<_>>(), ["../../sdk/guest"]);
    }

    #[test]
    fn a_package_name_is_read_from_its_manifest() {
        let manifest = cargo_env("CARGO_MANIFEST_DIR").unwrap().join("Cargo.toml");
        assert_eq!(package_name(&manifest).unwrap(), "wasmill-guest-build");
        assert!(package_name(Path::new("missing/Cargo.toml")).is_err());
    }
}
