//! What a `RUN` sees besides its root filesystem: `--mount`, and scripts that are files.

use super::stubs;
use crate::MountSource;
use crate::StepMount;
use crate::agent::Agent;
use crate::build::Job;
use crate::cache::{KeyHasher, chain};
use crate::cache_mounts::{CacheMounts, Held};
use crate::digests;
use crate::error::{Failure, StepError};
use crate::place::Placement;
use crate::source::{self, Found, Kind as ItemKind, Origin};
use crate::stage::StageRun;
use crate::steps::foreign::{Foreign, foreign};
use crate::steps::snapshot::{Draught, mount as mount_union};
use dockerfile::{Mount, MountKind, Run, Sharing};
use rustix::fs::{FileType, Mode};
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::path::Tree;

/// Where secrets are unless their mount says otherwise.
const SECRETS: &str = "/run/secrets";
/// Where agents are unless their mount says otherwise.
const AGENT: &str = "/run/buildkit/ssh_agent";
/// BuildKit's bound.
const LARGEST_SECRET: u64 = 500 * 1024;

/// A mount understood: variables expanded, what it comes from known.
struct Wanted {
    mount: Mount,
    text: String,
    target: Option<String>,
    other: Option<Foreign>,
    /// The part of the context that is mounted.
    found: Option<Found>,
}

/// The mounts of a `RUN`, understood but not made.
pub(super) struct Plan {
    wanted: Vec<Wanted>,
    script: Option<StepMount>,
}

/// The mounts of a `RUN`, made. What they need is given back when this is dropped.
#[derive(Default)]
pub(super) struct Made<'a> {
    pub(super) mounts: Vec<StepMount>,
    /// Further variables of the command's, secrets among them.
    pub(super) environment: Vec<String>,
    caches: Vec<(String, Held)>,
    agents: Vec<Agent>,
    drafts: Vec<Draught<'a>>,
}

/// Understands the mounts. Stages that they come from are waited for.
pub(super) fn plan(run: &StageRun<'_>, command: &Run) -> Result<Plan, Failure> {
    let mut wanted = Vec::new();
    for flag in &command.mounts {
        let expanded = flag.expand(|text| run.word(text))?;
        let mount = expanded.understand().map_err(StepError::Mount)?;
        let target = target(&mount).map(|target| run.draft.absolute(&target));
        if target.as_deref() == Some("/") {
            return Err(StepError::MountOnRoot.into());
        }
        let other = foreign(run, "RUN", mount.from.as_deref())?;
        let mut wants = Wanted {
            text: flag.text.clone(),
            target,
            other,
            found: None,
            mount,
        };
        let from_context = match &wants.other {
            None => wants.mount.kind == MountKind::Bind,
            Some(Foreign::Context(..)) => true,
            Some(_) => false,
        };
        if from_context {
            wants.found = Some(part_of_context(run, &wants)?);
        }
        wanted.push(wants);
    }
    let script = command.script.as_ref().map(|document| StepMount {
        target: format!("/dev/pipes/{}", document.name),
        read_only: true,
        source: MountSource::File {
            content: document.text().into_bytes(),
            mode: 0o755,
            owner: (0, 0),
        },
    });
    Ok(Plan { wanted, script })
}

fn target(mount: &Mount) -> Option<String> {
    if mount.target.is_some() {
        return mount.target.clone();
    }
    match &mount.kind {
        // In the environment only, unless there is a target as well.
        MountKind::Secret { env: Some(_), .. } => None,
        MountKind::Secret { id, .. } => id.as_ref().map(|id| format!("{SECRETS}/{id}")),
        _ => None,
    }
}

