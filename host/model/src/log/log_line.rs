//! Log lines of guests.

use crate::Timestamp;

/// The stream of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// Returns the name used in the API, such as `stdout`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Maximum line number: the largest integer that JSON readers represent exactly.
pub const LINE_SEQ_MAX: u64 = (1 << 53) - 1;

/// Range of line numbers that a host crash uses up: nobody knows how many lines the run had, and no number is
/// reused.
const LINES_PER_CRASH: u64 = 1_000_000_000_000;

/// A log line of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Line number, at most [`LINE_SEQ_MAX`]. Lines are numbered over all runs of their task, including
    /// dropped ones; after a host crash the numbers continue in a new range.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// The stream it was written to.
    pub stream: LogStream,
    /// The text without its line break; invalid UTF-8 is replaced by U+FFFD.
    pub text: String,
    /// Whether the line was cut at the length limit and continues in the next line of its stream.
    pub is_cut: bool,
}

impl LogLine {
    /// Returns the number of the `nth` line, from 1, of a run after `earlier` lines of its task; `None` when
    /// the numbers are used up.
    pub fn seq_of(earlier: u64, nth: u64) -> Option<u64> {
        earlier.checked_add(nth).filter(|seq| *seq <= LINE_SEQ_MAX)
    }

    /// Returns how many numbers are used up after a host crash during a run that followed `earlier` lines.
    pub fn given_after_crash(earlier: u64) -> u64 {
        (earlier / LINES_PER_CRASH + 1) * LINES_PER_CRASH
    }

    /// Returns how many lines are missing between line `before` and this one, without those that a host crash
    /// lost.
    pub fn missed_since(&self, before: u64) -> u64 {
        let own = self.seq % LINES_PER_CRASH;
        let in_same_range = before / LINES_PER_CRASH == self.seq / LINES_PER_CRASH;
        own.saturating_sub(1 + if in_same_range { before % LINES_PER_CRASH } else { 0 })
    }

    /// Returns which line of a run, from 1, follows line number `after`, given `earlier` lines of previous
    /// runs.
    pub fn nth_after(earlier: u64, after: u64) -> u64 {
        after.saturating_sub(earlier).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> LogLine {
        LogLine {
            seq,
            time: Timestamp::UNIX_EPOCH,
            attempt: 1,
            stream: LogStream::Stdout,
            text: String::new(),
            is_cut: false,
        }
    }

    #[test]
    fn lines_are_numbered_over_runs_and_skip_a_range_after_a_crash() {
        assert_eq!(LogLine::seq_of(0, 1), Some(1));
        assert_eq!(LogLine::seq_of(41, 1), Some(42));
        let after = LogLine::given_after_crash(41);
        assert!(LogLine::seq_of(after, 1) > LogLine::seq_of(41, 900_000_000_000));
        assert_eq!(LogLine::given_after_crash(after), 2 * after);
    }

    #[test]
    fn every_number_is_exact_in_json_and_none_overflows() {
        let exact = |seq: Option<u64>| seq.is_none_or(|seq| (seq as f64) as u64 == seq && seq < 1 << 53);
        for earlier in [0, 9_008 * LINES_PER_CRASH / 1_000, LINE_SEQ_MAX - 1, LINE_SEQ_MAX, u64::MAX] {
            for nth in [1, 2, LINES_PER_CRASH, u64::MAX] {
                assert!(exact(LogLine::seq_of(earlier, nth)), "{earlier} {nth}");
            }
        }
        assert_eq!(LogLine::seq_of(LINE_SEQ_MAX - 1, 1), Some(LINE_SEQ_MAX));
        assert_eq!(LogLine::seq_of(LINE_SEQ_MAX, 1), None);
    }

    #[test]
    fn missing_lines_are_counted_except_those_lost_in_a_crash() {
        assert_eq!(line(1).missed_since(0), 0);
        assert_eq!(line(7).missed_since(0), 6);
        assert_eq!(line(7).missed_since(4), 2);
        assert_eq!(line(LINES_PER_CRASH + 1).missed_since(9), 0);
        assert_eq!(line(LINES_PER_CRASH + 3).missed_since(9), 2);
    }

    #[test]
    fn reading_continues_after_any_number() {
        assert_eq!(LogLine::nth_after(0, 0), 1);
        assert_eq!(LogLine::nth_after(0, 8), 9);
        assert_eq!(LogLine::nth_after(100, 8), 1);
        assert_eq!(LogLine::nth_after(100, 108), 9);
        assert_eq!(LogLine::nth_after(0, u64::MAX), u64::MAX);
    }
}
