//! The part of D-Bus's wire format that one method call and its answers need (D-Bus specification, "Message Protocol").
//!
//! A crate for all of D-Bus would be larger than what it is needed for here, and the ones without an asynchronous
//! runtime stand on libraries that are no longer looked after.

use std::io::{self, Read};

/// Numbers of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// The largest message that is believed; what systemd tells us is far smaller.
const LARGEST: usize = 1 << 20;

/// Bytes in the making. Every value is aligned to its size, counted from the start of the message or, which comes to
/// the same, of its body.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(value.into());
    }

    pub(super) fn string(&mut self, value: &str) {
        self.u32(length(value.len()));
        self.0.extend_from_slice(value.as_bytes());
        self.byte(0);
    }

    /// The kind of value that follows: the head of a variant.
    pub(super) fn signature(&mut self, value: &str) {
        self.byte(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(value.as_bytes());
        self.byte(0);
    }

    /// An array whose elements are aligned to `alignment`; its length does not count the padding before the first.
    pub(super) fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let place = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        fill(self);
        let bytes = length(self.0.len() - begin).to_le_bytes();
        self.0.splice(place..place + 4, bytes);
    }

    pub(super) fn structure(&mut self, fill: impl FnOnce(&mut Self)) {
        self.align(8);
        fill(self);
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A method to call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
    pub(super) signature: &'static str,
}

/// Makes a method call with the arguments that `fill` writes.
pub(super) fn call(method: Method, serial: u32, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut body = Writer::default();
    fill(&mut body);
    let mut message = Writer::default();
    for byte in [b'l', METHOD_CALL, 0, 1] {
        message.byte(byte);
    }
    message.u32(length(body.0.len()));
    message.u32(serial);
    message.array(8, |fields| {
        for (number, kind, value) in [
            (PATH, "o", method.path),
            (DESTINATION, "s", method.destination),
            (INTERFACE, "s", method.interface),
            (MEMBER, "s", method.member),
        ] {
            fields.structure(|field| {
                field.byte(number);
                field.signature(kind);
                field.string(value);
            });
        }
        fields.structure(|field| {
            field.byte(SIGNATURE);
            field.signature("g");
            field.signature(method.signature);
        });
    });
    message.align(8);
    message.0.extend_from_slice(&body.0);
    message.0
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The call with this serial was answered.
    Return(u32),
    /// It was refused: the error's name and words.
    Refused { serial: u32, name: String, text: String },
    /// Something happened: the signal's name and those of its arguments that are strings or object paths.
    Signal { member: String, strings: Vec<String> },
    /// Something else.
    Other,
}

/// Reads the next message.
pub(super) fn receive(from: &mut impl Read) -> io::Result<Incoming> {
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    if head[0] != b'l' {
        return Err(bad("a message in another byte order"));
    }
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&head[at..at + 4]);
        u32::from_le_bytes(bytes) as usize
    };
    let (body, fields) = (number(4), number(12));
    let rest = fields
        .checked_next_multiple_of(8)
        .and_then(|fields| fields.checked_add(body))
        .filter(|rest| *rest <= LARGEST)
        .ok_or_else(|| bad("a message that is too large"))?;
    let mut bytes = vec![0; rest];
    from.read_exact(&mut bytes)?;
    parse(head[1], &bytes, fields).ok_or_else(|| bad("a message that makes no sense"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("systemd sent {what}"))
}

