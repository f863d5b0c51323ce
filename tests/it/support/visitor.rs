//! A person with a browser that knows no JavaScript: cookies, links, forms. What it is led away to (another address than the one it
//! was sent to) it does not follow; that address is what a test wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use url::Url;

use super::client::{Request, Response, Wire};

/// The person.
#[derive(Default)]
pub struct Visitor {
    cookies: BTreeMap<String, String>,
    /// Further fields of every request.
    pub fields: Vec<(String, String)>,
}

/// Where a walk ended.
#[derive(Debug)]
pub enum Walk {
    /// At a page.
    Page(Page),
    /// Led to another server; nobody has asked it.
    Away(Url),
}

/// A page, as it came.
#[derive(Debug)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub response: Response,
}

/// A form of a page.
#[derive(Clone, Debug)]
pub struct Form {
    pub method: String,
    pub action: Url,
    pub fields: Vec<(String, String)>,
    /// What stands in it: the words on its buttons among others.
    pub text: String,
}

const MOST_STEPS: usize = 20;

impl Visitor {
    /// Opens an address and follows redirects, as long as they stay on its server.
    pub fn open(&mut self, url: &str) -> Walk {
        let url = Url::parse(url).unwrap_or_else(|error| panic!("{url:?}: {error}"));
        self.walk("GET", url, "")
    }

    /// The same, and the page must be there.
    pub fn page(&mut self, url: &str) -> Page {
        self.open(url).page()
    }

    /// Sends a form with these values in it.
    pub fn submit(&mut self, form: &Form, values: &[(&str, &str)]) -> Walk {
        let mut fields = form.fields.clone();
        for (name, value) in values {
            fields.retain(|(own, _)| own != name);
            fields.push(((*name).into(), (*value).into()));
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        if form.method == "GET" {
            let mut action = form.action.clone();
            action.set_query(Some(&body));
            return self.walk("GET", action, "");
        }
        self.walk("POST", form.action.clone(), &body)
    }

    /// What it would send as `cookie`.
    pub fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn walk(&mut self, method: &str, url: Url, body: &str) -> Walk {
        let (mut method, mut url, mut body) = (method.to_owned(), url, body.to_owned());
        for _ in 0..MOST_STEPS {
            let response = self.ask(&method, &url, &body);
            let Some(next) = redirect(&url, &response) else {
                return Walk::Page(Page { status: response.status, url, response });
            };
            if next.origin() != url.origin() {
                return Walk::Away(next);
            }
            if !matches!(response.status, 307 | 308) {
                (method, body) = ("GET".to_owned(), String::new());
            }
            url = next;
        }
        panic!("led in circles to {url}");
    }

    fn ask(&mut self, method: &str, url: &Url, body: &str) -> Response {
        let host = format!("{}:{}", url.host_str().expect("a host"), url.port_or_known_default().expect("a port"));
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target = format!("{target}?{query}");
        }
        let mut request = Request::new(method, &target).host(&host).header("accept", "text/html");
        if !self.cookies.is_empty() {
            request = request.header("cookie", &self.cookie());
        }
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        if method == "POST" {
            let origin = url.origin().ascii_serialization();
            request = request.header("content-type", "application/x-www-form-urlencoded").header("origin", &origin);
            request = request.body(body);
        }
        let name = url.host_str().filter(|name| *name == "localhost" || name.ends_with(".test"));
        let address = name.map_or_else(|| host.clone(), |name| host.replacen(name, "127.0.0.1", 1));
        let address: SocketAddr = address.parse().expect("an address of this machine");
        let mut wire = Wire::connect(address);
        wire.send(request.bytes());
        let response = wire.response_to(method);
        self.remember(&response);
        response
    }

    fn remember(&mut self, response: &Response) {
        for cookie in response.head.fields.all("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            let gone = value.is_empty() || cookie.to_ascii_lowercase().contains("max-age=0");
            if gone {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

fn redirect(url: &Url, response: &Response) -> Option<Url> {
    let location = response.header("location").filter(|_| matches!(response.status, 301..=303 | 307 | 308))?;
    Some(url.join(location).unwrap_or_else(|error| panic!("location {location:?}: {error}")))
}

impl Walk {
    /// The page; fails when it led elsewhere.
    pub fn page(self) -> Page {
        match self {
            Self::Page(page) => page,
            Self::Away(url) => panic!("led away to {url}"),
        }
    }

    /// Where it led; fails when it stayed.
    pub fn away(self) -> Url {
        match self {
            Self::Away(url) => url,
            Self::Page(page) => panic!("stayed at {} with {}: {}", page.url, page.status, page.response.text()),
        }
    }
}

impl Page {
    /// Its text, tags included.
    pub fn html(&self) -> String {
        self.response.text()
    }

    /// Its forms.
    pub fn forms(&self) -> Vec<Form> {
        let html = self.html();
        html.split("<form").skip(1).map(|rest| self.form(rest.split("</form>").next().unwrap_or_default())).collect()
    }

    /// The first form in which that text stands: a button's words, a field's name.
    pub fn form_with(&self, text: &str) -> Form {
        let found = self.forms().into_iter().find(|form| form.text.contains(text));
        found.unwrap_or_else(|| panic!("no form with {text:?} in {} ({}): {}", self.url, self.status, self.html()))
    }

    fn form(&self, text: &str) -> Form {
        let (head, body) = text.split_once('>').unwrap_or((text, ""));
        let action = attribute(head, "action").unwrap_or_default();
        let method = attribute(head, "method").unwrap_or_else(|| "get".into()).to_ascii_uppercase();
        let action = if action.is_empty() { self.url.clone() } else { self.url.join(&action).expect("an action") };
        Form { method, action, fields: fields(body), text: body.to_owned() }
    }
}

/// What a form sends as it stands: its inputs (ticked, if they are to be ticked) and the first choice of each list.
fn fields(body: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for tag in body.split('<').filter(|tag| tag.starts_with("input") || tag.starts_with("textarea")) {
        let Some(name) = attribute(tag, "name") else { continue };
        let kind = attribute(tag, "type").unwrap_or_default();
        let chosen = !matches!(kind.as_str(), "checkbox" | "radio" | "submit" | "button") || tag.contains(" checked");
        if chosen {
            found.push((name, attribute(tag, "value").unwrap_or_default()));
        }
    }
    for list in body.split("<select").skip(1) {
        let Some(name) = attribute(list.split('>').next().unwrap_or_default(), "name") else { continue };
        let options: Vec<&str> = list.split("</select>").next().unwrap_or_default().split("<option").skip(1).collect();
        let chosen = options.iter().find(|option| option.contains(" selected")).or(options.first());
        found.push((name, chosen.and_then(|option| attribute(option, "value")).unwrap_or_default()));
    }
    found
}

/// An attribute in the inside of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next().unwrap_or_default();
    let at = tag.find(&format!(" {name}=\"")).or_else(|| tag.find(&format!("\n{name}=\"")))?;
    let value = tag[at..].split('"').nth(1)?;
    Some(plain(value))
}

/// Text without HTML's escapes.
pub fn plain(text: &str) -> String {
    let escapes = [("&#38;", "&"), ("&#39;", "'"), ("&#x27;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&#60;", "<")];
    let mut text = text.to_owned();
    for (escape, character) in escapes.into_iter().chain([("&lt;", "<"), ("&gt;", ">"), ("&#62;", ">"), ("&amp;", "&")])
    {
        text = text.replace(escape, character);
    }
    text
}
