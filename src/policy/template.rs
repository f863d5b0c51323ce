//! Header values with variables: `{client_ip}` in a value stands for the caller's address.
//!
//! A value is read once, when the configuration is compiled; filling it in for a request is one pass over its pieces. Values
//! without braces never come here.
//!
//! Invariants: what a variable yields cannot end a field or begin another (`no_variable_can_break_out_of_its_value`); no variable
//! names a secret.

use std::fmt::Write as _;

use http::HeaderValue;

/// What may stand between braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The caller's address.
    ClientIp,
    /// The host that the client asked for, canonical.
    Host,
    /// `http` or `https`, as the client spoke it.
    Scheme,
    /// The method.
    Method,
    /// The path as it was received, without the query.
    Path,
    /// The query as it was received, without `?`.
    Query,
    /// The request's id.
    RequestId,
    /// The trace's id.
    TraceId,
    /// The identity's user.
    User,
    /// The client's name.
    Client,
    /// The project's name.
    Project,
    /// The environment's name.
    Environment,
    /// The route's prefix.
    Route,
    /// When the request arrived, in milliseconds since 1970.
    UnixMs,
    /// The status that the upstream answered with; empty for the edge's own answers.
    UpstreamStatus,
}

/// Every variable and its name.
const NAMES: [(&str, Variable); 15] = [
    ("client_ip", Variable::ClientIp),
    ("host", Variable::Host),
    ("scheme", Variable::Scheme),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("request_id", Variable::RequestId),
    ("trace_id", Variable::TraceId),
    ("user", Variable::User),
    ("client", Variable::Client),
    ("project", Variable::Project),
    ("environment", Variable::Environment),
    ("route", Variable::Route),
    ("unix_ms", Variable::UnixMs),
    ("upstream_status", Variable::UpstreamStatus),
];

/// The names of all variables, in the order in which they are documented.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// A value with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    sensitive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Variable(Variable),
}

/// What a written value turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The same for every request.
    Fixed(HeaderValue),
    /// With variables.
    Template(Template),
}

/// Why a written value is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such variable.
    #[error("there is no variable `{{{0}}}`")]
    Unknown(String),
    /// A brace that neither begins nor ends a variable.
    #[error("a single brace that is not part of a variable")]
    Brace,
}

/// What variables stand for in one request.
pub trait Values {
    /// Appends the value of one variable, whatever bytes it has; nothing when there is none.
    fn push(&self, variable: Variable, out: &mut String);
}

/// Reads a written value. `{{` and `}}` stand for the braces themselves.
///
/// # Errors
/// Unknown names, and braces that stand alone.
pub fn read(value: &HeaderValue) -> Result<Written, TemplateError> {
    if !value.as_bytes().iter().any(|byte| matches!(byte, b'{' | b'}')) {
        return Ok(Written::Fixed(value.clone()));
    }
    let pieces = pieces(value.as_bytes())?;
    match pieces.as_slice() {
        [Piece::Text(text)] => {
            let mut fixed = HeaderValue::from_bytes(text).map_err(|_| TemplateError::Brace)?;
            fixed.set_sensitive(value.is_sensitive());
            Ok(Written::Fixed(fixed))
        }
        _ => Ok(Written::Template(Template { pieces, sensitive: value.is_sensitive() })),
    }
}

fn pieces(mut rest: &[u8]) -> Result<Vec<Piece>, TemplateError> {
    let (mut pieces, mut text) = (Vec::new(), Vec::new());
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after.first()) {
            (b'{', Some(b'{')) | (b'}', Some(b'}')) => {
                text.push(*first);
                after.get(1..).unwrap_or_default()
            }
            (b'{', _) => {
                let (variable, after) = variable(after)?;
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Variable(variable));
                after
            }
            (b'}', _) => return Err(TemplateError::Brace),
            _ => {
                text.push(*first);
                after
            }
        };
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// The variable whose name begins here, and what stands behind its brace.
fn variable(text: &[u8]) -> Result<(Variable, &[u8]), TemplateError> {
    let end = text.iter().position(|byte| *byte == b'}').ok_or(TemplateError::Brace)?;
    let (name, after) = text.split_at_checked(end).ok_or(TemplateError::Brace)?;
    let named = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.bytes().all(|byte| named(&byte)));
    let name = name.ok_or(TemplateError::Brace)?;
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable);
    let variable = known.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
    Ok((variable, after.get(1..).unwrap_or_default()))
}

impl Template {
    /// One that is the same for every request.
    pub fn fixed(value: &HeaderValue) -> Self {
        Self { pieces: vec![Piece::Text(value.as_bytes().to_vec())], sensitive: value.is_sensitive() }
    }

    /// Whether a variable is among its pieces.
    pub fn names(&self, variable: Variable) -> bool {
        self.pieces.contains(&Piece::Variable(variable))
    }

