//! `RUN --mount`: the five types and their options.

use crate::nearest::nearest;

/// A `--mount` as written: its fields, whose values may still hold variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The value of the flag.
    pub text: String,
    fields: Vec<(String, Option<String>)>,
}

/// What a `RUN` sees besides its root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its type, with what only that type has.
    pub kind: MountKind,
    /// Where it is to be, absolute or relative to the working directory. Secrets and agents have defaults.
    pub target: Option<String>,
    /// `source`: a path inside what is mounted.
    pub source: Option<String>,
    /// `from`: a stage, an image or a named context.
    pub from: Option<String>,
    /// Whether it may not be written to.
    pub read_only: bool,
    /// `mode`, of a file or of a new cache's directory.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
}

/// The types of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image. What is written is thrown away.
    Bind,
    /// A directory that outlives the build.
    Cache {
        /// Its name; the target if there is none.
        id: Option<String>,
        /// Who may use it at the same time.
        sharing: Sharing,
    },
    /// A secret of the user's.
    Secret {
        /// Its name, else the last component of the target.
        id: Option<String>,
        /// An environment variable that holds it, instead of a file unless there is a target as well.
        env: Option<String>,
        /// Whether it is an error if it was not given.
        required: bool,
    },
    /// The user's SSH agent.
    Ssh {
        /// Its name.
        id: Option<String>,
        /// Whether it is an error if it was not given.
        required: bool,
    },
    /// Memory that is empty at first.
    Tmpfs {
        /// Its size in bytes.
        size: Option<u64>,
    },
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// One at a time; others wait.
    Locked,
    /// Each its own.
    Private,
    /// All.
    #[default]
    Shared,
}

