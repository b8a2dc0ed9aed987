//! `-e`, `--env-file`: the environment of containers.

use super::{Invalid, invalid};
use std::path::Path;

/// No file of variables or labels is larger.
const LARGEST: u64 = 16 << 20;

/// Reads `NAME=value`, or `NAME`, whose value is taken from our own environment. A name that has none there stays bare.
pub(crate) fn variable(text: &str) -> Result<String, Invalid> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if name.is_empty() {
        return invalid(format!("invalid environment variable: {text}"));
    }
    Ok(if text.contains('=') {
        text.to_owned()
    } else {
        from_host(text).unwrap_or_else(|| text.to_owned())
    })
}

fn from_host(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(format!("{name}={}", value.to_string_lossy()))
}

/// Reads a file of variables, one a line: neither quoting nor interpolation. A bare name without a value in our own
/// environment is left out.
pub(crate) fn file(path: &Path) -> Result<Vec<String>, Invalid> {
    lines(path, &mut |name| from_host(name))
}

/// Reads a file of labels in the same grammar; a bare name is a label with an empty value.
pub(crate) fn label_file(path: &Path) -> Result<Vec<String>, Invalid> {
    lines(path, &mut |name| Some(name.to_owned()))
}

fn lines(path: &Path, bare: &mut dyn FnMut(&str) -> Option<String>) -> Result<Vec<String>, Invalid> {
    let content = read(path)?;
    let name = path.display();
    let wrong = |message: String| Invalid(format!("invalid env file ({name}): {message}"));
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let mut variables = Vec::new();
    for (number, line) in content.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_error: std::str::Utf8Error| {
            wrong(format!(
                "invalid utf8 bytes at line {}: {}",
                number + 1,
                String::from_utf8_lossy(line)
            ))
        })?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (variable, value) = match line.split_once('=') {
            Some((variable, value)) => (variable, Some(value)),
            None => (line, None),
        };
        if variable.is_empty() {
            return Err(wrong(format!("no variable name on line '{line}'")));
        }
        if variable.contains(char::is_whitespace) {
            return Err(wrong(format!("variable '{variable}' contains whitespaces")));
        }
        match value {
            Some(value) => variables.push(format!("{variable}={value}")),
            None => variables.extend(bare(variable)),
        }
    }
    Ok(variables)
}

/// Reads a file that the user named; the message is Go's.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Invalid> {
    use std::io::Read;
    let name = path.display();
    let failed = |error: &std::io::Error| Invalid(format!("open {name}: {}", reason(error)));
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut content = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| Invalid(format!("read {name}: {}", reason(&error))))?;
    if content.len() as u64 > LARGEST {
        return invalid(format!("read {name}: file too large"));
    }
    Ok(content)
}

/// Says why a call failed in the kernel's words, lower case and without the number that Rust adds.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("I/O") => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &str) -> Result<Vec<String>, Invalid> {
        let path = std::env::temp_dir().join(format!("coracle-env-{}-{:p}", std::process::id(), content));
        std::fs::write(&path, content).unwrap();
        let result =
            file(&path).map_err(|Invalid(text)| Invalid(text.replace(&path.display().to_string(), "F")));
        std::fs::remove_file(&path).unwrap();
        result
    }

    #[test]
    fn files_are_read_without_quoting() {
        let read =
            parse("# note\n  A=1\nB=\"x y\" # no comment\n\nC=\nPATH\nNOT_THERE_AT_ALL\r\nD=a=b\n").unwrap();
        assert_eq!(read[..3], ["A=1", "B=\"x y\" # no comment", "C="]);
        assert!(read[3].starts_with("PATH=/"));
        assert_eq!(read[4..], ["D=a=b"]);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (content, message) in [
            (
                "A B=3\n",
                "invalid env file (F): variable 'A B' contains whitespaces",
            ),
            ("=3\n", "invalid env file (F): no variable name on line '=3'"),
        ] {
            assert_eq!(parse(content).unwrap_err().0, message);
        }
        assert_eq!(
            file(Path::new("/nope")).unwrap_err().0,
            "open /nope: no such file or directory"
        );
        assert_eq!(variable("=x").unwrap_err().0, "invalid environment variable: =x");
        assert_eq!(variable("NOT_THERE_AT_ALL").unwrap(), "NOT_THERE_AT_ALL");
    }
}
