//! A chunked body ends where a second, simple parser says, however it arrives; what that parser refuses is refused.

use countersign::policy::chunked::{ChunkScanner, Malformed};

pub fn check(data: &[u8]) {
    let whole = arriving(data, data.len().max(1));
    assert_eq!(arriving(data, 1), whole, "byte by byte");
    assert_eq!(arriving(data, 5), whole, "in pieces of 5");
    if let Ok(Some(end)) = whole {
        assert_eq!(strict_end(data), Some(end), "another parser ends the body elsewhere");
    }
}

/// `Ok(Some(end))`: done, after so many bytes.
fn arriving(data: &[u8], step: usize) -> Result<Option<usize>, Malformed> {
    let (mut scanner, mut at) = (ChunkScanner::default(), 0);
    for piece in data.chunks(step) {
        at += scanner.advance(piece)?;
        if scanner.is_done() {
            return Ok(Some(at));
        }
    }
    Ok(scanner.is_done().then_some(at))
}

/// RFC 9112 §7.1, by hand and without mercy.
fn strict_end(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line(data, at)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if !matches!(line.get(digits), None | Some(b';' | b' ' | b'\t')) {
            return None;
        }
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?;
        if data.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let line = line(data, at)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some(at);
        }
    }
}

fn line(data: &[u8], at: usize) -> Option<&[u8]> {
    let rest = data.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&rest[..end])
}
