//! What keeps a database from cleaning up. Plain data only.

use std::time::Duration;

/// The oldest snapshot of a database. What ended or moved since it was taken stays in the tables as long as it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSnapshot {
    /// Who holds it, such as `session 4711 of user reports (psql)`.
    pub holder: String,
    /// What ends it, as a statement of SQL.
    pub ended_by: String,
    /// For how long at least; `None` if the user may not see that and has just looked.
    pub held: Option<Duration>,
    /// How many transactions of the server are younger.
    pub transactions: u64,
}
