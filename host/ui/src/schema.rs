//! A form from a JSON Schema, and the JSON that it stands for.
//!
//! A form is laid out from the schema alone, then filled with a value or with what was sent. What it cannot show as it
//! was written is a box for JSON in its place, so no schema is refused and nothing that was entered is lost: form to
//! JSON to form is the same.

mod fill;
mod layout;
mod node;
mod read;
mod show;
#[cfg(test)]
mod tests;

pub use self::fill::{fill, sent};
pub use self::layout::lay_out;
pub use self::read::read;
pub use self::show::show;

/// Nested objects up to this level are fields of their own.
const LEVELS_MAX: usize = 3;
/// Fields of a form; an object that has more is a box for JSON.
const FIELDS_MAX: usize = 100;
/// Choices of a field; with more, it is a text.
const CHOICES_MAX: usize = 100;
/// Variants of a field; with more, it is a box for JSON.
const VARIANTS_MAX: usize = 20;
/// A text that may be longer has several lines.
const LINE_CHARS_MAX: u64 = 200;
/// Names a field whose value is written as JSON.
pub(crate) const JSON_PREFIX: &str = "json:";
/// Names the choice among the variants of a field.
pub(crate) const PICK_PREFIX: &str = "pick:";
/// Separates a variant from the field that it is one of, in names.
const VARIANT: char = '|';

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// JSON pointer of its value.
    pub at: String,
    /// Its name in the form: the pointer, and the variants on the way to it.
    pub name: String,
    /// What it is.
    pub label: String,
    /// What is said about it.
    pub help: String,
    /// Whether a value has to be there.
    pub required: bool,
    /// How it is entered, and what is entered.
    pub kind: FieldKind,
}

/// How a value is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A string.
    Text(String, Shape),
    /// A number as it is written.
    Number(String),
    /// One of these, written as JSON.
    Choice(Vec<String>, Option<String>),
    /// Items of an array, one in each line.
    Lines(String, Items),
    /// Any JSON.
    Json(String),
    /// Members of an object.
    Group(Vec<Field>),
    /// Ways to write the value, and which of them is used.
    Variants(Vec<Field>, Option<usize>),
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the format of this name")]
pub enum Shape {
    /// One line.
    Line,
    /// Several lines.
    Area,
    /// What nobody should read over a shoulder.
    Secret,
    Date,
    /// In UTC.
    DateTime,
    Email,
    Uri,
}

/// What the lines of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the type of this name")]
pub enum Items {
    Texts,
    Numbers,
}
