//! The patterns of a manifest that tell which files of the scratch folder a task keeps.

use std::fmt;
use std::str::FromStr;

use wasmill_model::{FileName, InvalidFileName};

/// A pattern of names, part by part: `*` is any text within a part, `?` one character, and a part `**` any number of
/// parts, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPattern {
    text: FileName,
    parts: Vec<PatternPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternPart {
    /// `**`
    AnyParts,
    /// Text with `*` and `?`.
    Name(Vec<char>),
}

/// A text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOutputPattern {
    /// It is no path of plain parts.
    #[error("{0}")]
    Name(#[from] InvalidFileName),
    /// `**` stands beside other text.
    #[error("** must be a part of its own, as in out/**")]
    Stars,
}

/// How far a pattern has matched a path: a bit for each of its parts that may come next, and one for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matched(u32);

impl OutputPattern {
    /// Returns where matching starts.
    pub(crate) fn start(&self) -> Matched {
        self.closed(1)
    }

    /// Matches the next part of a path.
    pub(crate) fn step(&self, matched: Matched, name: &str) -> Matched {
        let mut next = 0;
        for (place, part) in self.parts.iter().enumerate().filter(|(place, _)| matched.0 >> place & 1 == 1) {
            next |= match part {
                PatternPart::AnyParts => 1 << place,
                PatternPart::Name(pattern) if matches(pattern, name) => 1 << (place + 1),
                PatternPart::Name(_) => 0,
            };
        }
        self.closed(next)
    }

    /// Returns true if the whole path matches.
    pub(crate) fn is_match(&self, matched: Matched) -> bool {
        matched.0 >> self.parts.len() & 1 == 1
    }

    /// Returns true if a path in this folder may match.
    pub(crate) fn may_continue(&self, matched: Matched) -> bool {
        matched.0 & !(1 << self.parts.len()) != 0
    }

    /// Adds the places that are reached by `**` without a part.
    fn closed(&self, mut places: u32) -> Matched {
        for (place, part) in self.parts.iter().enumerate() {
            if *part == PatternPart::AnyParts && places >> place & 1 == 1 {
                places |= 1 << (place + 1);
            }
        }
        Matched(places)
    }
}

impl FromStr for OutputPattern {
    type Err = InvalidOutputPattern;

    fn from_str(text: &str) -> Result<Self, InvalidOutputPattern> {
        let name: FileName = text.parse()?;
        let part = |part: &str| match part {
            "**" => Ok(PatternPart::AnyParts),
            part if part.contains("**") => Err(InvalidOutputPattern::Stars),
            part => Ok(PatternPart::Name(part.chars().collect())),
        };
        let parts = name.as_str().split('/').map(part).collect::<Result<_, _>>()?;
        Ok(Self { text: name, parts })
    }
}

impl fmt::Display for OutputPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// Matches one part. Goes back to the last star only, which is enough.
fn matches(pattern: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, in_name) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, path: &str) -> bool {
        let pattern: OutputPattern = pattern.parse().unwrap();
        let matched = path.split('/').fold(pattern.start(), |matched, part| pattern.step(matched, part));
        pattern.is_match(matched)
    }

    #[test]
    fn a_pattern_matches_part_by_part() {
        for (pattern, path) in [
            ("a", "a"),
            ("*.json", "x.json"),
            ("*.json", ".json"),
            ("*a*b*", "xaxbxab"),
            ("?.v", "ü.v"),
            ("out/**", "out/a"),
            ("out/**", "out/a/b/c"),
            ("**/*.json", "x.json"),
            ("**/*.json", "a/b/x.json"),
            ("**", "a/b"),
            ("a/**/b/*", "a/b/c"),
            ("a/**/b/*", "a/x/b/y/b/c"),
            ("*/*", "a/b"),
        ] {
            assert!(is_match(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a", "b"),
            ("*.json", "a/x.json"),
            ("*.json", "x.json5"),
            ("?", ""),
            ("?", "ab"),
            ("out/*", "out/a/b"),
            ("out/**/x", "out"),
            ("a/**/b", "a/b/c"),
        ] {
            assert!(!is_match(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_folder_is_left_alone_if_nothing_in_it_can_match() {
        let pattern: OutputPattern = "out/*/x".parse().unwrap();
        let out = pattern.step(pattern.start(), "out");
        assert!(pattern.may_continue(out) && pattern.may_continue(pattern.step(out, "a")));
        assert!(!pattern.may_continue(pattern.step(pattern.start(), "in")));
        let deep = pattern.step(pattern.step(out, "a"), "x");
        assert!(pattern.is_match(deep) && !pattern.may_continue(deep));
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = format!("{}b", "*a".repeat(120));
        assert!(!is_match(&pattern, &"a".repeat(255)));
        let parts = ["**"; 15].join("/");
        assert!(is_match(&format!("{parts}/x"), &[["a"; 15].join("/"), "x".to_owned()].join("/")));
    }

    #[test]
    fn a_pattern_is_a_relative_path() {
        for (text, why) in [
            ("/a", InvalidOutputPattern::Name(InvalidFileName::Absolute)),
            ("../*", InvalidOutputPattern::Name(InvalidFileName::NotPlain)),
            ("", InvalidOutputPattern::Name(InvalidFileName::NotPlain)),
            ("a**", InvalidOutputPattern::Stars),
            ("***", InvalidOutputPattern::Stars),
        ] {
            assert_eq!(text.parse::<OutputPattern>(), Err(why), "{text}");
        }
    }
}