/// What is wrong with a `--mount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountProblem {
    /// Quotes that nothing closes.
    #[error("unclosed quote in --mount={0}")]
    Csv(String),
    /// `from=$x`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromVariable,
    /// An option that only other types have.
    #[error("a mount of type {kind} has no option '{key}'")]
    Foreign {
        /// The type.
        kind: &'static str,
        /// The option.
        key: String,
    },
    /// An option with a value that it cannot have.
    #[error("invalid value '{value}' for the mount option '{key}': {wanted}")]
    Value {
        /// The option.
        key: String,
        /// What it was given.
        value: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// An option without its value.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// No such option.
    #[error("unexpected key '{key}' in '{text}'{}", nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default())]
    UnknownKey {
        /// The option.
        key: String,
        /// The field.
        text: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// No such type.
    #[error("unsupported mount type \"{kind}\"{}", nearest.map_or_else(|| ": there are bind, cache, secret, ssh and tmpfs".to_owned(), |name| format!(" (did you mean {name}?)")))]
    UnknownType {
        /// As written.
        kind: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A mount that must have a target and has none.
    #[error("a mount of type {0} needs a target: add target=PATH")]
    NoTarget(&'static str),
    /// A secret that has no name.
    #[error("a secret needs an id, or a target whose last component is one")]
    NoSecret,
}

const TYPES: [&str; 5] = ["bind", "cache", "secret", "ssh", "tmpfs"];
const KEYS: [&str; 20] = [
    "type",
    "target",
    "dst",
    "destination",
    "source",
    "src",
    "from",
    "rw",
    "readwrite",
    "ro",
    "readonly",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "size",
    "required",
    "env",
    "bind-propagation",
];

impl MountFlag {
    /// Splits the flag's value into its fields and refuses keys that there are not.
    pub(crate) fn parse(text: &str) -> Result<Self, MountProblem> {
        let mut fields = Vec::new();
        for field in fields_of(text).ok_or_else(|| MountProblem::Csv(text.to_owned()))? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
                None => (field.trim().to_ascii_lowercase(), None),
            };
            if !KEYS.contains(&key.as_str()) {
                return Err(match value {
                    None => MountProblem::NoValue(field),
                    Some(_) => MountProblem::UnknownKey {
                        nearest: nearest(&key, KEYS),
                        key,
                        text: field,
                    },
                });
            }
            if key == "from" && value.as_ref().is_some_and(|value| value.contains('$')) {
                return Err(MountProblem::FromVariable);
            }
            fields.push((key, value));
        }
        let flag = Self {
            text: text.to_owned(),
            fields,
        };
        let has_variables = flag
            .fields
            .iter()
            .any(|(_, value)| value.as_ref().is_some_and(|value| value.contains('$')));
        if !has_variables {
            flag.understand()?;
        }
        Ok(flag)
    }

    /// Expands the variables in all values.
    pub fn expand<E>(&self, expand: impl Fn(&str) -> Result<String, E>) -> Result<Self, E> {
        let fields = self
            .fields
            .iter()
            .map(|(key, value)| Ok((key.clone(), value.as_deref().map(&expand).transpose()?)))
            .collect::<Result<_, E>>()?;
        Ok(Self {
            text: self.text.clone(),
            fields,
        })
    }

    /// Returns the stage, image or context that the mount comes from, if it names one.
    pub fn from(&self) -> Option<&str> {
        self.fields
            .iter()
            .rfind(|(key, _)| key == "from")
            .and_then(|(_, value)| value.as_deref())
            .filter(|from| !from.is_empty())
    }

    fn value(&self, keys: &[&str]) -> Result<Option<String>, MountProblem> {
        let Some((key, value)) = self.fields.iter().rfind(|(key, _)| keys.contains(&key.as_str())) else {
            return Ok(None);
        };
        match value {
            None => Err(MountProblem::NoValue(key.clone())),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => Ok(Some(value.clone())),
        }
    }

    fn boolean(&self, keys: &[&str]) -> Result<Option<bool>, MountProblem> {
        let Some((key, value)) = self.fields.iter().rfind(|(key, _)| keys.contains(&key.as_str())) else {
            return Ok(None);
        };
        match value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Some(value) => Err(MountProblem::Value {
                key: key.clone(),
                value: value.to_owned(),
                wanted: "true or false",
            }),
        }
    }

    fn number(&self, key: &str, radix: u32, wanted: &'static str) -> Result<Option<u32>, MountProblem> {
        self.value(&[key])?
            .map(|value| {
                u32::from_str_radix(&value, radix).map_err(|_not_a_number| MountProblem::Value {
                    key: key.to_owned(),
                    value,
                    wanted,
                })
            })
            .transpose()
    }

    /// Understands the fields.
    pub fn understand(&self) -> Result<Mount, MountProblem> {
        let kind = self.value(&["type"])?.unwrap_or_else(|| "bind".to_owned());
        let Some(name) = TYPES.iter().copied().find(|name| *name == kind) else {
            return Err(MountProblem::UnknownType {
                nearest: nearest(&kind, TYPES),
                kind,
            });
        };
        let allowed: &[&str] = match name {
            "bind" => &["source", "src", "from", "rw", "readwrite", "ro", "readonly"],
            "cache" => &[
                "id",
                "sharing",
                "from",
                "source",
                "src",
                "mode",
                "uid",
                "gid",
                "rw",
                "readwrite",
                "ro",
                "readonly",
            ],
            "secret" => &["id", "env", "required", "mode", "uid", "gid"],
            "ssh" => &["id", "required", "mode", "uid", "gid"],
            _ => &["size"],
        };
        for (key, _) in &self.fields {
            if !["type", "target", "dst", "destination"].contains(&key.as_str())
                && !allowed.contains(&key.as_str())
            {
                return Err(MountProblem::Foreign {
                    kind: name,
                    key: key.clone(),
                });
            }
        }
        let target = self.value(&["target", "dst", "destination"])?;
        if target.is_none() && matches!(name, "bind" | "cache" | "tmpfs") {
            return Err(MountProblem::NoTarget(name));
        }
        let written = self.boolean(&["rw", "readwrite"])?;
        let read_only = self
            .boolean(&["ro", "readonly"])?
            .or(written.map(|written| !written))
            .unwrap_or(name == "bind");
        let id = self.value(&["id"])?;
        let required = self.boolean(&["required"])?.unwrap_or(false);
        let kind = match name {
            "bind" => MountKind::Bind,
            "cache" => MountKind::Cache {
                id,
                sharing: match self.value(&["sharing"])?.as_deref() {
                    None | Some("shared") => Sharing::Shared,
                    Some("private") => Sharing::Private,
                    Some("locked") => Sharing::Locked,
                    Some(other) => {
                        return Err(MountProblem::Value {
                            key: "sharing".to_owned(),
                            value: other.to_owned(),
                            wanted: "shared, private or locked",
                        });
                    }
                },
            },
            "secret" => {
                let env = self.value(&["env"])?;
                if id.is_none() && target.is_none() && env.is_none() {
                    return Err(MountProblem::NoSecret);
                }
                MountKind::Secret { id, env, required }
            }
            "ssh" => MountKind::Ssh { id, required },
            _ => MountKind::Tmpfs {
                size: self
                    .value(&["size"])?
                    .map(|value| {
                        bytes(&value).ok_or(MountProblem::Value {
                            key: "size".to_owned(),
                            value,
                            wanted: "a number of bytes, for example 64m",
                        })
                    })
                    .transpose()?,
            },
        };
        Ok(Mount {
            kind,
            target,
            source: self.value(&["source", "src"])?,
            from: self.from().map(str::to_owned),
            read_only,
            mode: self.number("mode", 8, "an octal mode, for example 0755")?,
            uid: self.number("uid", 10, "a number")?,
            gid: self.number("gid", 10, "a number")?,
        })
    }
}

