//! The stored log of a task: the parts of its runs, oldest first, in one database value.
//!
//! `finish` appends to it, queries read it. Its first byte is the format, `N`: parts whose lines are numbered over
//! all runs.

use chrono::DateTime;
use wasmill_model::LogLine;

use super::packed::{Ending, Record, take};

/// The parts of a task may take this many times the limit of its newest run.
const PARTS_MAX: usize = 4;

/// Bytes of a part besides its lines.
const HEAD_BYTES: usize = 32;

const PARTS: u8 = b'N';

/// The log of one run, stored when the run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// Number of lines of earlier runs.
    pub(super) earlier: u64,
    pub(super) attempt: u32,
    /// Index of the first kept line within the run, from 1.
    pub(super) first: u64,
    /// Number of kept lines.
    pub(super) count: u64,
    /// Bytes of the lines dropped before it.
    pub(super) dropped: u64,
    pub(super) records: Vec<u8>,
    /// Maximum bytes of `records`.
    pub(super) bytes_max: usize,
}

impl LogPart {
    /// Builds the part of a run that wrote nothing.
    pub fn silent(earlier: u64, attempt: u32) -> Self {
        Self { earlier, attempt, first: 1, count: 0, dropped: 0, records: Vec::new(), bytes_max: usize::MAX }
    }

    /// Returns the number of lines up to the end of the run.
    pub fn given(&self) -> u64 {
        self.earlier.saturating_add(self.first - 1).saturating_add(self.count)
    }

    /// Returns true if the run wrote nothing.
    pub fn is_silent(&self) -> bool {
        self.records.is_empty() && self.dropped == 0
    }

    /// Returns the log as text, one line after the other, with a note of what was dropped. `None` if nothing
    /// was written.
    pub fn text(&self) -> Option<String> {
        self.as_ref().text().ok().flatten()
    }

    fn as_ref(&self) -> Part<'_> {
        let Self { earlier, attempt, first, dropped, ref records, .. } = *self;
        Part { earlier, attempt, first, dropped, records }
    }
}

/// The stored log cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored log is damaged")]
pub struct Damaged;

/// The stored log of a task.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a>(
    /// Its bytes, as [`Body::with`] returned them; empty if there are none.
    pub &'a [u8],
);

impl Body<'_> {
    /// Returns the body with one more part; the oldest parts are dropped beyond the limit.
    pub fn with(self, part: &LogPart) -> Vec<u8> {
        // A damaged body is replaced: it must never keep a run from ending.
        let mut parts = self.parts().unwrap_or_default();
        let most = part.bytes_max.max(part.records.len()).saturating_mul(PARTS_MAX);
        let mut bytes = 0;
        let kept = parts.iter().rev().take_while(|earlier| {
            bytes += HEAD_BYTES + earlier.records.len();
            bytes + part.records.len() <= most
        });
        let kept = kept.count();
        let mut body = vec![PARTS];
        for part in parts.split_off(parts.len() - kept).into_iter().chain([part.as_ref()]) {
            part.write(&mut body);
        }
        body
    }

    /// Appends lines after line `after` to `lines`, up to `lines_max`.
    ///
    /// # Errors
    ///
    /// Fails if the body cannot be decoded.
    pub fn read(self, after: u64, lines_max: usize, lines: &mut Vec<LogLine>) -> Result<(), Damaged> {
        for part in self.parts()? {
            let from = LogLine::nth_after(part.earlier, after);
            let mut records = part.records;
            let mut nth = part.first;
            while !records.is_empty() && lines.len() < lines_max {
                let record = Record::read(&mut records).ok_or(Damaged)?;
                if nth >= from {
                    lines.push(numbered(record, part.earlier, part.attempt, nth).ok_or(Damaged)?);
                }
                nth += 1;
            }
        }
        Ok(())
    }

    /// Returns the log of the newest run as text, if it wrote anything.
    ///
    /// # Errors
    ///
    /// Fails if the body cannot be decoded.
    pub fn text(self) -> Result<Option<String>, Damaged> {
        self.parts()?.last().map_or(Ok(None), Part::text)
    }

    /// Returns the newest part.
    pub(super) fn newest(&self) -> Result<Part<'_>, Damaged> {
        self.parts()?.pop().ok_or(Damaged)
    }

    fn parts(&self) -> Result<Vec<Part<'_>>, Damaged> {
        match self.0.split_first() {
            Some((&PARTS, mut rest)) => {
                let mut parts = Vec::new();
                while !rest.is_empty() {
                    parts.push(Part::read(&mut rest).ok_or(Damaged)?);
                }
                Ok(parts)
            }
            None => Ok(Vec::new()),
            Some(_) => Err(Damaged),
        }
    }
}

