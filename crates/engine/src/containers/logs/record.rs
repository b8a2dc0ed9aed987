//! What a log consists of, and the two forms in which it lies in files.
//!
//! `json-file` is Docker's format, for programs that read Docker's logs: one document a line.
//!
//! `local` is our own, for `logs` alone: a quarter of the size for short lines, and it keeps bytes that are no UTF-8. All
//! numbers are little-endian:
//!
//! ```text
//! record = length (u32) of body, body, length again, so that records can be walked from the end
//! body   = flags (u8), time (i64, nanoseconds since 1970), [length (u32) of attributes, attributes], the line
//! flags  = 1: standard error  2: no newline ended it  4: there are attributes, a JSON object
//! ```

use super::stamp::{Clock, Reading};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A record of ours is far shorter; a longer one is damage.
pub(super) const LONGEST: usize = 4 << 20;
/// Bytes around a record's body in the local format.
const FRAME: usize = 8;
const STDERR: u8 = 1;
const OPEN: u8 = 2;
const ATTRIBUTES: u8 = 4;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::containers) enum Source {
    /// Standard output, or the terminal.
    Stdout = 0,
    /// Standard error.
    Stderr = 1,
}

/// How records lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::containers) enum Format {
    /// Docker's.
    JsonFile,
    /// Ours.
    Local,
}

/// Writes records.
#[derive(Debug)]
pub(in crate::containers) struct Encoder {
    format: Format,
    /// A JSON object, or empty.
    attributes: String,
    clock: Clock,
    /// What follows a line of each stream, and the time that stands in it.
    tails: [(Vec<u8>, i64); 2],
}

impl Encoder {
    /// Makes one. `attributes` (a JSON object, or empty) are put into every record.
    pub(in crate::containers) fn new(format: Format, attributes: String) -> Self {
        Self {
            format,
            attributes,
            clock: Clock::default(),
            tails: [(Vec::new(), i64::MIN), (Vec::new(), i64::MIN)],
        }
    }

    /// Appends a record. `line` is without its newline; `complete` says that there was one.
    pub(in crate::containers) fn encode(
        &mut self,
        into: &mut Vec<u8>,
        line: &[u8],
        complete: bool,
        source: Source,
        time: i64,
    ) {
        match self.format {
            Format::JsonFile => self.encode_json(into, line, complete, source, time),
            Format::Local => self.encode_local(into, line, complete, source, time),
        }
    }

    fn encode_json(&mut self, into: &mut Vec<u8>, line: &[u8], complete: bool, source: Source, time: i64) {
        let (tail, of) = &mut self.tails[source as usize];
        if *of != time {
            tail.clear();
            tail.extend_from_slice(match source {
                Source::Stdout => b"\",\"stream\":\"stdout\"",
                Source::Stderr => b"\",\"stream\":\"stderr\"",
            });
            if !self.attributes.is_empty() {
                tail.extend_from_slice(b",\"attrs\":");
                tail.extend_from_slice(self.attributes.as_bytes());
            }
            tail.extend_from_slice(b",\"time\":\"");
            self.clock.write(tail, time);
            tail.extend_from_slice(b"\"}\n");
            *of = time;
        }
        into.reserve(line.len() + tail.len() + 16);
        into.extend_from_slice(b"{\"log\":\"");
        for chunk in line.utf8_chunks() {
            escape(into, chunk.valid());
            // One for every byte, as Go counts them.
            for _ in chunk.invalid() {
                into.extend_from_slice(b"\\ufffd");
            }
        }
        if complete {
            into.extend_from_slice(b"\\n");
        }
        into.extend_from_slice(tail);
    }

    fn encode_local(&self, into: &mut Vec<u8>, line: &[u8], complete: bool, source: Source, time: i64) {
        let mut flags = if source == Source::Stderr { STDERR } else { 0 };
        if !complete {
            flags |= OPEN;
        }
        let mut length = 1 + 8 + line.len();
        if !self.attributes.is_empty() {
            flags |= ATTRIBUTES;
            length += 4 + self.attributes.len();
        }
        // Lines have their limit, and options have the kernel's on arguments.
        let framed = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        into.reserve(length + FRAME);
        into.extend_from_slice(&framed);
        into.push(flags);
        into.extend_from_slice(&time.to_le_bytes());
        if flags & ATTRIBUTES != 0 {
            let length = u32::try_from(self.attributes.len()).unwrap_or(u32::MAX);
            into.extend_from_slice(&length.to_le_bytes());
            into.extend_from_slice(self.attributes.as_bytes());
        }
        into.extend_from_slice(line);
        into.extend_from_slice(&framed);
    }
}

