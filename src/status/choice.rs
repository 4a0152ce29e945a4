//! In which format the status is shown.

/// A format of `wsgi_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Html,
    Json,
    Prometheus,
}

impl Format {
    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "html" => Some(Format::Html),
            "json" => Some(Format::Json),
            "prometheus" => Some(Format::Prometheus),
            _ => None,
        }
    }

    /// Value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Html => "text/html; charset=utf-8",
            Format::Json => "application/json",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What the client likes best, by its Accept header: among equals what it names first, and HTML
    /// where it doesn't say.
    pub fn accepted(accept: &[u8]) -> Self {
        let ranges = accept.split(|byte| *byte == b',').filter_map(range);
        let mut best = (Format::Html, 0.0);
        for (format, quality) in ranges {
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

/// One range of an Accept header with its quality.
fn range(range: &[u8]) -> Option<(Format, f32)> {
    let range = std::str::from_utf8(range).ok()?.to_ascii_lowercase();
    let mut parts = range.split(';').map(str::trim);
    let format = match parts.next()? {
        "text/html" | "application/xhtml+xml" | "text/*" | "*/*" => Format::Html,
        "application/json" | "application/*" => Format::Json,
        "text/plain" | "application/openmetrics-text" => Format::Prometheus,
        _ => return None,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    Some((format, quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_range_counts() {
        for (accept, format) in [
            ("", Format::Html),
            ("*/*", Format::Html),
            ("image/png", Format::Html),
            ("application/json", Format::Json),
            ("Application/JSON;charset=utf-8", Format::Json),
            ("application/json, text/html", Format::Json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Html),
            ("application/json;q=0.5, text/html", Format::Html),
            ("application/json;q=0, */*", Format::Html),
            ("text/html;q=0.1, application/json;q=0.2", Format::Json),
            ("text/plain", Format::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Prometheus,
            ),
            ("application/json;q=x", Format::Html),
            ("\u{fc}, application/json", Format::Json),
        ] {
            assert_eq!(Format::accepted(accept.as_bytes()), format, "{accept}");
        }
    }
}
