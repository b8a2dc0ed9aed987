//! How instructions change an image's configuration, and what its history says of them.

use crate::arguments::Declared;
use crate::error::StepError;
use dockerfile::Command;
use oci::{BuildStep, Digest, Empty, Healthcheck, History, ImageConfig, Platform};
use store::Layer;

/// What a container searches for programs if neither image nor Dockerfile says.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Who made a history entry.
const COMMENT: &str = "coracle.dockerfile.v0";

/// An image on its way.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) image: ImageConfig,
    pub(crate) layers: Vec<Layer>,
    /// The image that it stands on, if that was one.
    pub(crate) parent: Option<Digest>,
    pub(crate) arguments: Vec<Declared>,
    /// What its layers were looked up by.
    pub(crate) steps: Vec<BuildStep>,
    /// Whether this stage has a `CMD`, which a later `ENTRYPOINT` leaves alone.
    command_set: bool,
    /// RFC 3339.
    created: String,
}

impl Draft {
    /// Begins with nothing.
    pub(crate) fn scratch(platform: &Platform, epoch: i64) -> Self {
        let mut draft = Self::on(
            ImageConfig {
                os: platform.os.clone(),
                architecture: platform.architecture.clone(),
                variant: platform.variant.clone(),
                ..ImageConfig::default()
            },
            Vec::new(),
            None,
            epoch,
        );
        draft.set_environment("PATH", DEFAULT_PATH);
        "/".clone_into(&mut draft.image.config.working_dir);
        draft
    }

    /// Begins with an image.
    pub(crate) fn on(image: ImageConfig, layers: Vec<Layer>, parent: Option<Digest>, epoch: i64) -> Self {
        Self {
            image,
            layers,
            parent,
            arguments: Vec::new(),
            steps: Vec::new(),
            command_set: false,
            created: rfc3339(epoch),
        }
    }

    /// Begins with what another stage has made.
    pub(crate) fn on_stage(stage: &Self) -> Self {
        Self {
            command_set: false,
            ..stage.clone()
        }
    }

    /// Returns a variable's value: `ENV` goes before `ARG`.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment(name).map(str::to_owned).or_else(|| {
            self.arguments
                .iter()
                .rfind(|(declared, _)| declared == name)
                .and_then(|(_, value)| value.clone())
        })
    }

    pub(crate) fn environment(&self, name: &str) -> Option<&str> {
        self.image
            .config
            .env
            .iter()
            .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn set_environment(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let env = &mut self.image.config.env;
        match env
            .iter_mut()
            .find(|old| old.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
        {
            Some(old) => *old = entry,
            None => env.push(entry),
        }
    }

    pub(crate) fn declare(&mut self, name: String, value: Option<String>) {
        self.arguments.retain(|(declared, _)| *declared != name);
        self.arguments.push((name, value));
    }

    /// Returns the declared arguments that have values and are not hidden by `ENV`.
    pub(crate) fn visible_arguments(&self) -> Vec<(String, String)> {
        self.arguments
            .iter()
            .filter(|(name, _)| self.environment(name).is_none())
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect()
    }

    /// Returns a command's words, with the shell if it is text for one.
    pub(crate) fn words(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let mut words = self.image.config.shell.clone();
                if words.is_empty() {
                    words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
                }
                words.push(text.clone());
                words
            }
        }
    }

    pub(crate) fn set_command(&mut self, words: Vec<String>) {
        self.history(format!("CMD {}", quoted(&words)), true);
        self.image.config.cmd = words;
        self.command_set = true;
    }

    pub(crate) fn set_entrypoint(&mut self, words: Vec<String>) {
        self.history(format!("ENTRYPOINT {}", quoted(&words)), true);
        self.image.config.entrypoint = words;
        // The base image's CMD are arguments for another program.
        if !self.command_set {
            self.image.config.cmd.clear();
        }
    }

    pub(crate) fn set_healthcheck(&mut self, check: &dockerfile::Healthcheck, text: &str) {
        self.history(text.to_owned(), true);
        self.image.config.healthcheck = Some(Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        });
    }

    pub(crate) fn expose(&mut self, words: &[String]) -> Result<(), StepError> {
        let mut ports = Vec::new();
        for word in words {
            ports.extend(exposed(word)?);
        }
        self.history(format!("EXPOSE [{}]", ports.join(" ")), true);
        self.image
            .config
            .exposed_ports
            .extend(ports.into_iter().map(|port| (port, Empty {})));
        Ok(())
    }

    pub(crate) fn add_volumes(&mut self, paths: &[String]) {
        self.history(format!("VOLUME [{}]", paths.join(" ")), true);
        self.image
            .config
            .volumes
            .extend(paths.iter().map(|path| (path.clone(), Empty {})));
    }

    pub(crate) fn history(&mut self, created_by: String, empty_layer: bool) {
        self.image.history.push(History {
            created: Some(self.created.clone()),
            created_by,
            author: self.image.author.clone(),
            comment: COMMENT.to_owned(),
            empty_layer,
        });
    }

    /// Puts a layer on top, with its line of history.
    pub(crate) fn add_layer(&mut self, layer: Layer, created_by: String) {
        self.push_layer(layer);
        self.history(created_by, false);
    }

    /// Adds a layer of which the history speaks already.
    pub(crate) fn push_layer(&mut self, layer: Layer) {
        self.image.rootfs.diff_ids.push(layer.diff_id);
        self.layers.push(layer);
    }

    /// Returns `path` made absolute by the working directory, and clean.
    pub(crate) fn absolute(&self, path: &str) -> String {
        let base = if path.starts_with('/') {
            ""
        } else {
            &self.image.config.working_dir
        };
        let mut components: Vec<&str> = Vec::new();
        for component in base.split('/').chain(path.split('/')) {
            match component {
                "" | "." => {}
                ".." => {
                    components.pop();
                }
                other => components.push(other),
            }
        }
        format!("/{}", components.join("/"))
    }

    /// Returns the finished configuration's bytes. With `inline` it says by which keys its layers are found.
    pub(crate) fn finish(mut self, inline: bool) -> (Vec<u8>, Vec<Layer>, Option<Digest>) {
        if inline {
            self.image.build_steps = self.steps;
        }
        self.image.created = Some(self.created);
        // Only strings, numbers and sorted maps: this cannot fail, and the same image gives the same bytes.
        let raw = serde_json::to_vec(&self.image).unwrap_or_default();
        (raw, self.layers, self.parent)
    }
}