/// Splits at commas; a field, or a part of it, may be in double quotes, a doubled one in them standing for itself.
fn fields_of(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields.retain(|field| !field.trim().is_empty());
    (!quoted).then_some(fields)
}

/// Reads a size as Docker writes it: a number with a unit in powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mount, String> {
        MountFlag::parse(text)
            .and_then(|flag| flag.understand())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_type_is_read_with_its_options() {
        let bind = read("source=a,target=/b,from=build").unwrap();
        assert_eq!(bind.kind, MountKind::Bind);
        assert_eq!(bind.from.as_deref(), Some("build"));
        assert!(bind.read_only && !read("target=/b,rw").unwrap().read_only);
        assert!(!read("type=bind,dst=/b,readonly=false").unwrap().read_only);
        let cache = read("type=cache,id=x,dst=/c,sharing=locked,mode=0700,uid=1,gid=2").unwrap();
        assert_eq!(
            cache.kind,
            MountKind::Cache {
                id: Some("x".into()),
                sharing: Sharing::Locked
            }
        );
        assert_eq!(
            (cache.mode, cache.uid, cache.gid),
            (Some(0o700), Some(1), Some(2))
        );
        assert!(!cache.read_only);
        let secret = read("type=secret,id=s,env=S,required").unwrap();
        assert_eq!(
            secret.kind,
            MountKind::Secret {
                id: Some("s".into()),
                env: Some("S".into()),
                required: true
            }
        );
        assert_eq!(
            read("type=ssh").unwrap().kind,
            MountKind::Ssh {
                id: None,
                required: false
            }
        );
        assert_eq!(
            read("type=tmpfs,target=/t,size=2m").unwrap().kind,
            MountKind::Tmpfs { size: Some(2 << 20) }
        );
        assert_eq!(read("\"target=/a,b\"").unwrap().target.as_deref(), Some("/a,b"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                "type=bnid,target=/a",
                "unsupported mount type \"bnid\" (did you mean bind?)",
            ),
            (
                "type=volume,target=/a",
                "unsupported mount type \"volume\": there are bind, cache, secret, ssh and tmpfs",
            ),
            (
                "type=bind",
                "a mount of type bind needs a target: add target=PATH",
            ),
            (
                "type=secret",
                "a secret needs an id, or a target whose last component is one",
            ),
            (
                "type=cache,target=/a,tarjet=/b",
                "unexpected key 'tarjet' in 'tarjet=/b' (did you mean target?)",
            ),
            ("type=cache,/a", "invalid field '/a' must be a key=value pair"),
            (
                "type=cache,target=/a,sharing=some",
                "invalid value 'some' for the mount option 'sharing': shared, private or locked",
            ),
            (
                "type=cache,target=/a,mode=999",
                "invalid value '999' for the mount option 'mode': an octal mode, for example 0755",
            ),
            (
                "type=tmpfs,target=/a,uid=1",
                "a mount of type tmpfs has no option 'uid'",
            ),
            (
                "type=bind,target=/a,bind-propagation=shared",
                "a mount of type bind has no option 'bind-propagation'",
            ),
            (
                "type=tmpfs,target=/a,size=big",
                "invalid value 'big' for the mount option 'size': a number of bytes, for example 64m",
            ),
            (
                "target=/a,from=$x",
                "'from' doesn't support variable expansion, define alias stage instead",
            ),
            ("\"target=/a", "unclosed quote in --mount=\"target=/a"),
            (
                "type=secret,id=a,required=maybe",
                "invalid value 'maybe' for the mount option 'required': true or false",
            ),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
        // What a variable will say is seen later.
        assert!(MountFlag::parse("type=$kind,target=/a").is_ok());
    }
}
