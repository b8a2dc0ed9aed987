//! `network ls --filter`.

use super::record::Network;
use crate::EngineError;
use crate::pattern::{Pattern, check_keys, has_label, truth};

/// The filters that a list of networks has.
pub const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// Which networks are wanted: of several values of one key any (of labels all), and of several keys all.
#[derive(Debug, Clone)]
pub struct Filter {
    pairs: Vec<(String, String)>,
    patterns: Vec<Pattern>,
}

impl Filter {
    /// Reads key and value pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, EngineError> {
        check_keys(&pairs, FILTERS)?;
        for (key, value) in &pairs {
            match key.as_str() {
                "dangling" => truth(key, value).map(drop)?,
                "type" if !matches!(value.as_str(), "builtin" | "custom") => {
                    return Err(EngineError::Invalid {
                        message: format!("invalid filter 'type={value}'"),
                        hint: Some("type is builtin or custom".into()),
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            patterns: Pattern::all(&pairs, &["id", "name"]),
            pairs,
        })
    }

    /// Says whether a network is wanted.
    pub fn accepts(&self, network: &Network) -> bool {
        self.pairs.iter().all(|(key, value)| {
            if key == "label" {
                return self.holds(network, key, value);
            }
            let mut alternatives = self.pairs.iter().filter(|(other, _)| other == key);
            alternatives.any(|(key, value)| self.holds(network, key, value))
        })
    }

    fn holds(&self, network: &Network, key: &str, value: &str) -> bool {
        let matches = |text: &str| {
            let mut patterns = self.patterns.iter();
            patterns.any(|pattern| pattern.is_of(key, value) && pattern.matches(text))
        };
        match key {
            "dangling" => {
                let is_dangling = !network.is_predefined() && network.members.is_empty();
                is_dangling == matches!(value, "true" | "1")
            }
            "driver" => network.driver == value,
            "id" => matches(&network.id),
            "label" => has_label(&network.labels, value),
            "name" => matches(&network.name),
            "scope" => value == "local",
            "type" => network.is_predefined() == (value == "builtin"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, driver: &str) -> Network {
        Network {
            id: name.repeat(64)[..64].to_owned(),
            name: name.into(),
            driver: driver.into(),
            created: 0,
            internal: false,
            attachable: false,
            ipv6: false,
            pools: Vec::new(),
            ipam_options: std::collections::BTreeMap::new(),
            options: std::collections::BTreeMap::new(),
            labels: [("use".to_owned(), "db".to_owned())].into(),
            members: Vec::new(),
        }
    }

    #[test]
    fn networks_are_chosen_as_docker_chooses() {
        let lan = network("lan", "macvlan");
        let bridge = network("bridge", "bridge");
        let pairs = |texts: &[&str]| -> Vec<(String, String)> {
            let split = |text: &&str| {
                text.split_once('=')
                    .map(|(key, value)| (key.into(), value.into()))
            };
            texts.iter().filter_map(split).collect()
        };
        for (filters, of_lan, of_bridge) in [
            (&[][..], true, true),
            (&["type=builtin"], false, true),
            (&["type=custom"], true, false),
            (&["type=custom", "type=builtin"], true, true),
            (&["dangling=true"], true, false),
            (&["dangling=0"], false, true),
            (&["driver=macvlan"], true, false),
            (&["driver=mac"], false, false),
            (&["name=an"], true, false),
            (&["name=^b", "name=^l"], true, true),
            (&["id=lanlan"], true, false),
            (&["label=use", "label=use=db"], true, true),
            (&["label=use", "label=other"], false, false),
            (&["scope=local"], true, true),
            (&["scope=swarm"], false, false),
        ] {
            let filter = Filter::new(pairs(filters)).unwrap();
            assert_eq!(filter.accepts(&lan), of_lan, "{filters:?}");
            assert_eq!(filter.accepts(&bridge), of_bridge, "{filters:?}");
        }
        for (bad, message) in [
            ("colour=red", "invalid filter 'colour'"),
            ("type=odd", "invalid filter 'type=odd'"),
            ("dangling=perhaps", "invalid filter 'dangling=perhaps'"),
        ] {
            assert_eq!(Filter::new(pairs(&[bad])).unwrap_err().to_string(), message);
        }
    }
}
