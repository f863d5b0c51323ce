//! `projects`: hosts, how an environment is chosen, and the environments.

use std::collections::HashMap;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{
    ChooseEnvironment, EnvironmentSource, HostPattern, Project, SignDefaults, UpstreamPolicy, UsernameEncoding,
};
use crate::config::section::{environments, identity, pages};
use crate::config::tree::{Entry, Node};
use crate::config::value::{self, Problem, shown, word};
use crate::diagnostic::{Diagnostic, Pos, Spanned};

const PROJECT: Shape = Shape {
    what: "a project",
    keys: &[
        "hosts",
        "app_id",
        "upstream_policy",
        "environment",
        "choose_environment",
        "sign_defaults",
        "pages",
        "identity",
        "environments",
        "allow_direct",
        "browser_client",
    ],
};

const RULE: Shape =
    Shape { what: "a rule of `choose_environment`", keys: &["header", "cookie", "host", "is", "of", "from"] };

const SIGN_DEFAULTS: Shape = Shape { what: "`sign_defaults`", keys: &["header_prefix", "username_encoding"] };

const POLICIES: &[(&str, UpstreamPolicy)] = &[("guarded", UpstreamPolicy::Guarded), ("open", UpstreamPolicy::Open)];

const ENCODINGS: &[(&str, UsernameEncoding)] =
    &[("percent", UsernameEncoding::Percent), ("raw", UsernameEncoding::Raw)];

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Project> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &PROJECT)?;
    let hosts = fields.get("hosts").map(|node| hosts(decoder, node)).unwrap_or_default();
    let app_id = fields.get("app_id").and_then(|node| decoder.parsed(node, app_id)).unwrap_or_default();
    let upstream_policy =
        fields.get("upstream_policy").and_then(|node| decoder.parsed(node, |text| word(text, POLICIES)));
    let environment = fields.get("environment").and_then(|node| decoder.spanned(node, value::environment_name));
    let rules = fields.get("choose_environment").and_then(|node| decoder.list(node, rule));
    let sign_defaults = sign_defaults(decoder, fields.get("sign_defaults"), entry.at);
    let family = header::family(&sign_defaults.header_prefix);
    let allow_direct = fields.get("allow_direct").and_then(|node| decoder.parsed(node, value::boolean));
    let browser_client = fields.get("browser_client").and_then(|node| decoder.parsed(node, value::boolean));
    let pages = fields.get("pages").map(|node| pages::decode(decoder, node)).unwrap_or_default();
    let identity = fields.get("identity").map(|node| identity::decode(decoder, node));
    let environments =
        fields.get("environments").map(|node| environments::decode(decoder, node, &family)).unwrap_or_default();
    Some(Project {
        name: name?,
        hosts,
        app_id,
        upstream_policy: upstream_policy.unwrap_or(UpstreamPolicy::Guarded),
        environment: environment.unwrap_or_else(|| Spanned::new("production".into(), entry.at)),
        choose_environment: rules.unwrap_or_default(),
        sign_defaults,
        allow_direct: allow_direct.unwrap_or(false),
        browser_client: browser_client.unwrap_or(false),
        pages,
        identity,
        environments,
    })
}

fn hosts(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Vec<Spanned<HostPattern>> {
    let listed = decoder.spanned_values(node, address::host_pattern).unwrap_or_default();
    let mut places: HashMap<HostPattern, Pos> = HashMap::new();
    for host in &listed {
        if let Some(first) = places.get(&host.value) {
            let diagnostic = Diagnostic::error("duplicate_host", host.at, "this host is given twice")
                .hint("hosts do not tell upper and lower case apart; keep one of the two")
                .related(*first, "first given here");
            decoder.note(diagnostic);
        } else {
            places.insert(host.value.clone(), host.at);
        }
    }
    listed
}

/// It travels in a header and in the signature's base string.
fn app_id(text: &str) -> Result<String, Problem> {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Problem::not("invalid_value", "an app id").hint("use visible ASCII characters without spaces"))
}

fn sign_defaults(decoder: &mut Decoder<'_, '_>, node: Option<&Node<'_>>, at: Pos) -> SignDefaults {
    let mut defaults =
        SignDefaults { header_prefix: Spanned::new("x-kms-".into(), at), username_encoding: UsernameEncoding::Percent };
    let Some(fields) = node.and_then(|node| decoder.fields(node, &SIGN_DEFAULTS)) else { return defaults };
    if let Some(prefix) = fields.get("header_prefix").and_then(|node| decoder.spanned(node, header::prefix)) {
        defaults.header_prefix = prefix;
    }
    let encoding = fields.get("username_encoding").and_then(|node| decoder.parsed(node, |text| word(text, ENCODINGS)));
    if let Some(encoding) = encoding {
        defaults.username_encoding = encoding;
    }
    defaults
}

fn rule(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<ChooseEnvironment> {
    let fields = decoder.fields(node, &RULE)?;
    let of = fields.get("of").and_then(|node| decoder.spanned_values(node, value::environment_name));
    let from = fields.get("from").and_then(|node| decoder.networks(node));
    let by = source(decoder, &fields)?;
    Some(ChooseEnvironment { by, of, from, at: fields.at })
}

fn source(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Option<EnvironmentSource> {
    let given: Vec<&Entry<'_>> = ["header", "cookie", "host"].iter().filter_map(|key| fields.entry(key)).collect();
    let entry = match given.as_slice() {
        [entry] => *entry,
        [first, second, ..] => {
            let message = format!("{} and {} in one rule", shown(&first.key), shown(&second.key));
            let hint = "a rule reads one of `header`, `cookie`, `host`; write two rules";
            decoder.note(
                Diagnostic::error("conflicting_keys", second.at, message)
                    .hint(hint)
                    .related(first.at, "the other is here"),
            );
            return None;
        }
        [] if fields.is_meant(&["header", "cookie", "host"]) => return None,
        [] => {
            let message = "the rule reads nothing";
            decoder
                .note(Diagnostic::error("missing_key", fields.at, message).hint("give `header`, `cookie` or `host`"));
            return None;
        }
    };
    let is = fields.entry("is");
    let source = match &*entry.key {
        "header" => EnvironmentSource::Header(decoder.parsed(&entry.value, header::name)?),
        "cookie" => EnvironmentSource::Cookie(decoder.parsed(&entry.value, header::cookie_name)?),
        _ => return host_source(decoder, entry, fields),
    };
    if let Some(is) = is {
        let message = "`is` belongs to a rule with `host`";
        let hint = "the header or cookie names the environment itself; say with `of` which it may name";
        decoder.note(Diagnostic::error("conflicting_keys", is.at, message).hint(hint));
    }
    Some(source)
}

fn host_source(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>, fields: &Fields<'_, '_>) -> Option<EnvironmentSource> {
    if let Some(of) = fields.entry("of") {
        let message = "`of` has no meaning in a rule with `host`";
        decoder
            .note(Diagnostic::error("conflicting_keys", of.at, message).hint("say with `is` which one the host means"));
    }
    let host = decoder.spanned(&entry.value, address::host_pattern);
    let is = decoder.required(fields, "is", entry.at)?;
    let is = decoder.spanned(is, value::environment_name)?;
    Some(EnvironmentSource::Host { host: host?, is })
}
