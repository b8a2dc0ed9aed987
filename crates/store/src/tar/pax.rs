//! PAX extended headers (POSIX.1-2008, pax, "Extended Header"): `length key=value\n` records.

/// The records of one extended header that mean something here. `None`: not mentioned.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// GNU's sparse records, versions 0.0 to 1.0.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) count: Option<u64>,
    /// Offsets and lengths in turn.
    pub(super) numbers: Vec<u64>,
}

impl Sparse {
    pub(super) fn is_there(&self) -> bool {
        self.major.is_some() || self.real_size.is_some() || self.count.is_some() || !self.numbers.is_empty()
    }
}

/// Parses an extended header's records.
pub(super) fn parse(mut data: &[u8]) -> Result<Records, &'static str> {
    let mut records = Records::default();
    while !data.is_empty() {
        let (key, value, rest) = record(data)?;
        records.set(key, value)?;
        data = rest;
    }
    Ok(records)
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(data: &[u8]) -> Result<Record<'_>, &'static str> {
    const WRONG: &str = "an extended header's record is malformed";
    let space = data.iter().take(8).position(|byte| *byte == b' ').ok_or(WRONG)?;
    let length = usize::try_from(decimal(&data[..space])?).or(Err(WRONG))?;
    if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
        return Err(WRONG);
    }
    let body = &data[space + 1..length - 1];
    let equals = body.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
    let key = &body[..equals];
    if key.is_empty() || key.contains(&0) {
        return Err(WRONG);
    }
    Ok((key, &body[equals + 1..], &data[length..]))
}

impl Records {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const XATTR: &[u8] = b"SCHILY.xattr.";
        // An empty value takes the record back.
        let given = (!value.is_empty()).then_some(value);
        match key {
            b"path" => self.path = given.map(text).transpose()?,
            b"linkpath" => self.link = given.map(text).transpose()?,
            b"size" => self.size = given.map(decimal).transpose()?,
            b"uid" => self.uid = given.map(decimal).transpose()?,
            b"gid" => self.gid = given.map(decimal).transpose()?,
            b"mtime" => self.mtime = given.map(time).transpose()?,
            b"GNU.sparse.major" => self.sparse.major = given.map(decimal).transpose()?,
            b"GNU.sparse.minor" => self.sparse.minor = given.map(decimal).transpose()?,
            b"GNU.sparse.name" => self.sparse.name = given.map(text).transpose()?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.real_size = given.map(decimal).transpose()?;
            }
            b"GNU.sparse.numblocks" => self.sparse.count = given.map(decimal).transpose()?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // Version 0.0 repeats these two in turn.
                let is_offset = self.sparse.numbers.len().is_multiple_of(2);
                if is_offset != (key == b"GNU.sparse.offset") {
                    return Err("a sparse map's records are out of order");
                }
                self.sparse.numbers.push(decimal(value)?);
            }
            b"GNU.sparse.map" => {
                self.sparse.numbers = value
                    .split(|byte| *byte == b',')
                    .map(decimal)
                    .collect::<Result<_, _>>()?;
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err("its kind of sparse map is not known"),
            _ if key.starts_with(XATTR) => {
                let name = &key[XATTR.len()..];
                if name.is_empty() || name.len() > 255 || value.len() > 65536 {
                    return Err("an extended attribute is too long or has no name");
                }
                self.xattrs.retain(|(other, _)| other != name);
                self.xattrs.push((name.to_vec(), value.to_vec()));
            }
            // Names, access times, comments, vendors' own.
            _ => {}
        }
        Ok(())
    }
}

fn text(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.contains(&0) {
        return Err("an extended header's path has a NUL in it");
    }
    Ok(value.to_vec())
}

pub(super) fn decimal(digits: &[u8]) -> Result<u64, &'static str> {
    const WRONG: &str = "an extended header has a bad number";
    if digits.is_empty() || digits.len() > 19 {
        return Err(WRONG);
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => Ok(number * 10 + u64::from(digit - b'0')),
        _ => Err(WRONG),
    })?;
    if i64::try_from(number).is_err() {
        return Err(WRONG);
    }
    Ok(number)
}

/// `[-]seconds[.fraction]`; the fraction is cut after nanoseconds. Seconds are rounded down.
fn time(value: &[u8]) -> Result<(i64, u32), &'static str> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    let seconds = decimal(whole)?.cast_signed();
    let mut nanoseconds = 0;
    for index in 0..9 {
        let digit = *fraction.get(index).unwrap_or(&b'0');
        if !digit.is_ascii_digit() {
            return Err("an extended header has a bad time");
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    if fraction.iter().any(|digit| !digit.is_ascii_digit()) {
        return Err("an extended header has a bad time");
    }
    match (negative, nanoseconds) {
        (false, _) => Ok((seconds, nanoseconds)),
        (true, 0) => Ok((-seconds, 0)),
        (true, _) => Ok((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

/// Appends a record, whose length counts its own digits.
pub(super) fn append(into: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(length.to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(key);
    into.push(b'=');
    into.extend_from_slice(value);
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        for length in [
            0, 1, 80, 85, 86, 87, 88, 89, 90, 91, 980, 986, 987, 988, 989, 990, 9990,
        ] {
            let mut data = Vec::new();
            append(&mut data, b"SCHILY.xattr.user.x", &vec![b'v'; length]);
            append(&mut data, b"mtime", b"5");
            let records = parse(&data).unwrap();
            assert_eq!(records.xattrs[0].1.len(), length);
            assert_eq!(records.mtime, Some((5, 0)));
        }
    }

    #[test]
    fn times() {
        for (text, time_) in [
            ("0", Some((0, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.0000000019", Some((12, 1))),
            ("-1", Some((-1, 0))),
            ("-0.25", Some((-1, 750_000_000))),
            ("1.", Some((1, 0))),
            ("", None),
            (".5", None),
            ("1.x", None),
            ("1.0000000000x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()).ok(), time_, "{text}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for data in [
            &b"7 a=bc\n"[..4],
            b"6 a=b\nx",
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 =ab\n",
            b"x a=b\n",
            b"-6 a=b\n",
            b"06 path\n",
            b"11 path=\0a\n",
            b"14 size=0x10\n\n",
            b"12 size=-10\n",
            b"99999999 a=b\n",
            b"22 GNU.sparse.future=1",
        ] {
            assert!(parse(data).is_err(), "{:?}", String::from_utf8_lossy(data));
        }
    }
}
