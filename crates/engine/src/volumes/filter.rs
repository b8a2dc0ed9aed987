//! `volume ls --filter`.

use super::Volume;
use crate::EngineError;
use crate::pattern::{Pattern, check_keys, has_label, truth};

/// The filters that a list of volumes has.
pub const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

/// Which volumes are wanted: of several values of one key any (of labels all), and of several keys all.
#[derive(Debug, Clone)]
pub struct Filter {
    pairs: Vec<(String, String)>,
    names: Vec<Pattern>,
}

impl Filter {
    /// Reads key and value pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, EngineError> {
        check_keys(&pairs, FILTERS)?;
        for (key, value) in pairs.iter().filter(|(key, _)| key == "dangling") {
            truth(key, value)?;
        }
        Ok(Self {
            names: Pattern::all(&pairs, &["name"]),
            pairs,
        })
    }

    /// Says whether a volume is wanted.
    pub fn accepts(&self, volume: &Volume) -> bool {
        let holds = |key: &str, value: &str| match key {
            "dangling" => (volume.containers == 0) == matches!(value, "true" | "1"),
            "driver" => value == "local",
            "label" => has_label(&volume.labels, value),
            _ => {
                let mut names = self.names.iter();
                names.any(|name| name.is_of(key, value) && name.matches(&volume.name))
            }
        };
        self.pairs.iter().all(|(key, value)| {
            if key == "label" {
                return holds(key, value);
            }
            let mut alternatives = self.pairs.iter().filter(|(other, _)| other == key);
            alternatives.any(|(key, value)| holds(key, value))
        })
    }
}
