//! The stylesheet and the scripts, gzipped by `build.rs`.

/// A file that pages load.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name, which has the digest of its content.
    pub name: &'static str,
    /// Its media type, without a charset.
    pub media_type: &'static str,
    /// Its bytes, gzipped.
    pub gzipped: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_stay_small() {
        let bytes = |media_type| {
            ALL.iter()
                .filter(|file| file.media_type == media_type)
                .map(|file| file.gzipped.len())
                .sum::<usize>()
        };
        assert!(bytes("text/javascript") <= 20 << 10, "{}", bytes("text/javascript"));
        assert!(bytes("text/css") <= 12 << 10, "{}", bytes("text/css"));
    }
}
