//! A part of a schema, as its text: its members stay in the order in which people read them, its numbers as written.

use super::{CHOICES_MAX, FieldKind, Items, LINE_CHARS_MAX, Shape};
use crate::part::json;

/// References that are followed one after another.
const REFERENCES_MAX: usize = 8;

/// A part of a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a>(pub(super) &'a str);

impl<'a> Node<'a> {
    /// Returns the members of an object; of two of the same name, the last.
    pub(super) fn members(self) -> Vec<(String, Self)> {
        let mut members: Vec<(String, Self)> = Vec::new();
        for (name, value) in json::members(self.0).unwrap_or_default() {
            match members.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = Self(value.get()),
                None => members.push((name, Self(value.get()))),
            }
        }
        members
    }

    pub(super) fn get(self, name: &str) -> Option<Self> {
        let members = json::members(self.0)?;
        members.into_iter().rev().find(|(known, _)| known == name).map(|(_, value)| Self(value.get()))
    }

    fn items(self) -> Option<Vec<Self>> {
        Some(json::items(self.0)?.into_iter().map(|item| Self(item.get())).collect())
    }

    /// Returns the text of this member.
    pub(super) fn text(self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.0).ok()
    }

    /// Returns the strings of this member.
    pub(super) fn names(self, name: &str) -> Vec<String> {
        self.get(name).and_then(|names| serde_json::from_str(names.0).ok()).unwrap_or_default()
    }

    fn number(self, name: &str) -> Option<u64> {
        serde_json::from_str(self.get(name)?.0).ok()
    }

    /// Returns it as this program writes it, numbers as they are.
    pub(super) fn canonical(self) -> String {
        if let Ok(text) = serde_json::from_str::<String>(self.0) {
            return json::string(&text);
        }
        let members = |members: Vec<(String, Self)>| -> Vec<(String, String)> {
            members.into_iter().map(|(name, value)| (name, value.canonical())).collect()
        };
        match (self.0.as_bytes().first(), self.items()) {
            (Some(b'{'), _) => json::object(&members(self.members())),
            (_, Some(items)) => json::array(&items.into_iter().map(Self::canonical).collect::<Vec<_>>()),
            _ => self.0.to_owned(),
        }
    }

    /// Follows a reference within the schema.
    pub(super) fn resolve(self, root: Self) -> Self {
        let mut node = self;
        for _ in 0..REFERENCES_MAX {
            let Some(pointer) = node.text("$ref") else { break };
            let Some(next) = pointer.strip_prefix('#').and_then(|pointer| root.at(pointer)) else { break };
            node = next;
        }
        node
    }

    fn at(self, pointer: &str) -> Option<Self> {
        pointer.split('/').skip(1).try_fold(self, |node, segment| {
            let name = segment.replace("~1", "/").replace("~0", "~");
            match node.items() {
                Some(items) => items.get(name.parse::<usize>().ok()?).copied(),
                None => node.get(&name),
            }
        })
    }

    /// Returns the type of the value, whether or not it may be null as well.
    pub(super) fn kind(self) -> Option<String> {
        if let Some(kind) = self.text("type") {
            return Some(kind);
        }
        let kinds: Vec<_> = self.names("type").into_iter().filter(|kind| kind != "null").collect();
        <[String; 1]>::try_from(kinds).ok().map(|[kind]| kind)
    }

    /// Returns the values of an enumeration, a constant or a boolean, as JSON.
    pub(super) fn options(self) -> Option<Vec<String>> {
        if self.text("type").as_deref() == Some("boolean") {
            return Some(vec!["true".to_owned(), "false".to_owned()]);
        }
        if let Some(value) = self.get("const") {
            return Some(vec![value.canonical()]);
        }
        let values = match self.get("enum") {
            Some(values) => values.items()?,
            // Constants with words of their own.
            None => self.alternatives()?.into_iter().map(|one| one.get("const")).collect::<Option<_>>()?,
        };
        let mut options: Vec<String> = Vec::new();
        for value in values.into_iter().map(Self::canonical) {
            if !options.contains(&value) {
                options.push(value);
            }
        }
        (1..=CHOICES_MAX).contains(&options.len()).then_some(options)
    }

    fn alternatives(self) -> Option<Vec<Self>> {
        let all = self.get("oneOf").or_else(|| self.get("anyOf"))?.items()?;
        (!all.is_empty()).then_some(all)
    }

    /// Returns the ways to write the value, but for null.
    pub(super) fn variants(self, root: Self) -> Option<Vec<Self>> {
        let all = self.alternatives()?.into_iter().map(|one| one.resolve(root));
        let all: Vec<_> = all.filter(|one| one.text("type").as_deref() != Some("null")).collect();
        (!all.is_empty()).then_some(all)
    }

    /// Says which variant this is: by its title, what is constant in it, or its type.
    pub(super) fn variant_label(self, root: Self, index: usize) -> String {
        if let Some(title) = self.text("title").filter(|title| !title.is_empty()) {
            return title;
        }
        let properties = self.get("properties").map(Self::members).unwrap_or_default();
        let constant = properties.into_iter().find_map(|(name, property)| {
            let value = property.resolve(root).get("const")?.canonical();
            Some(format!("{name}: {}", value.trim_matches('"')))
        });
        constant.or_else(|| self.kind()).unwrap_or_else(|| format!("variant {}", index + 1))
    }

    /// Says what a string is. Within a variant a browser must not check it: one that is not chosen would be in the way.
    pub(super) fn shape(self, is_in_variant: bool) -> Shape {
        let is_long = self.number("maxLength").is_some_and(|length| length > LINE_CHARS_MAX);
        if is_long || self.get("contentMediaType").is_some() {
            return Shape::Area;
        }
        if self.get("writeOnly").is_some_and(|is| is.0 == "true") {
            return Shape::Secret;
        }
        match self.text("format").as_deref() {
            Some("date") if !is_in_variant => Shape::Date,
            Some("date-time") if !is_in_variant => Shape::DateTime,
            Some("email" | "idn-email") => Shape::Email,
            Some("uri" | "iri") => Shape::Uri,
            _ => Shape::Line,
        }
    }

    /// Says what the items of an array are, if each fits into a line.
    pub(super) fn items_kind(self) -> Option<Items> {
        match self.kind()?.as_str() {
            "string" => Some(Items::Texts),
            "integer" | "number" => Some(Items::Numbers),
            _ => None,
        }
    }

    /// Says what is not seen at a field of this kind.
    pub(super) fn help(self, kind: &FieldKind) -> String {
        let is_own_input =
            matches!(kind, FieldKind::Text(_, Shape::Date | Shape::DateTime | Shape::Email | Shape::Uri));
        let mut parts: Vec<String> = self.text("description").into_iter().collect();
        for (name, words) in
            [("minimum", "at least"), ("maximum", "at most"), ("format", "format"), ("pattern", "pattern")]
        {
            let said = self.get(name).filter(|_| name != "format" || !is_own_input);
            let said = said.map(|value| self.text(name).unwrap_or_else(|| value.0.to_owned()));
            parts.extend(said.map(|said| format!("{words} {said}")));
        }
        if matches!(kind, FieldKind::Lines(..)) {
            let choices = self.get("items").filter(|items| items.get("enum").is_some());
            let choices = choices.and_then(Self::options).unwrap_or_default();
            parts.extend((!choices.is_empty()).then(|| format!("of {}", choices.join(", "))));
            parts.push("one in each line".to_owned());
        }
        let example = self.get("examples").and_then(Self::items).and_then(|all| all.first().copied());
        parts.extend(example.map(|example| format!("such as {}", example.0)));
        parts.join("; ")
    }
}
