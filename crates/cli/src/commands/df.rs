//! `system df`.

use super::buildx::{CACHE, cache_row};
use super::{images, ps};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::template::{Labels, Template};
use crate::output::{self, json, time, units};
use clap::Args;
use engine::usage::{DiskDetails, VolumeUsage};
use serde_json::Value;
use std::process::ExitCode;

/// Flags of `system df`.
#[derive(Debug, Args)]
pub(super) struct DiskUsage {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const LAYOUT: Layout<'_> = Layout {
    kind: "*formatter.diskUsageContext",
    headers: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
    default: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

impl Verb for DiskUsage {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let details = cli.engine()?.disk_usage()?;
        if self.verbose {
            Verbose::new(&details).print(&details, self.format.as_deref())?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<Row> = details
            .summary()
            .iter()
            .map(|line| {
                Row::new([
                    ("Active", line.active.to_string()),
                    ("Reclaimable", reclaimable(line.reclaimable, line.size)),
                    ("Size", units::human_size(line.size)),
                    ("TotalCount", line.total.to_string()),
                    ("Type", line.kind.to_owned()),
                ])
            })
            .collect();
        table::print(&LAYOUT, &rows, self.format.as_deref(), false)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn reclaimable(bytes: u64, size: u64) -> String {
    match bytes.saturating_mul(100).checked_div(size) {
        Some(percent) => format!("{} ({percent}%)", units::human_size(bytes)),
        None => units::human_size(bytes),
    }
}

/// The four tables of `--verbose`.
struct Verbose {
    images: Vec<Row>,
    containers: Vec<Row>,
    volumes: Vec<Row>,
    cache: Vec<Row>,
}

const IMAGES: Layout<'_> = Layout {
    kind: "*formatter.imageContext",
    headers: images::HEADERS,
    default: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    quiet: "{{.ID}}",
};

const CONTAINERS: Layout<'_> = Layout {
    kind: "*formatter.ContainerContext",
    headers: ps::HEADERS,
    default: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

const VOLUMES: Layout<'_> = Layout {
    kind: "*formatter.volumeContext",
    headers: super::volume::HEADERS,
    default: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "{{.Name}}",
};

impl Verbose {
    fn new(details: &DiskDetails) -> Self {
        let now = time::now();
        let images = details.images.iter().flat_map(|usage| {
            let names = images::names(&usage.image, false);
            names.into_iter().map(move |name| {
                let row = images::row(&usage.image, &name, now, true);
                row.with("Containers", usage.containers.to_string())
                    .with("SharedSize", units::human_size(usage.shared))
                    .with("UniqueSize", units::human_size(usage.unique))
            })
        });
        let containers = details.containers.iter().map(|container| {
            // Here, without what the image has.
            let size = units::human_size(container.size_rw.unwrap_or(0));
            ps::row(container, now, true).with("Size", size)
        });
        Self {
            images: images.collect(),
            containers: containers.collect(),
            volumes: details.volumes.iter().map(volume_row).collect(),
            cache: details
                .build_cache
                .iter()
                .map(|step| cache_row(step, now, true))
                .collect(),
        }
    }

    fn print(&self, details: &DiskDetails, format: Option<&str>) -> Result<(), Failure> {
        match format.map(str::trim) {
            None | Some("" | "table") => {
                let headed = |title: &str| output::text(&format!("{title}\n\n"));
                headed("Images space usage:")?;
                table::print(&IMAGES, &self.images, None, false)?;
                headed("\nContainers space usage:")?;
                table::print(&CONTAINERS, &self.containers, None, false)?;
                headed("\nLocal Volumes space usage:")?;
                table::print(&VOLUMES, &self.volumes, None, false)?;
                headed(&format!(
                    "\nBuild cache usage: {}",
                    units::human_size(details.cache_size)
                ))?;
                table::print(&CACHE, &self.cache, None, false)
            }
            Some("json") => output::line(&json::compact(&self.value())),
            Some(text) => {
                let template = Template::parse(text)
                    .map_err(|error| Failure::new(format!("failed to parse template: {error}")))?;
                let text = template
                    .execute(&self.value(), Labels::None, Some("*formatter.diskUsageContext"))
                    .map_err(|error| Failure::new(format!("failed to execute template: {error}")))?;
                output::line(&text)
            }
        }
    }

    fn value(&self) -> Value {
        let rows =
            |rows: &[Row]| -> Value { rows.iter().map(|row| Value::Object(row.fields.clone())).collect() };
        serde_json::json!({
            "BuildCache": rows(&self.cache),
            "Containers": rows(&self.containers),
            "Images": rows(&self.images),
            "Volumes": rows(&self.volumes),
        })
    }
}

fn volume_row(usage: &VolumeUsage) -> Row {
    super::volume::row(&usage.volume)
        .with("Links", usage.volume.containers.to_string())
        .with("Size", units::human_size(usage.size))
}
