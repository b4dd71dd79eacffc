//! The header `Accept`: whether a client wants the bytes of a result rather than JSON (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};
use wasmill_model::MediaType;

/// Quality in thousandths.
type Quality = u16;

/// Returns the media type in which a client prefers a result of the type `own` to JSON; `None` for JSON, as for a client
/// that states no preference.
pub(crate) fn raw_type<'a>(headers: &HeaderMap, own: &'a str) -> Option<&'a str> {
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    let json = quality(&ranges, MediaType::JSON, true);
    // What a client accepts without naming it, it gets as JSON.
    let of = |media| quality(&ranges, media, false);
    let best = [own, MediaType::BYTES].into_iter().filter(|media| *media != MediaType::JSON);
    let best = best
        .map(|media| (of(media), media))
        .reduce(|best, other| if other.0 > best.0 { other } else { best })?;
    (best.0 > json).then_some(best.1)
}

/// Parses a media range with its quality.
fn range(text: &str) -> Option<(String, Quality)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| name.contains('/'))?.to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000")]
    let thousandths = (quality.clamp(0.0, 1.0) * 1_000.0) as Quality;
    Some((name, thousandths))
}

/// Returns the quality of a media type by the range that fits it most closely; `any` counts `*/*` as well.
fn quality(ranges: &[(String, Quality)], media: &str, any: bool) -> Quality {
    let main = media.split('/').next().unwrap_or_default();
    let fits = [media.to_owned(), format!("{main}/*"), if any { "*/*" } else { "" }.to_owned()];
    let found = fits.iter().find_map(|fit| ranges.iter().find(|(name, _)| name == fit));
    found.map_or(0, |(_, quality)| *quality)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn bytes_are_for_those_who_prefer_them_to_json() {
        let chosen = |accept: &'static str, own| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            raw_type(&headers, own)
        };
        let (png, bytes) = ("image/png", MediaType::BYTES);
        for (accept, own, expected) in [
            ("*/*", png, None),
            ("application/json", png, None),
            ("application/json, text/plain, */*", MediaType::TEXT, None),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", png, None),
            ("image/png", png, Some(png)),
            ("IMAGE/PNG", png, Some(png)),
            ("image/*", png, Some(png)),
            ("image/*, application/json;q=0.9", png, Some(png)),
            ("image/png;q=0.5, application/json", png, None),
            ("image/png, */*;q=0.1", png, Some(png)),
            ("image/png;q=0", png, None),
            ("image/jpeg", png, None),
            ("application/octet-stream", png, Some(bytes)),
            ("application/octet-stream", MediaType::JSON, Some(bytes)),
            ("application/json", MediaType::JSON, None),
            ("text/plain", MediaType::TEXT, Some(MediaType::TEXT)),
            ("text/plain", png, None),
            ("nonsense, ;;q=x, image/png;q=x", png, None),
        ] {
            assert_eq!(chosen(accept, own), expected, "{accept} for {own}");
        }
        assert_eq!(raw_type(&HeaderMap::new(), png), None);
    }
}
