//! Resolves the plugin of `wasmill run`: a file, or a name.

use std::path::{Path, PathBuf};

use anyhow::Result;
use wasmill_model::PluginName;

use crate::built_in::BUILT_IN;
use crate::exit::{Exit, cli_error};

/// A plugin that was found, not yet loaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundPlugin {
    /// A built-in plugin.
    BuiltIn(String, &'static [u8]),
    /// An existing file.
    File {
        /// The file stem, for display.
        name: String,
        path: PathBuf,
    },
}

impl FoundPlugin {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::BuiltIn(name, _) | Self::File { name, .. } => name,
        }
    }

    fn file(path: PathBuf) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::File { name, path }
    }
}

/// Treats a path or a name that ends in `.wasm` as a file; looks up any other name in the plugins folder first, as a
/// server does.
pub(crate) fn find(plugin: &str, folder: &Path) -> Result<FoundPlugin> {
    let path = Path::new(plugin);
    if plugin.contains('/') || path.extension().is_some_and(|extension| extension == "wasm") {
        if !path.exists() {
            return Err(cli_error(Exit::NotFound, format!("file {plugin} not found")));
        }
        if path.extension().is_none_or(|extension| extension != "wasm") {
            return Err(cli_error(
                Exit::Usage,
                format!("{plugin} is not a plugin: the file name must end in .wasm"),
            ));
        }
        return Ok(FoundPlugin::file(path.to_owned()));
    }
    let name: PluginName = plugin
        .parse()
        .map_err(|error| cli_error(Exit::Usage, format!("'{plugin}' is not a valid plugin name: {error}")))?;
    let file = folder.join(format!("{name}.wasm"));
    if file.exists() {
        return Ok(FoundPlugin::file(file));
    }
    match BUILT_IN.iter().find(|(built_in, _)| *built_in == name.as_str()) {
        Some((name, bytes)) => Ok(FoundPlugin::BuiltIn((*name).to_owned(), bytes)),
        None => {
            let file = file.display();
            let message = format!(
                "plugin '{name}' not found: {file} does not exist, and no built-in plugin has that name"
            );
            Err(cli_error(Exit::NotFound, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn a_name_is_looked_up_in_the_folder_first() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(find("io-stub", folder.path()).unwrap(), FoundPlugin::BuiltIn(..)));
        let file = folder.path().join("io-stub.wasm");
        std::fs::write(&file, b"").unwrap();
        let source = FoundPlugin::File { name: "io-stub".to_owned(), path: file.clone() };
        assert_eq!(find("io-stub", folder.path()).unwrap(), source);
        assert_eq!(find(&file.display().to_string(), Path::new("elsewhere")).unwrap(), source);
    }

    #[test]
    fn a_missing_plugin_is_distinguished_from_an_invalid_name() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        std::fs::write(&text, b"").unwrap();
        for (plugin, exit) in [
            ("missing", Exit::NotFound),
            ("missing.wasm", Exit::NotFound),
            ("./missing", Exit::NotFound),
            ("No Name", Exit::Usage),
            (text.to_str().unwrap(), Exit::Usage),
        ] {
            assert_eq!(exit::code_of(&find(plugin, folder.path()).unwrap_err()), exit, "{plugin}");
        }
    }
}
