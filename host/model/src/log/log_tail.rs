//! The newest bytes of a log, bounded.

use std::collections::VecDeque;

/// Keeps the newest bytes of a log and drops the oldest.
#[derive(Clone, Debug)]
pub struct LogTail {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    dropped: u64,
}

impl LogTail {
    /// Creates an empty tail of at most `bytes_max` bytes; it allocates on the first write.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::new(), bytes_max, dropped: 0 }
    }

    /// Appends guest output.
    pub fn write(&mut self, written: &[u8]) {
        let kept = &written[written.len().saturating_sub(self.bytes_max)..];
        let room = self.bytes_max - kept.len();
        let surplus = self.bytes.len().saturating_sub(room);
        self.bytes.drain(..surplus);
        self.bytes.extend(kept);
        self.dropped += (written.len() - kept.len() + surplus) as u64;
    }

    /// Returns the tail as text, starting with a whole line and a note of what was dropped.
    ///
    /// Invalid UTF-8 is replaced by U+FFFD.
    pub fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        let bytes = [front, back].concat();
        if self.dropped == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        let line = bytes.iter().position(|&b| b == b'\n').map_or(0, |newline| newline + 1);
        let dropped = self.dropped + line as u64;
        format!("[{dropped} earlier bytes dropped]\n{}", String::from_utf8_lossy(&bytes[line..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_log_is_kept_whole() {
        let mut tail = LogTail::new(16);
        tail.write(b"one\n");
        tail.write(b"two\n");
        assert_eq!(tail.text(), "one\ntwo\n");
    }

    #[test]
    fn a_long_log_keeps_its_newest_whole_lines() {
        let mut tail = LogTail::new(8);
        tail.write(b"first\nsecond\nthird\n");
        assert_eq!(tail.text(), "[13 earlier bytes dropped]\nthird\n");
    }

    #[test]
    fn output_never_exceeds_the_limit() {
        let mut tail = LogTail::new(10);
        for _ in 0..1_000 {
            tail.write(b"0123456");
            assert!(tail.bytes.len() <= 10);
        }
        assert_eq!(tail.dropped, 7_000 - 10);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let mut tail = LogTail::new(10);
        tail.write(&[b'a', 0xff, b'b']);
        assert_eq!(tail.text(), "a\u{fffd}b");
    }
}
