//! `builder cache`: cache mounts of builds as archives, so that the next machine has them, too.

use super::load::open;
use super::save::to_file;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{self, time, units};
use crate::terminal;
use clap::Args;
use engine::builds::Builds;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// Flags of `builder cache`.
#[derive(Debug, Args)]
pub(super) struct BuilderCache {
    /// ls: format the output
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// ls: only display ids
    #[arg(short, long)]
    quiet: bool,
}

const MOUNTS: Layout<'_> = Layout {
    kind: "*builder.cacheMount",
    headers: &[
        ("CreatedSince", "CREATED"),
        ("ID", "ID"),
        ("InUse", "IN USE"),
        ("Key", "CACHE ID"),
        ("LastUsedSince", "LAST USED"),
        ("Size", "SIZE"),
    ],
    default: "{{.ID}}\t{{.Key}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.InUse}}",
    quiet: "{{.ID}}",
};

impl Verb for BuilderCache {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let builds = cli.engine()?.builds();
        match words.split_first() {
            Some((verb, [])) if verb == "ls" => self.list(builds),
            Some((verb, [id, file])) if verb == "export" => {
                let path = Some(Path::new(file)).filter(|path| *path != Path::new("-"));
                to_file(path, "write", |into| Ok(builds.export_mount(id, into)?))
            }
            Some((verb, [id, file])) if verb == "import" => {
                let mut archive: Box<dyn Read> = match file.as_str() {
                    "-" if terminal::stdin_is_terminal() => {
                        return Err(Failure::new("standard input is a terminal")
                            .with_hint("redirect an archive to it, or name a file"));
                    }
                    "-" => Box::new(std::io::stdin().lock()),
                    file => open(Path::new(file))?,
                };
                builds.import_mount(id, archive.as_mut())?;
                output::line(id)?;
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(
                Failure::new("'builder cache' has 'ls', 'export ID FILE|-' and 'import ID FILE|-'")
                    .with_hint("'builder cache ls' lists the ids; 'builder prune' removes"),
            ),
        }
    }
}

impl BuilderCache {
    fn list(&self, builds: Builds<'_>) -> Result<ExitCode, Failure> {
        let now = time::now();
        let rows: Vec<Row> = builds
            .cache_mounts()?
            .into_iter()
            .map(|mount| {
                Row::new([
                    ("CreatedSince", time::ago(mount.created, now)),
                    ("ID", mount.id),
                    ("InUse", mount.in_use.to_string()),
                    ("Key", mount.key.chars().take(12).collect()),
                    ("LastUsedSince", time::ago(mount.last_used, now)),
                    ("Size", units::human_size(mount.size)),
                ])
            })
            .collect();
        table::print(&MOUNTS, &rows, self.format.as_deref(), self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}
