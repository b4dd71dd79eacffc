//! Encodes a profile in the pprof format: `profile.proto` of <https://github.com/google/pprof>, gzipped. Only
//! what stack profiles need.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

/// One function of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub(super) name: String,
    /// Shown by pprof as the file.
    pub(super) file: String,
}

/// A profile under construction.
#[derive(Default)]
pub(super) struct Profile {
    strings: HashMap<String, u64>,
    /// In the order of their indexes, from 1; index 0 is the empty string.
    strings_in_order: Vec<String>,
    /// Each function has exactly one location, with the same id.
    functions: HashMap<Frame, u64>,
    functions_written: Message,
    samples: Message,
}

impl Profile {
    /// Adds a sample: a stack, innermost function first, with its count and CPU time.
    pub(super) fn add(&mut self, stack: &[Frame], labels: &[(&str, &str)], polls: u64, cpu: Duration) {
        let mut sample = Message::default();
        let locations: Vec<_> = stack.iter().map(|frame| self.function(frame)).collect();
        sample.numbers(1, &locations);
        sample.numbers(2, &[polls, nanos(cpu)]);
        for (key, value) in labels {
            let mut label = Message::default();
            label.number(1, self.string(key));
            label.number(2, self.string(value));
            sample.message(3, &label);
        }
        self.samples.message(2, &sample);
    }

    /// Encodes the profile.
    ///
    /// # Errors
    ///
    /// Fails if compression does.
    pub(super) fn finish(
        mut self,
        began_nanos: i64,
        took: Duration,
        period: Duration,
        comment: &str,
    ) -> io::Result<Vec<u8>> {
        let mut profile = Message::default();
        let polls = self.value_type("samples", "count");
        let cpu = self.value_type("cpu", "nanoseconds");
        profile.message(1, &polls);
        profile.message(1, &cpu);
        profile.append(&self.samples);
        profile.append(&self.functions_written);
        let (comment, default) = (self.string(comment), self.string("cpu"));
        profile.text(6, "");
        for string in &self.strings_in_order {
            profile.text(6, string);
        }
        profile.number(9, u64::try_from(began_nanos).unwrap_or(0));
        profile.number(10, nanos(took));
        profile.message(11, &cpu);
        profile.number(12, nanos(period));
        profile.numbers(13, &[comment]);
        profile.number(14, default);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&profile.0)?;
        gzip.finish()
    }

    fn value_type(&mut self, what: &str, unit: &str) -> Message {
        let mut written = Message::default();
        written.number(1, self.string(what));
        written.number(2, self.string(unit));
        written
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        if let Some(&number) = self.functions.get(frame) {
            return number;
        }
        let number = self.functions.len() as u64 + 1;
        self.functions.insert(frame.clone(), number);
        let (name, file) = (self.string(&frame.name), self.string(&frame.file));
        let mut line = Message::default();
        line.number(1, number);
        let mut location = Message::default();
        location.number(1, number);
        location.message(4, &line);
        self.functions_written.message(4, &location);
        let mut function = Message::default();
        function.number(1, number);
        function.number(2, name);
        function.number(3, name);
        function.number(4, file);
        self.functions_written.message(5, &function);
        number
    }

    fn string(&mut self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&number) = self.strings.get(text) {
            return number;
        }
        self.strings_in_order.push(text.to_owned());
        let number = self.strings_in_order.len() as u64;
        self.strings.insert(text.to_owned(), number);
        number
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An encoded protocol buffers message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn numbers(&mut self, field: u64, values: &[u64]) {
        let mut packed = Self::default();
        for &value in values {
            packed.varint(value);
        }
        self.bytes(field, &packed.0);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// Appends the fields of another message.
    fn append(&mut self, message: &Self) {
        self.0.extend_from_slice(&message.0);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint((field << 3) | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_protocol_buffers() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.numbers(4, &[3, 270, 86_942]);
        // The examples of the protocol buffers documentation.
        let expected = b"\x08\x96\x01\x12\x07testing\x22\x06\x03\x8e\x02\x9e\xa7\x05";
        assert_eq!(message.0, expected);
    }

    #[test]
    fn functions_and_strings_are_deduplicated() {
        let mut profile = Profile::default();
        let frame = |name: &str| Frame { name: name.to_owned(), file: "f".to_owned() };
        profile.add(&[frame("a"), frame("b")], &[("thread", "b")], 1, Duration::from_millis(1));
        profile.add(&[frame("a")], &[], 1, Duration::from_millis(1));
        assert_eq!(profile.functions.len(), 2);
        assert_eq!(profile.strings_in_order, ["a", "f", "b", "thread"]);
    }
}
