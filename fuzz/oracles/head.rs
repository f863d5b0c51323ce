//! What the head gate passes is one request, whoever reads it and however it arrives.

use countersign::policy::head::{Framing, Limits, Scan, scan};

const LIMITS: Limits = Limits { max_head: 4096, max_target: 1024, max_fields: 40 };

pub fn check(data: &[u8]) {
    let whole = scan(data, 0, &LIMITS);
    // However the bytes arrive, a whole head is the same one, and what is refused never passes. (Faults of several fields
    // together are only looked for at the head's end, so what came in pieces may still be waited for.)
    for step in [1, 7] {
        let pieces = arriving(data, step);
        let both_refuse = matches!((&pieces, &whole), (Scan::Partial | Scan::Reject(_), Scan::Reject(_)));
        assert!(both_refuse || pieces == whole, "in pieces of {step}: {pieces:?}, whole: {whole:?}");
    }
    if let Scan::Complete(head) = whole {
        assert!(head.skip + head.len <= data.len() && head.len <= LIMITS.max_head);
        read_again(&data[head.skip..head.skip + head.len], head.body);
    }
}

/// The last verdict when the bytes come in pieces; a head ends the stream for the scanner.
fn arriving(data: &[u8], step: usize) -> Scan {
    let mut scanned = 0;
    loop {
        let end = data.len().min(scanned + step);
        match scan(&data[..end], scanned, &LIMITS) {
            Scan::Partial if end < data.len() => scanned = end,
            verdict => return verdict,
        }
    }
}

/// A second parser reads the same head: one method, one target, and the framing that the gate saw.
fn read_again(head: &[u8], framing: Framing) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head).expect("the second parser refuses what the gate passed");
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "the head ends elsewhere");
    let values = |name: &str| -> Vec<&[u8]> {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match framing {
        Framing::None => assert!(lengths.is_empty() && codings.is_empty(), "a body that the gate did not see"),
        Framing::Length(length) => {
            assert!(lengths.len() == 1 && codings.is_empty(), "two framings");
            let text = std::str::from_utf8(lengths[0]).expect("a length is text").trim();
            assert_eq!(text.parse(), Ok(length));
        }
        Framing::Chunked => {
            assert!(codings.len() == 1 && lengths.is_empty(), "two framings");
            assert!(codings[0].trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
    }
}
