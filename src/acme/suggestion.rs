//! When a CA suggests to renew a certificate (ARI, RFC 9773).

use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error, RenewalInfo};
use serde::Deserialize;

use super::https::Https;
use super::schedule::Window;
use crate::tls::load::Loaded;

/// What matters here of a directory (RFC 8555 §7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    renewal_info: Option<String>,
}

/// What a CA suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// It has no such service.
    None,
    /// It has.
    Some {
        /// When; `None`: nothing that makes sense.
        window: Option<Window>,
        /// When to ask again.
        again: Option<Duration>,
    },
}

/// The certificate's name at its CA (RFC 9773 §4.1); `None` for one that no such CA has issued.
pub fn identifier(loaded: &Loaded) -> Option<CertificateIdentifier<'static>> {
    let leaf = loaded.key.cert.first()?;
    CertificateIdentifier::try_from(leaf).ok().map(CertificateIdentifier::into_owned)
}

/// Asks.
///
/// # Errors
/// There is no answer.
pub async fn ask(https: &Https, directory: &str, loaded: &Loaded) -> Result<Suggestion, Error> {
    let (directory, _) = https.document::<Directory>(directory).await?;
    let Some((service, name)) = directory.renewal_info.zip(identifier(loaded)) else { return Ok(Suggestion::None) };
    let url = format!("{}/{name}", service.trim_end_matches('/'));
    let (info, again) = https.document::<RenewalInfo>(&url).await?;
    Ok(Suggestion::Some { window: window(&info), again })
}

fn window(info: &RenewalInfo) -> Option<Window> {
    let millis = |moment: time::OffsetDateTime| u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok();
    Window::new(millis(info.suggested_window.start)?, millis(info.suggested_window.end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_ends_before_it_starts_is_none() {
        let info = |start: &str, end: &str| {
            let text = format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
            window(&serde_json::from_str(&text).unwrap())
        };
        let (start, end) = ("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z");
        let expected = Window { start: 1_735_790_400_000, end: 1_735_876_800_000 };
        assert_eq!(info(start, end), Some(expected));
        assert_eq!(info(end, start), None);
    }
}
