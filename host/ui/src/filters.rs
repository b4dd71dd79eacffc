//! The filters of the task list: the URL is the filter, and the filter is the URL.

/// Names of the parameters, as `GET /task` has them.
pub const NAMES: [&str; 12] = [
    "state",
    "plugin",
    "tag",
    "created_after",
    "created_before",
    "q",
    "id_end",
    "schedule",
    "group",
    "unique_key",
    "parent",
    "cause",
];

/// A filter as the reader gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Takes the parameters of a filter, without empty ones: a form sends all its fields.
    pub fn read<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let given = parameters.filter(|(name, value)| NAMES.contains(name) && !value.trim().is_empty());
        Self(given.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// Returns true without any filter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns the filter with this value as well, or in place of the earlier one. Only `tag` may repeat.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut next = if name == "tag" { self.without_value(name, value) } else { self.without(name) };
        next.0.push((name.to_owned(), value.to_owned()));
        next
    }

    /// Returns the filter without this parameter.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// Returns the filter without this value.
    #[must_use]
    pub fn without_value(&self, name: &str, value: &str) -> Self {
        Self(self.0.iter().filter(|(known, old)| known != name || old != value).cloned().collect())
    }

    /// Returns the query, without a question mark; empty without a filter.
    pub fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// Returns a link to this page with the filter and further parameters.
    pub fn href(&self, page: &str, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.0).extend_pairs(more);
        let query = query.finish();
        if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") }
    }

    /// Returns the filter in words, such as `failed · plugin fetch`.
    pub fn words(&self) -> String {
        let word = |(name, value): (&str, &str)| match name {
            "state" => value.replace(',', " or "),
            "q" => format!("id begins with {value}"),
            "id_end" => format!("id ends with {value}"),
            name => format!("{} {value}", name.replace('_', " ")),
        };
        self.iter().map(word).collect::<Vec<_>>().join(" · ")
    }

    /// Returns the filter as options of a command of `wasmill`.
    pub fn options(&self) -> String {
        let option = |(name, value): (&str, &str)| {
            let name = if name == "q" { "id".to_owned() } else { name.replace('_', "-") };
            format!(" --{name} {}", crate::part::command::quote(value))
        };
        self.iter().map(option).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Filters {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Filters::read(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    #[test]
    fn empty_fields_and_other_parameters_are_left_out() {
        assert_eq!(read("state=&plugin=a&tag=+&cursor=1&tag=x").query(), "plugin=a&tag=x");
    }

    #[test]
    fn a_value_replaces_the_earlier_one_and_tags_add_up() {
        let filters = read("state=failed&tag=a");
        assert_eq!(filters.with("state", "running").query(), "tag=a&state=running");
        assert_eq!(filters.with("tag", "b&c").query(), "state=failed&tag=a&tag=b%26c");
        assert_eq!(filters.with("tag", "a"), filters);
        assert_eq!(filters.without("state").href("tasks", &[("cursor", "7")]), "tasks?tag=a&cursor=7");
        assert_eq!(Filters::default().href("tasks", &[]), "tasks");
        assert_eq!(filters.words(), "failed · tag a");
    }
}
