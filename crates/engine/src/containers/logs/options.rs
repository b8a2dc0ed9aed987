//! `--log-driver` and `--log-opt`: what is in force, whether it makes sense, and what a monitor is to do.
//!
//! Messages are Docker's where Docker has one.

use super::attributes;
use super::json_file;
use super::record::Format;
use super::tag::{self, Subject};
use crate::EngineError;
use crate::config::Config;
use crate::containers::record::{ContainerId, Settings};
use crate::containers::rows::Record;
use crate::containers::{invalid, places};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Drivers that there are.
const DRIVERS: [&str; 4] = ["json-file", "local", "journald", "none"];
/// Options that choose what stands beside each line.
const ATTRIBUTES: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
/// Options of files.
const FILES: [&str; 3] = ["compress", "max-file", "max-size"];
/// Options that every driver has; those of the cache mean something only where there is one.
const EVERYWHERE: [&str; 6] = [
    "cache-compress",
    "cache-disabled",
    "cache-max-file",
    "cache-max-size",
    "max-buffer-size",
    "mode",
];
/// Docker's, for `mode=non-blocking`.
const BUFFER: u64 = 1_000_000;
/// A journal's fields are no longer.
const LONGEST_FIELD: usize = 64;

/// What a monitor does with output.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::containers) struct LogPlan {
    /// The files that it goes to: the log itself, or the copy that `logs` reads of what went elsewhere.
    pub(in crate::containers) file: Option<FilePlan>,
    pub(in crate::containers) journal: Option<JournalPlan>,
    /// `mode=non-blocking`: bytes that may wait; what is more is dropped.
    pub(in crate::containers) buffer: Option<u64>,
}

/// Files to be written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::containers) struct FilePlan {
    pub(in crate::containers) path: PathBuf,
    pub(in crate::containers) format: Format,
    /// 0 is no limit.
    pub(in crate::containers) max_size: u64,
    pub(in crate::containers) max_files: u32,
    pub(in crate::containers) compress: bool,
    /// A JSON object, or empty.
    pub(in crate::containers) attributes: String,
}

/// A journal to be written to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::containers) struct JournalPlan {
    pub(in crate::containers) socket: PathBuf,
    /// What stands in every entry.
    pub(in crate::containers) fields: Vec<(String, String)>,
}

/// How large files get, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rotation {
    max_size: u64,
    max_files: u32,
    compress: bool,
}

/// Docker's for its own `local` driver.
const LOCAL_ROTATION: Rotation = Rotation {
    max_size: 20 << 20,
    max_files: 5,
    compress: true,
};