    /// The value for one request; `None` when nothing is left of it, as with nginx: then there is no such header.
    pub fn fill(&self, values: &impl Values) -> Option<HeaderValue> {
        let (mut out, mut one) = (Vec::new(), String::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(variable) => {
                    one.clear();
                    values.push(*variable, &mut one);
                    push_safe(&one, &mut out);
                }
            }
        }
        if out.is_empty() {
            return None;
        }
        let mut value = HeaderValue::from_bytes(&out).ok()?;
        value.set_sensitive(self.sensitive);
        Some(value)
    }

    /// Whether what it yields is a secret by the header's name.
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }
}

impl std::fmt::Display for Template {
    /// As it was written.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    f.write_str(&String::from_utf8_lossy(text).replace('{', "{{").replace('}', "}}"))?;
                }
                Piece::Variable(variable) => {
                    let name = NAMES.iter().find(|(_, known)| known == variable).map_or("", |(name, _)| name);
                    write!(f, "{{{name}}}")?;
                }
            }
        }
        Ok(())
    }
}

/// Control characters are percent-encoded: a value has no line end that is not its own.
fn push_safe(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte < b' ' || byte == 0x7f {
            let mut encoded = String::with_capacity(3);
            let _ = write!(encoded, "%{byte:02X}");
            out.extend_from_slice(encoded.as_bytes());
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Named(String);

    impl Values for Named {
        fn push(&self, variable: Variable, out: &mut String) {
            match variable {
                Variable::ClientIp => out.push_str("192.0.2.7"),
                Variable::User => out.push_str(&self.0),
                _ => {}
            }
        }
    }

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_bytes(text.as_bytes()).unwrap()
    }

    fn filled(text: &str, user: &str) -> Option<String> {
        match read(&value(text)).unwrap() {
            Written::Fixed(value) => Some(String::from_utf8(value.as_bytes().to_vec()).unwrap()),
            Written::Template(template) => {
                template.fill(&Named(user.into())).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
            }
        }
    }

    #[test]
    fn variables_are_filled_in_and_braces_doubled() {
        let rows = [
            ("plain", Some("plain")),
            ("{client_ip}", Some("192.0.2.7")),
            ("for={client_ip};by={user}", Some("for=192.0.2.7;by=dev")),
            ("{{client_ip}}", Some("{client_ip}")),
            ("{{\"a\": {{\"b\": 1}}}}", Some("{\"a\": {\"b\": 1}}")),
            ("{{{user}}}", Some("{dev}")),
            ("{query}", None),
            ("{query}{user}", Some("dev")),
            ("ä{user}", Some("ädev")),
        ];
        for (text, expected) in rows {
            assert_eq!(filled(text, "dev").as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn control_characters_are_encoded() {
        assert_eq!(
            filled("a={user}", "x\r\nset-cookie: y\u{0}\u{7f}\t").as_deref(),
            Some("a=x%0D%0Aset-cookie: y%00%7F%09")
        );
    }

    #[test]
    fn values_without_variables_stay_fixed() {
        assert!(matches!(read(&value("a")), Ok(Written::Fixed(_))));
        assert!(matches!(read(&value("{{a}}")), Ok(Written::Fixed(fixed)) if fixed == "{a}"));
        let mut secret = value("{{a}}");
        secret.set_sensitive(true);
        assert!(matches!(read(&secret), Ok(Written::Fixed(fixed)) if fixed.is_sensitive()));
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        assert_eq!(read(&value("{remote_addr}")), Err(TemplateError::Unknown("remote_addr".into())));
        for lone in ["{", "}", "a}b", "{\"a\":1}", "{}", "{client_ip", "{ client_ip }", "{CLIENT_IP}", "{a{b}"] {
            assert_eq!(read(&value(lone)), Err(TemplateError::Brace), "{lone}");
        }
    }

    #[test]
    fn a_template_is_shown_as_it_was_written() {
        for text in ["for={client_ip};{{x}}", "{user}{host}"] {
            let Ok(Written::Template(template)) = read(&value(text)) else { panic!("{text}") };
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn every_name_is_its_own_variable() {
        for (name, variable) in NAMES {
            let expected = Template { pieces: vec![Piece::Variable(variable)], sensitive: false };
            assert_eq!(read(&value(&format!("{{{name}}}"))), Ok(Written::Template(expected)));
        }
        assert_eq!(names().collect::<std::collections::BTreeSet<_>>().len(), NAMES.len());
    }

    proptest! {
        #[test]
        fn no_variable_can_break_out_of_its_value(user in proptest::collection::vec(any::<char>(), 0..20)) {
            let user: String = user.into_iter().collect();
            let Ok(Written::Template(template)) = read(&value("x{user}y")) else { panic!() };
            let filled = template.fill(&Named(user)).unwrap();
            prop_assert!(filled.as_bytes().iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
        }
    }
}
