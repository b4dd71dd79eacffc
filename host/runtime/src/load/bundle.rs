//! A plugin with the files beside it as one value, for the hosts of a cluster: they hand each other plugins as bundles.
//!
//! Called by the API, which publishes and fetches bundles; knows neither.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::config::FILE_BYTES_MAX;
use crate::error::format;
use crate::files::regular_file;
use crate::load::folder::Fingerprint;
use crate::manifest::{self, MANIFEST_BYTES_MAX, SCHEMA_BYTES_MAX};
use crate::trust::{SIGNATURE_BYTES_MAX, VoucherFiles, signature_file};

/// A plugin file with its manifest and the schema that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginBundle {
    /// The bytes of the plugin, at most 128 MiB.
    pub wasm: Vec<u8>,
    /// Its manifest, at most 64 KiB.
    pub manifest: Option<Vec<u8>>,
    /// The name of the schema relative to the plugin, and its bytes, at most 256 KiB.
    pub schema: Option<(String, Vec<u8>)>,
    /// The signatures beside them.
    pub signatures: BundleSignatures,
}

/// The signatures of the files of a bundle, at most 8 KiB each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleSignatures {
    /// Of the plugin.
    pub wasm: Option<Vec<u8>>,
    /// Of its manifest.
    pub manifest: Option<Vec<u8>>,
    /// Of its schema.
    pub schema: Option<Vec<u8>>,
}

impl PluginBundle {
    /// Reads the plugin file at `path` with the files beside it.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or is too large.
    pub fn read(path: &Path) -> io::Result<Self> {
        let wasm = regular_file::read_file(path, FILE_BYTES_MAX)?;
        let file = path.with_extension("toml");
        let manifest = optional(&file, MANIFEST_BYTES_MAX)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let schema = manifest::needs(&file).schema.and_then(|schema| {
            let name = schema.strip_prefix(folder).ok()?.to_str()?.to_owned();
            Some((name, schema))
        });
        let signature = |file: &Path| optional(&signature_file(file), SIGNATURE_BYTES_MAX);
        let mut signatures = BundleSignatures { wasm: signature(path)?, ..BundleSignatures::default() };
        if manifest.is_some() {
            signatures.manifest = signature(&file)?;
        }
        let schema = match schema {
            Some((name, file)) => {
                signatures.schema = signature(&file)?;
                optional(&file, SCHEMA_BYTES_MAX)?.map(|bytes| (name, bytes))
            }
            None => None,
        };
        Ok(Self { wasm, manifest, schema, signatures })
    }

    /// Returns the SHA-256 of the plugin file, in hexadecimal.
    pub fn wasm_digest(&self) -> String {
        format::hex(&Sha256::digest(&self.wasm))
    }

    /// Returns the SHA-256 of all files, in hexadecimal: bundles with the same one are the same.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let (name, schema) = self.schema.as_ref().map_or(("", None), |(name, bytes)| (name, Some(bytes)));
        let mut add = |part: Option<&Vec<u8>>| {
            // With the lengths, so that bytes cannot move from one part to the next.
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.map_or(&[][..], Vec::as_slice));
        };
        for part in [Some(&self.wasm), self.manifest.as_ref(), Some(&name.as_bytes().to_vec()), schema] {
            add(part);
        }
        // Without signatures, the digest is that of earlier versions.
        let BundleSignatures { wasm, manifest, schema } = &self.signatures;
        if self.signatures != BundleSignatures::default() {
            [wasm, manifest, schema].into_iter().for_each(|signature| add(signature.as_ref()));
        }
        format::hex(&hash.finalize())
    }

    /// Writes the files into a folder of this bundle alone, as the plugin of this name.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be written to, or the schema has a path that leads out of it.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        let whole = |path: &Path, bytes: &[u8]| {
            let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
            fs::create_dir_all(parent)?;
            let mut file = NamedTempFile::new_in(parent)?;
            file.write_all(bytes)?;
            file.persist(path).map(drop).map_err(io::Error::from)
        };
        let beside = |file: &Path, signature: &Option<Vec<u8>>| match signature {
            Some(signature) => whole(&signature_file(file), signature),
            None => Ok(()),
        };
        if let Some((schema, bytes)) = &self.schema {
            let is_inside =
                Path::new(schema).components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_inside {
                return Err(ErrorKind::InvalidInput.into());
            }
            let file = folder.join(schema);
            whole(&file, bytes)?;
            beside(&file, &self.signatures.schema)?;
        }
        if let Some(manifest) = &self.manifest {
            let file = folder.join(format!("{name}.toml"));
            whole(&file, manifest)?;
            beside(&file, &self.signatures.manifest)?;
        }
        let file = folder.join(format!("{name}.wasm"));
        beside(&file, &self.signatures.wasm)?;
        whole(&file, &self.wasm)
    }
}

