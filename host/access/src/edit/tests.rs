//! Tests how the commands change a file of keys, and leave alone what they do not know.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::file::KeyFiles;
use crate::scope::Scope;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn new_key(name: &str) -> NewKey {
    let scopes = [Scope::Submit].into_iter().collect();
    NewKey {
        name: name.to_owned(),
        scopes,
        expires: None,
        rate: None,
        reach: Reach::default(),
        limits: KeyLimits::default(),
    }
}

fn names(folder: &Path) -> Vec<(String, Option<Timestamp>)> {
    let keys = KeyFiles::new(folder, None, None).unwrap().read().unwrap();
    keys.list().into_iter().map(|key| (key.name.clone(), key.expires)).collect()
}

#[test]
fn the_first_key_creates_folder_and_file_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let key = KeyFile::new(&data).create(&new_key("ci")).unwrap();
    let text = std::fs::read_to_string(data.join("keys.toml")).unwrap();
    assert!(text.contains(key.id()) && !text.contains(&key.reveal()[13..]));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("keys.toml"))), (0o700, 0o600));
    assert!(matches!(KeyFile::new(&data).create(&new_key("ci")), Err(EditError::Exists(_))));
}

#[test]
fn other_keys_and_comments_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path());
    let hash = "00".repeat(32);
    let own = format!(
        "# by hand\n\n[[key]]\nid = 'x' # the id\nname='mine'\nscopes = [\n  'read',\n]\nsha256 = '{hash}'"
    );
    std::fs::write(file.path(), &own).unwrap();
    file.create(&new_key("ci")).unwrap();
    file.create(&new_key("cd")).unwrap();
    assert_eq!(file.revoke("ci").unwrap().len(), 1);
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.starts_with(&own), "{text}");
    assert_eq!(names(folder.path()), [("cd".to_owned(), None), ("mine".to_owned(), None)]);
    assert_eq!(file.revoke("x").unwrap(), ["x"]);
    assert!(matches!(file.revoke("x"), Err(EditError::Unknown { .. })));
}

#[test]
fn a_rotation_ends_the_old_keys_after_the_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path());
    let old = file.create(&NewKey { expires: Some(at("2026-12-24T00:00:00Z")), ..new_key("ci") }).unwrap();
    let (ends, expires) = (at("2026-11-30T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    let (new, _) = file.rotate("ci", ends, |never| (!never).then_some(expires)).unwrap();
    assert_ne!(old.id(), new.id());
    let expected =
        |times: &[Timestamp]| times.iter().map(|time| ("ci".to_owned(), Some(*time))).collect::<Vec<_>>();
    let mut found = names(folder.path());
    found.sort();
    assert_eq!(found, expected(&[ends, expires]));
    // Another rotation prolongs nothing.
    file.rotate("ci", at("2026-12-01T00:00:00Z"), |_| None).unwrap();
    let mut found: Vec<_> = names(folder.path()).into_iter().map(|(_, expires)| expires).collect();
    found.sort();
    assert_eq!(found, [None, Some(ends), Some(at("2026-12-01T00:00:00Z"))]);
    assert_eq!(file.revoke("ci").unwrap().len(), 3);
}

#[test]
fn a_file_that_is_invalid_or_unusual_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path());
    for text in ["[[key]\n", "key = [{name = 'a', id = 'a', scopes = ['read']}]\n", "other = 1\n"] {
        std::fs::write(file.path(), text).unwrap();
        assert!(matches!(file.create(&new_key("ci")), Err(EditError::Invalid { .. })), "{text}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    }
}

#[test]
fn keys_that_are_created_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let file = KeyFile::new(folder.path());
            scope.spawn(move || file.create(&new_key(&format!("key-{number}"))).unwrap());
        }
    });
    assert_eq!(names(folder.path()).len(), 8);
}

#[test]
fn a_name_that_the_server_would_refuse_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "a b", "ä", "a\"", &"a".repeat(65)] {
        assert!(KeyFile::new(folder.path()).create(&new_key(name)).is_err(), "{name}");
    }
    assert!(!folder.path().join("keys.toml").exists());
}
