//! The two fronts, the upstreams behind them, and the client before them. One front at a time, in one directory, so that
//! both read the same files; addresses in what they do are written back as the recipe has them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::edge::{BINARY, free_address};
use crate::support::message::{Fields, Framing, Head, Reader};
use crate::support::origin::After;
use crate::support::process::{Process, run};
use crate::support::{Exchange, Origin, PATIENCE, eventually_within};

use super::file::{Recipe, Step};

const NGINX: &str = "/usr/sbin/nginx";
/// A front that is slow to start on a busy machine.
const STARTS: Duration = Duration::from_secs(30);

/// How long an upstream takes that is asked to linger.
const LINGER: Duration = Duration::from_millis(700);

/// Who stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Nginx,
    Countersign,
}

/// What one request, or several alike, came to.
#[derive(Debug, Default)]
pub struct Seen {
    pub answers: Vec<Answer>,
    pub sent: Vec<Sent>,
}

/// What the client got.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, Vec<String>>,
    pub body: Vec<u8>,
}

/// What an upstream got.
#[derive(Debug)]
pub struct Sent {
    pub upstream: usize,
    pub line: String,
    pub headers: BTreeMap<String, Vec<String>>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether no upstream had part in it, and it is no page of the front's either.
    pub fn is_fronts_own(&self) -> bool {
        !self.headers.contains_key("x-upstream") && self.status >= 300
    }
}

impl Seen {
    pub fn statuses(&self) -> String {
        let mut statuses: Vec<String> = self.answers.iter().map(|answer| answer.status.to_string()).collect();
        statuses.sort_by_key(|status| status.clone());
        statuses.join(" ")
    }

    /// How many requests each upstream got, the busiest first; which one that is may differ.
    pub fn spread(&self) -> String {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for sent in &self.sent {
            *counts.entry(sent.upstream).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join("+") }
    }
}

/// Upstreams and files for one recipe.
pub struct Bench {
    directory: tempfile::TempDir,
    upstreams: Vec<Origin>,
    /// Refuses connections.
    closed: SocketAddr,
}

/// A running front.
struct Running {
    process: Process,
    front: SocketAddr,
    tls: SocketAddr,
}

impl Bench {
    pub fn set_up(recipe: &Recipe) -> Self {
        let directory = tempfile::Builder::new().prefix("countersign-recipe-").tempdir().expect("a directory");
        files(directory.path(), recipe);
        let upstreams: Vec<Origin> = (1..=3).map(upstream).collect();
        Self { directory, upstreams, closed: free_address() }
    }

    /// Starts the front, sends everything, and tells what was seen.
    pub fn observe(&self, front: Front, recipe: &Recipe) -> Result<Vec<Seen>, String> {
        let running = match front {
            Front::Nginx => self.nginx(&recipe.nginx)?,
            Front::Countersign => self.countersign(&recipe.yaml)?,
        };
        let mut seen = Vec::new();
        for step in &recipe.steps {
            self.forget();
            let answers = send(step, &running, self.directory.path())?;
            let answers = answers.into_iter().map(|answer| self.written(answer, &running)).collect();
            seen.push(Seen { answers, sent: self.sent(&running) });
        }
        Ok(seen)
    }

    fn forget(&self) {
        for upstream in &self.upstreams {
            upstream.forget();
        }
    }

    fn nginx(&self, block: &str) -> Result<Running, String> {
        let (front, tls) = (free_address(), free_address());
        let dir = self.directory.path().display().to_string();
        let text = self.placed(&AROUND_NGINX.replace("{dir}", &dir).replace("{recipe}", block), front, tls);
        let file = self.directory.path().join("nginx.conf");
        std::fs::write(&file, text).expect("write nginx.conf");
        let errors = format!("{dir}/error.log");
        let process = Process::spawn(Command::new(NGINX).arg("-c").arg(&file).args(["-p", &dir, "-e", &errors]));
        started(process, front, tls)
    }

