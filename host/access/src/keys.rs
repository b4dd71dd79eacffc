//! The keys in force, found by id.

use std::collections::HashMap;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use wasmill_model::{Group, KeyLimits, KeySpace, LimitedKey, Rate, Reach, Timestamp};

use crate::key::{self, KeyHash};
use crate::last_used::LastUsed;
use crate::meter::{Meter, OverRate};
use crate::people::NamedPerson;
use crate::scope::Scopes;

/// Maximum groups of a person that a session remembers.
const SESSION_GROUPS_MAX: usize = 8;

/// One key, without its secret.
#[derive(Debug)]
pub struct Key {
    /// Public id, which tasks name in `submitted_by`.
    pub id: Arc<str>,
    /// Name for people; the keys of a rotation share it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends; `None` for never.
    pub expires: Option<Timestamp>,
    /// How many requests it may send; `None` for any number.
    pub rate: Option<Rate>,
    /// The tasks and plugins that it may see and touch.
    pub reach: Reach,
    /// Where its unique keys and idempotency keys are unique: keys of the same reach share them.
    pub space: KeySpace,
    /// How much it may have at once.
    pub limits: KeyLimits,
    /// Its limits with its name, if the store counts its tasks for them.
    pub(crate) limited: Option<Arc<LimitedKey>>,
    pub(crate) hash: KeyHash,
    pub(crate) last_used: Arc<LastUsed>,
    pub(crate) meter: Arc<Meter>,
}

impl Key {
    /// Returns true once it has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Returns when it was last used on this server.
    pub fn last_used(&self) -> &LastUsed {
        &self.last_used
    }

    /// Counts a request against its rate.
    pub(crate) fn take(&self) -> Result<(), OverRate> {
        self.rate.map_or(Ok(()), |rate| self.meter.take(rate))
    }

    /// Counts further requests against its rate, all or none.
    pub(crate) fn take_further(&self, requests: u32) -> Result<(), OverRate> {
        self.rate.map_or(Ok(()), |rate| self.meter.take_further(rate, requests))
    }

    /// Returns how many requests were refused for its rate since the start.
    pub fn refused(&self) -> u64 {
        self.meter.refused()
    }

    /// Returns a key of these rights for a user, whose limits are the user's own.
    fn of_user(&self, user: &str) -> Self {
        let name: Arc<str> = user.into();
        let limits = self.limits;
        let limited = self.limited.as_ref().map(|_| Arc::new(LimitedKey { name: Arc::clone(&name), limits }));
        Self {
            id: name,
            name: user.to_owned(),
            scopes: self.scopes,
            expires: None,
            rate: self.rate,
            reach: self.reach.clone(),
            space: self.space.clone(),
            limits,
            limited,
            hash: self.hash,
            last_used: Arc::clone(&self.last_used),
            meter: Arc::clone(&self.meter),
        }
    }

    fn is(&self, presented: &KeyHash) -> bool {
        self.hash.ct_eq(presented).into()
    }
}

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One user.
    User(String),
    /// Each member of a group.
    Group(String),
}

/// What people may do whom a trusted proxy has signed in.
#[derive(Debug)]
pub struct Person {
    pub(crate) whom: Whom,
    /// A key of their rights, whose rate and times of use they share.
    pub(crate) template: Key,
}

impl Person {
    /// Returns whom the entry is about.
    pub fn whom(&self) -> &Whom {
        &self.whom
    }

    /// Returns a key with what they may do; nobody has its secret.
    pub fn rights(&self) -> &Key {
        &self.template
    }

    /// Finds what a person may do: by the entry of the user, else by the first one of a group.
    fn find(people: &[Self], named: &NamedPerson) -> Option<Key> {
        let of_user = |person: &&Self| matches!(&person.whom, Whom::User(user) if *user == named.user);
        let of_group =
            |person: &&Self| matches!(&person.whom, Whom::Group(group) if named.groups.contains(group));
        let person = people.iter().find(of_user).or_else(|| people.iter().find(of_group))?;
        Some(person.template.of_user(&named.user))
    }
}

/// The keys in force.
#[derive(Debug, Default)]
pub struct Keys {
    by_id: HashMap<Arc<str>, Arc<Key>>,
    /// Ids of keys whose text has no id, such as the admin key of the environment.
    without_id: Vec<Arc<str>>,
    people: Vec<Person>,
}

impl Keys {
    /// Returns false if a key has this id already.
    pub(crate) fn add(&mut self, key: Key, has_id: bool) -> bool {
        let id = Arc::clone(&key.id);
        if self.by_id.contains_key(&id) {
            return false;
        }
        if !has_id {
            self.without_id.push(Arc::clone(&id));
        }
        self.by_id.insert(id, Arc::new(key));
        true
    }

