//! The media type of a file, by the end of its name.

use http::HeaderValue;

/// What a file of that name holds; bytes, if the name does not tell. Text is UTF-8.
pub fn of(name: &[u8]) -> HeaderValue {
    let extension = extension(name).and_then(|extension| std::str::from_utf8(extension).ok());
    let kind = extension.and_then(|extension| mime_guess::from_ext(extension).first_raw());
    match kind {
        // RFC 9239: one name for JavaScript.
        Some("application/javascript") => Some(HeaderValue::from_static("text/javascript; charset=utf-8")),
        Some(kind) if kind.starts_with("text/") => HeaderValue::from_str(&format!("{kind}; charset=utf-8")).ok(),
        Some(kind) => Some(HeaderValue::from_static(kind)),
        None => None,
    }
    .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn extension(name: &[u8]) -> Option<&[u8]> {
    let name = name.rsplit(|byte| *byte == b'/').next()?;
    let dot = memchr::memrchr(b'.', name)?;
    name.get(dot + 1..)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn by_the_end_of_the_name() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.c/style.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("notes.txt", "text/plain; charset=utf-8"),
            ("data.json", "application/json"),
            ("logo.svg", "image/svg+xml"),
            ("photo.jpg", "image/jpeg"),
            ("photo.webp", "image/webp"),
            ("module.wasm", "application/wasm"),
            ("font.woff2", "font/woff2"),
            ("archive.tar.gz", "application/gzip"),
            ("README", "application/octet-stream"),
            ("dir.html/README", "application/octet-stream"),
            ("trailing.", "application/octet-stream"),
            ("odd.unheard-of", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(of(name.as_bytes()).to_str().unwrap(), expected, "{name}");
        }
        assert_eq!(of(b"x.\xff").to_str().unwrap(), "application/octet-stream");
    }
}