/// Returns the driver and the options in force: what was asked for, filled up with what is configured for that driver,
/// and with a limit, so that no container fills the disk with its log.
pub(crate) fn in_force(
    config: &Config,
    driver: Option<&str>,
    asked: &BTreeMap<String, String>,
) -> (String, BTreeMap<String, String>) {
    let driver = match driver {
        None | Some("") => config.log_driver.clone(),
        Some(driver) => driver.to_owned(),
    };
    let mut options = asked.clone();
    let mut fill = |name: &str, value: &str| {
        options.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    for (name, value) in &config.log_options {
        if driver != "none" && (driver == config.log_driver || name.starts_with("cache-")) {
            fill(name, &value.to_string());
        }
    }
    if driver == "json-file" {
        fill("max-size", "10m");
        fill("max-file", "3");
    }
    (driver, options)
}

/// Checks a driver and its options.
pub(in crate::containers) fn check(
    config: &Config,
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<(), EngineError> {
    if !DRIVERS.contains(&driver) {
        return Err(EngineError::Invalid {
            message: format!("logger: no log driver named '{driver}' is registered"),
            hint: Some("there are json-file, local, journald and none".into()),
        });
    }
    if driver == "none" {
        return if options.is_empty() {
            Ok(())
        } else {
            Err(invalid("invalid logging opts for driver none"))
        };
    }
    let known = |name: &str| {
        EVERYWHERE.contains(&name)
            || ATTRIBUTES.contains(&name)
            || (driver != "journald" && FILES.contains(&name))
    };
    if let Some(name) = options.keys().find(|name| !known(name)) {
        return Err(invalid(match driver {
            "local" => format!("unknown log opt '{name}' for log driver local"),
            _ => format!("unknown log opt '{name}' for {driver} log driver"),
        }));
    }
    buffer(options).map_err(invalid)?;
    rotation_of(driver, options).map_err(|why| initialize(&why))?;
    // What the container is called does not matter for whether it can be filled in.
    let subject = Subject::default();
    attributes::pick(options, &BTreeMap::new(), &[]).map_err(|why| initialize(&why))?;
    if let Some(template) = options.get("tag") {
        tag::render(template, &subject).map_err(|why| initialize(&why))?;
    }
    if driver == "journald" && !config.journal_socket.exists() {
        return Err(EngineError::Invalid {
            message: "failed to initialize logging driver: journald is not enabled on this host".into(),
            hint: Some(format!(
                "there is no socket '{}'; use json-file, local or none",
                config.journal_socket.display()
            )),
        });
    }
    Ok(())
}

fn initialize(why: &str) -> EngineError {
    invalid(format!("failed to initialize logging driver: {why}"))
}

/// Returns the file that `logs` reads, if the container's driver leaves one.
pub(super) fn readable_file(
    settings: &Settings,
    directory: &Path,
    id: &ContainerId,
) -> Option<(PathBuf, Format)> {
    match settings.log_driver.as_str() {
        "json-file" => Some((json_file(directory, id), Format::JsonFile)),
        "local" => Some((directory.join("local-logs/container.log"), Format::Local)),
        "journald" if !cache_is_disabled(&settings.log_options).unwrap_or(false) => {
            Some((directory.join("container-cached.log"), Format::Local))
        }
        _ => None,
    }
}

/// Decides what a monitor does with a container's output; `None` if nothing.
pub(in crate::containers) fn plan(
    config: &Config,
    record: &Record,
    directory: &Path,
) -> Result<Option<LogPlan>, EngineError> {
    let settings = &record.settings;
    let (driver, options) = (settings.log_driver.as_str(), &settings.log_options);
    check(config, driver, options)?;
    if driver == "none" {
        return Ok(None);
    }
    let mut picked =
        attributes::pick(options, &settings.labels, &settings.environment).map_err(|why| initialize(&why))?;
    let subject = Subject {
        id: record.id.to_string(),
        name: record.name.clone(),
        image_id: record.image.to_string(),
        image_name: settings.image_name.clone(),
        command: settings
            .entrypoint
            .iter()
            .chain(&settings.command)
            .cloned()
            .collect(),
        environment: settings.environment.clone(),
        labels: settings.labels.clone(),
        picked: picked.clone(),
    };
    let tag = |template: &str| tag::render(template, &subject).map_err(|why| initialize(&why));
    let template = options.get("tag").map(String::as_str).unwrap_or_default();
    let mut plan = LogPlan {
        buffer: buffer(options).map_err(invalid)?,
        ..LogPlan::default()
    };
    if driver == "journald" {
        plan.journal = Some(JournalPlan {
            socket: config.journal_socket.clone(),
            fields: journal_fields(
                &subject,
                &tag(if template.is_empty() { "{{.ID}}" } else { template })?,
                &picked,
            )?,
        });
    }
    let tag = tag(template)?;
    if !tag.is_empty() {
        picked.insert("tag".into(), tag);
    }
    if let Some((path, format)) = readable_file(settings, directory, &record.id) {
        let rotation = rotation_of(driver, options).map_err(|why| initialize(&why))?;
        if let Some(directory) = path.parent() {
            crate::make_private_directory(directory)?;
        }
        plan.file = Some(FilePlan {
            path,
            format,
            max_size: rotation.max_size,
            max_files: rotation.max_files,
            compress: rotation.compress,
            attributes: if picked.is_empty() {
                String::new()
            } else {
                serde_json::Value::from_iter(picked).to_string()
            },
        });
    }
    Ok(Some(plan))
}

fn journal_fields(
    subject: &Subject,
    tag: &str,
    picked: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, EngineError> {
    let short = subject.id.get(..12).unwrap_or(&subject.id).to_owned();
    // Which of several runs an entry is of, together with when it began.
    let epoch = places::hex(&places::random::<16>()?);
    let mut fields: BTreeMap<String, String> = [
        ("CONTAINER_ID", short),
        ("CONTAINER_ID_FULL", subject.id.clone()),
        ("CONTAINER_LOG_EPOCH", epoch),
        ("CONTAINER_NAME", subject.name.clone()),
        ("CONTAINER_TAG", tag.to_owned()),
        ("IMAGE_NAME", subject.image_name.clone()),
        ("SYSLOG_IDENTIFIER", tag.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for (name, value) in picked {
        let name = field_name(name);
        // What says whose the entry is, is not for an image's labels to say.
        if !name.is_empty() && !is_ours(&name) {
            fields.insert(name, value.clone());
        }
    }
    Ok(fields.into_iter().collect())
}

/// Says whether a field is written by us and by nobody else.
fn is_ours(name: &str) -> bool {
    name.starts_with("CONTAINER_")
        || matches!(
            name,
            "IMAGE_NAME" | "MESSAGE" | "PRIORITY" | "SYSLOG_IDENTIFIER" | "SYSLOG_TIMESTAMP"
        )
}

/// Makes a journal's field name of a label's or a variable's: capitals, digits, underscores, and none of those first.
fn field_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|character| match character.to_ascii_uppercase() {
            character @ ('A'..='Z' | '0'..='9') => character,
            _ => '_',
        })
        .collect();
    name.trim_start_matches(|character: char| character == '_' || character.is_ascii_digit())
        .chars()
        .take(LONGEST_FIELD)
        .collect()
}

fn buffer(options: &BTreeMap<String, String>) -> Result<Option<u64>, String> {
    let mode = options.get("mode").map(String::as_str).unwrap_or_default();
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(format!("logger: logging mode not supported: {mode}"));
    }
    let size = options.get("max-buffer-size");
    if size.is_some() && mode != "non-blocking" {
        return Err("logger: max-buffer-size option is only supported with 'mode=non-blocking'".into());
    }
    let size = size
        .map(|size| bytes(size, 1024).map_err(|why| format!("error parsing option max-buffer-size: {why}")))
        .transpose()?;
    cache_is_disabled(options)?;
    Ok((mode == "non-blocking").then(|| size.unwrap_or(BUFFER)))
}

fn cache_is_disabled(options: &BTreeMap<String, String>) -> Result<bool, String> {
    match options
        .get("cache-disabled")
        .map(String::as_str)
        .filter(|text| !text.is_empty())
    {
        None => Ok(false),
        Some(text) => boolean(text).ok_or_else(|| format!("invalid value for option cache-disabled: {text}")),
    }
}

fn rotation_of(driver: &str, options: &BTreeMap<String, String>) -> Result<Rotation, String> {
    match driver {
        "json-file" => rotation(
            options,
            "",
            Rotation {
                max_size: 0,
                max_files: 1,
                compress: false,
            },
        ),
        "local" => rotation(options, "", LOCAL_ROTATION),
        _ => rotation(options, "cache-", LOCAL_ROTATION),
    }
}

fn rotation(options: &BTreeMap<String, String>, prefix: &str, default: Rotation) -> Result<Rotation, String> {
    let option = |name: &str| options.get(&format!("{prefix}{name}"));
    let mut rotation = default;
    if let Some(text) = option("max-size") {
        rotation.max_size = match text.as_str() {
            // As Docker's documentation has it, though not its daemon.
            "-1" => 0,
            text => match bytes(text, 1000)? {
                0 => return Err("max-size must be a positive number".into()),
                size => size,
            },
        };
    }
    if let Some(text) = option("max-file") {
        let files: i64 = text.parse().map_err(|_error: std::num::ParseIntError| {
            format!("strconv.Atoi: parsing \"{text}\": invalid syntax")
        })?;
        rotation.max_files = u32::try_from(files)
            .ok()
            .filter(|&files| files > 0)
            .ok_or("max-file cannot be less than 1")?;
    }
    let rotates = rotation.max_files > 1 && rotation.max_size > 0;
    match option("compress") {
        None => rotation.compress &= rotates,
        Some(text) => {
            rotation.compress = boolean(text)
                .ok_or_else(|| format!("strconv.ParseBool: parsing \"{text}\": invalid syntax"))?;
            if rotation.compress && !rotates {
                return Err(
                    "compress cannot be true when max-file is less than 2 or max-size is not set".into(),
                );
            }
        }
    }
    Ok(rotation)
}

/// Reads what Go reads as a truth value.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a size: `10m`, `1.5 GB`, `512KiB`, `100`. Docker counts a log's in thousands, and a buffer's in 1024s.
fn bytes(text: &str, thousand: u32) -> Result<u64, String> {
    let wrong = || format!("invalid size: '{text}'");
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(wrong)?;
    let (number, suffix) = (text[..=last].trim_end_matches(' '), &text[last + 1..]);
    let number: f64 = number
        .parse()
        .map_err(|_error: std::num::ParseFloatError| wrong())?;
    if number < 0.0 || !number.is_finite() {
        return Err(wrong());
    }
    let lower = suffix.to_ascii_lowercase();
    let power = match lower.as_bytes() {
        [] | [b'b'] => 0,
        [unit] | [unit, b'b'] | [unit, b'i', b'b'] => match unit {
            b'k' => 1,
            b'm' => 2,
            b'g' => 3,
            b't' => 4,
            b'p' => 5,
            _ => return Err(format!("invalid suffix: '{lower}'")),
        },
        _ => return Err(format!("invalid suffix: '{lower}'")),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what Docker computes; it saturates"
    )]
    let size = (number * f64::from(thousand).powi(power)) as u64;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn config() -> Config {
        Config {
            journal_socket: "/".into(),
            ..Config::default()
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, thousand, size) in [
            ("10m", 1000, Ok(10_000_000)),
            ("10m", 1024, Ok(10 << 20)),
            ("1.5kb", 1000, Ok(1500)),
            ("1 GiB", 1024, Ok(1 << 30)),
            ("7", 1000, Ok(7)),
            ("7b", 1000, Ok(7)),
            ("", 1000, Err("invalid size: ''")),
            ("x", 1000, Err("invalid size: 'x'")),
            ("-1", 1000, Err("invalid size: '-1'")),
            ("1x", 1000, Err("invalid suffix: 'x'")),
            ("1kx", 1000, Err("invalid suffix: 'kx'")),
        ] {
            assert_eq!(bytes(text, thousand), size.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn options_are_refused_in_dockers_words() {
        let initialize = "failed to initialize logging driver: ";
        for (driver, options, expected) in [
            (
                "json-file",
                "max-size=10m max-file=3 compress=true tag={{.Name}}",
                "",
            ),
            (
                "json-file",
                "mode=non-blocking max-buffer-size=4m cache-disabled=true",
                "",
            ),
            ("json-file", "labels=a labels-regex=^b env=C env-regex=D", ""),
            ("local", "max-size=5m compress=false", ""),
            ("journald", "tag=x labels=a cache-max-size=5m", ""),
            ("none", "", ""),
            ("none", "max-size=1m", "invalid logging opts for driver none"),
            ("syslog", "", "logger: no log driver named 'syslog' is registered"),
            (
                "json-file",
                "maxsize=1",
                "unknown log opt 'maxsize' for json-file log driver",
            ),
            (
                "journald",
                "max-size=1m",
                "unknown log opt 'max-size' for journald log driver",
            ),
            ("local", "x=1", "unknown log opt 'x' for log driver local"),
            (
                "json-file",
                "mode=lazy",
                "logger: logging mode not supported: lazy",
            ),
            (
                "json-file",
                "max-buffer-size=1m",
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "local",
                "mode=non-blocking max-buffer-size=x",
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            (
                "local",
                "cache-disabled=maybe",
                "invalid value for option cache-disabled: maybe",
            ),
            (
                "json-file",
                "max-size=huge",
                &format!("{initialize}invalid size: 'huge'"),
            ),
            (
                "json-file",
                "max-size=0",
                &format!("{initialize}max-size must be a positive number"),
            ),
            (
                "json-file",
                "max-file=0",
                &format!("{initialize}max-file cannot be less than 1"),
            ),
            (
                "json-file",
                "max-file=x",
                &format!("{initialize}strconv.Atoi: parsing \"x\": invalid syntax"),
            ),
            (
                "json-file",
                "compress=yes",
                &format!("{initialize}strconv.ParseBool: parsing \"yes\": invalid syntax"),
            ),
            (
                "json-file",
                "compress=true max-size=10m max-file=1",
                &format!(
                    "{initialize}compress cannot be true when max-file is less than 2 or max-size is not set"
                ),
            ),
            (
                "json-file",
                "tag={{.Nope}}",
                &format!(
                    "{initialize}invalid value for log opt 'tag': can't evaluate field Nope: a log tag knows no such thing"
                ),
            ),
        ] {
            let found = check(&config(), driver, &map(options));
            let found = found.map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(found, expected, "{driver} {options}");
        }
        let absent = Config {
            journal_socket: "/nonexistent/socket".into(),
            ..config()
        };
        let error = check(&absent, "journald", &map("")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{initialize}journald is not enabled on this host")
        );
    }

    #[test]
    fn what_is_configured_holds_for_the_driver_that_is_configured() {
        let text =
            "log_driver = 'local'\n[log_options]\nmax-size = '1m'\nmax-file = 2\ncache-disabled = true\n";
        let local: Config = toml::from_str(text).unwrap();
        for (config, driver, asked, expected) in [
            (
                &Config::default(),
                None,
                "",
                ("json-file", "max-size=10m max-file=3"),
            ),
            (
                &Config::default(),
                Some(""),
                "max-size=-1",
                ("json-file", "max-size=-1 max-file=3"),
            ),
            (&Config::default(), Some("local"), "", ("local", "")),
            (
                &local,
                None,
                "max-file=7",
                ("local", "max-size=1m max-file=7 cache-disabled=true"),
            ),
            (&local, Some("journald"), "", ("journald", "cache-disabled=true")),
            (&local, Some("none"), "", ("none", "")),
        ] {
            let found = in_force(config, driver, &map(asked));
            assert_eq!(
                found,
                (expected.0.to_owned(), map(expected.1)),
                "{driver:?} {asked}"
            );
        }
    }

    #[test]
    fn rotation_without_a_limit_is_none() {
        let found = rotation_of("json-file", &map("max-size=-1 max-file=3")).unwrap();
        assert_eq!((found.max_size, found.compress), (0, false));
        let found = rotation_of("local", &map("max-file=1")).unwrap();
        assert_eq!((found.max_files, found.compress), (1, false));
        assert_eq!(rotation_of("journald", &map("max-size=1")), Ok(LOCAL_ROTATION));
    }

    #[test]
    fn names_of_fields() {
        for (name, expected) in [
            ("com.example.Tier", "COM_EXAMPLE_TIER"),
            ("__x", "X"),
            ("9lives", "LIVES"),
            ("é", ""),
        ] {
            assert_eq!(field_name(name), expected);
        }
        let subject = Subject {
            id: "0123456789abcdef".repeat(4),
            name: "web".into(),
            ..Subject::default()
        };
        let picked = [
            ("container.id", "forged"),
            ("message", "forged"),
            ("tier", "front"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields: BTreeMap<_, _> = journal_fields(&subject, "tag", &picked.into())
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(fields["CONTAINER_ID"], "0123456789ab");
        assert_eq!(fields["TIER"], "front");
        assert!(!fields.contains_key("MESSAGE"));
    }
}