/// Finds what is mounted of a context, with the digests of its files.
fn part_of_context(run: &StageRun<'_>, wanted: &Wanted) -> Result<Found, Failure> {
    let job = run.job;
    let origin = match &wanted.other {
        Some(Foreign::Context(context, _)) => context.origin(),
        _ => job.context.origin(),
    };
    let stopped = || job.stopped();
    let path = source::clean(wanted.mount.source.as_deref().unwrap_or("."));
    let mut found = source::find_one(&origin, &path, &stopped)?;
    let at = found.at.clone();
    digests::fill(origin.tree, &at, &mut found.items, Some(job.database), &stopped)?;
    Ok(found)
}

impl Plan {
    /// Adds to a key all that the mounts let the command see, but nothing of caches, secrets and agents.
    pub(super) fn hash(&self, hasher: &mut KeyHasher) {
        hasher.number(self.wanted.len() as u64);
        for wanted in &self.wanted {
            hasher
                .part(&wanted.text)
                .part(wanted.target.as_deref().unwrap_or_default());
            if let Some(other @ (Foreign::Stage(..) | Foreign::Image(..))) = &wanted.other {
                hasher.part(chain(other.layers()).as_bytes());
            }
            if let Some(found) = &wanted.found {
                for item in &found.items {
                    hasher.part(&item.path).number(item.mode.into());
                    match item.kind {
                        ItemKind::File => hasher.part(item.digest.as_ref().map_or(&[][..], |digest| digest)),
                        ItemKind::Link => hasher.part(&item.target),
                        ItemKind::Directory => hasher.number(0),
                        ItemKind::Special(kind) => hasher.number(u64::from(kind.as_raw_mode())),
                    };
                }
            }
        }
        if let Some(StepMount {
            source: MountSource::File { content, .. },
            ..
        }) = &self.script
        {
            hasher.part(content);
        }
    }

    /// Says whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.script.is_none()
    }

    /// Makes the mounts.
    pub(super) fn make<'a>(&self, run: &StageRun<'a>) -> Result<Made<'a>, Failure> {
        let mut made = Made::default();
        // All builds take caches in the same order, so that no two wait for each other.
        let mut order: Vec<&Wanted> = self.wanted.iter().collect();
        order.sort_by_key(|wanted| match &wanted.mount.kind {
            MountKind::Cache { id, .. } => id.clone().or_else(|| wanted.target.clone()),
            _ => None,
        });
        for wanted in order {
            match &wanted.mount.kind {
                MountKind::Bind => bind(run, wanted, &mut made)?,
                MountKind::Cache { id, sharing } => {
                    cache(run, wanted, id.as_deref(), *sharing, &mut made)?;
                }
                MountKind::Secret { id, env, required } => {
                    secret(
                        run.job,
                        wanted,
                        id.as_deref(),
                        env.as_deref(),
                        *required,
                        &mut made,
                    )?;
                }
                MountKind::Ssh { id, required } => {
                    agent(run.job, wanted, id.as_deref(), *required, &mut made)?;
                }
                MountKind::Tmpfs { size } => made.add(wanted, false, MountSource::Tmpfs(*size)),
            }
        }
        made.mounts.extend(self.script.clone());
        made.mounts
            .sort_by_key(|mount| Path::new(&mount.target).components().count());
        Ok(made)
    }
}

impl<'a> Made<'a> {
    fn add(&mut self, wanted: &Wanted, read_only: bool, source: MountSource) {
        if let Some(target) = &wanted.target {
            self.mounts.push(StepMount {
                target: target.clone(),
                read_only,
                source,
            });
        }
    }

    /// Makes the places that the mounts need in the root filesystem, and returns their directory if there is one.
    pub(super) fn places(&mut self, job: &'a Job<'_>, root: &Tree) -> Result<Option<PathBuf>, StepError> {
        let targets: Vec<(&Path, bool)> = self
            .mounts
            .iter()
            .map(|mount| {
                let is_directory = match &mount.source {
                    MountSource::Tmpfs(_) => true,
                    MountSource::File { .. } | MountSource::Socket(_) => false,
                    MountSource::Directory { path, subpath } => is_directory_at(path, subpath),
                    MountSource::Union { overlay, subpath } => {
                        mount_union(overlay).is_ok_and(|tree| is_directory(&tree, subpath))
                    }
                };
                (Path::new(&mount.target), is_directory)
            })
            .collect();
        let draught = Draught::begin(job, &[])?;
        let directory = draught.upper().to_owned();
        if !stubs::make(root, &directory, &targets)? {
            return Ok(None);
        }
        self.drafts.push(draught);
        Ok(Some(directory))
    }
}

