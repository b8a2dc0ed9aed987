//! `image referrers`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::units;
use clap::Args;
use oci::Reference;
use std::process::ExitCode;

/// Flags of `image referrers`.
#[derive(Debug, Args)]
pub(super) struct Referrers {
    /// Only artifacts of this type
    #[arg(long, value_name = "string")]
    artifact_type: Option<String>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

const LAYOUT: Layout<'_> = Layout {
    kind: "*formatter.referrerContext",
    headers: &[
        ("ArtifactType", "ARTIFACT TYPE"),
        ("Digest", "DIGEST"),
        ("MediaType", "MEDIA TYPE"),
        ("Size", "SIZE"),
    ],
    default: "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}",
    quiet: "{{.Digest}}",
};

impl Verb for Referrers {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let reference: Reference = words[0].parse()?;
        let found = cli.engine()?.images().referrers(&reference)?;
        let rows: Vec<Row> = found
            .iter()
            .map(|found| {
                let kind = found.artifact_type().as_ref().map(ToString::to_string);
                Row::new([
                    ("ArtifactType", kind.unwrap_or_default()),
                    ("Digest", found.digest().to_string()),
                    ("MediaType", found.media_type().to_string()),
                    ("Size", units::human_size(found.size())),
                ])
            })
            .filter(|row| {
                let kind = row.fields.get("ArtifactType").and_then(|kind| kind.as_str());
                self.artifact_type.is_none() || self.artifact_type.as_deref() == kind
            })
            .collect();
        table::print(&LAYOUT, &rows, self.format.as_deref(), false)?;
        Ok(ExitCode::SUCCESS)
    }
}
