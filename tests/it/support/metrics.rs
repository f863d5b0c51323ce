//! Prometheus text, read independently of the product.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug)]
pub struct Metrics {
    pub text: String,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Self { text: text.to_owned(), series: lines.map(series).collect() }
    }

    /// The sum of all series of that name whose labels include these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|series| series.value).sum()
    }

    /// Whether there is a series of that name with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// Every value that a label has in series of that name.
    pub fn label_values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self.matching(name, &[]).filter_map(|s| s.labels.get(label).cloned()).collect();
        values.sort();
        values.dedup();
        values
    }

    /// The label names of the first series of that name.
    pub fn label_names(&self, name: &str) -> Vec<String> {
        self.matching(name, &[]).next().map(|series| series.labels.keys().cloned().collect()).unwrap_or_default()
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Series> + 'a {
        self.series.iter().filter(move |series| {
            series.name == name && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|v| v == value))
        })
    }
}

fn series(line: &str) -> Series {
    let (front, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no metric line: {line:?}"));
    let (name, labels) = front.split_once('{').unwrap_or((front, ""));
    Series { name: name.to_owned(), labels: self::labels(labels), value: value.parse().unwrap_or(f64::NAN) }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.strip_suffix('}').unwrap_or(text);
    while let Some((key, tail)) = rest.split_once("=\"") {
        let end = closing_quote(tail);
        found.insert(key.trim_start_matches(',').to_owned(), tail[..end].replace("\\\"", "\"").replace("\\\\", "\\"));
        rest = tail.get(end + 1..).unwrap_or_default();
    }
    found
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => return at,
            _ => escaped = false,
        }
    }
    text.len()
}
