//! A line that a guest wrote to its log.

use crate::Timestamp;

/// Where a guest wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl LogStream {
    /// Returns the word that machines read, such as `stdout`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How many numbers each run of a task has for its lines, so that no number is ever given twice: the lines
/// of a run that a crash took away keep theirs.
const LINES_PER_RUN: u64 = 1_000_000_000_000;

/// One line of the log of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number. Numbers grow within a task, over all its attempts; those of lines that were dropped
    /// are missing, and each further run of the task begins a new range.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The attempt that wrote it; the first is 1.
    pub attempt: u32,
    /// Where it was written.
    pub stream: LogStream,
    /// What was written, without the line break; bytes that are no UTF-8 are U+FFFD.
    pub text: String,
    /// Whether the line was too long for one piece: it goes on in the next of its stream.
    pub is_cut: bool,
}

impl LogLine {
    /// Returns the number of the `nth` line, from 1, that the `run`th run of a task wrote, from 1; `None`
    /// when the run has used up its numbers.
    pub fn seq_of(run: u64, nth: u64) -> Option<u64> {
        (nth < LINES_PER_RUN).then(|| (run - 1) * LINES_PER_RUN + nth)
    }

    /// Returns how many lines of its run, between the one with the number `before` and this one, are
    /// missing. What earlier runs may have lost is not counted.
    pub fn missed_since(&self, before: u64) -> u64 {
        let own = self.seq % LINES_PER_RUN;
        let in_same_run = before / LINES_PER_RUN == self.seq / LINES_PER_RUN;
        own.saturating_sub(1 + if in_same_run { before % LINES_PER_RUN } else { 0 })
    }

    /// Returns which line of a run, from 1, comes after the number `after`: 1 if that belongs to an earlier
    /// run, `None` if it belongs to a later one.
    pub fn nth_after(run: u64, after: u64) -> Option<u64> {
        let of_after = after / LINES_PER_RUN + 1;
        match of_after.cmp(&run) {
            std::cmp::Ordering::Less => Some(1),
            std::cmp::Ordering::Equal => Some(after % LINES_PER_RUN + 1),
            std::cmp::Ordering::Greater => None,
        }
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
    fn the_lines_of_the_first_run_count_from_one_and_no_run_takes_numbers_of_another() {
        assert_eq!(LogLine::seq_of(1, 1), Some(1));
        assert_eq!(LogLine::seq_of(2, 1), Some(LINES_PER_RUN + 1));
        assert_eq!(LogLine::seq_of(1, LINES_PER_RUN - 1), Some(LINES_PER_RUN - 1));
        assert_eq!(LogLine::seq_of(1, LINES_PER_RUN), None);
    }

    #[test]
    fn missing_lines_are_counted_within_a_run() {
        assert_eq!(line(1).missed_since(0), 0);
        assert_eq!(line(7).missed_since(0), 6);
        assert_eq!(line(7).missed_since(4), 2);
        assert_eq!(line(LINES_PER_RUN + 1).missed_since(9), 0);
        assert_eq!(line(LINES_PER_RUN + 3).missed_since(9), 2);
    }

    #[test]
    fn reading_on_begins_behind_a_number_or_at_the_next_run() {
        assert_eq!(LogLine::nth_after(1, 0), Some(1));
        assert_eq!(LogLine::nth_after(1, 8), Some(9));
        assert_eq!(LogLine::nth_after(2, 8), Some(1));
        assert_eq!(LogLine::nth_after(1, LINES_PER_RUN + 8), None);
    }
}
