//! The field `files` of a task request: names, and the bytes of each as base64.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use wasmill_model::{FileBudget, FileLimits, FileName, NewDependencies};
use wasmill_runtime::PluginConfig;

use crate::problem::field_errors::{FieldError, FieldErrors, escaped, truncated_quote};

/// A file that a request gives.
pub(crate) struct GivenFile {
    pub(crate) name: FileName,
    pub(crate) bytes: Vec<u8>,
}

/// Parses the field, or reports what is expected. The files fit into what the plugin allows.
pub(crate) fn read(
    value: Option<&RawValue>,
    config: Option<&PluginConfig>,
    errors: &mut FieldErrors,
) -> Vec<GivenFile> {
    let Some(value) = value else { return Vec::new() };
    let limits = config.map_or_else(FileLimits::default, |config| config.limits.files);
    let count_max = usize::try_from(limits.count_max).unwrap_or(usize::MAX);
    let Some(members) = Members::read(value, count_max) else {
        let detail = "files must be an object of names and base64, such as {\"in.txt\": \"aGVsbG8K\"}";
        errors.push(FieldError::field("files", detail));
        return Vec::new();
    };
    let mut budget = FileBudget::new(limits);
    let mut files: Vec<GivenFile> = Vec::new();
    for (name, value) in &members.0 {
        // The names of the other files are no news once there are too many.
        if let Err(refusal) = budget.add() {
            errors.push(FieldError::field("files", refusal.to_string()));
            break;
        }
        match file(name, value, &files, &mut budget) {
            Ok(file) => files.push(file),
            Err(why) => errors.push(FieldError::at(format!("/files/{}", escaped(name)), why)),
        }
    }
    if let Some(config) = config
        && let Err(why) =
            check_room(config, files.len() as u64, files.iter().map(|file| file.bytes.len() as u64).sum())
    {
        errors.push(FieldError::field("files", why));
    }
    files
}

/// Parses one file.
fn file(
    name: &str,
    value: &RawValue,
    earlier: &[GivenFile],
    budget: &mut FileBudget,
) -> Result<GivenFile, String> {
    let shown = truncated_quote(name);
    let name = file_name(name, earlier.iter().map(|file| &file.name))?;
    let text = string(value).ok_or_else(|| format!("the file '{shown}' must be a string of base64"))?;
    let bytes = BASE64.decode(text.as_bytes()).map_err(|error| {
        format!("the file '{shown}' must be base64 with padding (RFC 4648, section 4): {error}")
    })?;
    budget.grow(&name, 0, bytes.len() as u64).map_err(|refusal| refusal.to_string())?;
    Ok(GivenFile { name, bytes })
}

/// Parses the name of a file beside others.
///
/// # Errors
///
/// Says why it cannot have this name.
pub(crate) fn file_name<'a>(
    name: &str,
    earlier: impl IntoIterator<Item = &'a FileName>,
) -> Result<FileName, String> {
    let shown = truncated_quote(name);
    let name: FileName =
        name.parse().map_err(|error| format!("'{shown}' cannot be the name of a file: {error}"))?;
    for other in earlier {
        if *other == name {
            return Err(format!("the file '{shown}' appears more than once"));
        }
        if other.is_folder_of(&name) || name.is_folder_of(other) {
            let other = truncated_quote(other.as_str());
            return Err(format!("'{shown}' and '{other}' cannot both exist: one is a folder of the other"));
        }
    }
    Ok(name)
}

/// Checks that the runs of a plugin have a folder for so many files, and that they fit into it.
///
/// # Errors
///
/// Says what is missing.
pub(crate) fn check_room(config: &PluginConfig, count: u64, bytes: u64) -> Result<(), String> {
    if count == 0 {
        return Ok(());
    }
    let Some(rule) = &config.permissions.scratch else {
        return Err(
            "the plugin takes no files: `scratch` under [allow] of its manifest gives its runs a folder \
                    for them"
                .to_owned(),
        );
    };
    if bytes > rule.bytes_max {
        let bytes_max = rule.bytes_max;
        return Err(format!(
            "the files have {bytes} bytes, more than the scratch folder of the plugin holds, {bytes_max} (allow.scratch \
             of its manifest)"
        ));
    }
    if count > rule.files_max {
        let files_max = rule.files_max;
        return Err(format!(
            "there are {count} files, more than the scratch folder of the plugin holds, {files_max} (allow.scratch of \
             its manifest)"
        ));
    }
    Ok(())
}

/// Checks that the runs of a plugin have a folder for the files of dependencies, if a task asks for them.
///
/// # Errors
///
/// Says what is missing.
pub(crate) fn check_handed(
    config: &PluginConfig,
    dependencies: Option<&NewDependencies>,
) -> Result<(), String> {
    let is_asked = dependencies.is_some_and(|dependencies| dependencies.files_from.is_some());
    if is_asked { check_room(config, 1, 0) } else { Ok(()) }
}