    fn countersign(&self, yaml: &str) -> Result<Running, String> {
        let (front, tls) = (free_address(), free_address());
        let admin = free_address();
        let mut text = format!("{yaml}\nadmin: {{ address: \"{admin}\", state_dir: state }}\ntokens_dir: tokens\n");
        if !yaml.contains("\nlogging:") {
            text.push_str("logging: { access: { format: off } }\n");
        }
        let file = self.directory.path().join("countersign.yaml");
        std::fs::write(&file, self.placed(&text, front, tls)).expect("write countersign.yaml");
        let process = Process::spawn(Command::new(BINARY).arg("run").arg("-c").arg(&file));
        started(process, front, tls)
    }

    /// With the addresses as they are.
    fn placed(&self, text: &str, front: SocketAddr, tls: SocketAddr) -> String {
        let mut text = text.replace("127.0.0.1:8080", &front.to_string()).replace("127.0.0.1:8443", &tls.to_string());
        for (index, upstream) in self.upstreams.iter().enumerate() {
            text = text.replace(&format!("127.0.0.1:{}", 9001 + index), &upstream.authority());
        }
        text.replace("127.0.0.1:9009", &self.closed.to_string())
    }

    /// With the addresses as the recipe has them.
    fn as_written(&self, text: &str, running: &Running) -> String {
        let mut text = text.replace(&running.front.to_string(), "127.0.0.1:8080");
        text = text.replace(&running.tls.to_string(), "127.0.0.1:8443");
        text = text.replace(&format!(":{}", running.front.port()), ":8080");
        text = text.replace(&format!(":{}", running.tls.port()), ":8443");
        for (index, upstream) in self.upstreams.iter().enumerate() {
            text = text.replace(&upstream.authority(), &format!("127.0.0.1:{}", 9001 + index));
        }
        text
    }

    fn written(&self, answer: Answer, running: &Running) -> Answer {
        Answer { headers: self.fields(answer.headers, running), ..answer }
    }

    fn fields(&self, headers: BTreeMap<String, Vec<String>>, running: &Running) -> BTreeMap<String, Vec<String>> {
        let all = |values: Vec<String>| values.iter().map(|value| self.as_written(value, running)).collect();
        headers.into_iter().map(|(name, values)| (name, all(values))).collect()
    }

    fn sent(&self, running: &Running) -> Vec<Sent> {
        let mut all = Vec::new();
        for (index, upstream) in self.upstreams.iter().enumerate() {
            for request in upstream.requests() {
                all.push(Sent {
                    upstream: index + 1,
                    line: format!("{} {}", request.method(), request.target()),
                    headers: self.fields(fields(&request.head.fields), running),
                    body: request.body.clone(),
                });
            }
        }
        all
    }
}

/// Files that recipes may name, for both.
fn files(directory: &Path, recipe: &Recipe) {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make it");
        std::fs::write(path, text).expect("write a file");
    };
    write("site/index.html", "<h1>home</h1>\n");
    write("site/about.html", "<h1>about</h1>\n");
    write("site/css/site.css", "body { color: black }\n");
    write("site/docs/index.html", "<h1>docs</h1>\n");
    write("site/app.js", &"console.log('hello');\n".repeat(200));
    write("pages/404.html", "<h1>not here</h1>\n");
    write("pages/50x.html", "<h1>later</h1>\n");
    // alice, `correct horse`, as `htpasswd -m` writes it.
    write("users.htpasswd", "alice:$apr1$X8Jn0tQh$YaJIcTQfRk4Z7mwUBh2I9/\n");
    let tls = format!("{}{}", recipe.nginx, recipe.yaml).contains("tls/");
    if tls {
        certificates(directory);
    }
}

/// A CA, certificates of it for demo.test and other.test, and a client's.
fn certificates(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let tls = directory.join("tls");
    std::fs::create_dir_all(&tls).expect("make tls/");
    let write = |name: &str, text: &str| std::fs::write(tls.join(name), text).expect("write a certificate");
    let key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("a CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "Recipe CA");
    write("ca.crt", &ca.self_signed(&key).expect("a CA's certificate").pem());
    let issuer = Issuer::from_params(&ca, &key);
    for (name, host) in
        [("demo", "demo.test"), ("other", "other.test"), ("upstream", "users.internal"), ("client", "client.test")]
    {
        let own = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, host);
        write(&format!("{name}.crt"), &parameters.signed_by(&own, &issuer).expect("a certificate").pem());
        write(&format!("{name}.key"), &own.serialize_pem());
    }
}

