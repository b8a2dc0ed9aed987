//! Names that people like: an adjective and somebody who went to sea, or a maker of boats.

use super::places::random;
use crate::EngineError;

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "ardent", "brave", "bright", "brisk", "calm", "candid", "careful",
    "cheerful", "clever", "coastal", "cordial", "crisp", "curious", "daring", "deft", "eager", "early",
    "fair", "faithful", "fearless", "fleet", "free", "gallant", "gentle", "glad", "golden", "hardy",
    "hearty", "honest", "hopeful", "humble", "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry",
    "mighty", "modest", "nimble", "noble", "patient", "placid", "plucky", "quick", "quiet", "ready",
    "robust", "salty", "serene", "silent", "steady", "sturdy", "sunny", "swift", "tidal", "trusty", "vivid",
    "witty",
];

const SAILORS: [&str; 64] = [
    "amundsen",
    "anson",
    "baffin",
    "barents",
    "baret",
    "bass",
    "bering",
    "blackwell",
    "bligh",
    "bonny",
    "bougainville",
    "bowditch",
    "brendan",
    "brunel",
    "byron",
    "cabot",
    "cabral",
    "chapman",
    "chichester",
    "columbus",
    "cook",
    "cousteau",
    "dampier",
    "darling",
    "davis",
    "diaz",
    "drake",
    "ericson",
    "falconer",
    "flinders",
    "franklin",
    "frobisher",
    "gama",
    "grenfell",
    "hawkins",
    "herreshoff",
    "heyerdahl",
    "hudson",
    "knox",
    "laperouse",
    "lecky",
    "macarthur",
    "magellan",
    "maury",
    "moitessier",
    "nansen",
    "noonan",
    "pytheas",
    "raleigh",
    "ross",
    "scoresby",
    "shackleton",
    "slocum",
    "steller",
    "tabarly",
    "tasman",
    "torres",
    "urdaneta",
    "vancouver",
    "vespucci",
    "weddell",
    "worsley",
    "zheng",
    "zarco",
];

/// Makes a name up: `steady_slocum`; from the third attempt on with a number behind it.
pub(crate) fn generate(attempt: u32) -> Result<String, EngineError> {
    let bytes = random::<4>()?;
    let adjective = ADJECTIVES[usize::from(bytes[0]) % ADJECTIVES.len()];
    let sailor = SAILORS[usize::from(bytes[1]) % SAILORS.len()];
    if attempt < 2 {
        return Ok(format!("{adjective}_{sailor}"));
    }
    let number = u16::from_le_bytes([bytes[2], bytes[3]]);
    Ok(format!("{adjective}_{sailor}{number}"))
}

/// Says whether a container or a volume may be called this.
pub(crate) fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() >= 2
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_is_a_name() {
        for attempt in 0..6 {
            let name = generate(attempt).unwrap();
            assert!(is_valid(&name), "{name}");
        }
    }

    #[test]
    fn names_are_dockers() {
        for (name, valid) in [
            ("pg", true),
            ("a.b-c_d", true),
            ("x", false),
            ("", false),
            ("-a", false),
            ("_a", false),
            ("a/b", false),
            ("ü1", false),
            ("a b", false),
        ] {
            assert_eq!(is_valid(name), valid, "{name}");
        }
    }
}
