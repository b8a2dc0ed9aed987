//! The operating system and processor that an image is for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `os/architecture[/variant]`, in Go's names (`linux/amd64`, `linux/arm64/v8`), normalised as containerd does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, as a rule.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; empty where the architecture says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a string is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no platform: write os/architecture[/variant], for example linux/amd64 or linux/arm64/v8")]
pub struct PlatformError(String);

impl Platform {
    /// Returns the platform of this machine.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// Makes a platform from its parts, in whatever spelling they come (`x86_64`, `aarch64`, arm64's `v8`).
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let architecture = architecture.to_lowercase();
        let variant = variant.to_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
            ("aarch64" | "arm64", other) => ("arm64", other),
            ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "5" | "6" | "8") => return Self::new(os, "arm", &format!("v{variant}")),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os: os.to_lowercase(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// Says whether an image made for `image` serves where `self` is asked for. An image that names no variant
    /// serves all of them.
    pub fn accepts(&self, image: &Self) -> bool {
        self.os == image.os
            && self.architecture == image.architecture
            && (self.variant == image.variant || image.variant.is_empty() || self.variant.is_empty())
    }

    /// How far an image is from what is wanted: 0 is exact, `None` does not run. Later variants of a processor run what
    /// was made for earlier ones (containerd's rule for arm; amd64's levels are made that way).
    pub fn rank(&self, image: &Self) -> Option<u32> {
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        if self.variant == image.variant {
            return Some(0);
        }
        let step = |variant: &str| {
            variant
                .strip_prefix('v')
                .and_then(|number| number.parse::<u32>().ok())
        };
        match (step(&self.variant), step(&image.variant)) {
            (Some(wanted), Some(image)) if image < wanted => Some(wanted - image),
            // No variant on one side: it is accepted, the plainer the better.
            _ if self.accepts(image) => Some(100 + step(&image.variant).unwrap_or(0)),
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let clean = |part: &&str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if !parts.iter().all(clean) {
            return Err(wrong());
        }
        match parts[..] {
            // Docker takes a lone word for an operating system or an architecture, whichever it knows.
            ["linux"] => Ok(Self::host()),
            [architecture] => Ok(Self::new("linux", architecture, "")),
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AArch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("amd64", "linux/amd64"),
            ("linux/386", "linux/386"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected, "{text}");
        }
        for wrong in ["", "/", "linux/", "linux/amd64/v1/x", "linux/../x", "a b"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_image_without_variant_serves_all() {
        let asked: Platform = "linux/arm/v7".parse().unwrap();
        assert!(asked.accepts(&Platform {
            os: "linux".into(),
            architecture: "arm".into(),
            variant: String::new()
        }));
        assert!(!asked.accepts(&Platform::new("linux", "arm", "v6")));
        assert!(!asked.accepts(&Platform::new("linux", "amd64", "")));
    }
}
