//! `--platform` of commands on images that are here.

use crate::failure::Failure;
use oci::Platform;

/// Reads the flag.
pub(super) fn parse(words: &[String]) -> Result<Vec<Platform>, Failure> {
    words
        .iter()
        .map(|word| {
            word.parse()
                .map_err(|error| Failure::new(format!("invalid platform: {error}")))
        })
        .collect()
}