const AROUND_NGINX: &str = "
daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  include /etc/nginx/mime.types;
{recipe}
}
";

fn started(process: Process, front: SocketAddr, tls: SocketAddr) -> Result<Running, String> {
    let mut outcome = Ok(());
    eventually_within(STARTS, "a front accepts", || {
        if process.ended().is_some() {
            outcome = Err(format!("{}{}", process.stdout(), process.stderr()));
            return Some(());
        }
        let reached = TcpStream::connect(front).or_else(|_| TcpStream::connect(tls));
        reached.ok().map(drop)
    });
    outcome.map(|()| Running { process, front, tls })
}

/// An upstream that says which one it is.
fn upstream(number: usize) -> Origin {
    let origin = Origin::start();
    origin.on("/", move |exchange| answer(exchange, number));
    origin
}

fn answer(exchange: &mut Exchange<'_>, number: usize) -> After {
    exchange.read_body();
    let (mut status, mut size, mut headers) = ("200".to_owned(), None, String::new());
    let wishes: Vec<String> = exchange.head.fields.all("x-answer").iter().map(|wish| (*wish).to_owned()).collect();
    for wish in &wishes {
        let (word, rest) = wish.split_once(' ').unwrap_or((wish, ""));
        match word {
            "status" => rest.clone_into(&mut status),
            "size" => size = rest.parse::<usize>().ok(),
            "header" => {
                let (name, value) = rest.split_once(' ').expect("a name and a value");
                headers.push_str(&format!("{name}: {value}\r\n"));
            }
            "close" => return After::Close,
            // Long enough for the others to arrive.
            "linger" => std::thread::sleep(LINGER),
            "stall" => {
                exchange.wait_end();
                return After::Close;
            }
            other => panic!("unknown wish {other:?}"),
        }
    }
    if exchange.head.fields.has("upgrade") && exchange.head.fields.has("sec-websocket-key") {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
        return After::Close;
    }
    let body = size.map_or_else(|| format!("upstream {number}\n"), |size| "hello world ".repeat(size / 12 + 1));
    let (length, method) = (body.len(), exchange.head.start.split(' ').next().unwrap_or_default().to_owned());
    if !headers.contains("content-type") {
        headers.push_str("content-type: text/plain\r\n");
    }
    let silent = method == "HEAD" || status == "204" || status == "304";
    let framing = if status == "204" { String::new() } else { format!("content-length: {length}\r\n") };
    let head = format!("HTTP/1.1 {status} Said\r\nx-upstream: {number}\r\n{headers}{framing}\r\n");
    exchange.send(head + if silent { "" } else { &body });
    After::Keep
}

fn send(step: &Step, running: &Running, directory: &Path) -> Result<Vec<Answer>, String> {
    let one = || match (&step.tls, &step.curl) {
        (None, None) => plain(step, running),
        _ => curl(step, running, directory),
    };
    if !step.together {
        return (0..step.times).map(|_| one()).collect();
    }
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..step.times).map(|_| scope.spawn(one)).collect();
        let answers: Result<Vec<Answer>, String> =
            all.into_iter().map(|thread| thread.join().expect("a client")).collect();
        let mut answers = answers?;
        // Who was first is chance.
        answers.sort_by_key(|answer| answer.status);
        Ok(answers)
    })
}

