//! `include`: patterns -> files, in lexical order, and the directories whose change could change that.
//!
//! `*`, `?` and `[a-z]` match within one name and never a leading dot, so that editors' and ConfigMaps' own files stay out.

use std::path::{Component, Path, PathBuf};

use super::value::Problem;

/// What one pattern stands for.
#[derive(Debug, Default)]
pub struct Expansion {
    /// Existing files, in lexical order.
    pub files: Vec<PathBuf>,
    /// Directories that were listed.
    pub directories: Vec<PathBuf>,
}

/// Whether a text is a pattern rather than a plain path.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Expands a pattern below `dir`. A directory that is not there has no files.
///
/// # Errors
/// `**`, and brackets that are never closed.
pub fn expand(dir: &Path, pattern: &str) -> Result<Expansion, Problem> {
    check(pattern)?;
    let mut expansion = Expansion::default();
    let mut found = vec![dir.to_owned()];
    for component in Path::new(pattern).components() {
        found = match component {
            Component::Normal(name) => step(&found, &name.to_string_lossy(), &mut expansion),
            other => found.iter().map(|place| place.join(other)).collect(),
        };
    }
    found.retain(|path| path.is_file());
    found.sort();
    expansion.files = found;
    Ok(expansion)
}

fn check(pattern: &str) -> Result<(), Problem> {
    let problem = |clause: &str| Err(Problem::says("invalid_include", clause));
    if pattern.contains("**") {
        return problem("has `**`, which is not supported");
    }
    let unclosed = |name: &str| name.split('[').skip(1).any(|class| !class.contains(']'));
    if pattern.split('/').any(unclosed) {
        return problem("has a `[` that is never closed");
    }
    Ok(())
}

fn step(places: &[PathBuf], name: &str, expansion: &mut Expansion) -> Vec<PathBuf> {
    if !is_pattern(name) {
        return places.iter().map(|place| place.join(name)).collect();
    }
    let mut found = Vec::new();
    for place in places {
        let listed = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        expansion.directories.push(listed.to_owned());
        for entry in std::fs::read_dir(listed).into_iter().flatten().flatten() {
            let file = entry.file_name();
            if matches(name, &file.to_string_lossy()) {
                found.push(place.join(file));
            }
        }
    }
    found
}

/// Whether a name fits a pattern; time grows with the product of their lengths at most.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(width) = one(pattern.get(p..).unwrap_or_default(), name.get(n).copied()) {
            (p, n) = (p + width, n + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// How many characters of the pattern stand for this one character; `None`: they don't.
fn one(pattern: &[char], c: Option<char>) -> Option<usize> {
    let c = c?;
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let end = pattern.iter().position(|c| *c == ']')?;
            let class = pattern.get(1..end)?;
            let (negated, class) = match class.split_first() {
                Some(('!' | '^', rest)) => (true, rest),
                _ => (false, class),
            };
            (in_class(class, c) != negated).then_some(end + 1)
        }
        literal => (*literal == c).then_some(1),
    }
}

fn in_class(class: &[char], c: char) -> bool {
    let ranges = class.windows(3).any(|window| matches!(window, [low, '-', high] if (*low..=*high).contains(&c)));
    ranges || class.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".a.yaml", false),
            ("*.yaml", "a.yaml~", false),
            ("a?c*", "abcd", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[0-9][0-9]-*.yaml", "10-a.yaml", true),
            ("*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_in_lexical_order_and_directories_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.yaml", "a/9.yaml", "a/10.yaml", "a/x.txt", "a/.h.yaml", "a/d.yaml/in"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let expansion = expand(dir.path(), "*/*.yaml").unwrap();
        let names: Vec<_> = expansion.files.iter().map(|f| f.strip_prefix(dir.path()).unwrap().to_owned()).collect();
        assert_eq!(names, [Path::new("a/10.yaml"), Path::new("a/9.yaml"), Path::new("b/2.yaml")]);
        assert_eq!(expansion.directories.len(), 3);
        assert!(expand(dir.path(), "none/*.yaml").unwrap().files.is_empty());
        assert!(expand(dir.path(), "**/*.yaml").is_err());
        assert!(expand(dir.path(), "[a").is_err());
    }
}
