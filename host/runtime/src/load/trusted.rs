//! Which files of a plugins folder are trusted, for the command line and the doctor: lists files, and says what a server
//! would say of one.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::FILE_BYTES_MAX;
use crate::error::format;
use crate::files::regular_file;
use crate::load::bundle::PluginBundle;
use crate::trust::{ListError, PluginTrust, Trust, list, plain_name};

/// Lists a file as trusted in a plugins folder: a plugin with its manifest and its schema, or a single file. Earlier
/// digests of the same names stay if `keep`. Returns the names with their digests.
///
/// # Errors
///
/// Fails if a file cannot be read, or the list cannot be changed.
pub fn trust_file(folder: &Path, file: &Path, keep: bool) -> Result<Vec<(String, String)>, ListError> {
    let trusted = digests_of(folder, file).map_err(|error| ListError::Io {
        what: "read",
        path: file.to_owned(),
        error,
    })?;
    list(folder, &trusted, keep)?;
    Ok(trusted)
}

/// Returns the names of the files to list, relative to the plugins folder, and their digests.
fn digests_of(folder: &Path, file: &Path) -> io::Result<Vec<(String, String)>> {
    let hex = |bytes: &[u8]| format::hex(&Sha256::digest(bytes));
    let name = name_in(folder, file);
    if file.extension().is_none_or(|extension| extension != "wasm") {
        return Ok(vec![(name, hex(&regular_file::read_file(file, FILE_BYTES_MAX)?))]);
    }
    let PluginBundle { wasm, manifest, schema, .. } = PluginBundle::read(file)?;
    let mut files = vec![(name, hex(&wasm))];
    if let Some(manifest) = manifest {
        files.push((name_in(folder, &file.with_extension("toml")), hex(&manifest)));
    }
    files.extend(schema.map(|(name, bytes)| (plain_name(&name), hex(&bytes))));
    Ok(files)
}

/// Returns the name of a file in the plugins folder: its path there, or its file name if it lies elsewhere.
fn name_in(folder: &Path, file: &Path) -> String {
    let parent = file.parent().unwrap_or(Path::new(""));
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let file_name = file.file_name().unwrap_or_default();
    let inside =
        folder.canonicalize().ok().zip(parent.canonicalize().ok()).and_then(|(folder, parent)| {
            parent.strip_prefix(&folder).ok().map(|below| below.join(file_name))
        });
    inside.unwrap_or_else(|| PathBuf::from(file_name)).to_string_lossy().into_owned()
}

