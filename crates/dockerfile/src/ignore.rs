//! `.dockerignore`: which files of a context a build does not see.
//!
//! The rules of moby's patternmatcher: patterns are cleaned paths from the context's top, a matched directory takes
//! what is below it along, `!` takes back, and the last rule that matches decides.

use crate::glob::{Glob, GlobError};

/// The rules of an ignore file, in order.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    rules: Vec<IgnoreRule>,
}

/// One line of an ignore file.
#[derive(Debug, Clone)]
pub struct IgnoreRule {
    /// The line as written, trimmed.
    pub text: String,
    /// Its number, from 1.
    pub line: usize,
    /// Whether it takes back what earlier rules have excluded.
    pub includes: bool,
    glob: Glob,
    components: Vec<Option<Glob>>,
}

/// An ignore file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A `!` alone.
    #[error("line {line}: illegal exclusion pattern: \"!\"")]
    LoneExclamation {
        /// The line, from 1.
        line: usize,
    },
    /// A pattern without a sound meaning.
    #[error("line {line}")]
    Pattern {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: GlobError,
    },
}

/// Which rules a directory matches; what lies below it matches them too.
#[derive(Debug, Clone, Default)]
pub struct ParentMatches(Box<[bool]>);

/// Whether a path is excluded.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    /// Whether the build does not see it.
    pub excluded: bool,
    /// The rule that decided, if any matched.
    pub rule: Option<&'a IgnoreRule>,
}

impl IgnoreRules {
    /// Reads an ignore file.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // A comment begins in the first column; elsewhere `#` is a letter.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            rules.push(rule(line.trim(), index + 1)?);
        }
        Ok(Self { rules })
    }

    /// Says whether there are no rules at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Judges `path`, a clean relative path, by what is known of its directory. For a path at the top that is the
    /// default.
    pub fn judge(&self, path: &str, parent: &ParentMatches) -> Verdict<'_> {
        let mut verdict = Verdict {
            excluded: false,
            rule: None,
        };
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parent.0.get(index).copied().unwrap_or(false);
            // A rule that could not change the verdict need not be looked at.
            if inherited || (rule.includes == verdict.excluded && rule.glob.matches(path)) {
                verdict = Verdict {
                    excluded: !rule.includes,
                    rule: Some(rule),
                };
            }
        }
        verdict
    }

    /// Judges a directory and says what that means for what is below it.
    pub fn judge_directory(&self, path: &str, parent: &ParentMatches) -> (Verdict<'_>, ParentMatches) {
        let mut matches = vec![false; self.rules.len()];
        let mut verdict = Verdict {
            excluded: false,
            rule: None,
        };
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parent.0.get(index).copied().unwrap_or(false);
            if inherited || (rule.includes == verdict.excluded && rule.glob.matches(path)) {
                matches[index] = true;
                verdict = Verdict {
                    excluded: !rule.includes,
                    rule: Some(rule),
                };
            }
        }
        (verdict, ParentMatches(matches.into_boxed_slice()))
    }

    /// Judges `path` from the top, directory by directory.
    pub fn verdict(&self, path: &str) -> Verdict<'_> {
        let mut parent = ParentMatches::default();
        for (at, _) in path.match_indices('/') {
            parent = self.judge_directory(&path[..at], &parent).1;
        }
        self.judge(path, &parent)
    }

    /// Says whether a rule could take back something below an excluded directory; if not, it need not be looked into.
    pub fn may_include_below(&self, directory: &str) -> bool {
        self.rules
            .iter()
            .filter(|rule| rule.includes)
            .any(|rule| rule.may_match_below(directory))
    }
}

impl IgnoreRule {
    fn may_match_below(&self, directory: &str) -> bool {
        let mut patterns = self.components.iter();
        for component in directory.split('/') {
            match patterns.next() {
                Some(Some(glob)) if !glob.matches(component) => return false,
                Some(Some(_)) => {}
                // `**` may be any number of directories; and a rule that matches a directory above matches what is
                // below that.
                Some(None) | None => return true,
            }
        }
        true
    }
}

