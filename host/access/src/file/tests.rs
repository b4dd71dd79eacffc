//! Tests which files of keys are read, and what an error says.

use super::*;
use crate::{SecretKey, limits};

fn keys(text: &str) -> Result<Keys, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(own_file(folder.path()), text).unwrap();
    let read = KeyFiles::new(folder.path(), None, None).unwrap().read();
    read.map_err(|error| error.to_string())
}

const HASH: &str = "9b1c8e7a9b1c8e7a9b1c8e7a9b1c8e7a9b1c8e7a9b1c8e7a9b1c8e7a9b1c8e7a";

#[test]
fn a_key_has_a_name_an_id_a_secret_scopes_and_an_end() {
    let text = format!(
        "# ours\n[[key]]\nname = 'ci'\nid = '7f3k9q2m'\nsha256 = '{HASH}'\nscopes = ['submit', 'read']\n\
         expires = 2027-03-01T00:00:00+01:00\n"
    );
    let keys = keys(&text).unwrap();
    let [key] = keys.list()[..] else { panic!("{keys:?}") };
    assert_eq!((&*key.name, &*key.id, key.scopes.to_string()), ("ci", "7f3k9q2m", "read,submit".to_owned()));
    assert_eq!(key.expires, "2027-02-28T23:00:00Z".parse().ok());
}

#[test]
fn an_invalid_key_is_named_and_no_secret_is_shown() {
    let secret = SecretKey::random();
    let other = secret.reveal().replace("wmk_", "xxx_");
    for (rows, why) in [
        ("name = 'a'".to_owned(), "missing field `scopes`"),
        (format!("name = 'a'\nsha256 = '{HASH}'\nscopes = ['read']"), "key 1 (a): it needs an id"),
        (format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = []"), "it has no scopes"),
        (format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['root']"), "unknown scope 'root'"),
        ("name = 'a'\nid = 'a'\nsha256 = '12'\nscopes = ['read']".to_owned(), "64 hexadecimal digits"),
        (format!("name = 'a b'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']"), "its name must be"),
        (format!("name = 'a'\nid = 'a/b'\nsha256 = '{HASH}'\nscopes = ['read']"), "its id must be"),
        ("name = 'a'\nid = 'a'\nscopes = ['read']".to_owned(), "it needs one of sha256"),
        (
            "name = 'a'\nid = 'a'\nscopes = ['read']\nsecret_env = 'WASMILL_TEST_UNSET'".to_owned(),
            "is not set",
        ),
        (
            "name = 'a'\nid = 'a'\nscopes = ['read']\nsecret_file = '/nowhere'".to_owned(),
            "/nowhere: No such file",
        ),
        (
            format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\nexpires = 2027-03-01"),
            "a time with a zone",
        ),
        (
            format!("name = 'a'\nsecret = '{other}'\nscopes = ['read']"),
            "line 3, column 1: unknown field `secret`",
        ),
        (
            format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\nburst = 9"),
            "unknown field `burst`",
        ),
        (
            format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\nwaiting = 0"),
            "waiting must be at least 1",
        ),
        (
            format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\nstored = 'much'"),
            "line 6, column 10",
        ),
        (
            format!("name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\nrunning = 2"),
            "needs exactly one group",
        ),
        (
            format!(
                "name = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\ngroups = ['a', 'b']\nrunning = 2"
            ),
            "needs exactly one group",
        ),
        (format!("name = {other}"), "line 2, column "),
    ] {
        let error = keys(&format!("[[key]]\n{rows}\n")).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("keys.toml: ") && !error.contains(&other[20..]), "{error}");
    }
    let twice = format!("[[key]]\nname = 'a'\nid = 'a'\nsha256 = '{HASH}'\nscopes = ['read']\n").repeat(2);
    assert!(keys(&twice).unwrap_err().contains("key 2 (a): another key has the id a"));
}

#[test]
fn a_secret_may_be_in_a_file_and_of_any_form() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (SecretKey::random(), "a-secret-of-somebody-elses-making");
    std::fs::write(folder.path().join("ours"), format!("{}\n", ours.reveal())).unwrap();
    std::fs::write(folder.path().join("foreign"), format!(" {foreign} ")).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "[[key]]\nname = 'a'\nscopes = ['read']\nsecret_file = '{}'\n[[key]]\nname = 'b'\nid = 'b'\nscopes = ['read']\n\
         secret_file = '{}'\n",
        path("ours"),
        path("foreign")
    );
    let given = folder.path().join("given.toml");
    std::fs::write(&given, text).unwrap();
    let files =
        KeyFiles::new(folder.path(), Some(given), Some("0123456789abcdef0123456789abcdef".into())).unwrap();
    let keys = files.read().unwrap();
    let name = |text: &str| keys.find(text.as_bytes()).map(|key| key.name.clone());
    assert_eq!(name(ours.reveal()).as_deref(), Some("a"));
    assert_eq!(name(foreign).as_deref(), Some("b"));
    assert_eq!(name("0123456789abcdef0123456789abcdef").as_deref(), Some("admin"));
    assert_eq!(name(&foreign[1..]), None);
    for short in ["short", "0123456789abcdef 0123456789abcdef"] {
        std::fs::write(folder.path().join("foreign"), short).unwrap();
        assert!(files.read().unwrap_err().to_string().contains("at least 32 visible characters"));
    }
}

#[test]
fn an_admin_key_that_can_be_guessed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for weak in ["", "secret", "0123456789abcdef0123456789abcde"] {
        assert!(KeyFiles::new(folder.path(), None, Some(weak.into())).is_err(), "{weak}");
    }
    for data in [folder.path(), Path::new("/dev/null/none")] {
        assert!(KeyFiles::new(data, None, None).unwrap().read().unwrap().is_empty());
    }
}

#[test]
fn a_named_file_must_exist_and_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: PathBuf| KeyFiles::new(folder.path(), Some(path), None).unwrap().read().unwrap_err();
    assert!(matches!(read(folder.path().join("missing")), KeysError::Unreadable { .. }));
    assert!(read(folder.path().to_owned()).to_string().contains("not a regular file"));
}

#[test]
fn a_key_has_the_limits_that_its_file_says() {
    let text = format!(
        "[[key]]\nname = 'ci'\nid = '7f3k9q2m'\nsha256 = '{HASH}'\nscopes = ['submit']\ngroups = ['a']\n\
         waiting = 10000\nrunning = 50\nstored = '2GiB'\n"
    );
    let keys = keys(&text).unwrap();
    let [key] = keys.list()[..] else { panic!("{keys:?}") };
    assert_eq!(key.limits.to_string(), "10000 waiting, 50 running, 2GiB stored");
    assert_eq!(
        key.limited.as_ref().map(|limited| (&*limited.name, limited.limits)),
        Some(("ci", key.limits))
    );
    assert_eq!(limits::lines(key.limits), "waiting = 10000\nrunning = 50\nstored = \"2GiB\"\n");
}
