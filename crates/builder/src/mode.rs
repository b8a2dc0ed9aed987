//! `--chmod`: octal and symbolic modes.

use crate::error::StepError;

/// A change of mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModeChange {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Bits of the classes that it concerns: 0o700, 0o070, 0o007.
    who: u32,
    operator: char,
    /// `rwx` as three bits.
    permissions: u32,
    /// `X`: execution for directories and for what somebody may execute already.
    conditional: bool,
    /// `s` and `t`.
    set_id: bool,
    sticky: bool,
    /// `g=u`: take another class's bits, as a shift.
    copied: Option<u32>,
}

impl ModeChange {
    pub(crate) fn parse(text: &str) -> Result<Self, StepError> {
        let wrong = || StepError::Mode(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let mode = u32::from_str_radix(digits, 8).ok().ok_or_else(wrong)?;
            return if mode <= 0o7777 {
                Ok(Self::Octal(mode))
            } else {
                Err(wrong())
            };
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let end = part.find(['+', '-', '=']).ok_or_else(wrong)?;
            let mut who = 0;
            for class in part[..end].chars() {
                who |= match class {
                    'u' => 0o700,
                    'g' => 0o070,
                    'o' => 0o007,
                    'a' => 0o777,
                    _ => return Err(wrong()),
                };
            }
            if who == 0 {
                who = 0o777;
            }
            let mut rest = &part[end..];
            while let Some(operator) = rest.chars().next() {
                rest = &rest[1..];
                let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
                clauses.push(clause(who, operator, &rest[..end]).ok_or_else(wrong)?);
                rest = &rest[end..];
            }
        }
        Ok(Self::Symbolic(clauses))
    }

    /// Returns the new mode of a file that has `mode`.
    pub(crate) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses
                .iter()
                .fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_directory)),
        }
    }
}

fn clause(who: u32, operator: char, permissions: &str) -> Option<Clause> {
    let mut clause = Clause {
        who,
        operator,
        permissions: 0,
        conditional: false,
        set_id: false,
        sticky: false,
        copied: None,
    };
    match permissions {
        "u" => clause.copied = Some(6),
        "g" => clause.copied = Some(3),
        "o" => clause.copied = Some(0),
        _ => {
            for letter in permissions.chars() {
                match letter {
                    'r' => clause.permissions |= 4,
                    'w' => clause.permissions |= 2,
                    'x' => clause.permissions |= 1,
                    'X' => clause.conditional = true,
                    's' => clause.set_id = true,
                    't' => clause.sticky = true,
                    _ => return None,
                }
            }
        }
    }
    Some(clause)
}

impl Clause {
    fn apply(self, mode: u32, is_directory: bool) -> u32 {
        let mut three = match self.copied {
            Some(shift) => mode >> shift & 7,
            None => self.permissions,
        };
        if self.conditional && (is_directory || mode & 0o111 != 0) {
            three |= 1;
        }
        let mut bits = (three << 6 | three << 3 | three) & self.who;
        if self.set_id {
            bits |= (self.who & 0o100) << 5 | (self.who & 0o010) << 7;
        }
        if self.sticky {
            bits |= 0o1000;
        }
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => {
                let mut cleared = self.who;
                // As chmod(1): `=` leaves a directory's set-id bits alone unless they are named.
                if !is_directory {
                    cleared |= (self.who & 0o100) << 5 | (self.who & 0o010) << 7;
                }
                mode & !cleared | bits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ModeChange;

    #[test]
    fn modes_change_as_chmod_changes_them() {
        for (text, mode, directory, expected) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, false, 0o644),
            ("4755", 0, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("u=rx", 0o4755, false, 0o555),
            ("u+r-w", 0o200, false, 0o400),
        ] {
            assert_eq!(
                ModeChange::parse(text).unwrap().apply(mode, directory),
                expected,
                "{text}"
            );
        }
        for text in ["", "8", "99999", "x", "u", "u+q", "rwx", "u=rw,"] {
            assert!(ModeChange::parse(text).is_err(), "{text}");
        }
    }
}
