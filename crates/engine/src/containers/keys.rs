//! Keys that leave a session: what is typed at a terminal is looked through for them.

/// They cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid detach keys ({0}) provided")]
pub struct BadKeys(String);

/// Keys that detach, and how many of them have been typed so far.
#[derive(Debug, Clone)]
pub struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// What became of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// What the container gets.
    pub bytes: Vec<u8>,
    /// Whether the keys are complete.
    pub detach: bool,
}

impl DetachKeys {
    /// Nothing detaches.
    pub fn none() -> Self {
        Self {
            keys: Vec::new(),
            typed: 0,
        }
    }

    /// Reads `ctrl-p,ctrl-q` or the like; empty is that very default.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let text = if text.is_empty() { "ctrl-p,ctrl-q" } else { text };
        let mut keys = Vec::new();
        for key in text.split(',') {
            keys.push(match key.as_bytes() {
                [one] => *one,
                _ => match key.strip_prefix("ctrl-").map(str::as_bytes) {
                    Some([letter @ b'a'..=b'z']) => letter - b'a' + 1,
                    Some(b"@") => 0,
                    Some([b'[']) => 27,
                    Some([b'\\']) => 28,
                    Some([b']']) => 29,
                    Some([b'^']) => 30,
                    Some([b'_']) => 31,
                    _ => return Err(BadKeys(text.to_owned())),
                },
            });
        }
        Ok(Self { keys, typed: 0 })
    }

    /// Returns the bytes that the keys send.
    pub fn bytes(&self) -> &[u8] {
        &self.keys
    }

    /// Looks at what was typed. The first keys of the sequence are held back until it is clear that they were meant
    /// for the container.
    pub fn filter(&mut self, bytes: &[u8]) -> Typed {
        let mut passed = Vec::with_capacity(bytes.len());
        if self.keys.is_empty() {
            passed.extend_from_slice(bytes);
            return Typed {
                bytes: passed,
                detach: false,
            };
        }
        for &byte in bytes {
            if byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return Typed {
                        bytes: passed,
                        detach: true,
                    };
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.typed]);
            self.typed = 0;
            if byte == self.keys[0] {
                self.typed = 1;
            } else {
                passed.push(byte);
            }
        }
        Typed {
            bytes: passed,
            detach: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_detach_and_nothing_else_is_lost() {
        for (input, passed, detach) in [
            (&b"abc"[..], &b"abc"[..], false),
            (b"a\x10\x11b", b"a", true),
            (b"\x10x", b"\x10x", false),
            (b"\x10\x10\x11", b"\x10", true),
        ] {
            let mut keys = DetachKeys::parse("").unwrap();
            let expected = Typed {
                bytes: passed.to_vec(),
                detach,
            };
            assert_eq!(keys.filter(input), expected, "{input:?}");
        }
        let mut keys = DetachKeys::parse("ctrl-p,ctrl-q").unwrap();
        assert!(!keys.filter(b"\x10").detach);
        assert!(keys.filter(b"\x11").detach);
    }

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!(
            DetachKeys::parse("ctrl-@,a,ctrl-_,ctrl-[").unwrap().keys,
            [0, b'a', 31, 27]
        );
        assert_eq!(
            DetachKeys::parse("foo").unwrap_err().to_string(),
            "invalid detach keys (foo) provided"
        );
    }
}