fn is_directory_at(path: &Path, subpath: &Path) -> bool {
    Tree::open(path).is_ok_and(|tree| is_directory(&tree, subpath))
}

fn is_directory(tree: &Tree, path: &Path) -> bool {
    tree.stat(path, true)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes a path absolute inside a tree.
fn inside(path: Option<&str>) -> PathBuf {
    Path::new("/").join(source::clean(path.unwrap_or_default()))
}

fn bind<'a>(run: &StageRun<'a>, wanted: &Wanted, made: &mut Made<'a>) -> Result<(), Failure> {
    let job = run.job;
    let read_only = wanted.mount.read_only;
    if let Some(found) = &wanted.found {
        let context = match &wanted.other {
            Some(Foreign::Context(context, _)) => context,
            _ => &job.context,
        };
        let source = of_context(job, context.path(), context.origin().tree, found, read_only, made)?;
        made.add(wanted, read_only, source);
        return Ok(());
    }
    let layers = wanted.other.as_ref().map(Foreign::layers).unwrap_or_default();
    let ids: Vec<_> = layers.iter().map(|layer| layer.id.clone()).collect();
    let subpath = inside(wanted.mount.source.as_deref());
    // That it is there is said here, with its name.
    if let Some(other) = &wanted.other
        && !ids.is_empty()
    {
        let tree = mount_union(&job.store.overlay(&ids, None, false))?;
        source::check(
            &other.origin(&tree),
            wanted.mount.source.as_deref().unwrap_or_default(),
        )?;
    }
    let source = if ids.is_empty() {
        let draught = Draught::begin(job, &[])?;
        let path = draught.upper().to_owned();
        made.drafts.push(draught);
        MountSource::Directory { path, subpath }
    } else if read_only {
        let overlay = job.store.overlay(&ids, None, false);
        // Overlayfs wants two directories.
        match &overlay.lower[..] {
            [only] => MountSource::Directory {
                path: only.clone(),
                subpath,
            },
            _ => MountSource::Union { overlay, subpath },
        }
    } else {
        let draught = Draught::begin(job, layers)?;
        let overlay = draught.overlay(false);
        made.drafts.push(draught);
        MountSource::Union { overlay, subpath }
    };
    made.add(wanted, read_only, source);
    Ok(())
}

/// Shows a part of a context: as it is where nothing in it is hidden and nothing may be written, else below a directory
/// that hides what the ignore rules exclude and takes what is written.
fn of_context<'a>(
    job: &'a Job<'_>,
    path: &Path,
    tree: &Tree,
    found: &Found,
    read_only: bool,
    made: &mut Made<'a>,
) -> Result<MountSource, Failure> {
    let subpath = found.at.clone();
    if read_only && found.hidden.is_empty() {
        return Ok(MountSource::Directory {
            path: path.to_owned(),
            subpath,
        });
    }
    let draught = Draught::begin(job, &[])?;
    let cover = Tree::open(draught.upper())?;
    let mut last: Option<PathBuf> = None;
    for hidden in &found.hidden {
        let hidden = found.at.join(OsStr::from_bytes(hidden));
        if last.as_ref().is_some_and(|last| hidden.starts_with(last)) {
            continue;
        }
        let mut above: Vec<&Path> = hidden.ancestors().skip(1).collect();
        above.pop();
        for directory in above.into_iter().rev() {
            if cover.stat(directory, false).is_err() {
                stubs::copy_directory(tree, &cover, directory)?;
            }
        }
        // Overlayfs's whiteout.
        cover.make_node(&hidden, FileType::CharacterDevice, Mode::empty(), 0)?;
        last = Some(hidden);
    }
    let mut overlay = draught.overlay(false);
    overlay.lower = vec![path.to_owned()];
    if read_only {
        overlay.lower.insert(0, draught.upper().to_owned());
        (overlay.upper, overlay.work) = (None, None);
    }
    made.drafts.push(draught);
    Ok(MountSource::Union { overlay, subpath })
}

