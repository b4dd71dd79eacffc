//! Lays out the fields of a form from a schema.

use super::fill;
use super::node::Node;
use super::{FIELDS_MAX, Field, FieldKind, LEVELS_MAX, VARIANT, VARIANTS_MAX};

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
