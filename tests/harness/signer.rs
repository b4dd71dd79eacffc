//! Signs files as minisign does, with a key of one test.

use blake2::{Blake2b512, Digest};
use data_encoding::BASE64;
use rand::random;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// A key pair of minisign.
pub struct Signer {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    /// Creates a key pair.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
        let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("a key pair");
        Self { pair, id: random() }
    }

    /// Returns the public key as a file.
    pub fn public(&self) -> String {
        let key = [b"Ed", &self.id[..], self.pair.public_key().as_ref()].concat();
        format!("untrusted comment: minisign public key\n{}\n", BASE64.encode(&key))
    }

    /// Signs bytes with a trusted comment; returns the file with the signature.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> String {
        let signature = self.pair.sign(&Blake2b512::digest(bytes));
        let whole = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let signature = [b"ED", &self.id[..], signature.as_ref()].concat();
        format!(
            "untrusted comment: signature\n{}\ntrusted comment: {comment}\n{}\n",
            BASE64.encode(&signature),
            BASE64.encode(whole.as_ref())
        )
    }
}
