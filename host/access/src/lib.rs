//! Who may do what: keys, their scopes, the files that hold them, and the check of each request.
//!
//! `api` calls the check, `wasmill` reads and changes the files. Knows neither HTTP nor the database.

mod access;
mod attempt;
mod audit;
mod edit;
mod file;
mod key;
mod keys;
mod last_used;
mod limits;
mod meter;
mod people;
mod reach;
mod scope;
mod session;
mod session_file;
mod stamp;
mod throttle;
mod used_file;
mod watch;

pub use access::{Access, Identity, Refusal, SessionCheck};
pub use attempt::{ATTEMPT_MAX, AttemptSecrets, SignInAttempt};
pub use audit::{Audit, AuditDetails, AuditLine, AuditTarget, Who, audit_keys, read_audit};
pub use edit::{EditError, KeyFile, NewKey};
pub use file::{ADMIN_KEY_CHARS_MIN, KeyFiles, KeysError};
pub use key::{InvalidKey, SecretKey, check_key};
pub use keys::{Key, Keys, Person, Whom};
pub use last_used::LastUsed;
pub use meter::OverRate;
pub use people::{NamedPerson, PERSON_BYTES_MAX, PERSON_GROUPS_MAX, Realm, is_person};
pub use scope::{InvalidScope, Scope, Scopes};
pub use session::{SESSION_MAX, SessionSecret};
pub use stamp::FileStamp;
pub use throttle::network;
pub use used_file::read_last_used;