fn optional(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    match regular_file::read_file(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The bundles of a plugins folder. It reads a file again only when its metadata has changed.
#[derive(Debug, Default)]
pub struct BundleScanner {
    known: BTreeMap<String, (Fingerprint, String)>,
}

impl BundleScanner {
    /// Returns the digest of each bundle in the folder, by the name of its plugin. One that may still be written, or
    /// cannot be read, is as it was before; that of `whole` is known to be written.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be read.
    pub fn scan(&mut self, folder: &Path, whole: Option<&str>) -> io::Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let Some(name) = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            if path.extension().is_some_and(|extension| extension == "wasm")
                && let Some(known) = self.look(&name, &path, whole == Some(&*name))
            {
                found.insert(name, known);
            }
        }
        self.known = found;
        Ok(self.known.iter().map(|(name, (_, digest))| (name.clone(), digest.clone())).collect())
    }

    fn look(&self, name: &str, path: &Path, is_whole: bool) -> Option<(Fingerprint, String)> {
        let known = self.known.get(name);
        let earlier = known.map(|(fingerprint, _)| fingerprint);
        let fingerprint = Fingerprint::with_vouchers(path, earlier, VoucherFiles::Signatures)?;
        if known.is_some_and(|(known, _)| *known == fingerprint) || !(is_whole || fingerprint.is_stable()) {
            return known.cloned();
        }
        let Ok(bundle) = PluginBundle::read(path) else { return known.cloned() };
        let schema = manifest::needs(&path.with_extension("toml")).schema;
        Some((fingerprint.with_schema(path, schema.as_deref()), bundle.digest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_read_as_it_was_written_and_cannot_leave_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = b"input.schema = \"in/a.json\"\n".to_vec();
        let bundle = PluginBundle {
            wasm: b"\0asm".to_vec(),
            manifest: Some(manifest),
            schema: Some(("in/a.json".to_owned(), b"{}".to_vec())),
            signatures: BundleSignatures::default(),
        };
        bundle.write(folder.path(), "a").expect("written");
        let read = PluginBundle::read(&folder.path().join("a.wasm")).expect("read");
        assert_eq!((&read, read.digest()), (&bundle, bundle.digest()));
        let other = PluginBundle { manifest: None, schema: None, ..bundle.clone() };
        assert_ne!(other.digest(), bundle.digest());
        assert_eq!(other.wasm_digest(), bundle.wasm_digest());
        let [wasm, manifest, schema] = [b"w", b"m", b"s"].map(|text| Some(text.to_vec()));
        let signatures = BundleSignatures { wasm, manifest, schema };
        let signed = PluginBundle { signatures, ..bundle.clone() };
        assert_ne!(signed.digest(), bundle.digest());
        signed.write(folder.path(), "a").expect("written");
        assert_eq!(PluginBundle::read(&folder.path().join("a.wasm")).expect("read"), signed);
        for name in ["../a.json", "/a.json", "in/../../a.json"] {
            let bad = PluginBundle { schema: Some((name.to_owned(), Vec::new())), ..bundle.clone() };
            assert!(bad.write(folder.path(), "a").is_err(), "{name}");
        }
    }
}