fn cache<'a>(
    run: &StageRun<'a>,
    wanted: &Wanted,
    id: Option<&str>,
    sharing: Sharing,
    made: &mut Made<'a>,
) -> Result<(), Failure> {
    let job = run.job;
    let name = id.or(wanted.target.as_deref()).unwrap_or_default();
    let namespace = job.globals.given("BUILDKIT_CACHE_MOUNT_NS").unwrap_or_default();
    let id = if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    };
    // What it begins with is a part of what it is: other files, another cache.
    let id = match &wanted.other {
        Some(other) if !other.layers().is_empty() => format!("{id} from {}", chain(other.layers())),
        Some(other) => format!("{id} from {}", other.name()),
        None => id,
    };
    let caches = CacheMounts::new(job.store.cache_mounts());
    let stopped = || job.stopped();
    let take =
        |sharing| -> Result<Held, Failure> { caches.take(&id, sharing, &stopped)?.ok_or(Failure::Cancelled) };
    let begins_with_something = wanted.other.is_some() || !job.caches().is_empty();
    if begins_with_something && made.caches.iter().all(|(known, _)| *known != id) {
        // Nobody else sees it half filled.
        let held = take(Sharing::Locked)?;
        if held.is_new {
            let recalled = recall(job, &id, &held)?;
            begin(wanted, &held)?;
            if !recalled {
                fill(job, wanted, &held)?;
            }
            held.finish(&id)?;
        }
    }
    let known = made
        .caches
        .iter()
        .find(|(known, _)| *known == id)
        .map(|(_, held)| held.data.clone());
    let path = if let Some(path) = known {
        path
    } else {
        let held = take(sharing)?;
        if held.is_new {
            begin(wanted, &held)?;
            held.finish(&id)?;
        }
        let path = held.data.clone();
        made.caches.push((id, held));
        path
    };
    let source = MountSource::Directory {
        path,
        subpath: if wanted.other.is_some() {
            PathBuf::from("/")
        } else {
            inside(wanted.mount.source.as_deref())
        },
    };
    made.add(wanted, wanted.mount.read_only, source);
    Ok(())
}

/// Fills a new cache with what `--cache-from` has for it. What cannot be read makes the build slower, not wrong.
fn recall(job: &Job<'_>, id: &str, held: &Held) -> Result<bool, StepError> {
    match job.services.recall_mount(id, &Tree::open(&held.data)?) {
        Ok(recalled) => Ok(recalled),
        Err(error) => {
            job.progress.warn(crate::error::chain(&error), None);
            held.clear()?;
            Ok(false)
        }
    }
}

/// Gives a new cache's directory its owner and its mode.
fn begin(wanted: &Wanted, held: &Held) -> Result<(), StepError> {
    let tree = Tree::open(&held.data)?;
    let owner = (
        wanted.mount.uid.unwrap_or_default(),
        wanted.mount.gid.unwrap_or_default(),
    );
    tree.set_owner(Path::new("."), owner)?;
    tree.set_mode(
        Path::new("."),
        Mode::from_raw_mode(wanted.mount.mode.unwrap_or(0o755) & 0o7777),
    )?;
    Ok(())
}

