//! Suggests the name that a mistyped one may mean.

/// Maximum edit distance of a suggested name.
const DISTANCE_MAX: usize = 4;

/// Returns what to try instead of an unknown setting: a similar name, or the help.
pub(crate) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let distances = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    match distances.filter(|(distance, _)| *distance <= DISTANCE_MAX).min() {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => "see `wasmill serve --help`".to_owned(),
    }
}
