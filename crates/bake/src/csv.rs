//! Lines of fields that are separated by a character and may stand in quotes, as Go's `encoding/csv` reads them.

/// Takes a line apart.
pub(crate) fn fields(line: &str, separator: char) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return Err(format!("a quote within a field without quotes in {line:?}"));
                }
                (field.to_owned(), &rest[end..])
            }
            Some(quoted) => {
                quoted_field(quoted).ok_or_else(|| format!("a quote without its end in {line:?}"))?
            }
        };
        fields.push(field);
        match after.strip_prefix(separator) {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => return Err(format!("text behind a quoted field in {line:?}")),
        }
    }
}

fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, rest)),
        }
    }
}

/// Writes fields as one line.
pub(crate) fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields
        .into_iter()
        .map(|field| {
            if field.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        })
        .collect();
    fields.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for parts in [vec!["a", "b"], vec!["a,b", "c\"d"], vec!["", ""], vec!["x=1,2"]] {
            assert_eq!(fields(&line(parts.iter().copied()), ',').unwrap(), parts);
        }
        assert_eq!(
            fields("hello,\"with\"\"quote\"", ',').unwrap(),
            ["hello", "with\"quote"]
        );
        for bad in ["a\"b", "\"a", "\"a\"b"] {
            assert!(fields(bad, ',').is_err(), "{bad}");
        }
    }
}
