//! The check of a request: which key it has, and whether that still counts.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use wasmill_model::{Clock, KeySpace, NewTask, Reach, Timestamp};

use crate::attempt::{AttemptSecrets, SignInAttempt};
use crate::keys::{Key, Keys};
use crate::meter::OverRate;
use crate::people::{NamedPerson, Realm};
use crate::scope::Scope;
use crate::session::{Session, SessionSecret, Whose};
use crate::throttle::Throttle;

/// The keys in force, and whether they are asked for. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    keys: watch::Sender<Arc<Keys>>,
    /// Once set, it stays set: a server that loses its last key does not open.
    needs_key: AtomicBool,
    /// Whether the files have changed and cannot be read, so that earlier keys are in force.
    is_stale: AtomicBool,
    /// Signs sessions. Random until the one of the data folder is read.
    session_secret: RwLock<Arc<SessionSecret>>,
    /// The issuer whose people may have sessions.
    realm: OnceLock<Realm>,
    throttle: Throttle,
    clock: Arc<dyn Clock>,
}

/// Who sent a request.
///
/// The default has no key, and may do everything; a server in the open mode knows no other.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    key: Option<Arc<Key>>,
    session: Option<SessionRef>,
    /// Whom a trusted proxy or an issuer has signed in.
    person: Option<Arc<NamedPerson>>,
}

/// The session of a request.
#[derive(Clone, Debug)]
struct SessionRef {
    secret: Arc<SessionSecret>,
    /// When it ends unless it is used again.
    ends: Timestamp,
}

/// The check of a session.
#[derive(Clone, Debug)]
pub struct SessionCheck {
    /// Whose session it is.
    pub identity: Identity,
    /// Its text from now on, if it is to be issued again.
    pub renewed: Option<String>,
}

impl Identity {
    /// Returns the key; `None` if none was asked for.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_deref()
    }

    /// Returns the id that tasks name in `submitted_by`.
    pub fn id(&self) -> Option<&Arc<str>> {
        self.key.as_ref().map(|key| &key.id)
    }

    /// Returns a task that it submits: with its id, and counted for its limits.
    #[must_use]
    pub fn signed(&self, task: NewTask) -> NewTask {
        let limited_by = self.key.as_ref().and_then(|key| key.limited.clone());
        NewTask { submitted_by: self.id().cloned(), limited_by, ..task }
    }

    /// Returns the tasks and plugins that it may see and touch.
    pub fn reach(&self) -> &Reach {
        self.key.as_ref().map_or_else(|| Reach::everything(), |key| &key.reach)
    }

    /// Returns where its unique keys and idempotency keys are unique.
    pub fn space(&self) -> KeySpace {
        self.key.as_ref().map(|key| key.space.clone()).unwrap_or_default()
    }

    /// Returns true if it has this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.key.as_ref().is_none_or(|key| key.scopes.allow(scope))
    }

    /// Counts further requests against the rate of its key, as those that one batch holds.
    ///
    /// # Errors
    ///
    /// Fails if they are too many for now.
    pub fn take_further(&self, requests: u32) -> Result<(), OverRate> {
        self.key.as_ref().map_or(Ok(()), |key| key.take_further(requests))
    }

    /// Returns true if it may read what a task was given and has returned: with `read`, or if it submitted the task.
    pub fn may_read(&self, submitted_by: Option<&str>) -> bool {
        self.may(Scope::Read) || (self.may(Scope::Submit) && self.id().map(|id| &**id) == submitted_by)
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no key.
    Missing,
    /// No key in force has this text.
    Unknown,
    /// The key has expired.
    Expired,
    /// The key has sent too many requests.
    OverRate(OverRate),
    /// It is of a session that has ended, or that this server has not issued.
    SessionEnded,
    /// No entry is about the person whom a trusted proxy or an issuer names.
    UnknownPerson,
    /// Its address has presented too many wrong keys.
    Throttled {
        /// Seconds until it may try again.
        retry_after_secs: u32,
    },
}

impl Access {
    /// Creates the check. If no key is needed, every request may do everything until there is a key.
    pub fn new(keys: Keys, needs_key: bool, clock: Arc<dyn Clock>) -> Self {
        let needs_key = AtomicBool::new(needs_key || !keys.is_empty());
        let keys = watch::Sender::new(Arc::new(keys));
        Self(Arc::new(Shared {
            keys,
            needs_key,
            is_stale: AtomicBool::new(false),
            session_secret: RwLock::new(Arc::new(SessionSecret::random())),
            realm: OnceLock::new(),
            throttle: Throttle::default(),
            clock,
        }))
    }

    /// Returns true if requests need no key.
    pub fn is_open(&self) -> bool {
        !self.0.needs_key.load(Ordering::Relaxed)
    }

