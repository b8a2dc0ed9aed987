//! Where a definition comes from, and what is around it.

use crate::failure::Failure;
use crate::front::Cli;
use crate::signals;
use bake::{File, Surroundings};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files that are read where none is named, those that are there, in this order.
const DEFAULTS: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// No definition is larger.
const LARGEST: u64 = 16 << 20;
/// Files of a definition, where none is named.
const FILES: &str = "BUILDX_BAKE_FILE";
const SEPARATOR: &str = "BUILDX_BAKE_PATH_SEPARATOR";
const FILE_RELATIVE: &str = "BUILDX_BAKE_FILE_RELATIVE_PATHS";
const NO_ENVIRONMENT: &str = "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP";

/// Reads the files of a definition: those named, else those there are.
pub(super) fn read(cli: &Cli, remote: Option<&str>, named: &[String]) -> Result<Vec<File>, Failure> {
    let mut names = named.to_vec();
    if names.is_empty()
        && let Ok(given) = std::env::var(FILES)
    {
        let separator = std::env::var(SEPARATOR).ok().filter(|text| !text.is_empty());
        let separator = separator.unwrap_or_else(|| ":".to_owned());
        names = given
            .split(separator.as_str())
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let files = match remote {
        Some(address) => fetched(cli, address, &names)?,
        None => local(&names)?,
    };
    if files.is_empty() {
        return Err(
            Failure::bare("ERROR: couldn't find a bake definition").with_hint(format!(
                "name it with -f, or call it by one of the names {}",
                DEFAULTS.join(", ")
            )),
        );
    }
    Ok(files)
}

fn text(name: &str, bytes: Vec<u8>) -> Result<File, Failure> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File {
            name: name.to_owned(),
            text,
        }),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.split(|byte| *byte == b'\n').count();
            Err(Failure::bare(format!(
                "ERROR: {name}: line {line} is not UTF-8 text"
            )))
        }
    }
}

fn limited(name: &str, source: impl Read) -> Result<File, Failure> {
    let mut bytes = Vec::new();
    source
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file("read", Path::new(name), &error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::bare(format!(
            "ERROR: {name} is larger than any definition"
        )));
    }
    text(name, bytes)
}

fn local(names: &[String]) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for name in names {
        let name = name.strip_prefix("cwd://").unwrap_or(name);
        if name == "-" {
            files.push(limited(name, std::io::stdin())?);
            continue;
        }
        let path = Path::new(name);
        let file = std::fs::File::open(path).map_err(|error| Failure::file("open", path, &error))?;
        files.push(limited(name, file)?);
    }
    if names.is_empty() {
        for name in DEFAULTS {
            match std::fs::File::open(name) {
                Ok(file) => files.push(limited(name, file)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::file("open", Path::new(name), &error)),
            }
        }
    }
    Ok(files)
}

/// Reads the files of a definition that somebody else keeps: a repository, an archive, or the file alone.
fn fetched(cli: &Cli, address: &str, names: &[String]) -> Result<Vec<File>, Failure> {
    let cancelled = signals::cancellation()?;
    let fetched = cli
        .engine()?
        .builds()
        .context_from_address(address, false, None, &cancelled)
        .map_err(|error| Failure::bare(format!("ERROR: {}", crate::failure::chain(&error))))?;
    if let Some(bytes) = &fetched.dockerfile {
        return Ok(vec![text("-", bytes.clone())?]);
    }
    let path = fetched.path();
    let tree = sys::path::Tree::open(&path).map_err(|error| Failure::bare(format!("ERROR: {error}")))?;
    let mut files = Vec::new();
    let (own, theirs): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| name.starts_with("cwd://"));
    let is_default = names.is_empty();
    let theirs = if is_default {
        DEFAULTS.map(str::to_owned).to_vec()
    } else {
        theirs
    };
    for name in &theirs {
        match tree.read(&PathBuf::from(name), LARGEST) {
            Ok(bytes) => files.push(text(name, bytes)?),
            Err(error) if is_default && error.errno == rustix::io::Errno::NOENT => {}
            Err(error) => {
                return Err(Failure::bare(format!(
                    "ERROR: {address}: open {name}: {}",
                    error.errno
                )));
            }
        }
    }
    if !own.is_empty() {
        files.extend(local(&own)?);
    }
    Ok(files)
}

/// Collects what a definition may ask for.
pub(super) fn surroundings(variables: &[String], base: Option<&str>) -> Result<Surroundings, Failure> {
    let mut given = BTreeMap::new();
    for text in variables.iter().filter(|text| !text.is_empty()) {
        match text.split_once('=') {
            Some(("", _)) => return Err(Failure::new(format!("invalid variable {text:?}, key is empty"))),
            Some((name, value)) => given.insert(name.to_owned(), value.to_owned()),
            None => {
                return Err(Failure::new(format!(
                    "invalid variable {text:?}, expected key=value"
                )));
            }
        };
    }
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let is_set = |name: &str| {
        environment
            .get(name)
            .is_some_and(|value| matches!(value.trim(), "1" | "t" | "T" | "true" | "True" | "TRUE"))
    };
    let mut surroundings = Surroundings::default();
    surroundings.reads_environment = !is_set(NO_ENVIRONMENT);
    surroundings.file_relative = is_set(FILE_RELATIVE);
    surroundings.env_file = env_file();
    surroundings.given = given;
    surroundings.builtins = BTreeMap::from([
        ("BAKE_CMD_CONTEXT".to_owned(), base.unwrap_or("cwd://").to_owned()),
        (
            "BAKE_LOCAL_PLATFORM".to_owned(),
            oci::Platform::host().to_string(),
        ),
    ]);
    surroundings.now = crate::output::time::now() / 1_000_000_000;
    surroundings.random = random;
    surroundings.environment = environment;
    Ok(surroundings)
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // The kernel's source is there as soon as anything runs.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => bytes,
        Err(_) => [0; 16],
    }
}

/// The variables of `.env`, which Compose files see: `NAME=VALUE`, values perhaps in quotes.
fn env_file() -> BTreeMap<String, String> {
    let Ok(text) = std::fs::read_to_string(".env") else {
        return BTreeMap::new();
    };
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches("export ").split_once('='))
        .map(|(name, value)| {
            let value = value.trim();
            let unquoted = ['"', '\'']
                .iter()
                .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
            let value = match unquoted {
                Some(value) => value,
                // Behind a space a comment begins.
                None => value.split(" #").next().unwrap_or(value).trim_end(),
            };
            (name.trim().to_owned(), value.to_owned())
        })
        .collect()
}
