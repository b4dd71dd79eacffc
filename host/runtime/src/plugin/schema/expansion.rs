//! Counts the ways in which the parts of a schema refer to each other for the same value.
//!
//! Called by `schema` before a schema is compiled. `metered` does not see validation that goes from part to part
//! without accessing the value, and a chain of a few dozen parts that each refer to the next one twice takes a
//! billion steps.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Ways through a schema for one value.
const WAYS_MAX: u64 = 10_000;
/// The length of a chain of parts for one value.
const CHAIN_MAX: usize = 200;
/// Keywords whose schema applies to the same value.
const SAME_VALUE: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords with a list of such schemas.
const SAME_VALUE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords with a map of such schemas.
const SAME_VALUE_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords that refer to another part.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Rejects a schema with too many ways through it.
///
/// # Errors
///
/// Says which bound is exceeded.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let mut expansion = Expansion { root: schema, named: HashMap::new(), ways: HashMap::new() };
    expansion.find_names(schema);
    expansion.visit_all(schema)
}

struct Expansion<'a> {
    root: &'a Value,
    /// Parts by identifier or anchor, without the number sign. A name may be ambiguous.
    named: HashMap<&'a str, Vec<&'a Value>>,
    /// Ways through each part, by its address; `None` while it is being counted.
    ways: HashMap<usize, Option<u64>>,
}

fn address(part: &Value) -> usize {
    std::ptr::from_ref(part).addr()
}

impl<'a> Expansion<'a> {
    fn find_names(&mut self, value: &'a Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.find_names(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    let is_name = matches!(name.as_str(), "$id" | "id" | "$anchor" | "$dynamicAnchor");
                    if let (true, Some(text)) = (is_name, member.as_str()) {
                        self.named.entry(text.trim_matches('#')).or_default().push(value);
                    }
                    self.find_names(member);
                }
            }
            _ => {}
        }
    }

    /// Counts from every part, because the validation of a nested value starts at one of them.
    fn visit_all(&mut self, value: &'a Value) -> Result<(), String> {
        self.count(value, 0)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.visit_all(item)),
            Value::Object(members) => members.values().try_for_each(|member| self.visit_all(member)),
            _ => Ok(()),
        }
    }

    fn count(&mut self, part: &'a Value, chain: usize) -> Result<u64, String> {
        let Value::Object(members) = part else { return Ok(1) };
        match self.ways.get(&address(part)) {
            Some(Some(ways)) => return Ok(*ways),
            // The validator stops where a part leads back to itself for the same value.
            Some(None) => return Ok(1),
            None => {}
        }
        if chain > CHAIN_MAX {
            return Err(format!(
                "over {CHAIN_MAX} of its parts form a chain of references for the same value"
            ));
        }
        self.ways.insert(address(part), None);
        let mut ways = 1_u64;
        for (keyword, value) in members {
            let keyword = keyword.as_str();
            let next: Vec<&Value> = match value {
                _ if SAME_VALUE.contains(&keyword) => vec![value],
                Value::Array(parts) if SAME_VALUE_LISTS.contains(&keyword) => parts.iter().collect(),
                Value::Object(parts) if SAME_VALUE_MAPS.contains(&keyword) => parts.values().collect(),
                Value::String(reference) if REFERENCES.contains(&keyword) => {
                    let mut ways_max = 0;
                    for target in self.targets(reference) {
                        ways_max = ways_max.max(self.count(target, chain + 1)?);
                    }
                    ways = ways.saturating_add(ways_max);
                    continue;
                }
                _ => continue,
            };
            for part in next {
                ways = ways.saturating_add(self.count(part, chain + 1)?);
            }
        }
        if ways > WAYS_MAX {
            return Err(format!(
                "its parts refer to each other in too many ways: over {WAYS_MAX} for one value"
            ));
        }
        self.ways.insert(address(part), Some(ways));
        Ok(ways)
    }

    /// Returns all parts that a reference may mean.
    fn targets(&self, reference: &str) -> Vec<&'a Value> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let ends_with_base = |name: &&str| name.ends_with(base.rsplit('/').next().unwrap_or(base));
        let resources: Vec<&Value> = if base.is_empty() {
            // Pointers may also start at an embedded resource.
            std::iter::once(self.root).chain(self.named.values().flatten().copied()).collect()
        } else {
            let named = self.named.iter().filter(|(name, _)| ends_with_base(name));
            named.flat_map(|(_, parts)| parts).copied().collect()
        };
        if fragment.is_empty() || fragment.starts_with('/') {
            let pointer = percent_decode_str(fragment).decode_utf8_lossy();
            return resources.into_iter().filter_map(|resource| resource.pointer(&pointer)).collect();
        }
        self.named.get(fragment).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a schema of `count` levels, each of which refers to the next one twice.
    fn levels(count: usize, reference: impl Fn(usize) -> Value, last: Value) -> Value {
        let mut defs = serde_json::Map::new();
        for level in 0..count {
            let next = reference(level + 1);
            defs.insert(level.to_string(), json!({"$anchor": format!("a{level}"), "allOf": [next, next]}));
        }
        defs.insert(count.to_string(), last);
        json!({"$ref": "#/$defs/0", "$defs": defs})
    }

    #[test]
    fn a_doubling_schema_is_rejected_for_every_kind_of_reference() {
        let pointer = |level: usize| json!({"$ref": format!("#/$defs/{level}")});
        let encoded = |level: usize| json!({"$ref": format!("#/%24defs/{level}")});
        let anchor = |level: usize| json!({"$ref": format!("#a{level}")});
        for last in [json!(true), json!({}), json!({"type": "null"})] {
            assert!(check(&levels(30, pointer, last.clone())).unwrap_err().contains("too many ways"));
            assert!(check(&levels(30, encoded, last.clone())).unwrap_err().contains("too many ways"));
        }
        let last = json!({"$anchor": "a30", "type": "null"});
        assert!(check(&levels(30, anchor, last)).unwrap_err().contains("too many ways"));
        assert_eq!(check(&levels(10, pointer, json!(true))), Ok(()));
    }

    #[test]
    fn a_long_chain_is_rejected_and_a_recursion_through_values_is_not() {
        let chain = |level: usize| json!({"$ref": format!("#/$defs/{level}")});
        let mut defs = serde_json::Map::new();
        (0..5_000).for_each(|level| drop(defs.insert(level.to_string(), chain(level + 1))));
        defs.insert("5000".to_owned(), json!(true));
        assert!(check(&json!({"$ref": "#/$defs/0", "$defs": defs})).unwrap_err().contains("over 200"));
        assert_eq!(check(&json!({"properties": {"next": {"$ref": "#"}}, "items": {"$ref": "#"}})), Ok(()));
        assert_eq!(check(&json!({"$ref": "#"})), Ok(()));
    }

    #[test]
    fn literal_data_does_not_count() {
        let data =
            json!({"const": {"allOf": vec![json!({"$ref": "#"}); 50]}, "enum": [[1], {"$ref": "#/none"}]});
        assert_eq!(check(&data), Ok(()));
    }
}