/// Words as Docker's history shows them: `["a" "b c"]`.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// Reads one word of `EXPOSE`: `80`, `80/udp`, `8000-8010/tcp`; what stands before a colon is the host's part, which
/// an image cannot decide.
fn exposed(word: &str) -> Result<Vec<String>, StepError> {
    let wrong = || StepError::Port(word.to_owned());
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().ok_or_else(wrong);
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Refuses a signal that there is not.
pub(crate) fn check_signal(text: &str) -> Result<(), StepError> {
    let known = if let Ok(number) = text.parse::<u8>() {
        (1..=64).contains(&number)
    } else {
        let upper = text.to_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let real_time = name
            .strip_prefix("RTMIN+")
            .or_else(|| name.strip_prefix("RTMAX-"));
        SIGNALS.contains(&name)
            || matches!(name, "IOT" | "CLD" | "POLL" | "RTMIN" | "RTMAX")
            || real_time.is_some_and(|offset| offset.parse::<u8>().is_ok_and(|offset| offset <= 15))
    };
    if known {
        Ok(())
    } else {
        Err(StepError::Signal(text.to_owned()))
    }
}

/// Writes seconds since 1970 as `1980-01-01T00:00:00Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let second = seconds.rem_euclid(86_400);
    // The civil calendar in eras of 400 years that begin on the 1st of March, so that a leap day is a year's last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (crate::FIXED_EPOCH, "1980-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }

    #[test]
    fn ports_and_signals_are_checked() {
        for (word, expected) in [
            ("80", vec!["80/tcp"]),
            ("53/UDP", vec!["53/udp"]),
            ("80-82", vec!["80/tcp", "81/tcp", "82/tcp"]),
            ("127.0.0.1:8080:80", vec!["80/tcp"]),
        ] {
            assert_eq!(exposed(word).unwrap(), expected, "{word}");
        }
        for word in ["", "http", "80/icmp", "70000", "90-80", "80-"] {
            assert!(exposed(word).is_err(), "{word}");
        }
        for signal in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "RTMAX-1", "SIGWINCH"] {
            assert!(check_signal(signal).is_ok(), "{signal}");
        }
        for signal in ["", "0", "65", "SIGFOO", "RTMIN+99"] {
            assert!(check_signal(signal).is_err(), "{signal}");
        }
    }

    #[test]
    fn paths_become_absolute_by_the_working_directory() {
        let mut draft = Draft::scratch(&Platform::host(), 0);
        draft.image.config.working_dir = "/app".to_owned();
        for (path, expected) in [
            ("/x", "/x"),
            ("x", "/app/x"),
            (".", "/app"),
            ("../x", "/x"),
            ("../../../x", "/x"),
            ("/a/../b/", "/b"),
            ("", "/app"),
        ] {
            assert_eq!(draft.absolute(path), expected, "{path}");
        }
    }

    #[test]
    fn an_entrypoint_clears_the_inherited_command_only() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut draft = Draft::scratch(&Platform::host(), 0);
        draft.set_command(words(&["base"]));
        let mut child = Draft::on_stage(&draft);
        child.set_entrypoint(words(&["a", "b c"]));
        assert!(child.image.config.cmd.is_empty());
        child.set_command(words(&["own"]));
        child.set_entrypoint(words(&["x"]));
        assert_eq!(child.image.config.cmd, ["own"]);
        let history: Vec<&str> = child
            .image
            .history
            .iter()
            .map(|entry| entry.created_by.as_str())
            .collect();
        assert_eq!(
            history,
            [
                "CMD [\"base\"]",
                "ENTRYPOINT [\"a\" \"b c\"]",
                "CMD [\"own\"]",
                "ENTRYPOINT [\"x\"]"
            ]
        );
    }
}
