//! Why a timing is invalid.

/// The timing is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// The expression cannot be parsed.
    #[error("not a cron expression such as \"*/5 * * * *\": {why}")]
    Expression {
        /// What is wrong with it.
        why: String,
    },
    /// The expression is never due.
    #[error("never due: there is no such day")]
    Never,
    /// The time zone does not exist.
    #[error("not a time zone of the IANA database such as \"Europe/Berlin\"")]
    Zone,
}
