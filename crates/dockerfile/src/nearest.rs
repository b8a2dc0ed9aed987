//! The name that was probably meant.

/// Returns the candidate that `name` is most likely a misspelling of, if there is one close enough: at most a third of
/// its letters wrong, swapped neighbours counting as one. Upper and lower case are the same.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.to_lowercase().chars().collect();
            let limit = (letters.len().max(name.len()) / 3).max(1);
            let distance = distance(&name, &letters, limit)?;
            Some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the insertions, removals, changes and swaps of neighbours between two words; `None` above `limit`.
fn distance(left: &[char], right: &[char], limit: usize) -> Option<usize> {
    if left.len().abs_diff(right.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, &letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let changed = above[column] + usize::from(letter != other);
            let mut best = changed.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && letter == right[column - 1] && left[row - 1] == other {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn swaps_and_slips_are_recognised_and_strangers_are_not() {
        let names = ["RUN", "COPY", "FROM", "ENTRYPOINT", "ENV", "USER"];
        for (written, meant) in [
            ("RNU", Some("RUN")),
            ("cpoy", Some("COPY")),
            ("FORM", Some("FROM")),
            ("ENTRYPIONT", Some("ENTRYPOINT")),
            ("ENTRY_POINT", Some("ENTRYPOINT")),
            ("USERS", Some("USER")),
            ("FOO", None),
            ("apt-get", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }
}
