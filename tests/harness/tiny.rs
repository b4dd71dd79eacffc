//! Minimal plugins whose result is four letters, built from WAT without a toolchain.

/// Returns the WAT of a plugin with this result.
///
/// # Panics
///
/// If the result does not have four letters.
pub fn text(answer: &str) -> String {
    assert_eq!(answer.len(), 4, "the plugin has room for four letters");
    include_str!("../guests/tiny.wat").replace("TEXT", answer)
}

/// Builds a plugin with this result.
///
/// # Panics
///
/// If the result does not have four letters.
pub fn plugin(answer: &str) -> Vec<u8> {
    parse(&text(answer))
}

/// Builds a plugin from WAT.
///
/// # Panics
///
/// If the text is not valid WAT.
pub fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid WebAssembly")
}
