//! `--platform` of commands on images that are here: each is for one platform, and must be for one that is asked for.

use crate::failure::Failure;
use engine::images::Images;
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

/// Fails unless each image is for one of the platforms; without platforms all are right.
pub(super) fn require(images: Images<'_>, names: &[String], platforms: &[Platform]) -> Result<(), Failure> {
    if platforms.is_empty() {
        return Ok(());
    }
    for name in names {
        let image = images.find(name)?;
        if !platforms.iter().any(|platform| platform.accepts(&image.platform)) {
            let wanted: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            return Err(Failure::new(format!(
                "image with reference {name} was found but does not provide the specified platform ({})",
                wanted.join(", ")
            ))
            .with_hint(format!("the one here is for {}", image.platform)));
        }
    }
    Ok(())
}