impl PluginTrust {
    /// Checks whether a plugin file with the files beside it would be trusted; reads each once.
    ///
    /// # Errors
    ///
    /// Says why it would not, and what to do.
    pub fn check(&self, wasm: &Path) -> Result<(), String> {
        if matches!(self, Self::Any) {
            return Ok(());
        }
        let trust = Trust::new(self.clone());
        let files = PluginBundle::read(wasm).map_err(|error| format!("it cannot be read: {error}"))?;
        let vouch = trust.vouch(wasm, None);
        vouch.check_wasm(wasm, &files.wasm)?;
        if let Some(manifest) = &files.manifest {
            let name = wasm.with_extension("toml");
            vouch.check(&name.file_name().unwrap_or_default().to_string_lossy(), manifest)?;
        }
        files.schema.as_ref().map_or(Ok(()), |(name, bytes)| vouch.check(name, bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use wasmill_model::Limits;

    use super::*;
    use crate::compile::kill_handle::KillHandle;
    use crate::config::RuntimeConfig;
    use crate::load::config::LoaderConfig;
    use crate::load::folder::{self, Fingerprint};
    use crate::load::loader::{Loaded, Loader};
    use crate::plugin::info::{PluginSource, PluginState};
    use crate::trust::LIST_FILE;

    /// A program with an export of this name.
    fn program(export: &str) -> Vec<u8> {
        let text = format!(
            "(module (memory (export \"memory\") 1) (func (export \"_start\")) (func (export \"{export}\")))"
        );
        wat::parse_str(text).unwrap()
    }

    /// A loader that takes listed files of this folder.
    fn listing(folder: &Path) -> Loader {
        let config = RuntimeConfig { slots: 1, limits: Limits::default(), memory_total_bytes: None };
        let trust = PluginTrust::Listed(folder.to_owned());
        Loader::new(config, &LoaderConfig { trust, ..LoaderConfig::default() }).unwrap()
    }

    fn load(loader: &Loader, path: &Path, bytes: &[u8]) -> Loaded {
        let (name, source) = ("p".parse().unwrap(), PluginSource::File(path.to_owned()));
        loader.load(&name, source, bytes, None, &KillHandle::default())
    }

    #[test]
    fn a_file_changed_after_it_was_verified_is_not_what_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.wasm");
        let [good, evil] = ["good", "evil"].map(program);
        std::fs::write(&path, &good).unwrap();
        trust_file(folder.path(), &path, false).unwrap();
        let loader = listing(folder.path());
        let read = || folder::read(&path, &Fingerprint::of(&path, None).unwrap()).unwrap();
        let bytes = read();
        // Swapped between the read and the check.
        std::fs::write(&path, &evil).unwrap();
        let loaded = load(&loader, &path, &bytes);
        let details = loaded.info.details.unwrap();
        assert_eq!(loaded.info.digest, Some(format::hex(&Sha256::digest(&good))));
        assert!(details.exports.first.iter().any(|export| export == "good"), "{:?}", details.exports);
        let bytes = read();
        std::fs::write(&path, &good).unwrap();
        assert!(matches!(load(&loader, &path, &bytes).info.state, PluginState::Rejected(_)));
    }

    #[test]
    fn a_manifest_that_changes_while_it_is_verified_never_counts() {
        let folder = tempfile::tempdir().unwrap();
        let [path, manifest, next] = ["p.wasm", "p.toml", "next"].map(|name| folder.path().join(name));
        let wasm = program("good");
        std::fs::write(&path, &wasm).unwrap();
        std::fs::write(&manifest, "description = \"good\"").unwrap();
        trust_file(folder.path(), &path, false).unwrap();
        let loader = listing(folder.path());
        let is_over = AtomicBool::new(false);
        let (mut accepted, mut rejected) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for text in ["description = \"good\"", "allow.env = { EVIL = \"1\" }"] {
                        std::fs::write(&next, text).unwrap();
                        std::fs::rename(&next, &manifest).unwrap();
                    }
                }
            });
            for _ in 0..200 {
                match load(&loader, &path, &wasm).info.details {
                    Some(details) => {
                        accepted += 1;
                        assert_eq!(details.config.description.as_deref(), Some("good"));
                        assert!(details.config.permissions.env.is_empty());
                    }
                    None => rejected += 1,
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert!(accepted + rejected == 200, "{accepted} {rejected}");
    }

    #[test]
    fn a_file_is_listed_with_what_lies_beside_it_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [plugins, build] = ["plugins", "build"].map(|name| folder.path().join(name));
        std::fs::create_dir_all(plugins.join("in")).unwrap();
        std::fs::create_dir(&build).unwrap();
        let trust = |file: &Path, keep| trust_file(&plugins, file, keep).unwrap();
        let trust_of = || Trust::new(PluginTrust::Listed(plugins.clone()));
        let is_listed = |name: &str, text: &str| {
            trust_of().vouch(&plugins.join("a.wasm"), None).check(name, text.as_bytes()).is_ok()
        };
        let digest = |text: &str| format::hex(&Sha256::digest(text));
        for path in [plugins.join("a.wasm"), build.join("b.wasm")] {
            std::fs::write(path, "one").unwrap();
        }
        std::fs::write(plugins.join("a.toml"), "input.schema = \"in/a.json\"").unwrap();
        std::fs::write(plugins.join("in/a.json"), "{}").unwrap();
        let names: Vec<_> = trust(&plugins.join("a.wasm"), false).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a.wasm", "a.toml", "in/a.json"]);
        assert_eq!(trust(&build.join("b.wasm"), false), [("b.wasm".to_owned(), digest("one"))]);
        assert_eq!(trust(&plugins.join("in/a.json"), false), [("in/a.json".to_owned(), digest("{}"))]);
        let list = plugins.join(LIST_FILE);
        let text = std::fs::read_to_string(&list).unwrap();
        std::fs::write(&list, format!("{text}# mine\n")).unwrap();
        std::fs::write(build.join("b.wasm"), "two").unwrap();
        trust(&build.join("b.wasm"), true);
        assert!(is_listed("b.wasm", "one") && is_listed("b.wasm", "two"));
        trust(&build.join("b.wasm"), false);
        assert!(!is_listed("b.wasm", "one") && is_listed("b.wasm", "two"));
        assert!(is_listed("a.wasm", "one") && !is_listed("c.wasm", "one"));
        let text = std::fs::read_to_string(&list).unwrap();
        assert!(text.ends_with("# mine\n") && text.starts_with("# Files"), "{text}");
    }
}
