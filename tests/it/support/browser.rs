//! Headless Chromium, driven through chromedriver by the WebDriver protocol (W3C): open, find, click, type, look. What is not in
//! the protocol (languages, themes) goes over Chromium's own protocol, which chromedriver passes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{Request, Wire};
use super::edge::free_address;
use super::process::Process;
use super::wait::{eventually, eventually_within};

/// A browser starts a dozen processes, on a machine with other things to do.
const STARTS: Duration = Duration::from_secs(60);
/// The key of an element's id in answers (W3C WebDriver §12.3).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running browser with one window.
pub struct Browser {
    address: SocketAddr,
    session: String,
    driver: Process,
    browser: u64,
    _profile: tempfile::TempDir,
}

/// Something on a page.
#[derive(Clone, Debug)]
pub struct Element(String);

/// What the window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// 1280 × 800.
    Desktop,
    /// 390 × 844, two pixels a pixel, with touch.
    Phone,
}

impl Browser {
    /// A new profile, English, light, on a desktop.
    pub fn start() -> Self {
        let address = free_address();
        let profile = tempfile::Builder::new().prefix("countersign-browser-").tempdir().expect("a directory");
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port())).env("TMPDIR", profile.path());
        let driver = Process::spawn(&mut command);
        eventually_within(STARTS, "chromedriver accepts", || {
            assert!(driver.ended().is_none(), "chromedriver (apt-get install chromium-driver): {}", driver.stderr());
            Wire::try_connect(address).ok()
        });
        let arguments = arguments(&profile.path().join("profile").display().to_string());
        let capabilities = json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome",
            "acceptInsecureCerts": true, "goog:loggingPrefs": { "browser": "ALL" }, "goog:chromeOptions": { "args": arguments } } } });
        let mut started = Self { address, session: String::new(), driver, browser: 0, _profile: profile };
        let session = started.ask("POST", "/session", &capabilities).unwrap_or_else(|error| panic!("{error}"));
        started.session = session["sessionId"].as_str().expect("a session").to_owned();
        started.browser = session["capabilities"]["goog:processID"].as_u64().expect("a process id");
        started
    }

    /// One command; an error is what the driver says.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut wire = Wire::connect(self.address);
        wire.patience = STARTS;
        let request = Request::new(method, path).host(&self.address.to_string());
        let request = if method == "POST" {
            request.header("content-type", "application/json").body(body.to_string())
        } else {
            request
        };
        wire.send(request.bytes());
        let response = wire.response_to(method);
        let value = response.json()["value"].clone();
        match value["error"].as_str() {
            Some(error) => Err(format!("{path}: {error}: {:.400}", value["message"].as_str().unwrap_or_default())),
            None => Ok(value),
        }
    }

    fn try_command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_command(method, path, body);
        answer.unwrap_or_else(|error| panic!("{error}\n--- page {}\n{}", self.url_or_none(), self.source_or_none()))
    }

    fn url_or_none(&self) -> String {
        self.try_command("GET", "/url", &Value::Null).map_or_else(|error| error, |value| value.to_string())
    }

    fn source_or_none(&self) -> String {
        let source = self.try_command("GET", "/source", &Value::Null);
        source.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// A command of Chromium's own protocol.
    pub fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Opens an address and waits until it is loaded, or has failed to.
    pub fn open(&self, url: &str) -> &Self {
        self.command("POST", "/url", &json!({ "url": url }));
        self
    }

    /// The same, where the address may be one that nothing answers at.
    pub fn try_open(&self, url: &str) {
        let _ = self.try_command("POST", "/url", &json!({ "url": url }));
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.command("GET", "/url", &Value::Null).as_str().expect("an address").to_owned()
    }

    /// Loads it again.
    pub fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    /// The page's title.
    pub fn title(&self) -> String {
        self.command("GET", "/title", &Value::Null).as_str().expect("a title").to_owned()
    }

    /// The document as it is now.
    pub fn source(&self) -> String {
        self.command("GET", "/source", &Value::Null).as_str().expect("a document").to_owned()
    }

    /// The text that a person sees.
    pub fn text(&self) -> String {
        self.text_of(&self.find("body"))
    }

    /// What is there now, by CSS selector.
    pub fn all(&self, css: &str) -> Vec<Element> {
        self.located("css selector", css)
    }

    fn located(&self, using: &str, value: &str) -> Vec<Element> {
        let found = self.try_command("POST", "/elements", &json!({ "using": using, "value": value }));
        let list = found.ok().and_then(|value| value.as_array().cloned()).unwrap_or_default();
        list.iter().filter_map(|one| one[ELEMENT].as_str()).map(|id| Element(id.to_owned())).collect()
    }

    /// Waits for the first of a CSS selector.
    pub fn find(&self, css: &str) -> Element {
        self.wait(css, || self.all(css).into_iter().next())
    }

    /// Waits for the first visible button or link with exactly those words on it.
    pub fn control(&self, words: &str) -> Element {
        let words = quoted(words);
        let path = format!(
            "//*[self::button or self::a or self::summary or @role='button' or @role='tab'][normalize-space(.)={words} \
             or @aria-label={words}] | //input[@type='submit' and @value={words}]"
        );
        self.wait(&words, || self.located("xpath", &path).into_iter().find(|element| self.is_shown(element)))
    }

    /// Waits for the visible field whose label says that.
    pub fn field(&self, label: &str) -> Element {
        let label = quoted(label);
        let fields = "self::input or self::select or self::textarea";
        let path = format!(
            "//*[{fields}][@id=//label[contains(normalize-space(.), {label})]/@for] | \
             //label[contains(normalize-space(.), {label})]//*[{fields}] | //*[{fields}][@aria-label={label}]"
        );
        self.wait(&label, || self.located("xpath", &path).into_iter().find(|element| self.is_shown(element)))
    }

    fn wait<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let start = std::time::Instant::now();
        loop {
            if let Some(found) = probe() {
                return found;
            }
            let (url, text) = (self.url_or_none(), self.source_or_none());
            assert!(start.elapsed() < Duration::from_secs(15), "no {what} at {url}:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a person sees that text.
    pub fn sees(&self, text: &str) {
        self.wait(&format!("text {text:?}"), || {
            let body = self.all("body").into_iter().next()?;
            self.try_text_of(&body).filter(|seen| seen.contains(text)).map(drop)
        });
    }

    fn try_text_of(&self, element: &Element) -> Option<String> {
        let value = self.try_command("GET", &format!("/element/{}/text", element.0), &Value::Null).ok()?;
        value.as_str().map(str::to_owned)
    }

    /// The text of it that a person sees.
    pub fn text_of(&self, element: &Element) -> String {
        self.try_text_of(element).expect("the text of an element that is there")
    }

    /// An attribute as the document has it.
    pub fn attribute(&self, element: &Element, name: &str) -> Option<String> {
        let value = self.command("GET", &format!("/element/{}/attribute/{name}", element.0), &Value::Null);
        value.as_str().map(str::to_owned)
    }

    /// What a field holds.
    pub fn value(&self, element: &Element) -> String {
        let value = self.command("GET", &format!("/element/{}/property/value", element.0), &Value::Null);
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Whether a person sees it.
    pub fn is_shown(&self, element: &Element) -> bool {
        let shown = self.try_command("GET", &format!("/element/{}/displayed", element.0), &Value::Null);
        shown.is_ok_and(|value| value == true)
    }

    pub fn click(&self, element: &Element) -> &Self {
        self.command("POST", &format!("/element/{}/click", element.0), &json!({}));
        self
    }

    /// Clicks the button or link with those words.
    pub fn press(&self, words: &str) -> &Self {
        // What a page draws anew between finding and clicking is found again.
        let pressed = || {
            let path = format!("/element/{}/click", self.control(words).0);
            match self.try_command("POST", &path, &json!({})) {
                Err(why) if why.contains("stale element") => None,
                done => Some(done),
            }
        };
        if let Err(error) = self.wait(words, pressed) {
            panic!("{error}\n--- page {}\n{}", self.url_or_none(), self.source_or_none());
        }
        self
    }

    /// Types into a field, in place of what is in it.
    pub fn fill(&self, element: &Element, text: &str) -> &Self {
        self.command("POST", &format!("/element/{}/clear", element.0), &json!({}));
        self.keys(element, text)
    }

    /// Types; `\u{e007}` is Enter, `\u{e004}` Tab (W3C WebDriver §17.4.2).
    pub fn keys(&self, element: &Element, text: &str) -> &Self {
        self.command("POST", &format!("/element/{}/value", element.0), &json!({ "text": text }));
        self
    }

    /// Runs the body of a function in the page.
    pub fn script(&self, body: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// The element that has the focus.
    pub fn focused(&self) -> Element {
        let value = self.command("GET", "/element/active", &Value::Null);
        Element(value[ELEMENT].as_str().expect("an element").to_owned())
    }

    /// Goes over to the window that was opened last; fails when there is no second one.
    pub fn follow(&self) -> &Self {
        let windows = self.wait("second window", || {
            let value = self.command("GET", "/window/handles", &Value::Null);
            value.as_array().cloned().filter(|windows| windows.len() > 1)
        });
        self.command("POST", "/window", &json!({ "handle": windows.last() }));
        self
    }

    /// Says yes to the question that the page asks (`confirm`).
    pub fn accept_dialog(&self) {
        eventually("a question of the page", || self.try_command("POST", "/alert/accept", &json!({})).ok());
    }

    /// The cookies of the page.
    pub fn cookies(&self) -> Vec<Value> {
        self.command("GET", "/cookie", &Value::Null).as_array().cloned().unwrap_or_default()
    }

    /// What the page has written to its console, which is where a policy's violations stand.
    pub fn console(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let list = log.as_array().cloned().unwrap_or_default();
        list.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What a person wants to read, for `accept-language`.
    pub fn language(&self, language: &str) -> &Self {
        let agent = self.script("return navigator.userAgent");
        let parameters = json!({ "userAgent": agent, "acceptLanguage": language });
        self.chromium("Network.setUserAgentOverride", &parameters);
        self
    }

    /// Whether a person likes it dark.
    pub fn dark(&self, dark: bool) -> &Self {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
        self
    }

    /// On what it is shown.
    pub fn device(&self, device: Device) -> &Self {
        let (width, height, scale, mobile) = match device {
            Device::Desktop => (1280, 800, 1, false),
            Device::Phone => (390, 844, 2, true),
        };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
        self.chromium("Emulation.setTouchEmulationEnabled", &json!({ "enabled": mobile }));
        self
    }

    /// The whole page as a picture, in `target/screenshots`.
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let picture =
            self.chromium("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let directory = target.parent().expect("the target directory").join("screenshots");
        std::fs::create_dir_all(&directory).expect("a directory for pictures");
        let file = directory.join(format!("{name}.png"));
        std::fs::write(&file, bytes).expect("write the picture");
        file
    }
}

/// A text in XPath, which has no escapes.
fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}

/// No GPU, no shared memory to speak of, no way out of this machine.
fn arguments(profile: &str) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--hide-scrollbars",
        "--lang=en-US",
        "--no-proxy-server",
        "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--user-data-dir={profile}"));
    // Chromium's sandbox does not work as root, and says so.
    if rustix::process::geteuid().is_root() {
        arguments.push("--no-sandbox".into());
    }
    arguments
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- browser at {}\n{}", self.url_or_none(), self.source_or_none());
        }
        // The driver ends its browser; if it cannot, the browser is ended by its id.
        if self.try_command("DELETE", "", &Value::Null).is_err() && self.browser > 1 {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", self.browser)]).status();
        }
    }
}