/// One part of a body.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) earlier: u64,
    attempt: u32,
    pub(super) first: u64,
    pub(super) dropped: u64,
    pub(super) records: &'a [u8],
}

impl<'a> Part<'a> {
    fn write(&self, body: &mut Vec<u8>) {
        body.extend(self.earlier.to_le_bytes());
        body.extend(self.attempt.to_le_bytes());
        body.extend(self.first.to_le_bytes());
        body.extend(self.dropped.to_le_bytes());
        body.extend(u32::try_from(self.records.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(self.records);
    }

    fn read(body: &mut &'a [u8]) -> Option<Self> {
        let earlier = u64::from_le_bytes(take(body)?);
        let attempt = u32::from_le_bytes(take(body)?);
        let first = u64::from_le_bytes(take(body)?);
        let dropped = u64::from_le_bytes(take(body)?);
        let length = u32::from_le_bytes(take(body)?) as usize;
        let (records, rest) = body.split_at_checked(length)?;
        *body = rest;
        Some(Self { earlier, attempt, first, dropped, records })
    }

    fn text(&self) -> Result<Option<String>, Damaged> {
        let mut text = String::new();
        if self.dropped > 0 {
            text = format!("[{} earlier bytes dropped]\n", self.dropped);
        }
        let mut records = self.records;
        while !records.is_empty() {
            let record = Record::read(&mut records).ok_or(Damaged)?;
            text.push_str(record.text);
            if record.ending == Ending::Break {
                text.push('\n');
            }
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

/// Builds a log line from its record and number.
pub(super) fn numbered(record: Record<'_>, earlier: u64, attempt: u32, nth: u64) -> Option<LogLine> {
    Some(LogLine {
        seq: LogLine::seq_of(earlier, nth)?,
        time: DateTime::from_timestamp_nanos(record.nanos),
        attempt,
        stream: record.stream,
        text: record.text.to_owned(),
        is_cut: record.ending == Ending::Cut,
    })
}

#[cfg(test)]
mod tests {
    use wasmill_model::LogStream;

    use super::*;

    fn part(earlier: u64, attempt: u32, texts: &[&str]) -> LogPart {
        let count = texts.len() as u64;
        let mut part = LogPart { bytes_max: 100, count, ..LogPart::silent(earlier, attempt) };
        for text in texts {
            let stream = LogStream::Stdout;
            Record { nanos: 5, stream, ending: Ending::Break, text }.write(&mut part.records);
        }
        part
    }

    fn texts(body: &[u8], after: u64, most: usize) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        Body(body).read(after, most, &mut lines).expect("whole");
        lines.into_iter().map(|line| (line.seq, line.text)).collect()
    }

    #[test]
    fn lines_of_all_runs_are_read_from_any_number() {
        let body = Body(&[]).with(&part(0, 1, &["a", "b"]));
        let body = Body(&body).with(&part(2, 3, &["c"]));
        let all = [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())];
        assert_eq!(texts(&body, 0, 10), all);
        assert_eq!(texts(&body, 1, 10), all[1..]);
        assert_eq!(texts(&body, 1, 1), all[1..2]);
        assert_eq!(texts(&body, 3, 10), []);
        assert_eq!(Body(&body).text().expect("whole").as_deref(), Some("c\n"));
        assert_eq!(part(2, 3, &["c"]).given(), 3);
    }

    #[test]
    fn the_oldest_runs_are_dropped_beyond_the_limit() {
        let mut body = Vec::new();
        for run in 1..=50 {
            body = Body(&body).with(&part(u64::from(run) - 1, run, &["x".repeat(60).as_str()]));
            assert!(body.len() < 600, "{}", body.len());
        }
        assert_eq!(texts(&body, 0, 10).len(), 4);
        assert_eq!(texts(&body, 0, 10)[3].0, 50);
    }

    #[test]
    fn a_run_that_wrote_nothing_hides_the_text_of_the_one_before() {
        let body = Body(&[]).with(&part(0, 1, &["a"]));
        let body = Body(&body).with(&LogPart::silent(1, 2));
        assert_eq!(Body(&body).text(), Ok(None));
        assert_eq!(texts(&body, 0, 10), [(1, "a".to_owned())]);
    }

    #[test]
    fn damage_is_an_error() {
        let body = Body(&[]).with(&part(0, 1, &["a"]));
        for end in 2..body.len() {
            let damaged = Body(&body[..end]);
            assert_eq!(damaged.text(), Err(Damaged), "{end}");
        }
        // Versions from before the first release wrote `L` and `T`; their databases are refused as a whole.
        for other in [&b"?"[..], b"L", b"Ta\nb\n"] {
            assert_eq!(Body(other).text(), Err(Damaged));
        }
    }
}
