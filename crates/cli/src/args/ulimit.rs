//! `--ulimit name=soft[:hard]`.

use super::{Invalid, invalid};
use engine::containers::notation::ulimit::{check_name, checked};
use engine::containers::request::Ulimit;

/// Reads a limit.
pub(crate) fn parse(text: &str) -> Result<Ulimit, Invalid> {
    let Some((name, value)) = text.split_once('=') else {
        return invalid(format!("invalid ulimit argument: {text}"));
    };
    check_name(name)?;
    let mut parts = value.split(':');
    let soft: i64 = super::integer::signed(parts.next().unwrap_or_default())?;
    let hard = match parts.next() {
        Some(hard) => super::integer::signed(hard)?,
        None => soft,
    };
    if parts.next().is_some() {
        return invalid(format!(
            "too many limit value arguments - {value}, can only have up to two, `soft[:hard]`"
        ));
    }
    checked(name, soft, hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = parse("nofile=1024:2048").unwrap();
        assert_eq!(
            (limit.name.as_str(), limit.soft, limit.hard),
            ("nofile", 1024, 2048)
        );
        assert_eq!(parse("core=-1").unwrap().hard, -1);
        for (text, message) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("foo=1", "invalid ulimit type: foo"),
            ("nofile=a", "strconv.ParseInt: parsing \"a\": invalid syntax"),
            (
                "nofile=10:5",
                "ulimit soft limit must be less than or equal to hard limit: 10 > 5",
            ),
            (
                "nofile=-1:5",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message);
        }
    }
}
