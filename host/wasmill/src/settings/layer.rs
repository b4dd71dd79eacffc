//! Values from one source, by setting: the texts that its parser gets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// The values that one source has, such as the file. A setting with several values has several texts.
#[derive(Clone, Default)]
pub(super) struct Layer(BTreeMap<String, Vec<OsString>>);

impl Layer {
    pub(super) fn insert(&mut self, setting: &str, texts: Vec<OsString>) {
        self.0.insert(setting.to_owned(), texts);
    }

    pub(super) fn has(&self, setting: &str) -> bool {
        self.0.contains_key(setting)
    }

    /// Returns these values, and those of `lower` for settings without one here.
    pub(super) fn over(self, mut lower: Self) -> Self {
        lower.0.extend(self.0);
        lower
    }

    /// Returns the flags that would set these values.
    pub(super) fn flags(&self) -> Vec<OsString> {
        self.0.iter().flat_map(|(setting, texts)| texts.iter().map(|text| flag(setting, text))).collect()
    }
}

/// Names the settings only: a value may be a secret.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn flag(setting: &str, text: &OsString) -> OsString {
    let mut flag = OsString::from(format!("--{}=", setting.replace('_', "-")));
    flag.push(text);
    flag
}
