//! `wasmill plugin new`: creates a small, complete plugin project.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmill_model::PluginName;

use crate::cli::{Language, NewArgs};
use crate::output::out;

/// A project file: its path and its text, with `{{…}}` as placeholders.
type Template = (&'static str, &'static str);

/// Includes the templates of a language: the paths in the project, and those below `templates`.
macro_rules! templates {
    ($($path:literal: $template:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/", $template)))),+]
    };
}

const MANIFEST: Template = ("{{name}}.toml", include_str!("../../templates/manifest.toml.in"));

/// Test cases: those of a component, whose input is any JSON, and those of a program, whose input has arguments.
const TASK_CASES: Template = ("{{name}}.test.toml", include_str!("../../templates/cases-task.toml.in"));
const PROGRAM_CASES: Template = ("{{name}}.test.toml", include_str!("../../templates/cases-program.toml.in"));

/// The contract, for languages whose tools read it.
const WIT: &[Template] = &[
    ("wit/task.wit", include_str!("../../../../wit/task.wit")),
    ("wit/deps/io.wit", include_str!("../../../../wit/deps/io.wit")),
];

/// Includes the files of the guest crate, which is not on crates.io yet.
macro_rules! guest_crate {
    ($($path:literal),+ $(,)?) => {
        &[$((
            concat!("wasmill-guest/", $path),
            include_str!(concat!("../../../../sdk/guest-rust/", $path)),
        )),+]
    };
}

const GUEST_CRATE: &[Template] = guest_crate![
    "Cargo.toml",
    "README.md",
    "src/lib.rs",
    "src/allocator.rs",
    "src/bindings.rs",
    "src/bindings/plugin.rs",
    "src/bindings/suspendable_plugin.rs",
    "src/bindings/wasi.rs",
    "src/failure.rs",
    "src/host.rs",
    "src/json.rs",
    "src/panic.rs",
    "src/rt.rs",
    "src/step.rs",
    "src/wasi.rs",
];

const RUST: &[Template] = templates! {
    "Cargo.toml": "rust/Cargo.toml.in",
    "Cargo.lock": "rust/Cargo.lock.in",
    ".cargo/config.toml": "rust/cargo/config.toml.in",
    "src/lib.rs": "rust/src/lib.rs.in",
    "README.md": "rust/README.md.in",
    ".gitignore": "rust/gitignore.in",
};

const C: &[Template] = templates! {
    "main.c": "c/main.c.in",
    "README.md": "c/README.md.in",
    ".gitignore": "c/gitignore.in",
};

const ZIG: &[Template] = templates! {
    "main.zig": "zig/main.zig.in",
    "README.md": "zig/README.md.in",
    ".gitignore": "zig/gitignore.in",
};

const GO: &[Template] = templates! {
    "main.go": "go/main.go.in",
    "go.mod": "go/go.mod.in",
    "README.md": "go/README.md.in",
    ".gitignore": "go/gitignore.in",
};

const PYTHON: &[Template] = templates! {
    "app.py": "python/app.py.in",
    "README.md": "python/README.md.in",
    ".gitignore": "python/gitignore.in",
};

const JAVASCRIPT: &[Template] = templates! {
    "app.js": "js/app.js.in",
    "README.md": "js/README.md.in",
    ".gitignore": "js/gitignore.in",
};

const TYPESCRIPT: &[Template] = templates! {
    "app.ts": "ts/app.ts.in",
    "wasmill.d.ts": "ts/wasmill.d.ts.in",
    "package.json": "ts/package.json.in",
    "tsconfig.json": "ts/tsconfig.json.in",
    "README.md": "ts/README.md.in",
    ".gitignore": "ts/gitignore.in",
};

/// A program needs nothing of Wasmill.
const NONE: &[Template] = &[];

/// Writes the project into a new folder named after the plugin.
pub(crate) fn new(args: &NewArgs) -> Result<()> {
    let folder = Path::new(args.name.as_str());
    if folder.symlink_metadata().is_ok() {
        bail!("{} already exists; nothing was written", folder.display());
    }
    write_project(folder, &args.name, args.lang)?;
    out!("{0}/ is ready; {0}/README.md says how to build and try it", folder.display());
    Ok(())
}

fn write_project(folder: &Path, name: &PluginName, language: Language) -> Result<()> {
    let (templates, contract, cases) = match language {
        Language::Rust => (RUST, GUEST_CRATE, TASK_CASES),
        Language::C => (C, NONE, PROGRAM_CASES),
        Language::Zig => (ZIG, NONE, PROGRAM_CASES),
        Language::Go => (GO, NONE, PROGRAM_CASES),
        Language::Python => (PYTHON, WIT, TASK_CASES),
        Language::Js => (JAVASCRIPT, WIT, TASK_CASES),
        Language::Ts => (TYPESCRIPT, WIT, TASK_CASES),
    };
    for (path, text) in templates.iter().chain(contract).chain([&MANIFEST, &cases]) {
        let path = folder.join(fill(path, name));
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to create folder {}", parent.display()))?;
        fs::write(&path, fill(text, name)).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// Returns the name of the file that cargo builds for a plugin with this name, without `.wasm`.
pub(crate) fn package_file(name: &str) -> String {
    package(name).replace('-', "_")
}

fn fill(text: &str, name: &PluginName) -> String {
    text.replace("{{name}}", name.as_str())
        .replace("{{crate}}", &package(name.as_str()))
        .replace("{{crate_file}}", &package_file(name.as_str()))
}

/// Returns the name of the Rust package: it has no dots and does not start with a digit.
fn package(name: &str) -> String {
    let name = name.replace('.', "-");
    // A package must not be named like a standard library crate or a keyword, either.
    if name.starts_with(|first: char| first.is_ascii_digit()) || RESERVED_NAMES.contains(&name.as_str()) {
        format!("plugin-{name}")
    } else {
        name
    }
}

const RESERVED_NAMES: [&str; 12] =
    ["core", "std", "alloc", "test", "build", "deps", "fn", "mod", "self", "super", "crate", "wit-bindgen"];

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_language_has_a_complete_project() {
        for language in Language::value_variants() {
            let folder = tempfile::tempdir().unwrap();
            write_project(folder.path(), &"0.hello-x".parse().unwrap(), *language).unwrap();
            for file in ["README.md", ".gitignore", "0.hello-x.toml", "0.hello-x.test.toml"] {
                let text = fs::read_to_string(folder.path().join(file)).unwrap();
                assert!(!text.contains("{{"), "{file}: {text}");
            }
            let readme = fs::read_to_string(folder.path().join("README.md")).unwrap();
            assert!(readme.contains("wasmill test 0.hello-x.wasm"), "{language:?}");
            assert!(readme.contains("wasmill plugin check 0.hello-x.wasm"), "{language:?}");
        }
    }

    #[test]
    fn the_copy_of_the_guest_crate_is_complete() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/guest-rust");
        let mut left = vec![source.join("src")];
        let mut files = Vec::new();
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { left.push(path) } else { files.push(path) }
            }
        }
        for file in files {
            let name = Path::new("wasmill-guest").join(file.strip_prefix(&source).unwrap());
            assert!(GUEST_CRATE.iter().any(|(path, _)| Path::new(path) == name), "{}", name.display());
        }
    }

    #[test]
    fn package_names_are_valid_for_cargo() {
        assert_eq!(package("hello"), "hello");
        assert_eq!(package("0.1_x"), "plugin-0-1_x");
        assert_eq!(package("test"), "plugin-test");
    }
}