/// `bytes` begins with the header's fields, which begin at a multiple of 8 in the message, and so does the body.
fn parse(kind: u8, bytes: &[u8], fields: usize) -> Option<Incoming> {
    let mut header = Reader {
        bytes: bytes.get(..fields)?,
        at: 0,
    };
    let (mut member, mut error, mut signature, mut serial) = (String::new(), String::new(), String::new(), 0);
    while header.at < fields {
        header.align(8);
        let field = header.byte()?;
        match (field, header.signature()?.as_str()) {
            (MEMBER, "s") => member = header.string()?,
            (ERROR_NAME, "s") => error = header.string()?,
            (SIGNATURE, "g") => signature = header.signature()?,
            (REPLY_SERIAL, "u") => serial = header.u32()?,
            (_, "s" | "o") => drop(header.string()?),
            (_, "u") => drop(header.u32()?),
            (_, "g") => drop(header.signature()?),
            _ => return None,
        }
    }
    let mut body = Reader {
        bytes: bytes.get(fields.next_multiple_of(8)..)?,
        at: 0,
    };
    let strings = body.strings(&signature);
    Some(match kind {
        METHOD_RETURN => Incoming::Return(serial),
        ERROR => Incoming::Refused {
            serial,
            name: error,
            text: strings?.into_iter().next().unwrap_or_default(),
        },
        SIGNAL => Incoming::Signal {
            member,
            strings: strings.unwrap_or_default(),
        },
        _ => Incoming::Other,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.text(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.text(length.into())
    }

    /// Reads arguments that are strings, object paths or 32-bit numbers, and returns the first two kinds. `None` if
    /// there are others.
    fn strings(&mut self, signature: &str) -> Option<Vec<String>> {
        let mut strings = Vec::new();
        for kind in signature.bytes() {
            match kind {
                b's' | b'o' => strings.push(self.string()?),
                b'u' => drop(self.u32()?),
                _ => return None,
            }
        }
        Some(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method = Method {
        destination: "d.d",
        path: "/p",
        interface: "i.i",
        member: "M",
        signature: "sa(sv)",
    };

    #[test]
    fn a_call_is_aligned_and_counted() {
        let message = call(METHOD, 7, |body| {
            body.string("hello");
            body.array(8, |list| {
                list.structure(|property| {
                    property.string("On");
                    property.signature("b");
                    property.bool(true);
                });
            });
        });
        assert_eq!(&message[..4], b"l\x01\0\x01");
        assert_eq!(message[8], 7);
        let fields = usize::from(message[12]);
        let body = 16 + fields.next_multiple_of(8);
        assert_eq!(message.len(), body + usize::from(message[4]));
        let expected: &[u8] = b"\x05\0\0\0hello\0\0\0\x10\0\0\0\x02\0\0\0On\0\x01b\0\0\0\x01\0\0\0";
        // The array's first element stands at 16, its length at 12.
        assert_eq!(&message[body..], expected);
    }

    fn incoming(kind: u8, fields: impl FnOnce(&mut Writer), body: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut content = Writer::default();
        body(&mut content);
        let mut message = Writer::default();
        for byte in [b'l', kind, 0, 1] {
            message.byte(byte);
        }
        message.u32(length(content.0.len()));
        message.u32(1);
        message.array(8, fields);
        message.align(8);
        message.0.extend_from_slice(&content.0);
        message.0
    }

    fn field(fields: &mut Writer, number: u8, kind: &str, value: impl FnOnce(&mut Writer)) {
        fields.structure(|field| {
            field.byte(number);
            field.signature(kind);
            value(field);
        });
    }

    #[test]
    fn answers_and_signals_are_read_one_after_the_other() {
        let mut stream = incoming(
            METHOD_RETURN,
            |fields| {
                field(fields, REPLY_SERIAL, "u", |value| value.u32(9));
                field(fields, SIGNATURE, "g", |value| value.signature("o"));
            },
            |body| body.string("/job/1"),
        );
        stream.extend(incoming(
            ERROR,
            |fields| {
                field(fields, ERROR_NAME, "s", |value| value.string("a.UnitExists"));
                field(fields, REPLY_SERIAL, "u", |value| value.u32(9));
                field(fields, SIGNATURE, "g", |value| value.signature("s"));
            },
            |body| body.string("it is there"),
        ));
        stream.extend(incoming(
            SIGNAL,
            |fields| {
                field(fields, PATH, "o", |value| value.string("/m"));
                field(fields, MEMBER, "s", |value| value.string("JobRemoved"));
                field(fields, SIGNATURE, "g", |value| value.signature("uoss"));
            },
            |body| {
                body.u32(3);
                body.string("/job/1");
                body.string("x.scope");
                body.string("done");
            },
        ));
        let mut stream = stream.as_slice();
        assert_eq!(receive(&mut stream).unwrap(), Incoming::Return(9));
        let refused = Incoming::Refused {
            serial: 9,
            name: "a.UnitExists".into(),
            text: "it is there".into(),
        };
        assert_eq!(receive(&mut stream).unwrap(), refused);
        let signal = Incoming::Signal {
            member: "JobRemoved".into(),
            strings: ["/job/1", "x.scope", "done"].map(Into::into).to_vec(),
        };
        assert_eq!(receive(&mut stream).unwrap(), signal);
        assert!(stream.is_empty());
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        let whole = incoming(
            SIGNAL,
            |fields| {
                field(fields, MEMBER, "s", |value| value.string("JobRemoved"));
                field(fields, SIGNATURE, "g", |value| value.signature("s"));
            },
            |body| body.string("text"),
        );
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            let _either: io::Result<Incoming> = receive(&mut broken.as_slice());
            assert!(receive(&mut &whole[..at]).is_err());
        }
    }
}
