//! Lines of the Dockerfile that an error speaks of, and their neighbours.

use super::log::clean;
use std::ops::RangeInclusive;
use std::path::Path;

/// So many lines are shown before and after.
const AROUND: usize = 2;

/// Shows lines of the Dockerfile and their neighbours, as BuildKit does.
pub(super) fn excerpt(name: &Path, text: &str, lines: &RangeInclusive<usize>) -> String {
    let place = if lines.start() == lines.end() {
        lines.start().to_string()
    } else {
        format!("{}-{}", lines.start(), lines.end())
    };
    let mut shown = format!("{}:{place}\n--------------------\n", name.display());
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if number + AROUND < *lines.start() || number > lines.end() + AROUND {
            continue;
        }
        let mark = if lines.contains(&number) { ">>>" } else { "   " };
        shown.push_str(format!("{number:>4} | {mark} {}", clean(line)).trim_end());
        shown.push('\n');
    }
    shown.push_str("--------------------");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_failure_are_marked() {
        let text = "FROM a\nRUN 1\nRUN 2 && \\\n  3\n\nRUN 5\nRUN 6\n";
        assert_eq!(
            excerpt(Path::new("Dockerfile"), text, &(3..=4)),
            "Dockerfile:3-4\n--------------------\n   1 |     FROM a\n   2 |     RUN 1\n   3 | >>> RUN 2 && \\\n   4 | >>>   3\n   5 |\n   6 |     RUN 5\n--------------------"
        );
    }
}
