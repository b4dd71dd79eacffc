//! A form from a JSON Schema, and the JSON that it stands for.
//!
//! A form is laid out from the schema alone, then filled with a value or with what was sent. What it cannot show as it
//! was written is a box for JSON in its place, so no schema is refused and nothing that was entered is lost: form to
//! JSON to form is the same.

mod fill;
mod node;
mod read;
mod show;
#[cfg(test)]
mod tests;

pub use self::fill::{fill, sent};
use self::node::Node;
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

/// Lays out a form for a schema, with this value, both as JSON; without a value, with the defaults of the schema.
pub fn lay_out(schema: &str, value: Option<&str>) -> Field {
    let mut layout = Layout { root: Node(schema), left: FIELDS_MAX };
    let place = Place { at: String::new(), name: String::new(), required: true, level: 0 };
    let mut form = layout.field(Node(schema), place);
    if value.is_some() {
        fill::set(&mut form, value);
    }
    form
}

/// Where a field is.
struct Place {
    at: String,
    name: String,
    required: bool,
    level: usize,
}

struct Layout<'a> {
    root: Node<'a>,
    left: usize,
}

impl<'a> Layout<'a> {
    fn field(&mut self, schema: Node<'a>, place: Place) -> Field {
        let schema = schema.resolve(self.root);
        self.left = self.left.saturating_sub(1);
        let own = || fill::member(&place.at);
        let label = schema.text("title").filter(|title| !title.is_empty()).unwrap_or_else(own);
        let kind = self.kind(schema, &place);
        let Place { at, name, required, .. } = place;
        let help = schema.help(&kind);
        let mut field = Field { at, name, label, help, required, kind };
        if let Some(default) = schema.get("default").filter(|default| default.0 != "null") {
            fill::set_default(&mut field, &default.canonical());
        }
        field
    }

    fn kind(&mut self, schema: Node<'a>, place: &Place) -> FieldKind {
        if let Some(options) = schema.options() {
            // What tells the variants of a value apart is not left to the reader.
            let is_given = options.len() == 1
                && schema.get("const").is_some()
                && (place.required || place.name.contains(VARIANT));
            let chosen = options.first().filter(|_| is_given).cloned();
            return FieldKind::Choice(options, chosen);
        }
        let kind = schema.kind();
        if kind.as_deref() == Some("object")
            && let Some(group) = self.group(schema, place)
        {
            return group;
        }
        if let Some(variants) = schema.variants(self.root).filter(|_| place.level < LEVELS_MAX) {
            return self.variants(&variants, place);
        }
        match kind.as_deref() {
            Some("string") => FieldKind::Text(String::new(), schema.shape(place.name.contains(VARIANT))),
            Some("integer" | "number") => FieldKind::Number(String::new()),
            Some("array") => {
                let items = schema.get("items").map(|items| items.resolve(self.root));
                let items = items.and_then(Node::items_kind);
                items.map_or(FieldKind::Json(String::new()), |items| FieldKind::Lines(String::new(), items))
            }
            _ => FieldKind::Json(String::new()),
        }
    }

    /// Lays out the members of an object, if they are known and few enough.
    fn group(&mut self, schema: Node<'a>, place: &Place) -> Option<FieldKind> {
        let properties = schema.get("properties")?.members();
        if properties.is_empty() || properties.len() > self.left || place.level >= LEVELS_MAX {
            return None;
        }
        let required = schema.names("required");
        let fields = properties.into_iter().map(|(name, property)| {
            let segment = name.replace('~', "~0").replace('/', "~1");
            let place = Place {
                at: format!("{}/{segment}", place.at),
                name: format!("{}/{}", place.name, segment.replace(VARIANT, "~2")),
                required: required.contains(&name),
                level: place.level + 1,
            };
            self.field(property, place)
        });
        Some(FieldKind::Group(fields.collect()))
    }

    fn variants(&mut self, variants: &[Node<'a>], place: &Place) -> FieldKind {
        let inner = |name| Place { at: place.at.clone(), name, required: true, level: place.level + 1 };
        if let [only] = variants {
            // What may be null besides is written as JSON when it is.
            return self.kind(*only, &Place { required: place.required, ..inner(place.name.clone()) });
        }
        if variants.len() > VARIANTS_MAX || self.left == 0 {
            return FieldKind::Json(String::new());
        }
        let fields = variants.iter().enumerate().map(|(index, variant)| {
            let mut field = self.field(*variant, inner(format!("{}{VARIANT}{index}", place.name)));
            field.label = variant.variant_label(self.root, index);
            field
        });
        FieldKind::Variants(fields.collect(), place.required.then_some(0))
    }
}