fn plain(step: &Step, running: &Running) -> Result<Answer, String> {
    let mut stream = TcpStream::connect(running.front).map_err(|error| error.to_string())?;
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let mut reader = Reader::new(stream.try_clone().map_err(|error| error.to_string())?);
    let upgrade = step.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let mut bytes =
        step.proxy.as_ref().map_or_else(Vec::new, |from| format!("PROXY TCP4 {from} 127.0.0.1 4711 80\r\n").into());
    bytes.extend_from_slice(format!("{} {} HTTP/1.1\r\nhost: {}\r\n", step.method, step.target, step.host).as_bytes());
    for (name, value) in &step.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !step.body.is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", step.body.len()).as_bytes());
    }
    bytes.extend_from_slice(if upgrade { b"\r\n" } else { b"connection: close\r\n\r\n" });
    bytes.extend_from_slice(&step.body);
    // A front that refuses early may have left by now.
    let _ = stream.write_all(&bytes);
    let head = final_head(&mut reader)?;
    let status = status(&head)?;
    let bodiless = step.method == "HEAD" || matches!(status, 101 | 204 | 304);
    let framing = if bodiless { Framing::None } else { head.framing(Framing::UntilClose) };
    let mut body = Vec::new();
    let _ = reader.body(framing, PATIENCE, &mut |bytes| body.extend_from_slice(bytes));
    let headers = fields(&head.fields);
    Ok(Answer { status, body: decoded(body, &headers), headers })
}

fn final_head(reader: &mut Reader) -> Result<Head, String> {
    loop {
        let head = reader.head(Instant::now() + PATIENCE * 2).map_err(|stop| format!("no answer: {stop:?}"))?;
        if status(&head)? >= 200 || status(&head)? == 101 {
            return Ok(head);
        }
    }
}

fn status(head: &Head) -> Result<u16, String> {
    let word = head.start.split(' ').nth(1).and_then(|word| word.parse().ok());
    word.ok_or_else(|| format!("no status: {}", head.start))
}

fn fields(fields: &Fields) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &fields.0 {
        map.entry(name.to_ascii_lowercase()).or_default().push(String::from_utf8_lossy(value).into_owned());
    }
    map
}

/// What a compressed body says.
fn decoded(body: Vec<u8>, headers: &BTreeMap<String, Vec<String>>) -> Vec<u8> {
    let coding = headers.get("content-encoding").and_then(|values| values.first()).map(String::as_str);
    let mut plain = Vec::new();
    match coding {
        Some("gzip") if flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).is_ok() => plain,
        _ => body,
    }
}

/// By curl: TLS, HTTP/2, and whatever else it can be told.
fn curl(step: &Step, running: &Running, directory: &Path) -> Result<Answer, String> {
    let (scheme, address) = match &step.tls {
        Some(_) => ("https", running.tls),
        None => ("http", running.front),
    };
    let name = step.tls.clone().unwrap_or_else(|| step.host.clone());
    let name = name.split(':').next().unwrap_or_default().to_owned();
    let mut command = Command::new("curl");
    command.current_dir(directory).args(["-s", "-S", "-i", "--max-time", "20", "-X", &step.method]);
    if step.method == "HEAD" {
        command.arg("--head");
    }
    if step.tls.is_some() {
        command.args(["--cacert", "tls/ca.crt"]);
    }
    command.args(["--resolve", &format!("{name}:{}:127.0.0.1", address.port())]);
    command.args(["-A", "", "-H", "accept:"]);
    if step.host != name {
        command.args(["-H", &format!("host: {}", step.host)]);
    }
    for (name, value) in &step.headers {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    if !step.body.is_empty() {
        command.args(["--data-binary", &String::from_utf8_lossy(&step.body), "-H", "content-type:"]);
    }
    for argument in step.curl.iter().flat_map(|text| text.split(' ')).filter(|argument| !argument.is_empty()) {
        command.arg(argument);
    }
    command.arg(format!("{scheme}://{name}:{}{}", address.port(), step.target));
    let done = run(&mut command);
    if done.code != Some(0) {
        // What curl could not do is an observation too: 0 and curl's number.
        let said = format!("curl {}", done.code.unwrap_or_default());
        return Ok(Answer { status: 0, headers: BTreeMap::new(), body: said.into_bytes() });
    }
    parsed(&done.stdout)
}

fn parsed(text: &str) -> Result<Answer, String> {
    let mut rest = text;
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").ok_or_else(|| format!("no head: {text}"))?;
        let head = Head::parse(format!("{head}\r\n\r\n").as_bytes()).map_err(|stop| format!("{stop:?}"))?;
        let status = status(&head)?;
        if status >= 200 {
            return Ok(Answer { status, headers: fields(&head.fields), body: body.as_bytes().to_vec() });
        }
        rest = body;
    }
}
