//! HPACK (RFC 7541), independent of the product's: an encoder that says everything literally, so that a test controls every
//! byte, and a whole decoder for what the edge answers.

use super::message::Fields;

/// Fields as literals that are not remembered.
pub fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        literal(&mut out, name.as_bytes(), value.as_bytes());
    }
    out
}

/// One field as a literal that is not remembered.
pub fn literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        integer(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}

/// One field as a literal that is remembered in the dynamic table.
pub fn remembered(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0x40);
    for text in [name, value] {
        integer(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}

/// RFC 7541 §5.1.
fn integer(out: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let most = (1usize << bits) - 1;
    if value < most {
        return out.push(flags | u8::try_from(value).unwrap());
    }
    out.push(flags | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// Decodes one connection's header blocks, in order.
#[derive(Default)]
pub struct Decoder {
    table: Vec<(String, Vec<u8>)>,
    /// Names of the fields that came as literals which nobody may ever index (RFC 7541 §6.2.3).
    pub never_indexed: Vec<String>,
}

impl Decoder {
    /// One whole block.
    pub fn decode(&mut self, block: &[u8]) -> Fields {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(first) = rest.first().copied() {
            if first & 0x80 != 0 {
                fields.push(self.entry(number(&mut rest, 7)));
            } else if first & 0xe0 == 0x20 {
                let size = number(&mut rest, 5);
                assert!(size <= 4096, "a table of {size}");
                self.shrink(size);
            } else {
                let is_remembered = first & 0x40 != 0;
                let index = number(&mut rest, if is_remembered { 6 } else { 4 });
                let name = match index {
                    0 => String::from_utf8(text(&mut rest)).expect("a name"),
                    _ => self.entry(index).0,
                };
                let field = (name, text(&mut rest));
                if first & 0xf0 == 0x10 {
                    self.never_indexed.push(field.0.clone());
                }
                if is_remembered {
                    self.table.insert(0, field.clone());
                    self.shrink(4096);
                }
                fields.push(field);
            }
        }
        Fields(fields)
    }

    fn entry(&self, index: usize) -> (String, Vec<u8>) {
        match STATIC.get(index.wrapping_sub(1)) {
            Some((name, value)) => ((*name).to_owned(), value.as_bytes().to_vec()),
            None => self.table[index - 1 - STATIC.len()].clone(),
        }
    }

    fn shrink(&mut self, most: usize) {
        let size = |table: &[(String, Vec<u8>)]| table.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>();
        while size(&self.table) > most {
            self.table.pop();
        }
    }
}

fn number(rest: &mut &[u8], bits: u32) -> usize {
    let most = (1usize << bits) - 1;
    let mut take = || {
        let (first, after) = rest.split_first().expect("more of a header block");
        *rest = after;
        usize::from(*first)
    };
    let mut value = take() & most;
    if value < most {
        return value;
    }
    for shift in (0..28).step_by(7) {
        let byte = take();
        value += (byte & 127) << shift;
        if byte < 128 {
            return value;
        }
    }
    panic!("a number without an end");
}

fn text(rest: &mut &[u8]) -> Vec<u8> {
    let is_huffman = rest[0] & 0x80 != 0;
    let length = number(rest, 7);
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    if is_huffman { unpacked(bytes) } else { bytes.to_vec() }
}

/// RFC 7541 §5.2.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
    symbols.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
    let mut out = Vec::new();
    let (mut code, mut length, mut first, mut at) = (0usize, 0u8, 0usize, 0usize);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| usize::from(byte >> shift & 1))) {
        (code, first, length) = (code << 1 | bit, first << 1, length + 1);
        let count = symbols[at..].iter().take_while(|symbol| LENGTHS[**symbol] == length).count();
        if code - first < count {
            out.push(u8::try_from(symbols[at + code - first]).expect("no end of string inside a string"));
            (code, length, first, at) = (0, 0, 0, 0);
        } else {
            (first, at) = (first + count, at + count);
        }
    }
    assert!(length < 8, "padding of {length} bits");
    out
}

/// The length of each byte's code, and last that of the end (RFC 7541 Appendix B). The code is canonical: the lengths are
/// all of it.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// RFC 7541 Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[test]
fn the_examples_of_the_specification_are_read() {
    let mut decoder = Decoder::default();
    // RFC 7541 Appendix C.6.1 and C.6.2, with their dynamic table.
    let first =
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3";
    let fields = decoder.decode(&hex::decode(first).unwrap());
    assert_eq!(fields.get(":status"), Some("302"));
    assert_eq!(fields.get("date"), Some("Mon, 21 Oct 2013 20:13:21 GMT"));
    assert_eq!(fields.get("location"), Some("https://www.example.com"));
    let fields = decoder.decode(&hex::decode("4883640effc1c0bf").unwrap());
    assert_eq!(fields.get(":status"), Some("307"));
    assert_eq!(fields.get("location"), Some("https://www.example.com"));
}
