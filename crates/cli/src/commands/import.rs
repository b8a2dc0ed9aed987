//! `import`.

use crate::args::container::platform;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use oci::Reference;
use std::path::Path;
use std::process::ExitCode;

/// Flags of `import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
}

impl Verb for Import {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let source = words[0].as_str();
        if source.starts_with("http://") || source.starts_with("https://") {
            return Err(Failure::new("importing from a URL is not there yet")
                .with_hint(format!("curl -L {source} | {} import -", cli.program)));
        }
        let reference = words.get(1).map(|text| text.parse::<Reference>()).transpose()?;
        let platform = platform(self.platform.as_deref())?;
        let mut tar = if source == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            super::load::open(Path::new(source))?
        };
        let message = self.message.unwrap_or_else(|| format!("Imported from {source}"));
        let image = cli.engine()?.images().import(
            tar.as_mut(),
            reference.as_ref(),
            &self.change,
            &message,
            platform.as_ref(),
        )?;
        output::line(&image.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
