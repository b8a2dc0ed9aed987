//! The order in which Docker lists names: numbers in them count as numbers.

use std::cmp::Ordering;

/// Compares so that `a2` comes before `a10`.
pub(crate) fn natural(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let (first, second) = (digits(one), digits(other));
        if first > 0 && second > 0 {
            let (left, right) = (number(&one[..first]), number(&other[..second]));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            // Of two that are the same number, the one with fewer zeros before it.
            let order = order.then(first.cmp(&second));
            if order.is_ne() {
                return order;
            }
            (one, other) = (&one[first..], &other[second..]);
            continue;
        }
        match (one.split_first(), other.split_first()) {
            (Some((left, one_rest)), Some((right, other_rest))) => {
                if left != right {
                    return left.cmp(right);
                }
                (one, other) = (one_rest, other_rest);
            }
            (left, right) => return left.is_some().cmp(&right.is_some()),
        }
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn number(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count() {
        for (one, other) in [
            ("a2", "a10"),
            ("a", "a1"),
            ("", "a"),
            ("a1b", "a2"),
            ("a1", "a01"),
            ("80/tcp", "443/tcp"),
            ("10", "a"),
            ("bridge", "host"),
            ("99999999999999999999998", "99999999999999999999999"),
        ] {
            assert_eq!(natural(one, other), Ordering::Less, "{one} {other}");
            assert_eq!(natural(other, one), Ordering::Greater, "{one} {other}");
            assert_eq!(natural(one, one), Ordering::Equal, "{one}");
        }
    }
}
