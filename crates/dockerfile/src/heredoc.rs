//! Here-documents: text between an instruction and a line with a name, given to `RUN`, `COPY` and `ADD` like a file.

use crate::expand::expand_word;
use crate::words::quoted_words;

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The name that ends it, and under which `COPY` and `ADD` store it.
    pub name: String,
    /// Its text as written, each line with its newline.
    pub content: String,
    /// Whether variables in it are expanded: not where its name was quoted.
    pub expands: bool,
    /// Whether tabs at the beginning of its lines are left out: `<<-`.
    pub strips_tabs: bool,
}

impl Heredoc {
    /// Reads the word that opens one: `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`. It has no text yet.
    pub(crate) fn open(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix("<<")?;
        let (strips_tabs, written) = match rest.strip_prefix('-') {
            Some(written) => (true, written),
            None => (false, rest),
        };
        if written.contains('<') {
            return None;
        }
        let name = expand_word(written, '\\', &|_| None).ok()?;
        if name.is_empty() {
            return None;
        }
        Some(Self {
            expands: name == written,
            name,
            content: String::new(),
            strips_tabs,
        })
    }

    /// Finds those that a line opens, in their order.
    pub(crate) fn opened_by(line: &str, escape: char) -> Vec<Self> {
        if !line.contains("<<") {
            return Vec::new();
        }
        quoted_words(line, escape)
            .iter()
            .filter_map(|word| Self::open(word))
            .collect()
    }

    /// Says whether a line ends it.
    pub(crate) fn is_ended_by(&self, line: &str) -> bool {
        let line = if self.strips_tabs {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }

    /// Returns the text, without leading tabs where `<<-` says so.
    pub fn text(&self) -> String {
        if !self.strips_tabs {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// Writes an instruction with its here-documents behind it, as a shell would read them.
pub(crate) fn with_documents(text: &str, documents: &[Heredoc]) -> String {
    let mut whole = text.to_owned();
    for document in documents {
        whole.push('\n');
        whole.push_str(&document.content);
        whole.push_str(&document.name);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openers_are_told_from_shell_syntax() {
        for (word, name, expands, strips) in [
            ("<<EOF", "EOF", true, false),
            ("<<-EOF", "EOF", true, true),
            ("3<<EOF", "EOF", true, false),
            ("<<\"EOF\"", "EOF", false, false),
            ("<<-'a.txt'", "a.txt", false, true),
            ("<<E\"O\"F", "EOF", false, false),
        ] {
            let found = Heredoc::open(word).unwrap();
            assert_eq!(
                (found.name.as_str(), found.expands, found.strips_tabs),
                (name, expands, strips),
                "{word}"
            );
        }
        for word in [
            "<<<",
            "<<<word",
            "<<",
            "a<<b",
            "$((1<<2))",
            "<EOF",
            "<<''",
            "<<\"x",
        ] {
            assert_eq!(Heredoc::open(word), None, "{word}");
        }
        assert!(Heredoc::opened_by("echo \"<<EOF\" '<<A'", '\\').is_empty());
        assert_eq!(Heredoc::opened_by("cat <<A - 3<<'B'", '\\').len(), 2);
    }

    #[test]
    fn tabs_are_stripped_where_asked() {
        let mut document = Heredoc::open("<<-E").unwrap();
        document.content = "\ta\n\t\tb\n c\t\n".to_owned();
        assert_eq!(document.text(), "a\nb\n c\t\n");
        assert!(document.is_ended_by("\t\tE") && !document.is_ended_by(" E"));
        document.strips_tabs = false;
        assert_eq!(document.text(), document.content);
        assert!(!document.is_ended_by("\tE"));
    }
}
