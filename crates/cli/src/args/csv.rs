//! One record of comma-separated values, as Go's `encoding/csv` reads it: `--mount` and `--network` take such.

use super::{Invalid, invalid};

/// Takes a line apart into its fields. A field may stand in double quotes, a doubled quote inside them is one.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, Invalid> {
    if line.is_empty() {
        return invalid("EOF");
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut tail = quoted;
            loop {
                let Some((part, after)) = tail.split_once('"') else {
                    return invalid(format!(
                        "record on line 1; parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                        line.len() + 1
                    ));
                };
                field.push_str(part);
                let Some(doubled) = after.strip_prefix('"') else {
                    tail = after;
                    break;
                };
                field.push('"');
                tail = doubled;
            }
            fields.push(field);
            match tail.strip_prefix(',') {
                Some(after) => rest = after,
                None if tail.is_empty() => return Ok(fields),
                None => {
                    return invalid(format!(
                        "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                        line.len() - tail.len()
                    ));
                }
            }
            continue;
        }
        let (field, after) = match rest.split_once(',') {
            Some((field, after)) => (field, Some(after)),
            None => (rest, None),
        };
        if let Some(at) = field.find('"') {
            let column = line.len() - rest.len() + at + 1;
            return invalid(format!(
                "parse error on line 1, column {column}: bare \" in non-quoted-field"
            ));
        }
        fields.push(field.to_owned());
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas_together() {
        for (line, expected) in [
            ("a,b", vec!["a", "b"]),
            ("a,", vec!["a", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"src=/a \"\"b\"\"\",c", vec!["src=/a \"b\"", "c"]),
        ] {
            assert_eq!(fields(line).unwrap(), expected, "{line}");
        }
        for (line, message) in [
            ("", "EOF"),
            (
                "type=bind,src=\"/x,target=/x",
                "parse error on line 1, column 15: bare \" in non-quoted-field",
            ),
        ] {
            assert_eq!(fields(line).unwrap_err().0, message, "{line}");
        }
    }
}