    /// Returns the keys in force.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys.borrow())
    }

    /// Puts other keys in force; those that stay keep their time of last use.
    pub fn replace(&self, mut keys: Keys) {
        keys.inherit(&self.keys());
        if !keys.is_empty() {
            self.0.needs_key.store(true, Ordering::Relaxed);
        }
        self.0.is_stale.store(false, Ordering::Relaxed);
        self.0.keys.send_replace(Arc::new(keys));
    }

    /// Returns a receiver of the keys in force. It is woken when they change, and when earlier ones stay in force since the
    /// files cannot be read.
    pub fn watch(&self) -> watch::Receiver<Arc<Keys>> {
        self.0.keys.subscribe()
    }

    /// Records that the files cannot be read any more.
    pub(crate) fn set_stale(&self) {
        self.0.is_stale.store(true, Ordering::Relaxed);
        self.0.keys.send_modify(|_| {});
    }

    /// Returns true if earlier keys are in force, since the files cannot be read.
    pub fn is_stale(&self) -> bool {
        self.0.is_stale.load(Ordering::Relaxed)
    }

    /// Finds who sent a request with this key from this address.
    ///
    /// # Errors
    ///
    /// Refuses a request without a key in force, unless none is needed, and one that is over the rate of its key. An address that has presented too many wrong
    /// keys is refused unless the id of its key is known, so that a stranger behind the same proxy locks nobody out.
    pub fn check(&self, text: Option<&[u8]>, peer: IpAddr) -> Result<Identity, Refusal> {
        if self.is_open() {
            return Ok(Identity::default());
        }
        let text = text.ok_or(Refusal::Missing)?;
        let now = self.0.clock.now();
        let keys = self.0.keys.borrow();
        if !keys.knows_id_of(text)
            && let Some(retry_after_secs) = self.0.throttle.wait_secs(peer, now)
        {
            return Err(Refusal::Throttled { retry_after_secs });
        }
        let Some(key) = keys.find(text) else {
            self.0.throttle.count(peer, now);
            return Err(Refusal::Unknown);
        };
        if key.is_expired(now) {
            return Err(Refusal::Expired);
        }
        key.last_used.set(now, peer);
        key.take().map_err(Refusal::OverRate)?;
        Ok(Identity { key: Some(Arc::clone(key)), ..Identity::default() })
    }

    /// Finds what a person may do whom a trusted proxy at this address has signed in.
    ///
    /// # Errors
    ///
    /// Refuses a person whom no entry of the keys files is about, and one over the rate of the entry.
    pub fn check_person(&self, named: NamedPerson, peer: IpAddr) -> Result<Identity, Refusal> {
        if self.is_open() {
            return Ok(Identity::default());
        }
        let key = self.0.keys.borrow().person(&named).ok_or(Refusal::UnknownPerson)?;
        key.last_used.set(self.0.clock.now(), peer);
        key.take().map_err(Refusal::OverRate)?;
        Ok(Identity { key: Some(key), session: None, person: Some(Arc::new(named)) })
    }

    /// Finds who submitted a task, with the rights of today: the key or the user that it names, or, if it names none, whoever
    /// has the keys of this space, as for a schedule. `None` if they are not known any more, or may submit nothing.
    pub fn submitter(&self, submitted_by: Option<&str>, space: &KeySpace) -> Option<Identity> {
        let (keys, now) = (self.keys(), self.0.clock.now());
        let Some(id) = submitted_by else {
            let key = if space.is_empty() { None } else { Some(keys.of_space(space)?) };
            return Some(Identity { key, ..Identity::default() });
        };
        let key = keys.by_id(id).cloned().or_else(|| keys.user(id))?;
        let identity = Identity { key: Some(key), ..Identity::default() };
        let is_in_force = identity.key().is_some_and(|key| !key.is_expired(now));
        Some(identity).filter(|identity| is_in_force && identity.may(Scope::Submit))
    }

    /// Signs in with a key: returns the text of a session, or `None` if no key is needed.
    ///
    /// # Errors
    ///
    /// See [`Access::check`]; wrong keys count as those of requests do.
    pub fn sign_in(&self, text: &[u8], peer: IpAddr) -> Result<(Identity, Option<String>), Refusal> {
        let identity = self.check(Some(text), peer)?;
        let begin = |key: &Key| Session::begin(key, self.0.clock.now()).seal(&self.session_secret());
        let session = identity.key().map(begin);
        Ok((identity, session))
    }

    /// Finds who sent a request with this session from this address.
    ///
    /// # Errors
    ///
    /// Refuses one that this server has not issued, whose time is over, or whose key is not in force any more.
    pub fn check_session(&self, text: &[u8], peer: IpAddr) -> Result<SessionCheck, Refusal> {
        if self.is_open() {
            return Ok(SessionCheck { identity: Identity::default(), renewed: None });
        }
        let (secret, now) = (self.session_secret(), self.0.clock.now());
        let session = Session::open(text, &secret).ok_or(Refusal::SessionEnded)?;
        let key = session.key(&self.0.keys.borrow(), self.0.realm.get().copied());
        let key = key.filter(|key| session.lasts(key, now)).ok_or(Refusal::SessionEnded)?;
        if key.is_expired(now) {
            return Err(Refusal::Expired);
        }
        key.last_used.set(now, peer);
        key.take().map_err(Refusal::OverRate)?;
        let renewed = session.renewed(now);
        let ends = renewed.as_ref().unwrap_or(&session).ends(&key);
        let person = session.person().cloned().map(Arc::new);
        let session = Some(SessionRef { secret: Arc::clone(&secret), ends });
        let identity = Identity { key: Some(key), session, person };
        Ok(SessionCheck { identity, renewed: renewed.map(|renewed| renewed.seal(&secret)) })
    }

    /// Takes sessions of people whom this issuer has signed in; once, at the start.
    pub fn set_realm(&self, realm: Realm) {
        // A second one would be another issuer of the same server, which there is not.
        let _ = self.0.realm.set(realm);
    }

    /// Begins an attempt to sign in at the issuer: returns its text, and its secrets.
    pub fn begin_attempt(&self, next: Option<&str>) -> (String, AttemptSecrets) {
        let (secret, attempt) = (self.session_secret(), SignInAttempt::begin(next, self.0.clock.now()));
        (attempt.seal(&secret), attempt.secrets(&secret))
    }

    /// Reads an attempt that this server has begun within the last ten minutes.
    pub fn open_attempt(&self, text: &[u8]) -> Option<(SignInAttempt, AttemptSecrets)> {
        let secret = self.session_secret();
        let attempt = SignInAttempt::open(text, &secret, self.0.clock.now())?;
        let secrets = attempt.secrets(&secret);
        Some((attempt, secrets))
    }

    /// Fails if an address has sent too many wrong keys, or answers of no attempt.
    ///
    /// # Errors
    ///
    /// Says how long it has to wait.
    pub fn check_throttle(&self, peer: IpAddr) -> Result<(), Refusal> {
        let wait = self.0.throttle.wait_secs(peer, self.0.clock.now());
        wait.map_or(Ok(()), |retry_after_secs| Err(Refusal::Throttled { retry_after_secs }))
    }

    /// Counts an answer that signed nobody in, as a wrong key.
    pub fn count_wrong(&self, peer: IpAddr) {
        self.0.throttle.count(peer, self.0.clock.now());
    }

    /// Signs in a person whom the issuer names: returns the text of a session, or `None` if no key is needed.
    ///
    /// # Errors
    ///
    /// Refuses a person whom no entry of the keys files is about, and one over the rate of the entry.
    pub fn sign_in_person(
        &self,
        named: NamedPerson,
        peer: IpAddr,
    ) -> Result<(Identity, Option<String>), Refusal> {
        // Of the groups, those that entries name: a cookie has no room for hundreds.
        let named = self.0.keys.borrow().known_groups(named);
        let identity = self.check_person(named.clone(), peer)?;
        let realm = self.0.realm.get().copied().filter(|_| identity.key.is_some());
        let begin = |realm| {
            let session = Session::of(Whose::Person(named, realm), self.0.clock.now());
            session.seal(&self.session_secret())
        };
        Ok((identity, realm.map(begin)))
    }

    /// Puts another signing secret in force, which ends all sessions of the one before.
    pub fn set_session_secret(&self, secret: SessionSecret) {
        *self.0.session_secret.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secret);
        // Wakes the streams of sessions.
        self.0.keys.send_modify(|_| {});
    }

    fn session_secret(&self) -> Arc<SessionSecret> {
        Arc::clone(&self.0.session_secret.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a request of this identity would be refused: its key was revoked, changed or has expired, or it has
    /// none and keys are needed by now.
    pub async fn ended(&self, identity: &Identity) {
        let mut keys = self.0.keys.subscribe();
        loop {
            let left = match self.time_left(identity, &keys.borrow_and_update()) {
                TimeLeft::None => return,
                TimeLeft::Bounded(left) => left,
                TimeLeft::Unbounded => Duration::MAX,
            };
            // Ends early when keys change; that fails only if the sender is gone, which `self` holds.
            let _ = tokio::time::timeout(left, keys.changed()).await;
        }
    }

    fn time_left(&self, identity: &Identity, keys: &Keys) -> TimeLeft {
        let Some(key) = identity.key() else {
            return if self.is_open() { TimeLeft::Unbounded } else { TimeLeft::None };
        };
        let current = match &identity.person {
            Some(person) => keys.person(person),
            None => keys.current(key),
        };
        let Some(current) = current.filter(|current| has_same_rights(current, key)) else {
            return TimeLeft::None;
        };
        let session = identity.session.as_ref();
        if session.is_some_and(|session| *session.secret != *self.session_secret()) {
            return TimeLeft::None;
        }
        let Some(ends) = session.map(|session| session.ends).into_iter().chain(current.expires).min() else {
            return TimeLeft::Unbounded;
        };
        let left = (ends - self.0.clock.now()).to_std().unwrap_or_default();
        if left.is_zero() { TimeLeft::None } else { TimeLeft::Bounded(left) }
    }
}

/// Returns true if the rights of a key are those that it had.
fn has_same_rights(current: &Key, key: &Key) -> bool {
    current.scopes == key.scopes && current.reach == key.reach
}

/// How long an identity is in force, unless the keys change.
enum TimeLeft {
    None,
    Bounded(Duration),
    Unbounded,
}

#[cfg(test)]
mod tests;
