//! A recipe as it is written: Markdown with a title, a sentence, and fenced blocks.
//!
//! `requests`: blocks of lines with an empty line between them. `METHOD TARGET`, then `name: value` lines (the host is
//! `demo.test` unless given), then `> text` lines of a body. Lines with `!` in front say how: `! times 5`, `! together 5`,
//! `! tls [SNI]` (by curl), `! curl ARGUMENTS` (by curl, with further arguments), `! body SIZE` (so many bytes),
//! `! proxy ADDRESS` (behind a PROXY header that says so), `! whichever` (upstream it was is of no interest).
//!
//! The upstreams on 127.0.0.1:9001 to 9003 answer 200 and say which one they are. `x-answer: status 404`, `x-answer: size 20000`,
//! `x-answer: header NAME VALUE`, `x-answer: linger` (a little later), `x-answer: stall` (never), `x-answer: close` (no answer) ask them for something else.
//! 127.0.0.1:9009 refuses.
//!
//! `differences`: `REQUESTS | FIELD | nginx | Countersign | why`; `*` stands for every request, and for any value.

use std::path::Path;

/// One file.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub name: String,
    pub title: String,
    pub when: String,
    pub nginx: String,
    pub yaml: String,
    pub steps: Vec<Step>,
    pub explained: Vec<Difference>,
}

/// One request, or several alike.
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub method: String,
    pub target: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub times: usize,
    pub together: bool,
    /// Over TLS by curl, with that server name.
    pub tls: Option<String>,
    pub curl: Option<String>,
    /// Which upstream it was does not matter, only how many had how many.
    pub whichever: bool,
    /// Said by a PROXY header in front.
    pub proxy: Option<String>,
}

/// A difference that the recipe explains.
#[derive(Clone, Debug)]
pub struct Difference {
    pub request: Option<usize>,
    pub field: String,
    pub nginx: String,
    pub countersign: String,
}

impl Recipe {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a recipe");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut lines = text.lines();
        let title = lines.next().and_then(|line| line.strip_prefix("# ")).unwrap_or_else(|| panic!("{name}: no title"));
        let when: Vec<&str> = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
        let block = |kind| blocks(&text, kind).pop().unwrap_or_else(|| panic!("{name}: no ```{kind}"));
        let steps = block("requests").split("\n\n").filter(|part| !part.trim().is_empty()).map(step).collect();
        let explained = blocks(&text, "differences").concat();
        Self {
            title: title.to_owned(),
            when: when.join(" "),
            nginx: block("nginx"),
            yaml: block("yaml"),
            steps,
            explained: explained.lines().map(|line| difference(&name, line)).collect(),
            name,
        }
    }
}

fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}");
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == fence {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(block.join("\n") + "\n");
        }
    }
    found
}

fn step(text: &str) -> Step {
    let mut step = Step { times: 1, host: "demo.test".into(), ..Step::default() };
    for line in text.lines() {
        if let Some(how) = line.strip_prefix("! ") {
            option(&mut step, how);
        } else if let Some(body) = line.strip_prefix("> ") {
            step.body.extend_from_slice(body.as_bytes());
        } else if step.method.is_empty() {
            let (method, target) = line.split_once(' ').unwrap_or_else(|| panic!("no request: {line:?}"));
            (step.method, step.target) = (method.to_owned(), target.to_owned());
        } else {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            match name {
                "host" => value.trim().clone_into(&mut step.host),
                _ => step.headers.push((name.to_owned(), value.trim().to_owned())),
            }
        }
    }
    step
}

fn option(step: &mut Step, how: &str) {
    let (word, rest) = how.split_once(' ').unwrap_or((how, ""));
    match word {
        "times" => step.times = rest.parse().expect("a number"),
        "together" => (step.times, step.together) = (rest.parse().expect("a number"), true),
        "tls" => step.tls = Some(if rest.is_empty() { step.host.clone() } else { rest.to_owned() }),
        "whichever" => step.whichever = true,
        "proxy" => step.proxy = Some(rest.to_owned()),
        "curl" => step.curl = Some(rest.to_owned()),
        "body" => step.body = vec![b'x'; rest.parse().expect("a size")],
        other => panic!("unknown option {other:?}"),
    }
}

fn difference(name: &str, line: &str) -> Difference {
    let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [request, field, nginx, countersign, why] = parts.as_slice() else {
        panic!("{name}: not `REQUESTS | FIELD | nginx | Countersign | why`: {line:?}");
    };
    assert!(!why.is_empty(), "{name}: a difference without a reason: {line:?}");
    Difference {
        request: (*request != "*").then(|| request.parse().expect("the number of a request, or *")),
        field: (*field).to_owned(),
        nginx: (*nginx).to_owned(),
        countersign: (*countersign).to_owned(),
    }
}
