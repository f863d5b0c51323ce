//! A question, and the request head that it stands for.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::policy::auth::ClientIndex;
use crate::policy::request_gate::RequestView;

use super::super::Table;

/// A request to explain.
#[derive(Clone, Debug)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// `http(s)://host/path?query`, or `/path` for the default host.
    pub url: String,
    /// Further fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Forces the environment, as if the request had named it.
    pub environment: Option<String>,
    /// Treats the caller as this client.
    pub client: Option<String>,
    /// The caller's address.
    pub from: IpAddr,
}

/// What a client would have sent.
pub(super) struct Head {
    target: String,
    headers: HeaderMap,
    tls: bool,
}

/// A URL, taken apart without touching its path: no dot segment is resolved, nothing is encoded.
struct Parts<'q> {
    tls: bool,
    authority: Option<&'q str>,
    target: String,
}

impl Question {
    /// The head that the question stands for.
    pub(super) fn head(&self, table: &Table) -> Result<Head, String> {
        let Parts { tls, authority, target } = parts(&self.url)?;
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        for (name, value) in &self.headers {
            headers.try_append(name.clone(), value.clone()).map_err(|_| "there are too many headers".to_owned())?;
        }
        if !headers.contains_key(HOST) {
            let host = authority.or_else(|| table.matcher.any_host()).unwrap_or("localhost");
            let value = HeaderValue::from_str(host).map_err(|_| format!("`{host}` cannot be a host"))?;
            headers.insert(HOST, value);
        }
        Ok(Head { target, headers, tls })
    }

    /// The client that the caller is taken to be.
    pub(super) fn client_of(&self, table: &Table) -> Result<Option<ClientIndex>, String> {
        let Some(name) = &self.client else { return Ok(None) };
        match table.client_entries.iter().position(|client| *client.name == **name) {
            Some(index) => Ok(Some(ClientIndex(index))),
            None => Err(format!("there is no client `{name}`")),
        }
    }
}

impl Head {
    /// As the data plane would see it.
    pub(super) fn view<'a>(&'a self, question: &'a Question) -> RequestView<'a> {
        RequestView {
            method: &question.method,
            target: &self.target,
            authority: None,
            headers: &self.headers,
            version: Version::HTTP_11,
            peer: question.from,
            tls: self.tls,
            certificate: None,
        }
    }
}

fn parts(url: &str) -> Result<Parts<'_>, String> {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    if url.starts_with('/') || url == "*" {
        return Ok(Parts { tls: false, authority: None, target: url.to_owned() });
    }
    let wrong = || format!("`{url}` is no URL: write http://host/path, https://host/path or /path");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).filter(|(host, _)| !host.is_empty()).ok_or_else(wrong)?;
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Parts { tls, authority: Some(authority), target })
}
