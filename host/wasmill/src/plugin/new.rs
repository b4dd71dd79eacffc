//! `wasmill plugin new`: creates a small, complete plugin project.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmill_model::PluginName;

use crate::cli::{Language, NewArgs};
use crate::output::out;

/// A project file: its path and its text, with `{{…}}` as placeholders.
type Template = (&'static str, &'static str);

const WIT: [Template; 2] = [
    ("wit/task.wit", include_str!("../../../../wit/task.wit")),
    ("wit/deps/io.wit", include_str!("../../../../wit/deps/io.wit")),
];
const MANIFEST: Template = ("{{name}}.toml", include_str!("../../templates/manifest.toml.in"));

const RUST: [Template; 5] = [
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.in")),
    ("Cargo.lock", include_str!("../../templates/rust/Cargo.lock.in")),
    ("src/lib.rs", include_str!("../../templates/rust/src/lib.rs.in")),
    ("README.md", include_str!("../../templates/rust/README.md.in")),
    (".gitignore", include_str!("../../templates/rust/gitignore.in")),
];

const C: [Template; 3] = [
    ("main.c", include_str!("../../templates/c/main.c.in")),
    ("README.md", include_str!("../../templates/c/README.md.in")),
    (".gitignore", include_str!("../../templates/c/gitignore.in")),
];

const PYTHON: [Template; 3] = [
    ("app.py", include_str!("../../templates/python/app.py.in")),
    ("README.md", include_str!("../../templates/python/README.md.in")),
    (".gitignore", include_str!("../../templates/python/gitignore.in")),
];

const JAVASCRIPT: [Template; 3] = [
    ("app.js", include_str!("../../templates/js/app.js.in")),
    ("README.md", include_str!("../../templates/js/README.md.in")),
    (".gitignore", include_str!("../../templates/js/gitignore.in")),
];

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
    let templates: &[Template] = match language {
        Language::Rust => &RUST,
        Language::C => &C,
        Language::Python => &PYTHON,
        Language::Js => &JAVASCRIPT,
    };
    for (path, text) in templates.iter().chain(&WIT).chain([&MANIFEST]) {
        let path = folder.join(fill(path, name));
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to create folder {}", parent.display()))?;
        fs::write(&path, fill(text, name)).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn fill(text: &str, name: &PluginName) -> String {
    let package = package(name);
    text.replace("{{name}}", name.as_str())
        .replace("{{crate}}", &package)
        .replace("{{crate_file}}", &package.replace('-', "_"))
}

/// Returns the name of the Rust package: it has no dots and does not start with a digit.
fn package(name: &PluginName) -> String {
    let name = name.as_str().replace('.', "-");
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
    use super::*;

    #[test]
    fn every_language_has_a_complete_project() {
        for language in [Language::Rust, Language::C, Language::Python, Language::Js] {
            let folder = tempfile::tempdir().unwrap();
            write_project(folder.path(), &"0.hello-x".parse().unwrap(), language).unwrap();
            for file in ["README.md", ".gitignore", "wit/task.wit", "wit/deps/io.wit", "0.hello-x.toml"] {
                let text = fs::read_to_string(folder.path().join(file)).unwrap();
                assert!(!text.contains("{{"), "{file}: {text}");
            }
            let readme = fs::read_to_string(folder.path().join("README.md")).unwrap();
            assert!(readme.contains("wasmill plugin check 0.hello-x.wasm"));
        }
    }

    #[test]
    fn package_names_are_valid_for_cargo() {
        let package = |name: &str| package(&name.parse().unwrap());
        assert_eq!(package("hello"), "hello");
        assert_eq!(package("0.1_x"), "plugin-0-1_x");
        assert_eq!(package("test"), "plugin-test");
    }
}
