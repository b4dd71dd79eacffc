//! Tests which keys are accepted, and what becomes of wrong ones.

use std::sync::Mutex;

use wasmill_model::{KeyLimits, Timestamp};

use super::*;
use crate::edit::{KeyFile, NewKey};
use crate::file::KeyFiles;
use crate::throttle::WRONG_MAX;
use crate::{Scopes, SecretKey, SessionSecret};

struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    key: SecretKey,
    access: Access,
}

fn keys(folder: &tempfile::TempDir) -> Keys {
    KeyFiles::new(folder.path(), None, None).unwrap().read().unwrap()
}

/// A folder with one key, which ends at eight.
fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let scopes: Scopes = [Scope::Submit].into_iter().collect();
    let new = NewKey {
        name: "ci".into(),
        scopes,
        expires: Some(at("2026-11-29T08:00:00Z")),
        rate: None,
        reach: Reach::default(),
        limits: KeyLimits::default(),
    };
    let key = KeyFile::new(folder.path()).create(&new).unwrap();
    let clock = Arc::new(TestClock(Mutex::new(at("2026-11-29T07:00:00Z"))));
    let access = Access::new(keys(&folder), false, Arc::clone(&clock) as Arc<dyn Clock>);
    Bench { folder, clock, key, access }
}

fn refusal(access: &Access, text: Option<&[u8]>) -> Option<Refusal> {
    access.check(text, PEER).err()
}

#[test]
fn only_the_whole_text_of_a_key_in_force_is_accepted() {
    let Bench { clock, key, access, .. } = bench();
    let text = key.reveal().as_bytes();
    let identity = access.check(Some(text), PEER).unwrap();
    assert_eq!(identity.id().map(|id| &**id), Some(key.id()));
    assert!(identity.may(Scope::Submit) && !identity.may(Scope::Read));
    assert!(
        identity.may_read(Some(key.id())) && !identity.may_read(None) && !identity.may_read(Some("other"))
    );
    assert_eq!(identity.key().unwrap().last_used().get(), Some((clock.now(), PEER)));
    assert_eq!(refusal(&access, None), Some(Refusal::Missing));
    let mut changed = text.to_owned();
    changed[20] ^= 1;
    let other = SecretKey::random();
    for wrong in [&b""[..], &text[..61], &changed, other.reveal().as_bytes(), &[0xff; 62]] {
        assert_eq!(refusal(&access, Some(wrong)), Some(Refusal::Unknown), "{wrong:?}");
    }
    *clock.0.lock().unwrap() = at("2026-11-29T08:00:00Z");
    assert_eq!(refusal(&access, Some(text)), Some(Refusal::Expired));
}

#[test]
fn a_server_without_keys_is_open_until_there_is_one_and_never_again() {
    let Bench { folder, clock, key, .. } = bench();
    let access = Access::new(Keys::default(), false, clock);
    assert!(access.check(None, PEER).unwrap().may(Scope::Admin));
    access.replace(keys(&folder));
    assert_eq!(refusal(&access, None), Some(Refusal::Missing));
    access.replace(Keys::default());
    assert_eq!(refusal(&access, Some(key.reveal().as_bytes())), Some(Refusal::Unknown));
    assert!(!access.is_open());
}

#[test]
fn wrong_keys_are_throttled_and_lock_no_other_key_out() {
    let Bench { key, access, .. } = bench();
    let stranger = SecretKey::random();
    for _ in 0..WRONG_MAX {
        assert_eq!(refusal(&access, Some(stranger.reveal().as_bytes())), Some(Refusal::Unknown));
    }
    let throttled = refusal(&access, Some(stranger.reveal().as_bytes()));
    assert_eq!(throttled, Some(Refusal::Throttled { retry_after_secs: 61 }));
    assert_eq!(refusal(&access, Some(key.reveal().as_bytes())), None);
    let elsewhere = access.check(Some(stranger.reveal().as_bytes()), "10.0.0.8".parse().unwrap());
    assert_eq!(elsewhere.err(), Some(Refusal::Unknown));
}