fn rule(text: &str, line: usize) -> Result<IgnoreRule, IgnoreError> {
    let (includes, pattern) = match text.strip_prefix('!') {
        Some(pattern) => (true, pattern.trim()),
        None => (false, text),
    };
    if pattern.is_empty() {
        return Err(IgnoreError::LoneExclamation { line });
    }
    let wrong = |source| IgnoreError::Pattern { line, source };
    let clean = clean(pattern);
    let glob = Glob::with_double_star(&clean).map_err(wrong)?;
    let components = clean
        .split('/')
        .map(|component| {
            if component.contains("**") {
                Ok(None)
            } else {
                // A class or an escape may hold a slash; then nothing can be said about single components.
                Ok(Glob::new(component).ok())
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(IgnoreRule {
        text: text.to_owned(),
        line,
        includes,
        glob,
        components,
    })
}

/// Cleans a path as Go's `filepath.Clean` does and makes it relative: no `.`, no `x/..`, no double or leading slash.
fn clean(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => {
                components.pop();
            }
            ".." if absolute => {}
            other => components.push(other),
        }
    }
    if components.is_empty() {
        return ".".to_owned();
    }
    components.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_excluded_as_docker_excludes_them() {
        for (rules, path, excluded) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "b/a", false),
            ("/a", "a", true),
            ("./a", "a", true),
            ("a/", "a", true),
            ("a//b", "a/b", true),
            ("x/../a", "a", true),
            ("*.md", "a.md", true),
            ("*.md", "d/a.md", false),
            ("**/*.md", "d/a.md", true),
            ("**/*.md", "a.md", true),
            ("*/temp*", "a/temporary", true),
            ("*/temp*", "a/temporary/x", true),
            ("*/temp*", "temporary", false),
            ("*/*/temp*", "a/b/temp", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "a.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            ("*\n!a", "a", false),
            ("*\n!a", "b", true),
            ("*\n!a", "a/b", false),
            ("*\n!a/b", "a/b", false),
            ("*\n!a/b", "a/c", true),
            ("a\n!a/b", "a/b/c", false),
            ("a\n!a/b\na/b/c", "a/b/c", true),
            ("!a\na", "a", true),
            ("# c\na", "a", true),
            (" # c", "# c", true),
            ("#c", "#c", false),
            ("  a  ", "a", true),
            ("\u{feff}a", "a", true),
            ("\\#a", "#a", true),
            ("[ab]", "a", true),
            ("[^ab]", "a", false),
            ("**", "a/b", true),
            ("**\n!**/*.py", "a/b.py", false),
            ("**\n!**/*.py", "a/b.pyc", true),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("**/node_modules", "x/node_modules/y/z", true),
            ("**/.git\n!keep/.git", "keep/.git/config", false),
            ("", "a", false),
            ("A", "a", false),
            (".", "a", false),
            ("! a", "a", false),
            ("a\n! a", "a", false),
            ("foo\n!foo/bar\n!foo/baz", "foo/qux", true),
            ("*\n!src/**\nsrc/secret", "src/secret", true),
            ("*\n!src/**\nsrc/secret", "src/x/y", false),
        ] {
            let verdict = IgnoreRules::parse(rules).unwrap();
            assert_eq!(verdict.verdict(path).excluded, excluded, "{rules:?} {path}");
        }
    }

    #[test]
    fn the_deciding_rule_is_named() {
        let rules = IgnoreRules::parse("# all\n*\n!src\nsrc/*.key").unwrap();
        let named = |path| {
            rules
                .verdict(path)
                .rule
                .map(|rule| (rule.line, rule.text.as_str()))
        };
        assert_eq!(named("x"), Some((2, "*")));
        assert_eq!(named("src/a"), Some((3, "!src")));
        assert_eq!(named("src/a.key"), Some((4, "src/*.key")));
    }

    #[test]
    fn bad_patterns_name_their_line() {
        let message = |text| {
            let error = IgnoreRules::parse(text).unwrap_err();
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            format!("{error}{cause}")
        };
        assert_eq!(message("a\n!"), "line 2: illegal exclusion pattern: \"!\"");
        assert_eq!(message("[a"), "line 1: syntax error in pattern \"[a\"");
    }

    #[test]
    fn excluded_directories_are_entered_only_where_it_can_matter() {
        for (rules, directory, may) in [
            ("*", "a", false),
            ("*\n!a/b", "a", true),
            ("*\n!a/b", "c", false),
            ("*\n!a/b", "a/b", true),
            ("*\n!a/b", "a/c", false),
            ("*\n!a", "a/b", true),
            ("*\n!**/x", "q/r", true),
            ("*\n!*/x", "q", true),
            ("*\n!*.py", "q", false),
        ] {
            let rules_read = IgnoreRules::parse(rules).unwrap();
            assert_eq!(
                rules_read.may_include_below(directory),
                may,
                "{rules:?} {directory}"
            );
        }
    }
}