    /// Returns false if there is an entry about the same.
    pub(crate) fn add_person(&mut self, person: Person) -> bool {
        let is_new = !self.people.iter().any(|known| known.whom == person.whom);
        if is_new {
            self.people.push(person);
        }
        is_new
    }

    /// Returns a key with what a person may do, if an entry is about them.
    pub(crate) fn person(&self, named: &NamedPerson) -> Option<Arc<Key>> {
        Person::find(&self.people, named).map(Arc::new)
    }

    /// Returns a person with those groups only that entries are about, in their order, of which the first one counts.
    pub(crate) fn known_groups(&self, named: NamedPerson) -> NamedPerson {
        let groups = self.people.iter().filter_map(|person| match &person.whom {
            Whom::Group(group) => named.groups.contains(group).then(|| group.clone()),
            Whom::User(_) => None,
        });
        NamedPerson { groups: groups.take(SESSION_GROUPS_MAX).collect(), user: named.user }
    }

    /// Returns the entries about people, in the order of the files: of several groups, the first one counts.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// Returns the keys, by name and id.
    pub fn list(&self) -> Vec<&Arc<Key>> {
        let mut keys: Vec<_> = self.by_id.values().collect();
        keys.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        keys
    }

    /// Returns the key of a text, expired or not.
    pub fn get(&self, text: &[u8]) -> Option<&Key> {
        self.find(text).map(|key| &**key)
    }

    /// Returns how many tasks of a group may run at once, for the groups of keys with that limit; the smallest one counts.
    pub fn group_limits(&self) -> HashMap<Group, usize> {
        let mut limits = HashMap::new();
        for key in self.by_id.values() {
            if let (Some(most), Some(group)) = (key.limits.running_max, key.reach.only_group()) {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let limit = limits.entry(group.clone()).or_insert(most);
                *limit = most.min(*limit);
            }
        }
        limits
    }

    /// Returns the first key of this space, by name, that has limits; `None` for keys without a reach.
    pub fn limited_of(&self, space: &KeySpace) -> Option<Arc<LimitedKey>> {
        let limited = self.by_id.values().filter(|key| !space.is_empty() && key.space == *space);
        limited.filter_map(|key| key.limited.clone()).min_by(|a, b| a.name.cmp(&b.name))
    }

    /// Returns a key of this space: all of them, and the people there, have the same reach.
    pub(crate) fn of_space(&self, space: &KeySpace) -> Option<Arc<Key>> {
        let key = self.by_id.values().find(|key| key.space == *space).cloned();
        let person = || self.people.iter().map(Person::rights).find(|rights| rights.space == *space);
        key.or_else(|| person().map(|rights| Arc::new(rights.of_user(&rights.name))))
    }

    /// Returns a key with what a user may do of whom an entry is about. Those of groups are known by their requests only.
    pub(crate) fn user(&self, user: &str) -> Option<Arc<Key>> {
        let is_about = |person: &&Person| matches!(&person.whom, Whom::User(name) if name == user);
        self.people.iter().find(is_about).map(|person| Arc::new(person.template.of_user(user)))
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.people.is_empty()
    }

    /// Returns the key of an id.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Arc<Key>> {
        self.by_id.get(id)
    }

    /// Returns true if the id of this text belongs to a key.
    pub(crate) fn knows_id_of(&self, text: &[u8]) -> bool {
        key::id_of(text).is_some_and(|id| self.by_id.contains_key(id))
    }

    /// Finds the key of this text. An unknown one is hashed and compared all the same.
    pub(crate) fn find(&self, text: &[u8]) -> Option<&Arc<Key>> {
        let presented = key::hash(text);
        if let Some(id) = key::id_of(text) {
            let Some(key) = self.by_id.get(id) else {
                let _ = [0; 32].ct_eq(&presented);
                return None;
            };
            return key.is(&presented).then_some(key);
        }
        let known = self.without_id.iter().filter_map(|id| self.by_id.get(id));
        known.fold(None, |found, key| if key.is(&presented) { Some(key) } else { found })
    }

    /// Returns what this set says of the same key.
    pub(crate) fn current(&self, key: &Key) -> Option<Arc<Key>> {
        self.by_id.get(&key.id).filter(|current| current.hash == key.hash).cloned()
    }

    /// Keeps the times of last use of the keys that stay, and what they have used of their rate.
    pub(crate) fn inherit(&mut self, before: &Self) {
        for (id, key) in &mut self.by_id {
            if let Some(old) = before.by_id.get(id)
                && let Some(key) = Arc::get_mut(key)
            {
                key.last_used = Arc::clone(&old.last_used);
                key.meter = Arc::clone(&old.meter);
            }
        }
        for person in &mut self.people {
            if let Some(old) = before.people.iter().find(|old| old.whom == person.whom) {
                person.template.last_used = Arc::clone(&old.template.last_used);
                person.template.meter = Arc::clone(&old.template.meter);
            }
        }
    }
}
