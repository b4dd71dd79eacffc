//! Tests how long a session lasts, and that nobody else can make one.

use std::sync::Arc;

use super::*;
use crate::scope::Scopes;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn key(scope: Scope, hash: u8) -> Key {
    let scopes: Scopes = [scope].into_iter().collect();
    let hash = [hash; 32];
    let (rate, last_used, meter) = (None, Arc::default(), Arc::default());
    let (reach, space) = Default::default();
    let (id, name) = ("7f3k9q2m".into(), "ada".into());
    let (limits, limited) = Default::default();
    Key { id, name, scopes, expires: None, rate, reach, space, limits, limited, hash, last_used, meter }
}

#[test]
fn only_its_own_secret_opens_a_session_and_no_byte_may_change() {
    let (secret, key) = (SessionSecret::random(), key(Scope::Read, 1));
    let session = Session::begin(&key, at(0));
    let text = session.seal(&secret);
    assert_eq!(Session::open(text.as_bytes(), &secret), Some(session));
    assert_eq!(Session::open(text.as_bytes(), &SessionSecret::random()), None);
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] ^= 1;
        assert_eq!(Session::open(&changed, &secret), None, "byte {place}");
    }
    for odd in ["", "~", "v1", &text[1..], &format!("{text}~"), &format!("~{text}")] {
        assert_eq!(Session::open(odd.as_bytes(), &secret), None, "{odd}");
    }
    assert!(
        text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)),
        "a cookie: {text}"
    );
}

#[test]
fn a_session_is_of_one_key_and_lasts_twelve_hours() {
    let reader = key(Scope::Read, 1);
    let session = Session::begin(&reader, at(0));
    let keys_with = |key: Key| {
        let mut keys = Keys::default();
        assert!(keys.add(key, true));
        keys
    };
    let of = |session: &Session, hash| session.key(&keys_with(key(Scope::Read, hash)), None).is_some();
    assert!(of(&session, 1) && !of(&session, 2), "another key of the same id");
    assert!(session.lasts(&reader, at(12 * 3_600 - 1)) && !session.lasts(&reader, at(12 * 3_600)));
    assert!(session.lasts(&reader, at(-60)) && !session.lasts(&reader, at(-61)), "the clock was set back");
    let renewed = session.renewed(at(11 * 3_600)).expect("it is old");
    assert!(renewed.lasts(&reader, at(12 * 3_600 - 1)) && !renewed.lasts(&reader, at(12 * 3_600)));
}

#[test]
fn a_session_that_may_change_the_server_ends_after_an_idle_hour() {
    for scope in [Scope::Admin, Scope::Plugins] {
        let key = key(scope, 1);
        let session = Session::begin(&key, at(0));
        assert!(session.lasts(&key, at(3_599)) && !session.lasts(&key, at(3_600)));
        assert_eq!(session.renewed(at(59)), None, "at most once a minute");
        let renewed = session.renewed(at(60)).expect("a minute old");
        assert!(renewed.lasts(&key, at(3_659)) && !renewed.lasts(&key, at(3_660)));
    }
}

#[test]
fn a_secret_is_made_once_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let secret = SessionSecret::load(folder.path()).unwrap();
    assert!(SessionSecret::load(folder.path()).unwrap() == secret);
    let mode = session_file(folder.path()).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(session_file(folder.path()), b"short").unwrap();
    assert!(SessionSecret::load(folder.path()).unwrap_err().to_string().contains("delete it"));
    std::fs::remove_file(session_file(folder.path())).unwrap();
    assert!(SessionSecret::load(folder.path()).unwrap() != secret, "another one, which ends all sessions");
}

#[test]
fn a_session_of_a_person_fits_into_a_cookie_and_is_of_one_issuer() {
    let secret = SessionSecret::random();
    let named = NamedPerson { user: "\"~".repeat(64), groups: vec!["~".repeat(128); 8] };
    let realm = Realm::new("https://id.example.org", "wasmill");
    let session = Session::of(Whose::Person(named.clone(), realm), at(0));
    let text = session.seal(&secret);
    assert_eq!(Session::open(text.as_bytes(), &secret), Some(session.clone()));
    assert!(text.len() < 3_000, "{}", text.len());
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)), "{text}");
    assert_eq!(session.person(), Some(&named));
    assert!(session.key(&Keys::default(), Some(realm)).is_none(), "no entry is about them");
    for (issuer, client) in [("https://id.example.org/", "wasmill"), ("https://id.example.org", "other")] {
        assert_ne!(Realm::new(issuer, client), realm);
    }
}
