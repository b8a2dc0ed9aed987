//! `cp`.
//!
//! What comes out of a container is laid down with descriptors below the destination only: a name or a link in it
//! that would lead elsewhere on the host is refused (CVE-2018-15664 and its kin).

mod local;

use crate::args::environment::reason;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::units;
use clap::Args;
use engine::containers::Containers;
use engine::containers::copy::{Clash, Owner, PathStat};
use engine::containers::record::ContainerId;
use engine::{EngineError, Kind};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `cp`.
#[derive(Debug, Args)]
pub(super) struct Cp {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
}

/// `S_IFMT` and two of its values (inode(7)).
const FORMAT: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

impl Verb for Cp {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let (source, destination) = (words[0].as_str(), words[1].as_str());
        match (split(source), split(destination)) {
            (Some(_), Some(_)) => Err(Failure::bare("copying between containers is not supported")),
            (None, None) => Err(Failure::bare("must specify at least one container source")),
            (Some((name, path)), None) => {
                let containers = cli.engine()?.containers();
                let id = containers.find(name)?;
                self.out(containers, &id, (name, path), destination)
            }
            (None, Some((name, path))) => {
                let containers = cli.engine()?.containers();
                let id = containers.find(name)?;
                self.inward(containers, &id, source, (name, path), destination)
            }
        }
    }
}

/// Takes `container:path` apart. What begins with a slash or a dot is a path of the host, colons or not.
fn split(argument: &str) -> Option<(&str, &str)> {
    if argument.starts_with('/') {
        return None;
    }
    argument
        .split_once(':')
        .filter(|(container, _)| !container.starts_with('.'))
}

/// Says whether a path asks for a directory's content (`dir/.`), and returns it without that.
fn content_only(path: &str) -> (String, bool) {
    match path.strip_suffix("/.") {
        Some("") => ("/".to_owned(), true),
        Some(rest) => (rest.to_owned(), true),
        None if path == "." => (".".to_owned(), true),
        None => (path.to_owned(), false),
    }
}

fn is_directory(stat: &PathStat) -> bool {
    stat.mode & FORMAT == DIRECTORY
}

