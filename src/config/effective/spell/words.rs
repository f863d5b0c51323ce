//! Values in the words that a configuration has for them.

use std::time::Duration;

use time::OffsetDateTime;

use crate::config::model::{
    AccessFormat, Auth, Coding, HostPattern, Http2, IdentitySource, LogFormat, MetricsAuth, Per, QueryLogging, Rate,
    RetryOn, Scheme, SignScheme, TlsVersion, UpstreamPolicy, UpstreamUrl, UseTokens, UsernameEncoding,
};

/// In the largest unit that it is a whole number of.
pub(super) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// The same for bytes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// `20/s`.
pub(super) fn rate(rate: Rate) -> String {
    let Rate { count, period } = rate;
    let period = duration(period);
    let unit = period.strip_prefix('1').filter(|unit| matches!(*unit, "ms" | "s" | "m" | "h"));
    format!("{count}/{}", unit.unwrap_or(&period))
}

/// The last day before that moment.
pub(super) fn last_day(before: u64) -> String {
    let last = i64::try_from(before / 1000).unwrap_or(i64::MAX).saturating_sub(1);
    OffsetDateTime::from_unix_timestamp(last).map_or_else(|_| String::new(), |moment| moment.date().to_string())
}

pub(super) fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(parent) => format!("*.{parent}"),
    }
}

pub(super) fn url(url: &UpstreamUrl) -> String {
    let UpstreamUrl { scheme, host: _, port: _, authority, path } = url;
    format!("{}://{authority}{path}", scheme_name(*scheme))
}

pub(super) fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// `404`, `5xx`, `default`.
pub(super) fn statuses((first, last): (u16, u16)) -> String {
    match (first, last) {
        (400, 599) => "default".to_owned(),
        (400, 499) => "4xx".to_owned(),
        (500, 599) => "5xx".to_owned(),
        _ => first.to_string(),
    }
}

pub(super) fn retry_on(on: RetryOn) -> String {
    match on {
        RetryOn::Connect => "connect".to_owned(),
        RetryOn::Reset => "reset".to_owned(),
        RetryOn::Status(status) => status.as_str().to_owned(),
    }
}

macro_rules! words {
    ($($name:ident: $type:ident { $($variant:ident => $word:literal),+ $(,)? })+) => {
        $(pub(super) fn $name(value: $type) -> &'static str {
            match value { $($type::$variant => $word),+ }
        })+
    };
}

words! {
    log_format: LogFormat { Text => "text", Json => "json", Auto => "auto" }
    access_format: AccessFormat { Json => "json", Combined => "combined", Off => "off" }
    query: QueryLogging { Redacted => "redacted", Full => "full", Off => "off" }
    metrics_auth: MetricsAuth { None => "none", Required => "required" }
    tls_version: TlsVersion { Tls12 => "1.2", Tls13 => "1.3" }
    http2: Http2 { Auto => "auto", Off => "off", Only => "only" }
    use_tokens: UseTokens { InOrder => "in_order", RoundRobin => "round_robin", LeastUsed => "least_used" }
    identity_source: IdentitySource {
        Client => "client", Basic => "basic", Header => "header", Certificate => "certificate", Oidc => "oidc", Jwt => "jwt",
    }
    upstream_policy: UpstreamPolicy { Guarded => "guarded", Open => "open" }
    username_encoding: UsernameEncoding { Percent => "percent", Raw => "raw" }
    auth: Auth { Required => "required", Optional => "optional", None => "none" }
    per: Per { Client => "client", Address => "address", Route => "route" }
    coding: Coding { Zstd => "zstd", Br => "br", Gzip => "gzip" }
    sign_scheme: SignScheme {
        UserStamp => "user-stamp", UserProjectStamp => "user-project-stamp",
        UserProjectAppidStamp => "user-project-appid-stamp", HmacSha256 => "hmac-sha256", Rfc9421 => "rfc9421",
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spelt_as_they_are_written() {
        for text in ["250ms", "5s", "10m", "1h", "90s", "0s"] {
            assert_eq!(duration(crate::config::parse_duration(text).unwrap()), text);
        }
        assert_eq!([size(32 << 10), size(64 << 20), size(1 << 30), size(1000)], ["32KiB", "64MiB", "1GiB", "1000"]);
        let of = |count, millis| rate(Rate { count, period: Duration::from_millis(millis) });
        assert_eq!([of(20, 1000), of(6, 60_000), of(5, 250), of(7, 10_000)], ["20/s", "6/m", "5/250ms", "7/10s"]);
        assert_eq!(last_day(1_814_400_000_000), "2027-06-30");
    }
}
