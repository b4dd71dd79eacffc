//! Finds revealed secrets in what a guest leaves behind, and replaces them with their names.
//!
//! Finds a value, and its forms in base64, in percent-encoding and in JSON, whatever the case of letters. A net, not a
//! wall: a guest can spell a secret backwards.

use std::borrow::Cow;
use std::fmt::Write;

use aho_corasick::{AhoCorasick, MatchKind};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The minimum length of a value and of its forms: shorter ones would be found by chance.
pub(super) const VALUE_BYTES_MIN: usize = 8;
/// The minimum length of a line of a value that is looked for by itself.
const LINE_BYTES_MIN: usize = 16;
/// What percent-encoding leaves as it is: the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Finds the revealed secrets of a plugin.
pub(crate) struct Redactor {
    automaton: AhoCorasick,
    /// The forms, and what each is replaced with.
    forms: Vec<(Vec<u8>, String)>,
    /// The length of the longest form.
    pub(super) longest: usize,
}

impl Redactor {
    /// Creates a redactor for these names and values.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut forms = Vec::new();
        for (name, value) in secrets {
            let label = format!("[secret {name}]");
            let of_value = forms_of(value).into_iter().map(|form| (form.into_bytes(), label.clone()));
            forms.extend(of_value);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(forms.iter().map(|(form, _)| form))
            .expect("some kilobytes of forms fit into an automaton");
        let longest = forms.iter().map(|(form, _)| form.len()).max().unwrap_or(0);
        Self { automaton, forms, longest }
    }

    /// Replaces secrets in a text.
    pub(crate) fn text(&self, text: String) -> String {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            // Forms are UTF-8, so they begin and end between characters.
            Cow::Owned(redacted) => String::from_utf8(redacted)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// Replaces secrets in bytes.
    pub(crate) fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.automaton.is_match(bytes) {
            return Cow::Borrowed(bytes);
        }
        let labels: Vec<_> = self.forms.iter().map(|(_, label)| label.as_bytes()).collect();
        Cow::Owned(self.automaton.replace_all_bytes(bytes, &labels))
    }

    /// Returns the first secret: where it begins and ends, and what it is replaced with.
    pub(super) fn first(&self, bytes: &[u8]) -> Option<(usize, usize, &str)> {
        let found = self.automaton.find(bytes)?;
        Some((found.start(), found.end(), &self.forms[found.pattern().as_usize()].1))
    }

    /// Returns true if a secret may begin with these bytes and be longer.
    pub(super) fn may_continue(&self, bytes: &[u8]) -> bool {
        self.forms
            .iter()
            .any(|(form, _)| form.len() > bytes.len() && form[..bytes.len()].eq_ignore_ascii_case(bytes))
    }
}

/// Returns the forms of a value that are long enough.
fn forms_of(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    forms.extend(value.lines().filter(|line| line.len() >= LINE_BYTES_MIN).map(str::to_owned));
    forms.push(utf8_percent_encode(value, UNRESERVED).to_string());
    // As in forms, where a space is a plus.
    forms.push(utf8_percent_encode(value, UNRESERVED).to_string().replace("%20", "+"));
    forms.push(all_percent_encoded(value));
    let json = serde_json::Value::from(value).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    forms.extend((0..3).flat_map(|offset| base64_at(value, offset)));
    forms.retain(|form| form.len() >= VALUE_BYTES_MIN);
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn all_percent_encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "%{byte:02X}");
        text
    })
}

/// Returns the base64 of a value that begins at an offset within three bytes, without the characters that depend on what
/// is around it.
fn base64_at(value: &str, offset: usize) -> [String; 2] {
    let bytes = [vec![0; offset], value.as_bytes().to_vec()].concat();
    let skipped = [0, 2, 3][offset];
    [BASE64_NOPAD, BASE64URL_NOPAD].map(|encoding| {
        let text = encoding.encode(&bytes);
        // The last character of an incomplete group has bits of what follows.
        let end = text.len() - usize::from(!bytes.len().is_multiple_of(3));
        text.get(skipped..end).unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    const VALUE: &str = "p@ss \"wörd\" 1/2+3";

    #[test]
    fn a_value_is_found_in_all_its_forms() {
        let redactor = Redactor::new([("DB", VALUE)]);
        let base64 = |before: &str, after: &str| BASE64.encode(format!("{before}{VALUE}{after}").as_bytes());
        for text in [
            VALUE.to_owned(),
            VALUE.to_uppercase().replace('Ö', "ö"),
            utf8_percent_encode(VALUE, UNRESERVED).to_string(),
            utf8_percent_encode(VALUE, UNRESERVED).to_string().to_lowercase(),
            utf8_percent_encode(VALUE, NON_ALPHANUMERIC).to_string().replace("%20", "+").replace("%2E", "."),
            serde_json::json!({ "a": VALUE }).to_string(),
            base64("", ""),
            base64("user:", ""),
            base64("a", "b"),
            base64("ab", "cd"),
            data_encoding::BASE64URL.encode(VALUE.as_bytes()),
            all_percent_encoded(VALUE),
        ] {
            let redacted = redactor.text(format!("before {text} after"));
            assert!(redacted.contains("[secret DB]"), "{text}: {redacted}");
            assert!(redacted.starts_with("before ") && redacted.ends_with(" after"), "{redacted}");
            assert!(!redacted.contains(VALUE) && !redacted.contains("w%C3%B6rd"), "{redacted}");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let redactor = Redactor::new([("DB", VALUE)]);
        for text in ["", "p@ss", &VALUE[1..], "%20", "[secret DB]"] {
            assert_eq!(redactor.text(text.to_owned()), text);
        }
        assert_eq!(&*redactor.bytes(b"\xff\xfe"), b"\xff\xfe");
    }

    #[test]
    fn lines_of_a_value_are_found_by_themselves() {
        let redactor =
            Redactor::new([("PEM", "-----BEGIN KEY-----\nMIGHAgEAMBMGByqGSM49\nshort\n-----END KEY-----")]);
        assert_eq!(redactor.text("key: MIGHAgEAMBMGByqGSM49".to_owned()), "key: [secret PEM]");
        assert_eq!(redactor.text("short".to_owned()), "short");
    }

    #[test]
    fn of_two_secrets_the_longer_one_is_named() {
        let redactor = Redactor::new([("A", "abcdefgh"), ("B", "abcdefghij")]);
        assert_eq!(redactor.text("abcdefghij abcdefgh".to_owned()), "[secret B] [secret A]");
    }
}