fn base(path: &str) -> String {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl Cp {
    fn out(
        &self,
        containers: Containers<'_>,
        id: &ContainerId,
        (container, path): (&str, &str),
        destination: &str,
    ) -> Result<ExitCode, Failure> {
        let (mut path, whole_content) = content_only(path);
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        let mut stat = containers
            .stat_path(id, &path)
            .map_err(|error| missing(error, container, &path))?;
        let name = if stat.name.is_empty() {
            base(&path)
        } else {
            stat.name.clone()
        };
        if stat.mode & FORMAT == LINK && (self.follow_link || whole_content || path.ends_with('/')) {
            path.clone_from(&stat.link_target);
            stat = containers
                .stat_path(id, &path)
                .map_err(|error| missing(error, container, &path))?;
        }
        if destination == "-" {
            if output::stdout_is_terminal() {
                return Err(Failure::new(
                    "refusing to write an archive to a terminal: redirect it",
                ));
            }
            let mut out = BufWriter::new(output::raw_stdout());
            // The content alone has no top directory of a name.
            let asked = if whole_content {
                format!("{}/.", path.trim_end_matches('/'))
            } else {
                path
            };
            containers.copy_out(id, &asked, &mut out)?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let (directory, name) = Self::place(destination, is_directory(&stat), whole_content, name)?;
        let (reader, writer) = std::io::pipe()?;
        let (written, unpacked) = std::thread::scope(|scope| {
            let unpacker =
                scope.spawn(|| local::unpack(BufReader::new(reader), &directory, &name, self.archive));
            let mut writer = BufWriter::with_capacity(1 << 16, local::Counted::new(writer));
            let written = containers.copy_out(id, &path, &mut writer).map_err(Failure::from);
            let written = written.and_then(|_| Ok(writer.flush()?));
            let written = written.map(|()| writer.get_ref().bytes);
            drop(writer);
            let unpacked = unpacker
                .join()
                .unwrap_or_else(|_| Err(Failure::new("unpacking was cut short")));
            (written, unpacked)
        });
        // A reader that gave up breaks the writer's pipe: its own reason is the better one.
        let bytes = match (written, unpacked) {
            (_, Err(failure)) | (Err(failure), Ok(_)) => return Err(failure),
            (Ok(bytes), Ok(_)) => bytes,
        };
        self.say(bytes, destination);
        Ok(ExitCode::SUCCESS)
    }

    /// Decides into which directory of the host, and under which name.
    fn place(
        destination: &str,
        from_directory: bool,
        whole_content: bool,
        name: String,
    ) -> Result<(PathBuf, String), Failure> {
        let path = Path::new(destination);
        let parent_and_name = |path: &Path| match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let parent = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
                Ok((parent.to_owned(), name.to_string_lossy().into_owned()))
            }
            _ => Err(Failure::new(format!("cannot copy onto '{destination}'"))),
        };
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() && !whole_content => Ok((path.to_owned(), name)),
            Ok(found) if found.is_dir() => {
                let real =
                    std::fs::canonicalize(path).map_err(|error| Failure::file("resolve", path, &error))?;
                if real == Path::new("/") {
                    Ok((real, ".".to_owned()))
                } else {
                    parent_and_name(&real)
                }
            }
            Ok(_) if from_directory => Err(Failure::new("cannot copy directory")),
            Ok(_) if destination.ends_with('/') => Err(Failure::new("not a directory")),
            Ok(_) => {
                let real =
                    std::fs::canonicalize(path).map_err(|error| Failure::file("resolve", path, &error))?;
                parent_and_name(&real)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if destination.ends_with('/') && !from_directory {
                    return Err(Failure::new(format!("no such directory: {destination}")));
                }
                let (parent, name) = parent_and_name(path)?;
                match std::fs::metadata(&parent) {
                    Ok(found) if found.is_dir() => Ok((parent, name)),
                    _ => Err(Failure::new(format!(
                        "invalid output path: directory {:?} does not exist",
                        parent.display().to_string()
                    ))),
                }
            }
            Err(error) => Err(Failure::new(format!("stat {destination}: {}", reason(&error)))),
        }
    }

    fn inward(
        &self,
        containers: Containers<'_>,
        id: &ContainerId,
        source: &str,
        (container, destination): (&str, &str),
        shown: &str,
    ) -> Result<ExitCode, Failure> {
        let mut target = destination.to_owned();
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        // A tar has numeric owners, and they are kept: what is documented of Docker is otherwise, but this is what it does.
        // With --archive they become the container's user's, where Docker looks for that on the host.
        let owner = if self.archive {
            Owner::Container
        } else {
            Owner::Archived
        };
        if source == "-" {
            // A link to a directory is one.
            let found = stat(containers, id, &format!("{}/", target.trim_end_matches('/')));
            if !matches!(&found, Ok(Some(found)) if is_directory(found)) {
                return Err(Failure::new(format!(
                    "destination \"{shown}\" must be a directory"
                )));
            }
            containers.copy_in(id, &target, &mut std::io::stdin().lock(), owner, Clash::Refuse)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (path, whole_content) = content_only(source);
        let path = Path::new(&path);
        let follow = self.follow_link || whole_content || source.ends_with('/');
        let metadata = if follow {
            std::fs::metadata(path)
        } else {
            std::fs::symlink_metadata(path)
        };
        let metadata =
            metadata.map_err(|error| Failure::new(format!("lstat {source}: {}", reason(&error))))?;
        let mut found = stat(containers, id, &target)?;
        if let Some(link) = found.as_ref().filter(|found| found.mode & FORMAT == LINK) {
            target.clone_from(&link.link_target);
            found = stat(containers, id, &target)?;
        }
        let own_name = || {
            let real = std::fs::canonicalize(path);
            let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
            named
                .or_else(|| Some(real.ok()?.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_default()
        };
        let (directory, name) = match &found {
            Some(stat) if is_directory(stat) && whole_content => (target.clone(), ".".to_owned()),
            Some(stat) if is_directory(stat) => (target.clone(), own_name()),
            Some(_) if metadata.is_dir() => return Err(Failure::new("cannot copy directory")),
            None if destination.ends_with('/') && !metadata.is_dir() => {
                return Err(Failure::new(format!("no such directory: {destination}")));
            }
            _ => {
                let trimmed = target.trim_end_matches('/');
                let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
                let parent = if parent.is_empty() { "/" } else { parent };
                (parent.to_owned(), name.to_owned())
            }
        };
        let (mut reader, writer) = std::io::pipe()?;
        let (packed, copied) = std::thread::scope(|scope| {
            let packer = scope.spawn(|| local::pack(path, &name, follow, writer));
            let copied = containers
                .copy_in(id, &directory, &mut reader, owner, Clash::Refuse)
                .map_err(|error| missing(error, container, &directory));
            drop(reader);
            let packed = packer
                .join()
                .unwrap_or_else(|_| Err(Failure::new("packing was cut short")));
            (packed, copied)
        });
        let bytes = match (packed, copied) {
            // Ours is the better reason unless it only says that the engine stopped reading.
            (Err(failure), copied) if copied.is_ok() || !failure.message.is_empty() => return Err(failure),
            (_, Err(failure)) | (Err(failure), Ok(())) => return Err(failure),
            (Ok(bytes), Ok(())) => bytes,
        };
        self.say(bytes, shown);
        Ok(ExitCode::SUCCESS)
    }

    fn say(&self, bytes: u64, destination: &str) {
        if !self.quiet && output::stderr_is_terminal() {
            output::note(&format!(
                "Successfully copied {} to {destination}",
                units::human_size(bytes)
            ));
        }
    }
}

/// Says in Docker's words that there is no such file.
fn missing(error: EngineError, container: &str, path: &str) -> Failure {
    if error.kind() == Kind::NotFound {
        return Failure::new(format!("Could not find the file {path} in container {container}"));
    }
    error.into()
}

fn stat(containers: Containers<'_>, id: &ContainerId, path: &str) -> Result<Option<PathStat>, EngineError> {
    match containers.stat_path(id, path) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_side_is_the_container() {
        assert_eq!(split("c:/x"), Some(("c", "/x")));
        assert_eq!(split("/a:b"), None);
        assert_eq!(split("./a:b"), None);
        assert_eq!(split("plain"), None);
        assert_eq!(content_only("dir/."), ("dir".to_owned(), true));
        assert_eq!(content_only("dir/"), ("dir/".to_owned(), false));
    }
}
