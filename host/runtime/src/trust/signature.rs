//! Signatures of minisign: the keys that count, and the files that they are in.

use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey, Signature};

use crate::files::regular_file;
use crate::trust::version::Version;

/// The maximum size of a file of signatures. One takes about 300 bytes.
pub const SIGNATURE_BYTES_MAX: u64 = 8 << 10;
/// The maximum size of a file of keys.
const KEYS_BYTES_MAX: u64 = 64 << 10;
/// Lines of a signature: a comment, the signature, a trusted comment, and the signature of both.
const SIGNATURE_LINES: usize = 4;
const UNTRUSTED: &str = "untrusted comment:";

/// The public keys that may sign plugins.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<PublicKey>);

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the keys of plugins from {path}: {why}", path = path.display())]
pub struct SigningKeysError {
    path: PathBuf,
    why: String,
}

/// The signatures of one file, usually one.
pub(super) struct Signatures(Vec<Signature>);

/// What a signature says of its file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) version: Option<Version>,
}

impl SigningKeys {
    /// Reads a file with public keys as minisign writes them, one after the other.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, has no key, or has a line that is neither a key nor a comment.
    pub fn read(path: &Path) -> Result<Self, SigningKeysError> {
        let text = regular_file::read_text(path, KEYS_BYTES_MAX).map_err(|error| error.to_string());
        let keys = text.and_then(|text| Self::parse(&text));
        keys.map_err(|why| SigningKeysError { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with(UNTRUSTED) && !line.starts_with('#'));
        let keys = lines.map(|(number, line)| {
            PublicKey::from_base64(line)
                .map_err(|_| format!("line {} is no public key of minisign", number + 1))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(Self(keys)) }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Verifies that one of the signatures is of one of these keys, for a file of this name and these bytes.
    pub(super) fn verify(&self, signatures: &Signatures, name: &str, bytes: &[u8]) -> Result<Signed, String> {
        let mut refused = None;
        for signature in &signatures.0 {
            match self.verify_one(signature, name, bytes) {
                Ok(signed) => return Ok(signed),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        Err(refused.unwrap_or_else(|| "there is none in it".to_owned()))
    }

    fn verify_one(&self, signature: &Signature, name: &str, bytes: &[u8]) -> Result<Signed, String> {
        let mut refused = "it is of a key that is not in --plugin-keys".to_owned();
        for key in &self.0 {
            match key.verify(bytes, signature, false) {
                Ok(()) => return signed(signature.trusted_comment(), name),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => {
                    "it has the legacy format, which does not hash the file first; sign it again with minisign 0.10 \
                     or later"
                        .clone_into(&mut refused);
                }
                Err(_) => "it is of other bytes, or was changed".clone_into(&mut refused),
            }
        }
        Err(refused)
    }
}

impl Signatures {
    /// Parses a file of signatures, one after the other.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > SIGNATURE_BYTES_MAX {
            return Err(format!("it is larger than {SIGNATURE_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let signatures = lines.chunks(SIGNATURE_LINES).map(|lines| {
            let is_signature = lines[0].starts_with(UNTRUSTED);
            Signature::decode(&lines.join("\n")).ok().filter(|_| is_signature)
        });
        let signatures: Option<Vec<_>> = signatures.collect();
        let signatures = signatures.filter(|signatures| !signatures.is_empty());
        signatures.map(Self).ok_or_else(|| "it is no signature of minisign".to_owned())
    }
}

/// Reads a trusted comment: it has to name the file, or an old file or another one could be passed off.
fn signed(comment: &str, name: &str) -> Result<Signed, String> {
    let words = || comment.split_ascii_whitespace();
    let is_named = words().any(|word| word.strip_prefix("file:").unwrap_or(word) == name);
    if !is_named {
        return Err(format!(
            "its trusted comment does not name the file; sign it with minisign -S -m {name} -t \"file:{name} version=1\""
        ));
    }
    let mut versions = words().filter_map(|word| word.strip_prefix("version="));
    let version = versions.next().map(str::parse).transpose()?;
    if versions.next().is_some() {
        return Err("its trusted comment names several versions".to_owned());
    }
    Ok(Signed { version })
}