/// Says whether a byte stands for itself in Go's JSON. What is not ASCII does but for two characters that begin with 0xe2.
const fn is_plain(byte: u8) -> bool {
    !matches!(byte, 0..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

/// Escapes as Go's encoder in Docker's json-file driver does: also what HTML and JavaScript trip over.
fn escape(into: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    /// What is looked at at once, without a branch, so that the compiler uses wide registers.
    const WIDE: usize = 32;
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut position = 0;
    while position < bytes.len() {
        if let Some(wide) = bytes[position..].first_chunk::<WIDE>()
            && wide.iter().fold(true, |all, &byte| all & is_plain(byte))
        {
            position += WIDE;
            continue;
        }
        let end = bytes.len().min(position + WIDE);
        let Some(found) = bytes[position..end].iter().position(|&byte| !is_plain(byte)) else {
            position = end;
            continue;
        };
        position += found;
        let byte = bytes[position];
        let (escaped, length): (Option<&[u8]>, usize) = match byte {
            b'"' => (Some(b"\\\""), 1),
            b'\\' => (Some(b"\\\\"), 1),
            b'\n' => (Some(b"\\n"), 1),
            b'\r' => (Some(b"\\r"), 1),
            0xe2 if bytes[position..].starts_with("\u{2028}".as_bytes()) => (Some(b"\\u2028"), 3),
            0xe2 if bytes[position..].starts_with("\u{2029}".as_bytes()) => (Some(b"\\u2029"), 3),
            0xe2 => {
                position += 1;
                continue;
            }
            _ => (None, 1),
        };
        into.extend_from_slice(&bytes[plain..position]);
        match escaped {
            Some(escaped) => into.extend_from_slice(escaped),
            None => into.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
        position += length;
        plain = position;
    }
    into.extend_from_slice(&bytes[plain..]);
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'r> {
    pub(super) time: i64,
    pub(super) source: Source,
    /// The line, with its newline if it had one.
    pub(super) bytes: Cow<'r, [u8]>,
    /// A JSON object, or empty.
    pub(super) attributes: Cow<'r, [u8]>,
}

/// Reads records.
#[derive(Debug)]
pub(super) struct Decoder {
    format: Format,
    times: Reading,
    scratch: Vec<u8>,
}

/// A document that is not exactly as we write it.
#[derive(Deserialize)]
struct Document<'d> {
    #[serde(borrow, default)]
    log: Cow<'d, str>,
    #[serde(borrow, default)]
    stream: Cow<'d, str>,
    #[serde(borrow, default)]
    time: Cow<'d, str>,
    #[serde(default)]
    attrs: Option<serde_json::Value>,
}

impl Decoder {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            times: Reading::default(),
            scratch: Vec::new(),
        }
    }

    /// Returns the length of the record that `bytes` begin with, with all that is around it: `Ok(None)` if its end is not
    /// among them. An error is a record that cannot be one.
    pub(super) fn length(&self, bytes: &[u8]) -> Result<Option<usize>, Damage> {
        match self.format {
            Format::JsonFile => match memchr::memchr(b'\n', bytes) {
                Some(end) => Ok(Some(end + 1)),
                None if bytes.len() > LONGEST => Err(Damage),
                None => Ok(None),
            },
            Format::Local => {
                let Some(head) = bytes.first_chunk::<4>() else {
                    return Ok(None);
                };
                let length = u32::from_le_bytes(*head) as usize;
                if !(9..=LONGEST).contains(&length) {
                    return Err(Damage);
                }
                match bytes.get(length + 4..length + FRAME) {
                    None => Ok(None),
                    Some(tail) if tail == head => Ok(Some(length + FRAME)),
                    Some(_) => Err(Damage),
                }
            }
        }
    }

    /// Reads a whole record; `None` if it is damaged.
    pub(super) fn decode<'r>(&'r mut self, bytes: &'r [u8]) -> Option<Record<'r>> {
        match self.format {
            Format::JsonFile => self.decode_json(bytes),
            Format::Local => decode_local(bytes),
        }
    }

    /// Takes a document apart that is as [`Encoder`] writes it, and leaves others to a parser.
    fn decode_json<'r>(&'r mut self, bytes: &'r [u8]) -> Option<Record<'r>> {
        self.scratch.clear();
        if let Some((source, attributes, time)) = canonical(bytes, &mut self.scratch) {
            return Some(Record {
                time: self.times.read(time),
                source,
                bytes: Cow::Borrowed(&self.scratch),
                attributes: Cow::Borrowed(attributes),
            });
        }
        let document: Document<'r> = serde_json::from_slice(bytes).ok()?;
        Some(Record {
            time: self.times.read(document.time.as_bytes()),
            source: if document.stream == "stderr" {
                Source::Stderr
            } else {
                Source::Stdout
            },
            bytes: match document.log {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            attributes: document.attrs.map_or(Cow::Borrowed(&[]), |attributes| {
                attributes.to_string().into_bytes().into()
            }),
        })
    }
}

/// A record that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage;

fn canonical<'r>(bytes: &'r [u8], line: &mut Vec<u8>) -> Option<(Source, &'r [u8], &'r [u8])> {
    let rest = bytes.strip_prefix(b"{\"log\":\"")?;
    let rest = unescape(rest, line)?;
    let rest = rest.strip_prefix(b",\"stream\":\"std")?;
    let (source, rest) = match rest.strip_prefix(b"out\"") {
        Some(rest) => (Source::Stdout, rest),
        None => (Source::Stderr, rest.strip_prefix(b"err\"")?),
    };
    // The last is it: attributes, which may have one called so, are before it.
    let time = memchr::memmem::rfind(rest, b",\"time\":\"")?;
    let attributes = match &rest[..time] {
        [] => &[],
        attributes => attributes.strip_prefix(b",\"attrs\":")?,
    };
    let time = rest[time + 9..].strip_suffix(b"\"}\n")?;
    Some((source, attributes, time))
}

