//! The functions that every bake file has. `try`, `can` and `convert` take expressions and are in `evaluate`.

mod addresses;
mod collections;
mod digests;
mod encodings;
mod format;
pub(crate) mod numbers;
mod strings;
pub(crate) use strings::clean_path;
mod times;
mod versions;

use crate::definition::Surroundings;
use crate::value::{Number, Value};

/// What a function gives, or why it does not.
type Outcome = Result<Value, String>;

/// A function's arguments, of which it takes what it wants by place.
#[derive(Debug, Clone, Copy)]
struct Arguments<'a>(&'a [Value]);

impl<'a> Arguments<'a> {
    fn value(self, place: usize) -> Result<&'a Value, String> {
        let given = self.0.len();
        self.0.get(place).ok_or_else(|| {
            format!(
                "argument {} is missing: {given} {} given",
                place + 1,
                if given == 1 { "was" } else { "were" }
            )
        })
    }

    fn text(self, place: usize) -> Result<String, String> {
        let value = self.value(place)?;
        value.text().ok_or_else(|| unfit(place, "a string", value))
    }

    fn number(self, place: usize) -> Result<Number, String> {
        let value = self.value(place)?;
        value.number().ok_or_else(|| unfit(place, "a number", value))
    }

    fn whole(self, place: usize) -> Result<i128, String> {
        let number = self.number(place)?;
        number
            .whole()
            .ok_or_else(|| format!("argument {} is a whole number, not {number}", place + 1))
    }

    fn bool(self, place: usize) -> Result<bool, String> {
        let value = self.value(place)?;
        value.bool().ok_or_else(|| unfit(place, "true or false", value))
    }

    fn list(self, place: usize) -> Result<&'a [Value], String> {
        let value = self.value(place)?;
        value.elements().ok_or_else(|| unfit(place, "a list", value))
    }

    fn map(self, place: usize) -> Result<&'a std::collections::BTreeMap<String, Value>, String> {
        match self.value(place)? {
            Value::Map(fields) => Ok(fields),
            other => Err(unfit(place, "an object", other)),
        }
    }

    fn texts(self, place: usize) -> Result<Vec<String>, String> {
        let list = self.list(place)?;
        list.iter()
            .map(|value| {
                value
                    .text()
                    .ok_or_else(|| unfit(place, "a list of strings", value))
            })
            .collect()
    }

    fn at_most(self, count: usize) -> Result<Self, String> {
        if self.0.len() > count {
            return Err(format!(
                "takes {count} argument{}, not {}",
                if count == 1 { "" } else { "s" },
                self.0.len()
            ));
        }
        Ok(self)
    }
}

fn unfit(place: usize, wanted: &str, value: &Value) -> String {
    format!("argument {} is {wanted}, not {}", place + 1, value.kind())
}

/// The names and the numbers of arguments that are too many.
#[rustfmt::skip]
const NAMES: &[(&str, usize)] = &[
    ("absolute", 1), ("add", 2), ("and", 2), ("base64decode", 1), ("base64encode", 1), ("basename", 1),
    ("bcrypt", 2), ("byteslen", 1), ("bytesslice", 3), ("can", 1), ("ceil", 1), ("chomp", 1), ("chunklist", 2),
    ("cidrhost", 2), ("cidrnetmask", 1), ("cidrsubnet", 3), ("cidrsubnets", MANY), ("coalesce", MANY),
    ("coalescelist", MANY), ("compact", 1), ("concat", MANY), ("contains", 2), ("convert", 2), ("csvdecode", 1),
    ("dirname", 1), ("distinct", 1), ("divide", 2), ("element", 2), ("equal", 2), ("flatten", 1), ("floor", 1),
    ("format", MANY), ("formatdate", 2), ("formatlist", MANY), ("formattimestamp", 2), ("greaterthan", 2),
    ("greaterthanorequalto", 2), ("hasindex", 2), ("homedir", 0), ("indent", 2), ("index", 2), ("indexof", 2),
    ("int", 1), ("join", MANY), ("jsondecode", 1), ("jsonencode", 1), ("keys", 1), ("length", 1), ("lessthan", 2),
    ("lessthanorequalto", 2), ("log", 2), ("lookup", 3), ("lower", 1), ("max", MANY), ("md5", 1), ("merge", MANY),
    ("min", MANY), ("modulo", 2), ("multiply", 2), ("negate", 1), ("not", 1), ("notequal", 2), ("or", 2),
    ("parseint", 2), ("pow", 2), ("range", 3), ("regex", 2), ("regex_replace", 3), ("regexall", 2), ("replace", 3),
    ("reverse", 1), ("reverselist", 1), ("rsadecrypt", 2), ("sanitize", 1), ("semvercmp", 2), ("sethaselement", 2),
    ("setintersection", MANY), ("setproduct", MANY), ("setsubtract", 2), ("setsymmetricdifference", MANY),
    ("setunion", MANY), ("sha1", 1), ("sha256", 1), ("sha512", 1), ("signum", 1), ("slice", 3), ("sort", 1),
    ("split", 2), ("strlen", 1), ("substr", 3), ("subtract", 2), ("timeadd", 2), ("timestamp", 0), ("title", 1),
    ("trim", 2), ("trimprefix", 2), ("trimspace", 1), ("trimsuffix", 2), ("try", MANY), ("unixtimestampparse", 1),
    ("upper", 1), ("urlencode", 1), ("uuidv4", 0), ("uuidv5", 2), ("values", 1), ("zipmap", 2),
];
const MANY: usize = usize::MAX;

/// Returns the names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// Calls a function, if there is one by that name.
pub(crate) fn call(name: &str, arguments: &[Value], surroundings: &Surroundings) -> Option<Outcome> {
    let (_, most) = NAMES.iter().find(|(known, _)| *known == name)?;
    let arguments = match Arguments(arguments).at_most(*most) {
        Ok(arguments) => arguments,
        Err(why) => return Some(Err(why)),
    };
    if matches!(name, "bcrypt" | "rsadecrypt") {
        return Some(Err(
            "is not there: what it makes would be a secret in an image".to_owned()
        ));
    }
    numbers::call(name, arguments)
        .or_else(|| strings::call(name, arguments))
        .or_else(|| collections::call(name, arguments))
        .or_else(|| encodings::call(name, arguments, surroundings))
        .or_else(|| times::call(name, arguments, surroundings))
        .or_else(|| addresses::call(name, arguments))
        .or_else(|| match name {
            "format" => Some(format::format(arguments)),
            "formatlist" => Some(format::format_list(arguments)),
            "semvercmp" => Some(versions::satisfies(arguments)),
            "homedir" => Some(Ok(Value::Text(
                surroundings.lookup_environment("HOME").unwrap_or_default(),
            ))),
            _ => None,
        })
}

#[cfg(test)]
mod tests;
