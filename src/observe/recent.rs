//! The last lines of both logs, in memory, for those who look at them in a browser.
//!
//! Flow: the writer threads of the logs hand over each batch that they have taken ([`Recent::take`]), one copy of its end;
//! no request ever comes here. Lines are told apart only when somebody reads ([`Recent::after`]).
//! They are the lines as they are written: what is masked there is masked here.
//!
//! Invariant: memory is bounded by bytes and by lines, however long lines are (`old_lines_make_room`).

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Lines that are kept.
pub const LINES: usize = 2000;

/// Bytes that are kept: 2,000 usual lines, or fewer long ones.
const BYTES: usize = 1024 * 1024;

/// Which log a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The access log.
    Access,
    /// The process log.
    Process,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Numbered from 1, over both logs, in the order in which they were written.
    pub number: u64,
    /// Which log.
    pub source: Source,
    /// Without its line end.
    pub text: String,
}

/// The last lines.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<Batch>,
    bytes: usize,
    lines: usize,
    /// Lines ever seen.
    seen: u64,
}

/// Whole lines, one after the other.
#[derive(Debug)]
struct Batch {
    source: Source,
    /// The number of its first line.
    first: u64,
    lines: usize,
    bytes: Box<[u8]>,
}

impl Recent {
    /// Takes lines as they are written, each with its line end.
    pub fn take(&self, source: Source, written: &[u8]) {
        let all = memchr::memchr_iter(b'\n', written).count();
        let (bytes, lines) = last(written, all);
        if lines == 0 {
            return;
        }
        let bytes: Box<[u8]> = bytes.into();
        let mut kept = self.0.lock();
        let skipped = u64::try_from(all - lines).unwrap_or(0);
        let first = kept.seen + skipped + 1;
        kept.seen += u64::try_from(all).unwrap_or(0);
        kept.bytes += bytes.len();
        kept.lines += lines;
        kept.batches.push_back(Batch { source, first, lines, bytes });
        kept.make_room();
    }

    /// The lines after that number, oldest first.
    pub fn after(&self, number: u64) -> Vec<Line> {
        let kept = self.0.lock();
        let new = |batch: &&Batch| batch.first + u64::try_from(batch.lines).unwrap_or(0) > number + 1;
        let lines = kept.batches.iter().filter(new).flat_map(Batch::each);
        let mut lines: Vec<Line> = lines.filter(|line| line.number > number).collect();
        // A batch leaves whole, so that a few more than promised may be there.
        lines.drain(..lines.len().saturating_sub(LINES));
        lines
    }

    /// The number of the newest line; 0: there is none.
    pub fn newest(&self) -> u64 {
        self.0.lock().seen
    }
}

impl Kept {
    fn make_room(&mut self) {
        while self.bytes > BYTES || self.over_by_a_batch() {
            let Some(batch) = self.batches.pop_front() else { break };
            self.bytes -= batch.bytes.len();
            self.lines -= batch.lines;
        }
    }

    /// Whether there are enough lines without the oldest batch.
    fn over_by_a_batch(&self) -> bool {
        self.batches.front().is_some_and(|oldest| self.lines - oldest.lines >= LINES)
    }
}

impl Batch {
    fn each(&self) -> impl Iterator<Item = Line> {
        let lines = self.bytes.split(|byte| *byte == b'\n').take(self.lines);
        lines.zip(self.first..).map(|(line, number)| {
            let text = String::from_utf8_lossy(line).into_owned();
            Line { number, source: self.source, text }
        })
    }
}

/// As many of the last lines as are worth keeping, and their number.
fn last(written: &[u8], all: usize) -> (&[u8], usize) {
    let (mut lines, mut from) = (all, 0);
    while lines > LINES || written.len() - from > BYTES {
        let Some(end) = written.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) else { return (&[], 0) };
        from += end + 1;
        lines -= 1;
    }
    (written.get(from..).unwrap_or_default(), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(from: usize, to: usize) -> String {
        (from..to).map(|number| format!("line {number}\n")).collect()
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_of_both_logs_come_in_the_order_of_writing() {
        let recent = Recent::default();
        recent.take(Source::Access, b"a\nb\n");
        recent.take(Source::Process, b"c\n");
        recent.take(Source::Access, b"d\n");
        let lines = recent.after(0);
        assert_eq!(texts(&lines), ["a", "b", "c", "d"]);
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!((lines[1].source, lines[2].source), (Source::Access, Source::Process));
        assert_eq!((texts(&recent.after(3)), recent.newest()), (vec!["d"], 4));
        assert!(recent.after(4).is_empty());
    }

    #[test]
    fn old_lines_make_room() {
        let recent = Recent::default();
        for batch in 0..100 {
            recent.take(Source::Access, numbered(batch * 100, batch * 100 + 100).as_bytes());
        }
        let lines = recent.after(0);
        assert_eq!((lines.len(), lines[0].text.as_str()), (LINES, "line 8000"));
        assert_eq!(lines.last().unwrap().number, 10_000);
        assert!(recent.0.lock().lines < LINES + 100);
        let long = format!("{}\n", "x".repeat(BYTES / 4));
        for _ in 0..20 {
            recent.take(Source::Access, long.as_bytes());
        }
        assert!(recent.0.lock().bytes <= BYTES);
        assert_eq!(recent.after(0).len(), 3);
    }

    #[test]
    fn of_a_large_batch_the_end_is_kept() {
        let recent = Recent::default();
        recent.take(Source::Access, numbered(0, 5000).as_bytes());
        let lines = recent.after(0);
        assert_eq!((lines.len(), lines[0].text.as_str(), lines[0].number), (LINES, "line 3000", 3001));
        recent.take(Source::Access, &vec![b'x'; 2 * BYTES]);
        assert_eq!(recent.after(0).len(), LINES, "what is no line counts for nothing");
    }

    #[test]
    fn what_is_not_text_is_shown_all_the_same() {
        let recent = Recent::default();
        recent.take(Source::Access, b"\xff\xfe\n");
        assert_eq!(recent.after(0)[0].text, "\u{fffd}\u{fffd}");
    }
}
