//! `server`, `logging`, `admin`.

use crate::config::model::{Access, Admin, Dns, Logging, Server};

use super::super::{Node, Value};
use super::{Fields, duration, network, path, path_or_empty, plain, text, texts, whole, words};

pub(super) fn server(server: &Server) -> Node {
    let Server { threads, drain_timeout, max_connections, trusted_proxies, internal_networks, dns, runtime_dir } =
        server;
    let Dns { servers, refresh, timeout } = dns;
    let dns = Fields::default()
        .with("servers", texts(servers))
        .with("refresh", refresh.map_or_else(|| text("auto"), duration))
        .with("timeout", duration(*timeout));
    Fields::default()
        .maybe("threads", threads.map(whole))
        .with("drain_timeout", duration(*drain_timeout))
        .with("max_connections", whole(*max_connections))
        .with("trusted_proxies", texts(trusted_proxies))
        .with("internal_networks", texts(internal_networks))
        .with("dns", dns.end())
        .maybe("runtime_dir", runtime_dir.as_deref().map(path))
        .end()
}

pub(super) fn logging(logging: &Logging) -> Node {
    let Logging { level, format, file, access } = logging;
    let Access { format: access_format, file: access_file, sample, query } = access;
    let access = Fields::default()
        .with("format", text(words::access_format(*access_format)))
        .with("file", path_or_empty(access_file.as_deref()))
        .with("sample", plain(Value::Fraction(*sample)))
        .with("query", text(words::query(*query)));
    Fields::default()
        .with("level", text(level.as_str().to_lowercase()))
        .with("format", text(words::log_format(*format)))
        .with("file", path_or_empty(file.as_deref()))
        .with("access", access.end())
        .end()
}

pub(super) fn admin(admin: &Admin) -> Node {
    let Admin { address, allow, hosts, metrics_allow, metrics_auth, state_dir, users_file, public_url, tls } = admin;
    let metrics =
        Fields::default().with("allow", texts(metrics_allow)).with("auth", text(words::metrics_auth(*metrics_auth)));
    Fields::default()
        .with("address", text(address.value))
        .with("users_file", path_or_empty(users_file.as_ref().map(|path| path.value.as_path())))
        .with("allow", texts(allow))
        .with("hosts", texts(hosts))
        .with("public_url", public_url.as_ref().map_or_else(|| text(""), |url| text(&url.value)))
        .with("tls", tls.as_ref().map_or_else(|| Fields::default().end(), network::listener_tls))
        .with("metrics", metrics.end())
        .with("state_dir", path(state_dir))
        .end()
}