#[tokio::test]
async fn an_identity_ends_when_its_key_is_revoked_or_changed_and_not_before() {
    let Bench { folder, key, access, .. } = bench();
    let identity = access.check(Some(key.reveal().as_bytes()), PEER).unwrap();
    let file = KeyFile::new(folder.path());
    let new = NewKey {
        name: "other".into(),
        scopes: [Scope::Admin].into_iter().collect(),
        expires: None,
        rate: None,
        reach: Reach::default(),
        limits: KeyLimits::default(),
    };
    file.create(&new).unwrap();
    let mut ended = std::pin::pin!(access.ended(&identity));
    assert!(poll_once(&mut ended).is_none());
    access.replace(keys(&folder));
    assert!(poll_once(&mut ended).is_none(), "another key was added");
    file.revoke("ci").unwrap();
    access.replace(keys(&folder));
    ended.await;
}

/// Polls once.
fn poll_once<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn an_identity_ends_at_its_expiry() {
    let Bench { clock, key, access, .. } = bench();
    let identity = access.check(Some(key.reveal().as_bytes()), PEER).unwrap();
    *clock.0.lock().unwrap() = at("2026-11-29T07:59:59.999Z");
    let ended = access.ended(&identity);
    let later = async {
        tokio::task::yield_now().await;
        *clock.0.lock().unwrap() = at("2026-11-29T08:00:00Z");
    };
    tokio::join!(ended, later);
}

#[test]
fn a_session_ends_with_its_key_its_time_and_its_secret() {
    let Bench { folder, clock, key, access } = bench();
    let refused = |access: &Access, text: &str| access.check_session(text.as_bytes(), PEER).err();
    assert_eq!(access.sign_in(b"wmk_nothing", PEER).unwrap_err(), Refusal::Unknown);
    let text = access.sign_in(key.reveal().as_bytes(), PEER).unwrap().1.expect("keys are needed");
    let found = access.check_session(text.as_bytes(), PEER).unwrap();
    assert_eq!(found.identity.id().map(|id| &**id), Some(key.id()));
    assert!(found.identity.may(Scope::Submit) && found.renewed.is_none());
    *clock.0.lock().unwrap() = at("2026-11-29T07:30:00Z");
    let renewed = access.check_session(text.as_bytes(), PEER).unwrap().renewed.expect("half an hour old");
    assert_eq!(refused(&access, &renewed), None);
    *clock.0.lock().unwrap() = at("2026-11-29T08:00:00Z");
    assert_eq!(refused(&access, &renewed), Some(Refusal::Expired), "its key has ended");
    *clock.0.lock().unwrap() = at("2026-11-29T07:30:00Z");
    access.set_session_secret(SessionSecret::random());
    assert_eq!(refused(&access, &renewed), Some(Refusal::SessionEnded), "of another secret");
    let text = access.sign_in(key.reveal().as_bytes(), PEER).unwrap().1.expect("keys are needed");
    KeyFile::new(folder.path()).revoke("ci").unwrap();
    access.replace(keys(&folder));
    assert_eq!(refused(&access, &text), Some(Refusal::SessionEnded), "its key is revoked");
}

#[tokio::test]
async fn the_streams_of_a_session_end_with_it() {
    let Bench { key, access, .. } = bench();
    let text = access.sign_in(key.reveal().as_bytes(), PEER).unwrap().1.expect("keys are needed");
    let identity = access.check_session(text.as_bytes(), PEER).unwrap().identity;
    let ended = tokio::spawn({
        let access = access.clone();
        async move { access.ended(&identity).await }
    });
    tokio::task::yield_now().await;
    assert!(!ended.is_finished());
    access.set_session_secret(SessionSecret::random());
    ended.await.expect("it ends");
}

