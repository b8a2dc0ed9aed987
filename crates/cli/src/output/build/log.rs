//! What a step's command prints, as lines that are fit for a terminal.

use std::collections::VecDeque;

/// So many lines are kept.
const KEPT: usize = 200;
/// What is longer goes on in a line of its own, so that a program that never ends its lines fills no memory.
const LONGEST: usize = 16 << 10;

/// The latest output of a step.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<Line>,
    /// A line without its end, so far.
    open: Vec<u8>,
}

#[derive(Debug)]
struct Line {
    seconds: f64,
    text: String,
}

impl Line {
    fn shown(&self) -> String {
        format!("{:.3} {}", self.seconds, self.text)
    }
}

impl Log {
    /// Adds output that came so many seconds after the step began; returns the lines that are whole now, with their
    /// times before them.
    pub(super) fn add(&mut self, bytes: &[u8], seconds: f64) -> Vec<String> {
        let mut whole = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.open.len() > LONGEST {
                whole.extend(self.end(seconds));
            }
        }
        whole
    }

    /// Ends a line that the command has left open, and returns it.
    pub(super) fn end(&mut self, seconds: f64) -> Option<String> {
        if self.open.is_empty() {
            return None;
        }
        let text = last_seen(&std::mem::take(&mut self.open));
        let line = Line { seconds, text };
        let shown = line.shown();
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        Some(shown)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the last lines with their times.
    pub(super) fn last(&self, count: usize) -> Vec<String> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(Line::shown).collect()
    }

    /// Returns what a terminal of so many lines would show at its end, the open line included.
    pub(super) fn tail(&self, count: usize) -> Vec<String> {
        let open = Some(last_seen(&self.open)).filter(|text| !text.is_empty());
        let whole = self.lines.iter().map(|line| line.text.clone());
        let all: Vec<String> = whole.chain(open).collect();
        all[all.len().saturating_sub(count)..].to_vec()
    }
}

/// Returns what of a line one would see: what was written last after a carriage return, as progress bars do.
fn last_seen(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    clean(text.rsplit('\r').next().unwrap_or(text))
}

/// Takes out what a terminal would act on: escape sequences (ECMA-48 §5.4, and the strings of §5.6) and control
/// characters.
pub(super) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => match rest.next() {
                // Parameters, then one final character.
                Some('[') => {
                    rest.by_ref().find(|c| ('@'..='~').contains(c));
                }
                // A string, ended by BEL or by ST.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    while let Some(c) = rest.next() {
                        if c == '\x07' {
                            break;
                        }
                        if c == '\x1b' {
                            rest.next_if_eq(&'\\');
                            break;
                        }
                    }
                }
                // Intermediate characters, then one final character.
                Some(' '..='/') => {
                    rest.by_ref().find(|c| ('0'..='~').contains(c));
                }
                _ => {}
            },
            '\t' => shown.push_str("    "),
            c if c.is_control() || is_invisible(c) => {}
            c => shown.push(c),
        }
    }
    shown
}

/// Characters that make text around them read in another order than it was written, and the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_taken_out() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a\tb", "a    b"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b(Bascii\x1b7\x08\x7f", "ascii"),
            ("\x1b[2", ""),
            ("\u{feff}a\u{202e}b", "ab"),
            ("grüße 日本", "grüße 日本"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn output_becomes_lines_whatever_its_pieces() {
        let mut log = Log::default();
        assert_eq!(log.add(b"one\ntw", 0.5), ["0.500 one"]);
        assert_eq!(log.tail(6), ["one", "tw"]);
        assert_eq!(
            log.add(b"o\r\n 10%\r 99%\n\nend", 1.25),
            ["1.250 two", "1.250  99%", "1.250 "]
        );
        assert_eq!(log.end(2.0).as_deref(), Some("2.000 end"));
        assert_eq!(log.end(2.0), None);
        assert_eq!(log.last(2), ["1.250 ", "2.000 end"]);
        assert_eq!(log.tail(3), [" 99%", "", "end"]);
    }

    #[test]
    fn no_more_is_kept_than_is_of_use() {
        let mut log = Log::default();
        log.add(&b"x\n".repeat(10_000), 0.0);
        assert_eq!(log.lines.len(), KEPT);
        let mut log = Log::default();
        for _ in 0..100 {
            log.add(&[b'x'; 4096], 0.0);
        }
        assert!(log.open.len() <= LONGEST && !log.is_empty());
    }
}
