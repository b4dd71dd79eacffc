//! When a certificate is valid: the two times in it (RFC 5280 §4.1.2.5), read from its DER.
//!
//! rustls checks these times in certificates of others, and does not return those of ours.

use chrono::{NaiveDateTime, TimeZone as _, Utc};
use wasmill_model::Timestamp;

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

impl Validity {
    /// Reads the times of a certificate; `None` if it is damaged.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(certificate).value(SEQUENCE)?);
        let mut signed = Der(certificate.value(SEQUENCE)?);
        if signed.0.first() == Some(&VERSION) {
            signed.value(VERSION)?;
        }
        // The serial number, the algorithm of the signature, and who signed.
        signed.value(INTEGER)?;
        signed.value(SEQUENCE)?;
        signed.value(SEQUENCE)?;
        let mut times = Der(signed.value(SEQUENCE)?);
        let (begins, ends) = (times.time()?, times.time()?);
        (times.0.is_empty()).then_some(Self { begins, ends })
    }
}

/// The rest of a sequence of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next value, which must have this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (given, value) = self.next()?;
        (given == tag).then_some(value)
    }

    /// Takes the next value with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // The length of a certificate fits into three bytes.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(bytes)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// Takes the next value, which must be a time.
    fn time(&mut self) -> Option<Timestamp> {
        let (tag, value) = self.next()?;
        let text = str::from_utf8(value).ok()?;
        let text = match tag {
            // Years from 50 are of the last century.
            UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
        Some(Utc.from_utc_datetime(&time))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_read() {
        for (begins, ends) in
            [((2026, 11, 29), (2027, 2, 27)), ((1975, 1, 1), (2049, 12, 31)), ((2050, 1, 1), (4096, 1, 1))]
        {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_before = date_time_ymd(begins.0, begins.1, begins.2);
            params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let at = |(year, month, day): (i32, u8, u8)| {
                Utc.with_ymd_and_hms(year, month.into(), day.into(), 0, 0, 0).unwrap()
            };
            let expected = Validity { begins: at(begins), ends: at(ends) };
            assert_eq!(Validity::of(certificate.der()), Some(expected));
        }
    }

    #[test]
    fn a_damaged_certificate_has_no_times() {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der();
        assert!(Validity::of(der).is_some());
        for bytes in 0..der.len() {
            assert_eq!(Validity::of(&der[..bytes]), None, "{bytes} bytes");
        }
        // A bit that changed may leave the times as they are; it must not panic.
        for bit in 0..der.len() * 8 {
            let mut changed = der.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let _ = Validity::of(&changed);
        }
        assert_eq!(Validity::of(&[]), None);
        assert_eq!(Validity::of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