/// Returns the text of a string, without a copy unless it has escapes.
fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if quoted.contains('\\') {
        return serde_json::from_str(value.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(quoted))
}

/// The members of an object in order, one more than allowed at most.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(value: &'a RawValue, count_max: usize) -> Option<Self> {
        serde_json::Deserializer::from_str(value.get()).deserialize_map(MembersVisitor(count_max)).ok()
    }
}

struct MembersVisitor(usize);

impl<'a> Visitor<'a> for MembersVisitor {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
        let mut members = Vec::new();
        while members.len() <= self.0 {
            let Some(member) = map.next_entry()? else { return Ok(Members(members)) };
            members.push(member);
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use wasmill_runtime::{Permissions, ScratchRule};

    use super::*;

    fn config(bytes_max: u64, files_max: u64) -> PluginConfig {
        let scratch = Some(ScratchRule { guest: "/tmp".to_owned(), bytes_max, files_max });
        let mut config = PluginConfig {
            permissions: Permissions { scratch, ..Permissions::default() },
            ..PluginConfig::default()
        };
        config.limits.files = FileLimits { bytes_max: 10, total_bytes_max: 15, count_max: 3 };
        config
    }

    /// Names and bytes.
    type Files = Vec<(String, Vec<u8>)>;
    /// Pointers and details.
    type Errors = Vec<(String, String)>;

    fn parsed(text: &str, config: &PluginConfig) -> (Files, Errors) {
        let mut errors = FieldErrors::default();
        let files = read(Some(serde_json::from_str(text).expect("JSON")), Some(config), &mut errors);
        let files = files.into_iter().map(|file| (file.name.to_string(), file.bytes)).collect();
        let errors = errors.into_parts().1.into_iter();
        (files, errors.map(|error| (error.pointer.unwrap_or_default(), error.detail)).collect())
    }

    #[test]
    fn files_are_names_and_base64() {
        let (files, errors) =
            parsed(r#"{"in.v": "aGk=", "lib/a": "", "\u0062": "\/\u002b8="}"#, &config(100, 9));
        assert!(errors.is_empty(), "{errors:?}");
        let expected = [("in.v", b"hi".to_vec()), ("lib/a", Vec::new()), ("b", vec![0xff, 0xef])];
        assert_eq!(files, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        assert_eq!(parsed("{}", &PluginConfig::default()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn each_error_names_the_file_and_the_limit() {
        let (roomy, eleven) = (config(100, 9), BASE64.encode(&[0; 11]));
        for (text, pointer, why) in [
            ("[]", "/files", "an object of names"),
            ("\"a\"", "/files", "an object of names"),
            (r#"{"../a": ""}"#, "/files/..~1a", "not empty, . or .."),
            (r#"{"/a": ""}"#, "/files/~1a", "must be relative"),
            (r#"{"a\u0000": ""}"#, "/files/a\0", "control characters"),
            (r#"{"": ""}"#, "/files/", "not empty"),
            (r#"{"a": "", "a": ""}"#, "/files/a", "more than once"),
            (r#"{"a": "", "a/b": ""}"#, "/files/a~1b", "one is a folder"),
            (r#"{"a/b": "", "a": ""}"#, "/files/a", "one is a folder"),
            (r#"{"a": 7}"#, "/files/a", "string of base64"),
            (r#"{"a": "aGk"}"#, "/files/a", "with padding"),
            (r#"{"a": "a-_="}"#, "/files/a", "with padding"),
            (&format!(r#"{{"a": "{eleven}"}}"#), "/files/a", "file_max, 10"),
            (r#"{"a": "AAAAAAAAAAAAAA==", "b": "AAAAAAAA"}"#, "/files/b", "files_max, 15"),
            (r#"{"a": "", "b": "", "c": "", "d": "", "e": ""}"#, "/files", "files_per_task, 3"),
        ] {
            let (_, errors) = parsed(text, &roomy);
            let [(found, detail)] = &*errors else { panic!("{text}: {errors:?}") };
            assert!(found == pointer && detail.contains(why), "{text}: {found} {detail}");
        }
    }

    #[test]
    fn files_need_room_in_a_scratch_folder() {
        let files = r#"{"a": "AAAA", "b": "AAAA"}"#;
        for (config, why) in [
            (PluginConfig::default(), "takes no files: `scratch`"),
            (config(5, 9), "have 6 bytes, more than"),
            (config(9, 1), "2 files, more than"),
        ] {
            let (_, errors) = parsed(files, &config);
            assert!(errors.len() == 1 && errors[0].1.contains(why), "{errors:?}");
        }
        assert!(parsed(files, &config(6, 2)).1.is_empty());
    }
}
