//! Finds secrets in a stream whose pieces may cut one anywhere.

use std::sync::Arc;

use crate::secrets::redactor::Redactor;

/// Replaces secrets in a stream. Bytes with which a secret may begin are held until the next ones decide.
pub(super) struct RedactedStream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
}

impl RedactedStream {
    pub(super) fn new(redactor: &Arc<Redactor>) -> Self {
        Self { redactor: Arc::clone(redactor), held: Vec::new() }
    }

    /// Takes the next bytes; returns those that are decided.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut decided = Vec::with_capacity(self.held.len());
        let mut rest = &self.held[..];
        loop {
            let undecided = self.undecided(rest);
            match self.redactor.first(rest) {
                // One that begins where the undecided bytes do may be the beginning of a longer one.
                Some((start, end, label)) if start < undecided => {
                    decided.extend_from_slice(&rest[..start]);
                    decided.extend_from_slice(label.as_bytes());
                    rest = &rest[end..];
                }
                _ => {
                    decided.extend_from_slice(&rest[..undecided]);
                    self.held = rest[undecided..].to_vec();
                    return decided;
                }
            }
        }
    }

    /// Returns what is held, at the end of the stream.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.redactor.bytes(&held).into_owned()
    }

    /// Returns from where on the bytes may be the beginning of a secret.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let first = bytes.len().saturating_sub(self.redactor.longest.saturating_sub(1));
        (first..bytes.len()).find(|start| self.redactor.may_continue(&bytes[*start..])).unwrap_or(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes a text in pieces of this size.
    fn pieces(text: &str, size: usize) -> String {
        let redactor = Arc::new(Redactor::new([("A", "abcdefgh"), ("B", "abcdefghij"), ("C", "aabbaabb")]));
        let mut stream = RedactedStream::new(&redactor);
        let mut all: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| stream.append(piece)).collect();
        all.extend(stream.finish());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_secret_is_found_however_the_stream_is_cut() {
        for (text, expected) in [
            ("x abcdefgh y", "x [secret A] y"),
            ("abcdefghij", "[secret B]"),
            ("abcdefghi", "[secret A]i"),
            ("aaabbaabb", "a[secret C]"),
            ("abcdefgabcdefgh", "abcdefg[secret A]"),
            ("line\nabcdefgh\nabcdefgh", "line\n[secret A]\n[secret A]"),
            ("abcdefg", "abcdefg"),
            ("", ""),
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(pieces(text, size), expected, "{size}");
            }
        }
    }

    #[test]
    fn what_begins_no_secret_is_not_held() {
        let mut stream = RedactedStream::new(&Arc::new(Redactor::new([("A", "abcdefgh")])));
        assert_eq!(stream.append(b"a line\n"), b"a line\n");
        assert_eq!(stream.append(b"abc"), b"");
        assert_eq!(stream.append(b"x"), b"abcx");
    }
}
