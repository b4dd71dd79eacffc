//! What is common to the texts that people write into files.

/// Removes the byte order mark that some editors write.
#[must_use]
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Formats a byte offset as line and column, such as `line 2, column 9`. Errors name the position instead of quoting the
/// line, which may hold a secret.
#[must_use]
pub fn position(text: &str, offset: usize) -> String {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}
