//! What is wrong with a request, gathered while it is read.
//!
//! An answer never grows with what a client sends: a bounded number of faults is kept, each in a bounded text, and
//! the others are only counted. Every text of a client that is quoted back is cut here.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

/// The most faults that one answer names.
pub(crate) const FAULTS_MAX: usize = 10;

/// Bytes, as JSON, of the longest pointer, of the longest name of a parameter, and of the longest detail.
const NAME_BYTES_MAX: usize = 200;
const DETAIL_BYTES_MAX: usize = 500;

/// Bytes, as JSON, that are quoted of one text of a client.
const QUOTED_BYTES_MAX: usize = 120;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Fault {
    /// A JSON pointer into the body, cut if it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The name of a query parameter, cut if it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// What is wrong, and what would be right.
    pub(crate) detail: String,
    /// The names that would be right: said once in an answer, where they are wanted first.
    #[serde(skip)]
    known: Option<&'static [&'static str]>,
}

impl Fault {
    /// Names a field of the body, escaped as RFC 6901 asks.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        Self::at(format!("/{}", escaped(name)), detail)
    }

    /// Means the body as a whole.
    pub(crate) fn body(detail: impl Into<String>) -> Self {
        Self::at(String::new(), detail)
    }

    /// Names a place in the body by its pointer.
    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into(), known: None }
    }

    /// Names a query parameter.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), detail: detail.into(), known: None }
    }

    /// Says which names would be right.
    pub(crate) fn known(self, known: &'static [&'static str]) -> Self {
        Self { known: Some(known), ..self }
    }

    fn cut(self) -> Self {
        let cut = |text: String, bytes_max| match shortened(&text, bytes_max) {
            Cow::Owned(short) => short,
            Cow::Borrowed(_) => text,
        };
        Self {
            pointer: self.pointer.map(|pointer| cut(pointer, NAME_BYTES_MAX)),
            parameter: self.parameter.map(|name| cut(name, NAME_BYTES_MAX)),
            detail: cut(self.detail, DETAIL_BYTES_MAX),
            known: self.known,
        }
    }
}

/// Everything that is wrong with one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    named: Vec<Fault>,
    /// How many there are besides.
    unnamed: usize,
    /// Whether the rest of the request was not looked at.
    is_partial: bool,
}

impl Faults {
    /// Adds one; once there are enough it is only counted.
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.is_full() {
            self.unnamed += 1;
        } else {
            self.named.push(fault.cut());
        }
    }

    /// Counts some that need not be named.
    pub(crate) fn count(&mut self, unnamed: usize) {
        self.unnamed += unnamed;
    }

    /// Adds those of a part of the request, which stands at this pointer.
    pub(crate) fn extend_under(&mut self, parent: &str, faults: Self) {
        for fault in faults.named {
            let pointer = fault.pointer.map(|pointer| format!("{parent}{pointer}"));
            self.push(Fault { pointer, ..fault });
        }
        self.unnamed += faults.unnamed;
        self.is_partial |= faults.is_partial;
    }

    /// Says that the rest of the request was not looked at.
    pub(crate) fn stop(&mut self) {
        self.is_partial = true;
    }

    /// Says whether no more are named.
    pub(crate) fn is_full(&self) -> bool {
        self.named.len() >= FAULTS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed == 0
    }

    /// Returns all of it in one text, and those that are named.
    pub(crate) fn into_parts(mut self) -> (String, Vec<Fault>) {
        let mut said = Vec::new();
        for fault in &mut self.named {
            let known = fault.known.filter(|known| !said.contains(known));
            if let Some(known) = known {
                said.push(known);
                fault.detail.push_str(&format!("; known are {}", known.join(", ")));
            }
        }
        let details = self.named.iter().map(|fault| Cow::Borrowed(fault.detail.as_str()));
        let more = match (self.unnamed, self.is_partial) {
            (0, false) => None,
            (_, true) => Some("there may be more".into()),
            (unnamed, false) => Some(format!("and {unnamed} more").into()),
        };
        let detail = details.chain(more).collect::<Vec<_>>().join("; ");
        (detail, self.named)
    }
}

impl Extend<Fault> for Faults {
    fn extend<T: IntoIterator<Item = Fault>>(&mut self, faults: T) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { named: vec![fault.cut()], ..Self::default() }
    }
}

impl From<Vec<Fault>> for Faults {
    fn from(all: Vec<Fault>) -> Self {
        let mut faults = Self::default();
        faults.extend(all);
        faults
    }
}

/// Escapes a name as a JSON pointer has it.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Cuts a text of a client before it is quoted back.
pub(crate) fn quoted(text: &str) -> Cow<'_, str> {
    shortened(text, QUOTED_BYTES_MAX)
}

/// Cuts a text to so many bytes as JSON writes them.
pub(crate) fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, c)| {
        bytes += match c {
            '"' | '\\' => 2,
            '\0'..='\x1f' => 6,
            c => c.len_utf8(),
        };
        bytes > bytes_max
    });
    match end {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_bounded_in_number_and_in_size_whatever_they_quote() {
        for c in ['a', '\u{0}', '"', '~', '💣'] {
            let long: String = std::iter::repeat_n(c, 100_000).collect();
            let mut faults = Faults::default();
            for _ in 0..100_000 {
                faults.push(Fault::field(&long[..10 * c.len_utf8()], "wrong"));
            }
            for _ in 0..20 {
                faults.push(Fault::field(&long, format!("unknown field '{long}'")));
            }
            let (detail, _) = faults.into_parts();
            assert!(detail.ends_with("; and 100010 more"), "{detail}");
            let mut large: Faults = vec![Fault::parameter(&long, long.clone()); 20].into();
            large.extend_under(&long, Fault::body(long.clone()).into());
            let (detail, named) = large.into_parts();
            let size = serde_json::to_string(&(detail, named)).expect("JSON").len();
            assert!(size < 13_000, "{size}");
        }
    }

    #[test]
    fn what_is_known_is_said_once() {
        let unknown = |known| Faults::from(Fault::field("x", "unknown").known(known));
        let mut faults = unknown(&["a", "b"]);
        faults.extend_under("/1", unknown(&["a", "b"]));
        faults.extend_under("/2", unknown(&["c"]));
        let expected = "unknown; known are a, b; unknown; unknown; known are c";
        assert_eq!(faults.clone().into_parts().0, expected);
        faults.stop();
        assert_eq!(faults.into_parts().0, format!("{expected}; there may be more"));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "abc…");
        assert_eq!(shortened("aüb", 2), "a…");
        assert_eq!(shortened("\u{1}\u{1}", 6), "\u{1}…");
    }
}