/// Copies what a new cache begins with.
fn fill(job: &Job<'_>, wanted: &Wanted, held: &Held) -> Result<(), Failure> {
    let Some(other) = &wanted.other else { return Ok(()) };
    let stopped = || job.stopped();
    let to = Tree::open(&held.data)?;
    let copy = |origin: &Origin<'_>| -> Result<(), Failure> {
        let found = source::find_one(
            origin,
            &source::clean(wanted.mount.source.as_deref().unwrap_or(".")),
            &stopped,
        )?;
        let placement = Placement {
            from: origin.tree,
            to: &to,
            destination: Path::new("/"),
            is_directory: true,
            owner: None,
            keep_owners: true,
            mode: None,
            cancelled: &stopped,
            changed: Cell::new(false),
        };
        placement.copy(&found)
    };
    if let Foreign::Context(context, _) = other {
        return copy(&context.origin());
    }
    let ids: Vec<_> = other.layers().iter().map(|layer| layer.id.clone()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let tree = mount_union(&job.store.overlay(&ids, None, false))?;
    copy(&other.origin(&tree))
}

fn secret(
    job: &Job<'_>,
    wanted: &Wanted,
    id: Option<&str>,
    env: Option<&str>,
    required: bool,
    made: &mut Made<'_>,
) -> Result<(), Failure> {
    let last = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    let id = id
        .map(str::to_owned)
        .or_else(|| wanted.mount.target.as_ref().map(last))
        .or_else(|| env.map(str::to_owned))
        .unwrap_or_default();
    let Some(secret) = job.request.secrets.get(&id) else {
        return if required {
            Err(StepError::NoSecret(id).into())
        } else {
            Ok(())
        };
    };
    let content = match secret {
        crate::Secret::Value(value) => value.clone(),
        crate::Secret::File(path) => {
            // The user named this file, so it may be reached through links.
            let failed = |error: std::io::Error| StepError::SecretFile {
                id: id.clone(),
                source: sys::SysError::io("read", path, &error),
            };
            let mut content = Vec::new();
            let file = std::fs::File::open(path).map_err(failed)?;
            std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_SECRET + 1), &mut content)
                .map_err(failed)?;
            content
        }
    };
    if content.len() as u64 > LARGEST_SECRET {
        return Err(StepError::LargeSecret(id).into());
    }
    if let Some(name) = env {
        let value = String::from_utf8(content.clone())
            .ok()
            .filter(|value| !value.contains('\0'))
            .ok_or_else(|| StepError::SecretText(id.clone()))?;
        made.environment.push(format!("{name}={value}"));
    }
    let mount = &wanted.mount;
    let source = MountSource::File {
        content,
        mode: mount.mode.unwrap_or(0o400),
        owner: (mount.uid.unwrap_or_default(), mount.gid.unwrap_or_default()),
    };
    made.add(wanted, true, source);
    Ok(())
}

fn agent<'a>(
    job: &'a Job<'_>,
    wanted: &Wanted,
    id: Option<&str>,
    required: bool,
    made: &mut Made<'a>,
) -> Result<(), Failure> {
    let id = id.unwrap_or("default");
    let Some(socket) = job.request.agents.get(id) else {
        return if required {
            Err(StepError::NoAgent(id.to_owned()).into())
        } else {
            Ok(())
        };
    };
    let draught = Draught::begin(job, &[])?;
    let mount = &wanted.mount;
    let owner = (mount.uid.unwrap_or_default(), mount.gid.unwrap_or_default());
    let agent = Agent::open(draught.upper(), socket, mount.mode.unwrap_or(0o600), owner)?;
    let target = wanted
        .target
        .clone()
        .unwrap_or_else(|| format!("{AGENT}.{}", made.agents.len()));
    if made.agents.is_empty() {
        made.environment.push(format!("SSH_AUTH_SOCK={target}"));
    }
    made.mounts.push(StepMount {
        target,
        read_only: false,
        source: MountSource::Socket(agent.socket.clone()),
    });
    made.agents.push(agent);
    made.drafts.push(draught);
    Ok(())
}