/// Reads a JSON string up to and with the quote that ends it, and returns what follows.
fn unescape<'r>(mut rest: &'r [u8], into: &mut Vec<u8>) -> Option<&'r [u8]> {
    loop {
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        into.extend_from_slice(&rest[..end]);
        if rest[end] == b'"' {
            return Some(&rest[end + 1..]);
        }
        let escaped = *rest.get(end + 1)?;
        rest = &rest[end + 2..];
        into.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'"' | b'\\' | b'/' => escaped,
            b'u' => {
                let digits = std::str::from_utf8(rest.get(..4)?).ok()?;
                let number = u32::from_str_radix(digits, 16).ok()?;
                rest = &rest[4..];
                // Half of a pair is left to the parser.
                let character = char::from_u32(number)?;
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
}

fn decode_local(bytes: &[u8]) -> Option<Record<'_>> {
    let body = bytes.get(4..bytes.len().checked_sub(4)?)?;
    let (&flags, rest) = body.split_first()?;
    let (time, mut rest) = rest.split_first_chunk::<8>()?;
    let mut attributes: &[u8] = &[];
    if flags & ATTRIBUTES != 0 {
        let (length, after) = rest.split_first_chunk::<4>()?;
        (attributes, rest) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    }
    let mut bytes = Cow::Borrowed(rest);
    if flags & OPEN == 0 {
        bytes.to_mut().push(b'\n');
    }
    Some(Record {
        time: i64::from_le_bytes(*time),
        source: if flags & STDERR == 0 {
            Source::Stdout
        } else {
            Source::Stderr
        },
        bytes,
        attributes: Cow::Borrowed(attributes),
    })
}

