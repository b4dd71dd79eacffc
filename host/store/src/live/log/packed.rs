//! Packed log lines: what a live log holds and what the database stores.
//!
//! A line is a head of 13 bytes and its text: flags, time in nanoseconds since 1970, length of the text.

use std::collections::VecDeque;

use wasmill_model::LogStream;

/// Bytes of a line besides its text.
pub(super) const HEAD_BYTES: usize = 13;

const STDERR: u8 = 1;
const CUT: u8 = 2;
const OPEN: u8 = 4;

/// One line without its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) nanos: i64,
    pub(super) stream: LogStream,
    pub(super) ending: Ending,
    pub(super) text: &'a str,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a line break.
    Break,
    /// Cut at the length limit; it continues in the next line of its stream.
    Cut,
    /// The run ended before the line break.
    Open,
}

impl<'a> Record<'a> {
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let stream = if self.stream == LogStream::Stderr { STDERR } else { 0 };
        let ending = match self.ending {
            Ending::Break => 0,
            Ending::Cut => CUT,
            Ending::Open => OPEN,
        };
        bytes.push(stream | ending);
        bytes.extend(self.nanos.to_le_bytes());
        bytes.extend(u32::try_from(self.text.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(self.text.as_bytes());
    }

    /// Decodes and consumes the first record; `None` if it is invalid.
    pub(super) fn read(bytes: &mut &'a [u8]) -> Option<Self> {
        let flags = take::<1>(bytes)?[0];
        let nanos = i64::from_le_bytes(take(bytes)?);
        let length = u32::from_le_bytes(take(bytes)?) as usize;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let stream = if flags & STDERR == 0 { LogStream::Stdout } else { LogStream::Stderr };
        let ending = match flags & !STDERR {
            0 => Ending::Break,
            CUT => Ending::Cut,
            OPEN => Ending::Open,
            _ => return None,
        };
        Some(Self { nanos, stream, ending, text: std::str::from_utf8(text).ok()? })
    }
}

/// Consumes the first `N` bytes.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// A queue of records with access by index in constant time.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    /// The records, after bytes that are dropped and not yet freed.
    bytes: Vec<u8>,
    /// Number of dropped bytes at the front.
    gone: usize,
    /// Offset of each record, counted from the first byte ever pushed.
    begins: VecDeque<u64>,
    /// Offset of the first of `bytes`.
    base: u64,
}

impl Packed {
    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.begins.len()
    }

    /// Returns their size in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// Returns them in stored form.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    pub(super) fn push(&mut self, record: Record<'_>) {
        self.begins.push_back(self.base + self.bytes.len() as u64);
        record.write(&mut self.bytes);
    }

    /// Drops the oldest record and returns the length of its text.
    pub(super) fn drop_first(&mut self) -> Option<usize> {
        let text = self.get(0)?.text.len();
        self.begins.pop_front();
        self.gone += HEAD_BYTES + text;
        // Amortised: moving the rest costs no more than writing the dropped bytes did.
        if self.gone > self.bytes.len() / 2 {
            self.bytes.drain(..self.gone);
            self.base += self.gone as u64;
            self.gone = 0;
        }
        Some(text)
    }

    /// Returns the record at this index.
    pub(super) fn get(&self, place: usize) -> Option<Record<'_>> {
        let begin = usize::try_from(self.begins.get(place)? - self.base).ok()?;
        Record::read(&mut &self.bytes[begin..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(nanos: i64, text: &str) -> Record<'_> {
        Record { nanos, stream: LogStream::Stderr, ending: Ending::Cut, text }
    }

    #[test]
    fn a_record_round_trips_and_damage_is_rejected() {
        let mut bytes = Vec::new();
        let line = record(-7, "grüße");
        line.write(&mut bytes);
        assert_eq!(bytes.len(), HEAD_BYTES + line.text.len());
        assert_eq!(Record::read(&mut &bytes[..]), Some(line));
        for end in 0..bytes.len() {
            assert_eq!(Record::read(&mut &bytes[..end]), None);
        }
        bytes[0] = 0xf0;
        assert_eq!(Record::read(&mut &bytes[..]), None);
    }

    #[test]
    fn records_are_found_by_index_while_the_oldest_are_dropped() {
        let mut packed = Packed::default();
        let texts: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
        for (n, text) in texts.iter().enumerate() {
            packed.push(record(0, text));
            if packed.len() > 10 {
                assert_eq!(packed.drop_first(), Some(texts[n - 10].len()));
            }
            assert_eq!(packed.get(packed.len() - 1).map(|line| line.text), Some(text.as_str()));
            assert!(packed.bytes.len() < 500, "what is gone is given back");
        }
        assert_eq!(packed.get(0).map(|line| line.text), Some("990"));
        assert_eq!(packed.get(10), None);
        assert_eq!(packed.size(), 10 * (HEAD_BYTES + 3));
    }
}