#[test]
fn a_person_may_do_what_its_entry_says() {
    let bench = bench();
    let path = bench.folder.path().join("keys.toml");
    let with = |people: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("\n[[person]]").next().unwrap().to_owned();
        std::fs::write(&path, format!("{text}\n{people}")).unwrap();
        bench.access.replace(keys(&bench.folder));
    };
    with(
        "[[person]]\nuser = 'ada@example.com'\nscopes = ['admin']\n\n[[person]]\nmember_of = 'ops'\nscopes = ['read']\n\
          groups = ['t1']\n\n[[person]]\nmember_of = 'dev'\nscopes = ['submit']\n",
    );
    let named = |user: &str, groups: &[&str]| NamedPerson {
        user: user.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
    };
    let check = |user: &str, groups: &[&str]| bench.access.check_person(named(user, groups), PEER);
    let ada = check("ada@example.com", &["ops"]).unwrap();
    assert!(ada.may(Scope::Admin) && ada.id().map(|id| &**id) == Some("ada@example.com"));
    // By the first entry of a group, whatever the order in which the proxy names them; exactly by name.
    let eve = check("eve", &["dev", "ops"]).unwrap();
    assert!(eve.may(Scope::Read) && !eve.may(Scope::Submit) && eve.reach().is_bounded());
    assert_eq!(eve.id().map(|id| &**id), Some("eve"));
    for (user, groups) in
        [("Ada@example.com", &[][..]), ("ada@example.com.evil", &[]), ("eve", &["op", "OPS"]), ("ops", &[])]
    {
        assert_eq!(check(user, groups).unwrap_err(), Refusal::UnknownPerson, "{user}");
    }
    // It is over when the entry changes, and not when another one does.
    let keys_in_force = bench.access.keys();
    assert!(matches!(bench.access.time_left(&eve, &keys_in_force), TimeLeft::Unbounded));
    with(
        "[[person]]\nmember_of = 'ops'\nscopes = ['read', 'cancel']\ngroups = ['t1']\n\n[[person]]\nuser = 'ada@example.com'\n\
          scopes = ['admin']\n",
    );
    let keys_in_force = bench.access.keys();
    assert!(matches!(bench.access.time_left(&eve, &keys_in_force), TimeLeft::None));
    assert!(matches!(bench.access.time_left(&ada, &keys_in_force), TimeLeft::Unbounded));
    // The commands change keys, and leave people alone.
    let file = KeyFile::new(bench.folder.path());
    assert_eq!(file.revoke("ci").unwrap().len(), 1);
    bench.access.replace(keys(&bench.folder));
    assert!(check("ada@example.com", &[]).is_ok() && bench.access.keys().list().is_empty());
    assert!(!bench.access.is_open());
    for (entry, why) in [
        ("scopes = ['read']", "needs one of user and member_of"),
        ("user = 'a'\nmember_of = 'b'\nscopes = ['read']", "needs one of user and member_of"),
        ("user = 'a,b'\nscopes = ['read']", "without commas"),
        ("user = 'a'\nscopes = []", "it has no scopes"),
        ("user = 'a'\nscopes = ['admin']\ngroups = ['t1']", "reaches everything"),
        (
            "user = 'a'\nscopes = ['read']\n[[person]]\nuser = 'a'\nscopes = ['admin']",
            "an entry for the same",
        ),
    ] {
        std::fs::write(&path, format!("[[person]]\n{entry}\n")).unwrap();
        let error = KeyFiles::new(bench.folder.path(), None, None).unwrap().read().unwrap_err().to_string();
        assert!(error.contains(why), "{entry}: {error}");
    }
}

#[test]
fn a_task_has_the_rights_of_its_submitter_as_they_are_now() {
    let bench = bench();
    let id = bench.access.check(Some(bench.key.reveal().as_bytes()), PEER).unwrap().id().unwrap().clone();
    let everywhere = KeySpace::default();
    let submitter = |id: Option<&str>, space: &KeySpace| bench.access.submitter(id, space);
    assert_eq!(submitter(Some(&id), &everywhere).unwrap().id(), Some(&id));
    assert!(submitter(Some("unheard-of"), &everywhere).is_none(), "a revoked key submits nothing");
    assert!(submitter(None, &everywhere).unwrap().key().is_none(), "as what has no key at all");
    assert!(submitter(None, &KeySpace::new("of-another-reach")).is_none(), "nobody has such a key");
    *bench.clock.0.lock().unwrap() = at("2026-11-29T09:00:00Z");
    assert!(submitter(Some(&id), &everywhere).is_none(), "it has expired");

    std::fs::write(
        bench.folder.path().join("keys.toml"),
        "[[person]]\nuser = 'ada'\nscopes = ['submit']\ngroups = ['t1']\n\n[[person]]\nuser = 'bob'\nscopes = ['read']\n",
    )
    .unwrap();
    bench.access.replace(keys(&bench.folder));
    let ada = submitter(Some("ada"), &everywhere).unwrap();
    assert!(ada.reach().only_group().is_some());
    assert!(submitter(Some("bob"), &everywhere).is_none(), "who may not submit");
    let schedule = submitter(None, &ada.space()).unwrap();
    assert_eq!(schedule.reach(), ada.reach(), "a schedule has the reach of its space");
}