/// Reads the attributes of a record. Damaged ones are none.
pub(super) fn read_attributes(document: &[u8]) -> BTreeMap<String, String> {
    if document.is_empty() {
        return BTreeMap::new();
    }
    serde_json::from_slice(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(format: Format, attributes: &str, line: &[u8], complete: bool, source: Source) -> Vec<u8> {
        let mut into = Vec::new();
        Encoder::new(format, attributes.into()).encode(
            &mut into,
            line,
            complete,
            source,
            1_700_000_000_120_000_000,
        );
        into
    }

    #[test]
    fn documents_are_dockers() {
        for (attributes, line, complete, source, expected) in [
            (
                "",
                &b"one"[..],
                true,
                Source::Stdout,
                r#"{"log":"one\n","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}"#,
            ),
            (
                "",
                b"unfinished",
                false,
                Source::Stdout,
                r#"{"log":"unfinished","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}"#,
            ),
            (
                r#"{"a":"b"}"#,
                b"<&>\"\\\x1b\t\r\x7f",
                true,
                Source::Stderr,
                "{\"log\":\"\\u003c\\u0026\\u003e\\\"\\\\\\u001b\\u0009\\r\x7f\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20.12Z\"}",
            ),
            (
                "",
                b"\xff\xe2\x82 \xe2\x82\xac \xe2\x80\xa8",
                false,
                Source::Stdout,
                r#"{"log":"\ufffd\ufffd\ufffd € \u2028","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}"#,
            ),
        ] {
            let found = encoded(Format::JsonFile, attributes, line, complete, source);
            assert_eq!(String::from_utf8(found).unwrap(), format!("{expected}\n"));
        }
    }

    #[test]
    fn what_needs_escaping_is_found_at_every_place() {
        for length in 0..100 {
            for place in 0..length {
                let mut line = vec![b'x'; length];
                line[place] = b'"';
                let mut expected = "x".repeat(place);
                expected.push_str("\\\"");
                expected.push_str(&"x".repeat(length - place - 1));
                let mut into = Vec::new();
                escape(&mut into, std::str::from_utf8(&line).unwrap());
                assert_eq!(String::from_utf8(into).unwrap(), expected);
            }
        }
    }

    #[test]
    fn both_formats_are_read_again() {
        for format in [Format::JsonFile, Format::Local] {
            for attributes in ["", r#"{"time":"1","a,\"time\":\"b":"c"}"#] {
                for (line, complete) in [
                    (&b""[..], true),
                    (b"plain", true),
                    (b"no end", false),
                    (b"\x00\x01 \"quotes\" \\ \t\r <&> \xe2\x82\xac \xe2\x80\xa9", true),
                ] {
                    for source in [Source::Stdout, Source::Stderr] {
                        let bytes = encoded(format, attributes, line, complete, source);
                        let mut decoder = Decoder::new(format);
                        assert_eq!(decoder.length(&bytes), Ok(Some(bytes.len())));
                        assert_eq!(decoder.length(&bytes[..bytes.len() - 1]), Ok(None));
                        let record = decoder.decode(&bytes).unwrap();
                        let mut expected = line.to_vec();
                        if complete {
                            expected.push(b'\n');
                        }
                        assert_eq!(record.bytes, expected);
                        assert_eq!(record.source, source);
                        assert_eq!(record.time, 1_700_000_000_120_000_000);
                        assert_eq!(record.attributes, attributes.as_bytes());
                    }
                }
            }
        }
    }

    #[test]
    fn our_own_format_keeps_every_byte() {
        let line: Vec<u8> = (0..=255).collect();
        let bytes = encoded(Format::Local, "", &line, false, Source::Stdout);
        assert_eq!(Decoder::new(Format::Local).decode(&bytes).unwrap().bytes, line);
    }

    #[test]
    fn another_programs_documents_are_read_too() {
        let mut decoder = Decoder::new(Format::JsonFile);
        let text =
            br#"{"time":"2023-11-14T22:13:20Z","stream":"stderr","attrs":{"k":"v"},"log":"\ud83d\ude00\b"}"#;
        let record = decoder.decode(text).unwrap();
        assert_eq!(record.bytes, "\u{1f600}\u{8}".as_bytes());
        assert_eq!(
            (record.source, record.time),
            (Source::Stderr, 1_700_000_000_000_000_000)
        );
        assert_eq!(
            read_attributes(&record.attributes),
            [("k".to_owned(), "v".to_owned())].into()
        );
        assert!(decoder.decode(b"{\"log\":\"torn\n").is_none());
    }

    #[test]
    fn damage_is_noticed() {
        let decoder = Decoder::new(Format::Local);
        assert_eq!(decoder.length(&[0; 20]), Err(Damage));
        assert_eq!(decoder.length(&[0xff; 20]), Err(Damage));
        let mut bytes = encoded(Format::Local, "", b"line", true, Source::Stdout);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(decoder.length(&bytes), Err(Damage));
    }
}
