//! Patterns for the names of targets: `*`, `?` and `[a-z]`, as Go's `path.Match` has them.

/// Says whether a word is a pattern.
pub(crate) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '[', ']'])
}

/// Says whether a name matches.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    fits(&pattern, &name)
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    match first {
        '*' => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        '?' => !name.is_empty() && fits(rest, &name[1..]),
        '[' => {
            let Some(end) = rest.iter().position(|c| *c == ']').filter(|end| *end > 0) else {
                return false;
            };
            let (class, rest) = (&rest[..end], &rest[end + 1..]);
            let (negated, class) = match class {
                ['^', class @ ..] => (true, class),
                class => (false, class),
            };
            name.split_first()
                .is_some_and(|(letter, name)| is_in(class, *letter) != negated && fits(rest, name))
        }
        '\\' if !rest.is_empty() => name.first() == rest.first() && fits(&rest[1..], &name[1..]),
        letter => name.first() == Some(letter) && fits(rest, &name[1..]),
    }
}

fn is_in(class: &[char], letter: char) -> bool {
    let mut class = class;
    loop {
        class = match class {
            [] => return false,
            [from, '-', to, rest @ ..] => {
                if (*from..=*to).contains(&letter) {
                    return true;
                }
                rest
            }
            [one, rest @ ..] => {
                if *one == letter {
                    return true;
                }
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        for (pattern, name, expected) in [
            ("*", "app", true),
            ("app-*", "app-1", true),
            ("app-*", "app", false),
            ("a?p", "app", true),
            ("[a-c]pp", "app", true),
            ("[^a]pp", "app", false),
            ("app", "app2", false),
            ("", "", true),
            ("a*b*c", "axxbyyc", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(is_pattern("a*") && !is_pattern("a-b"));
    }
}
