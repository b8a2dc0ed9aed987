//! Splitting an instruction's rest into words, quotes kept: what `ENV`, `LABEL` and `ARG` are made of.

/// Splits at spaces outside quotes. Quotes and escapes stay in the words, for the expansion to take away.
pub(crate) fn quoted_words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut started = false;
    let mut quote = None;
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        if let Some(open) = quote {
            word.push(character);
            if character == open {
                quote = None;
            } else if character == escape && open != '\'' {
                // Inside single quotes nothing can be escaped.
                word.extend(characters.next());
            }
        } else if character.is_whitespace() {
            if started {
                words.push(std::mem::take(&mut word));
            }
            started = false;
        } else if character == escape {
            // An escape at the very end stands for nothing.
            if let Some(next) = characters.next() {
                word.push(character);
                word.push(next);
                started = true;
            }
        } else {
            if character == '\'' || character == '"' {
                quote = Some(character);
            }
            word.push(character);
            started = true;
        }
    }
    if started {
        words.push(word);
    }
    words
}

/// What an array of JSON turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonForm {
    /// An array of strings: the exec form.
    Strings(Vec<String>),
    /// An array of other things, which Docker refuses.
    OtherValues,
    /// No JSON: the shell form.
    NotJson,
}

/// Tells the exec form from the shell form.
pub(crate) fn json_form(rest: &str) -> JsonForm {
    let rest = rest.trim();
    if !rest.starts_with('[') {
        return JsonForm::NotJson;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else {
        return JsonForm::NotJson;
    };
    let mut strings = Vec::with_capacity(values.len());
    for value in values {
        match value {
            serde_json::Value::String(text) => strings.push(text),
            _ => return JsonForm::OtherValues,
        }
    }
    JsonForm::Strings(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        for (rest, expected) in [
            ("a b", vec!["a", "b"]),
            (r#"a="b c" d"#, vec![r#"a="b c""#, "d"]),
            (r"a=b\ c d", vec![r"a=b\ c", "d"]),
            ("a='b \\' c", vec!["a='b \\'", "c"]),
            (r#"a="b \" c" d"#, vec![r#"a="b \" c""#, "d"]),
            ("  a\t b  ", vec!["a", "b"]),
            ("\"\" a", vec!["\"\"", "a"]),
            ("a\\", vec!["a"]),
            ("", vec![]),
        ] {
            assert_eq!(quoted_words(rest, '\\'), expected, "{rest}");
        }
    }

    #[test]
    fn only_arrays_of_strings_are_the_exec_form() {
        assert_eq!(
            json_form(r#" ["a", "b c"] "#),
            JsonForm::Strings(vec!["a".into(), "b c".into()])
        );
        assert_eq!(json_form("[]"), JsonForm::Strings(vec![]));
        for text in [
            "['a']",
            r#"["a" "b"]"#,
            r#"["a"] && b"#,
            "echo",
            "[ -f x ]",
            r#"["a",]"#,
        ] {
            assert_eq!(json_form(text), JsonForm::NotJson, "{text}");
        }
        assert_eq!(json_form("[1]"), JsonForm::OtherValues);
        assert_eq!(json_form(r#"["a", null]"#), JsonForm::OtherValues);
    }
}
