//! The smallest plugins: each answers with four letters. Made from text, without a toolchain.

/// Returns the text of a plugin that answers with these four letters.
///
/// # Panics
///
/// If there are not four of them.
pub fn text(answer: &str) -> String {
    assert_eq!(answer.len(), 4, "the plugin has room for four letters");
    include_str!("../guests/tiny.wat").replace("TEXT", answer)
}

/// Makes a plugin that answers with these four letters.
///
/// # Panics
///
/// If there are not four of them.
pub fn plugin(answer: &str) -> Vec<u8> {
    parse(&text(answer))
}

/// Makes a plugin of its text.
///
/// # Panics
///
/// If the text is not WebAssembly.
pub fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid WebAssembly")
}
