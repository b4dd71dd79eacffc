//! The key `outputs` of a manifest: which files of the scratch folder a completed task keeps.

use crate::folders::rule::ScratchRule;
use crate::plugin::output_pattern::{InvalidOutputPattern, OutputPattern};

/// The maximum number of patterns.
const PATTERNS_MAX: usize = 32;

/// Checks the patterns.
pub(super) fn check_outputs(
    texts: &[String],
    scratch: Option<&ScratchRule>,
) -> Result<Vec<OutputPattern>, String> {
    if texts.len() > PATTERNS_MAX {
        return Err(format!("outputs has {} patterns; at most {PATTERNS_MAX} are allowed", texts.len()));
    }
    if !texts.is_empty() && scratch.is_none() {
        return Err(
            "outputs needs `scratch` under [allow]: the files are those of the scratch folder".to_owned()
        );
    }
    let parsed = |text: &String| {
        text.parse().map_err(|error: InvalidOutputPattern| {
            format!("outputs '{}': {error}; use, for example, \"*.json\" or \"out/**\"", text.escape_debug())
        })
    };
    texts.iter().map(parsed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_need_a_scratch_folder_and_are_checked() {
        let rule = ScratchRule { guest: "/tmp".to_owned(), bytes_max: 1, files_max: 1 };
        let check = |texts: &[&str], scratch| {
            check_outputs(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), scratch)
        };
        let shown: Vec<_> = check(&["*.json", "out/**"], Some(&rule)).unwrap();
        assert_eq!(shown.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*.json", "out/**"]);
        assert_eq!(check(&[], None), Ok(Vec::new()));
        assert!(check(&["a"], None).unwrap_err().contains("needs `scratch`"));
        assert!(check(&["../a"], Some(&rule)).unwrap_err().contains("outputs '../a'"));
        assert!(check(&["a"; 33], Some(&rule)).unwrap_err().contains("33 patterns"));
    }
}
