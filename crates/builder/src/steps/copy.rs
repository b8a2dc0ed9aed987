//! `COPY` and `ADD`.

use super::foreign::Foreign;
use super::snapshot::{Draught, mount};
use crate::archive;
use crate::build::Job;
use crate::cache::{Finished, KeyHasher, Record, chain};
use crate::digests;
use crate::error::{Failure, StepError};
use crate::exclude::Exclusions;
use crate::mode::ModeChange;
use crate::place::Placement;
use crate::progress::Step;
use crate::source::{self, Found, Kind as ItemKind, Origin};
use crate::stage::StageRun;
use crate::steps::remote;
use crate::users;
use dockerfile::{AddFlags, CopyFiles, Glob, Instruction, expand_document, is_remote_source};
use oci::Digest;
use rustix::fs::Mode;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use store::{Layer, Times};
use sys::path::Tree;

/// Which of the two it is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Add(AddFlags),
    Copy,
}

impl Kind {
    fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Copy => "COPY",
        }
    }

    /// Says whether archives are unpacked: local ones unless told not to, fetched ones only when told to.
    fn unpacks(&self, fetched: bool) -> bool {
        match self {
            Self::Add(flags) => flags.unpack.unwrap_or(!fetched),
            Self::Copy => false,
        }
    }
}

/// The instruction with its variables expanded.
struct Plan {
    kind: Kind,
    sources: Vec<String>,
    destination: String,
    is_directory: bool,
    owner: Option<String>,
    mode: Option<ModeChange>,
    /// The layer does not depend on those below it.
    link: bool,
    parents: bool,
    exclude: Exclusions,
    /// Files whose content stands in the Dockerfile: their names and texts.
    documents: Vec<(String, String)>,
    /// As history shows it.
    text: String,
    hasher_parts: Vec<String>,
}

/// Sources that lie in one tree.
struct Part<'a> {
    origin: Origin<'a>,
    found: Vec<Found>,
    /// It comes from an image or a stage, so owners are kept.
    foreign: bool,
    unpack: bool,
}

pub(crate) fn copy(
    run: &mut StageRun<'_>,
    kind: &Kind,
    files: &CopyFiles,
    other: Option<&Foreign>,
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<(), Failure> {
    let plan = plan(run, kind, files)?;
    let layer = match other {
        None => from_context(run, &plan, instruction, step)?,
        Some(other) => from_other(run, &plan, other, instruction, step)?,
    };
    match layer {
        Some(layer) => run.draft.add_layer(layer, plan.text),
        None => run.draft.history(plan.text, true),
    }
    Ok(())
}

fn plan(run: &StageRun<'_>, kind: &Kind, files: &CopyFiles) -> Result<Plan, StepError> {
    let expand_all = |words: &[String]| {
        words
            .iter()
            .map(|word| run.word(word))
            .collect::<Result<Vec<_>, _>>()
    };
    let expand = |word: &Option<String>| word.as_ref().map(|word| run.word(word)).transpose();
    let sources = expand_all(&files.sources)?;
    let mut documents = Vec::new();
    for document in &files.documents {
        let name = &document.name;
        if name.contains('/') || matches!(name.as_str(), "." | "..") {
            return Err(StepError::DocumentName(name.clone()));
        }
        let text = if document.expands {
            expand_document(&document.text(), &|name| run.draft.variable(name))?
        } else {
            document.text()
        };
        documents.push((name.clone(), text));
    }
    let written = run.word(&files.destination)?;
    let last = written.rsplit('/').next().unwrap_or_default();
    let is_directory = matches!(last, "" | "." | "..");
    if sources.len() + documents.len() > 1 && !is_directory {
        return Err(StepError::SeveralSources(kind.keyword()));
    }
    if written.contains('\0') {
        return Err(StepError::BadPath(written.replace('\0', "\\0")));
    }
    let mut owner = expand(&files.owner)?.filter(|owner| !owner.is_empty());
    let mode_text = expand(&files.mode)?.filter(|mode| !mode.is_empty());
    let mode = mode_text.as_deref().map(ModeChange::parse).transpose()?;
    let mut text = kind.keyword().to_owned();
    for (flag, value) in [("chown", &owner), ("chmod", &mode_text)] {
        if let Some(value) = value {
            for piece in [" --", flag, "=", value] {
                text.push_str(piece);
            }
        }
    }
    for (flag, set) in [("link", files.link), ("parents", files.parents)] {
        if set {
            text.push_str(" --");
            text.push_str(flag);
        }
    }
    for pattern in &files.exclude {
        text.push_str(" --exclude=");
        text.push_str(pattern);
    }
    for (name, _) in &documents {
        text.push_str(" <<");
        text.push_str(name);
    }
    for word in sources.iter().chain([&written]) {
        text.push(' ');
        text.push_str(word);
    }
    let destination = run.draft.absolute(&written);
    if files.link
        && let Some(name) = &owner
    {
        // The layer is the same on whatever it is put, so whose it is must be known by number.
        let ids: Vec<_> = run.draft.layers.iter().map(|layer| layer.id.clone()).collect();
        let (user, group) = users::resolve(&mount(&run.job.store.overlay(&ids, None, false))?, name)?;
        owner = Some(format!("{user}:{group}"));
    }
    let mut hasher_parts = vec![
        destination.clone(),
        is_directory.to_string(),
        owner.clone().unwrap_or_default(),
        mode_text.unwrap_or_default(),
        run.job.file_epoch().to_string(),
        kind.unpacks(false).to_string(),
    ];
    // Only where they stand, so that older results are still found.
    if files.parents {
        hasher_parts.push("parents".to_owned());
    }
    hasher_parts.extend(files.exclude.iter().map(|pattern| format!("exclude {pattern}")));
    Ok(Plan {
        kind: kind.clone(),
        link: files.link,
        parents: files.parents,
        exclude: Exclusions::new(&files.exclude)?,
        documents,
        sources,
        destination,
        is_directory,
        owner,
        mode,
        text,
        hasher_parts,
    })
}

impl Plan {
    /// Returns what stands for the layers below in the step's key.
    fn below(&self, layers: &[Layer]) -> Vec<u8> {
        if self.link {
            b"link".to_vec()
        } else {
            chain(layers).as_bytes().to_vec()
        }
    }
}

/// Copies files of the context, of the Dockerfile itself and, with `ADD`, from elsewhere.
fn from_context(
    run: &StageRun<'_>,
    plan: &Plan,
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<Option<Layer>, Failure> {
    let job = run.job;
    let is_remote = |source: &&String| matches!(plan.kind, Kind::Add(_)) && is_remote_source(source);
    let local: Vec<String> = plan
        .sources
        .iter()
        .filter(|source| !is_remote(source))
        .cloned()
        .collect();
    let mut parts = Vec::new();
    if !local.is_empty() {
        let origin = job.context.origin();
        let found = find(job, &origin, plan, &local, step, Some(job.database))?;
        parts.push(Part {
            origin,
            found,
            foreign: false,
            unpack: plan.kind.unpacks(false),
        });
    }
    // What comes from elsewhere is put into directories that live as long as the step.
    let mut fetched = Vec::new();
    for source in plan.sources.iter().filter(is_remote) {
        let Kind::Add(flags) = &plan.kind else { continue };
        fetched.push(remote::fetch(run, source, flags, plan.is_directory, step)?);
    }
    let documents = documents(job, plan)?;
    for (tree, name, is_tree) in fetched
        .iter()
        .map(|fetched| (&fetched.tree, fetched.name.as_str(), fetched.is_tree))
        .chain(documents.iter().map(|(_, tree)| (tree, "the Dockerfile", false)))
    {
        let origin = Origin {
            tree,
            name: name.to_owned(),
            ignore: None,
        };
        let names: Vec<String> = if is_tree {
            vec![".".to_owned()]
        } else {
            tree.entries(Path::new("."))?
                .iter()
                .map(|entry| entry.name.to_string_lossy().into_owned())
                .collect()
        };
        let stopped = || job.stopped();
        let mut found = Vec::new();
        for name in names {
            let mut one = source::find_one(&origin, if is_tree { "" } else { &name }, &stopped)?;
            let at = one.at.clone();
            digests::fill(tree, &at, &mut one.items, None, &stopped)?;
            plan.exclude.apply(&mut one);
            found.push(one);
        }
        parts.push(Part {
            origin,
            found,
            foreign: false,
            unpack: !is_tree && name != "the Dockerfile" && plan.kind.unpacks(true),
        });
    }
    let key = content_key(run, plan, &parts);
    match run.find(&key)? {
        Ok(finished) => {
            step.cached();
            Ok(finished.layer)
        }
        Err(_turn) => execute(run, plan, &parts, &[key], instruction, step),
    }
}

/// Writes the files whose content stands in the Dockerfile.
fn documents<'a>(job: &'a Job<'_>, plan: &Plan) -> Result<Option<(Draught<'a>, Tree)>, Failure> {
    if plan.documents.is_empty() {
        return Ok(None);
    }
    let draught = Draught::begin(job, &[])?;
    let tree = Tree::open(draught.upper())?;
    for (name, text) in &plan.documents {
        let path = Path::new(name);
        let mut file = std::fs::File::from(tree.create_file(path, Mode::from_raw_mode(0o644))?);
        file.write_all(text.as_bytes())
            .map_err(|error| sys::SysError::io("write", path, &error))?;
    }
    Ok(Some((draught, tree)))
}

fn from_other(
    run: &StageRun<'_>,
    plan: &Plan,
    other: &Foreign,
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<Option<Layer>, Failure> {
    let job = run.job;
    if let Foreign::Context(context, _) = other {
        let origin = context.origin();
        let found = find(job, &origin, plan, &plan.sources, step, Some(job.database))?;
        let parts = [Part {
            origin,
            found,
            foreign: false,
            unpack: false,
        }];
        let key = content_key(run, plan, &parts);
        return match run.find(&key)? {
            Ok(finished) => {
                step.cached();
                Ok(finished.layer)
            }
            Err(_turn) => execute(run, plan, &parts, &[key], instruction, step),
        };
    }
    // The layers that hold the files say all about them, and are known without a look at the files.
    let mut hasher = KeyHasher::new("copy by layers");
    hasher
        .part(plan.below(&run.draft.layers))
        .parts(&plan.hasher_parts)
        .parts(&plan.sources)
        .part(chain(other.layers()).as_bytes());
    let by_layers = hasher.finish();
    let _turn = match run.find(&by_layers)? {
        Ok(finished) => {
            step.cached();
            return Ok(finished.layer);
        }
        Err(turn) => turn,
    };
    let ids: Vec<_> = other.layers().iter().map(|layer| layer.id.clone()).collect();
    let empty;
    let tree = if ids.is_empty() {
        empty = Draught::begin(job, &[])?;
        empty.mount()?
    } else {
        mount(&job.store.overlay(&ids, None, false))?
    };
    let origin = other.origin(&tree);
    let found = find(job, &origin, plan, &plan.sources, step, None)?;
    let parts = [Part {
        origin,
        found,
        foreign: true,
        unpack: false,
    }];
    let key = content_key(run, plan, &parts);
    match run.find(&key)? {
        Ok(Finished { layer }) => {
            step.cached();
            let record = record(run, plan, &[key], &parts, instruction, step);
            job.cache.note(&[by_layers], layer.as_ref(), &record)?;
            Ok(layer)
        }
        Err(_turn) => execute(run, plan, &parts, &[key, by_layers], instruction, step),
    }
}

/// Finds all sources, with their files' digests.
fn find(
    job: &Job<'_>,
    origin: &Origin<'_>,
    plan: &Plan,
    sources: &[String],
    step: &Step<'_>,
    database: Option<&state::Database>,
) -> Result<Vec<Found>, Failure> {
    let stopped = || job.stopped();
    let mut found = Vec::new();
    for written in sources {
        let before = found.len();
        if plan.parents {
            found.extend(source::find_with_parents(origin, written, &stopped)?);
        } else {
            found.extend(source::find(origin, written, &stopped)?);
        }
        if found.len() == before {
            step.note(&format!("{written} matches nothing in {}", origin.name));
        }
        if Glob::is_pattern(written)
            && found.len() > before + 1
            && !plan.is_directory
            && !plan.parents
            && found[before..].iter().any(|found| !found.is_directory())
        {
            // Docker would write them one over the other.
            return Err(StepError::SeveralSources(plan.kind.keyword()).into());
        }
    }
    found.retain_mut(|source| plan.exclude.apply(source));
    for source in &mut found {
        let at = source.at.clone();
        digests::fill(origin.tree, &at, &mut source.items, database, &stopped)?;
    }
    Ok(found)
}

/// Hashes what the step reads: names, kinds, modes and contents; not times, and owners only where they are kept.
fn content_key(run: &StageRun<'_>, plan: &Plan, parts: &[Part<'_>]) -> Digest {
    let foreign = parts.iter().any(|part| part.foreign);
    let mut hasher = KeyHasher::new(if foreign { "copy from image" } else { "copy" });
    hasher
        .part(plan.below(&run.draft.layers))
        .parts(&plan.hasher_parts);
    for part in parts
        .iter()
        .filter(|part| part.unpack != plan.kind.unpacks(false))
    {
        hasher.part(if part.unpack { "unpacked" } else { "as it is" });
    }
    for source in parts.iter().flat_map(|part| &part.found) {
        // A directory's own name and mode reach nothing: its content is what is copied.
        let whole = source.is_directory();
        hasher.number(u64::from(whole)).number(source.items.len() as u64);
        if !whole {
            hasher.part(source.name.as_encoded_bytes());
        }
        for (path, mode) in &source.kept {
            hasher.part(path).number((*mode).into());
        }
        for item in &source.items[usize::from(whole)..] {
            let kind = match item.kind {
                ItemKind::Directory => 0,
                ItemKind::File => 1,
                ItemKind::Link => 2,
                ItemKind::Special(kind) => 16 + u64::from(kind.as_raw_mode()),
            };
            hasher.part(&item.path).number(kind);
            if item.kind != ItemKind::Link {
                hasher.number(u64::from(item.mode));
            }
            if foreign {
                hasher
                    .number(u64::from(item.owner.0))
                    .number(u64::from(item.owner.1));
            }
            match item.kind {
                ItemKind::File => hasher.part(item.digest.as_ref().map_or(&[][..], |digest| digest)),
                ItemKind::Link => hasher.part(&item.target),
                ItemKind::Special(_) => hasher.number(item.number),
                ItemKind::Directory => &mut hasher,
            };
        }
    }
    hasher.finish()
}

fn execute(
    run: &StageRun<'_>,
    plan: &Plan,
    parts: &[Part<'_>],
    keys: &[Digest],
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<Option<Layer>, Failure> {
    let job = run.job;
    let permit = job.permit();
    let below = if plan.link { &[][..] } else { &run.draft.layers[..] };
    let draught = Draught::begin(job, below)?;
    let tree = draught.mount()?;
    let mut changed = false;
    for part in parts {
        changed |= write(job, plan, part, &tree)?;
    }
    drop(tree);
    if job.stopped() {
        return Err(Failure::Cancelled);
    }
    let layer = draught.commit(Times::Exactly(job.file_epoch()))?;
    drop(permit);
    if changed {
        run.key.set(None);
        step.note("a source was changed while it was copied; the step will be done again next time");
        return Ok(Some(layer));
    }
    let record = record(run, plan, keys, parts, instruction, step);
    job.cache.record(keys, Some(&layer), &record)?;
    Ok(Some(layer))
}

/// Puts the sources into the tree; says whether one of them changed meanwhile.
fn write(job: &Job<'_>, plan: &Plan, part: &Part<'_>, tree: &Tree) -> Result<bool, Failure> {
    let owner = plan
        .owner
        .as_deref()
        .map(|owner| users::resolve(tree, owner))
        .transpose()?;
    let stopped = || job.stopped();
    let placement = Placement {
        from: part.origin.tree,
        to: tree,
        destination: Path::new(&plan.destination),
        is_directory: plan.is_directory,
        owner,
        keep_owners: part.foreign,
        mode: plan.mode.as_ref(),
        cancelled: &stopped,
        changed: Cell::new(false),
    };
    if plan.is_directory {
        placement.directory(placement.destination)?;
    }
    for source in &part.found {
        if part.unpack && archive::unpack(&placement, source)? {
            placement.check_source(source)?;
        } else {
            placement.copy(source)?;
        }
    }
    Ok(placement.changed.get())
}

fn record<'a>(
    run: &StageRun<'_>,
    plan: &Plan,
    keys: &[Digest],
    parts: &[Part<'_>],
    instruction: &'a Instruction,
    step: &Step<'_>,
) -> Record<'a> {
    Record {
        summary: &instruction.text,
        inputs: serde_json::json!({
            "operation": plan.text,
            "below": chain(&run.draft.layers),
            "files": keys.first(),
            "contents": contents(parts),
            "time": run.job.file_epoch(),
        }),
        seconds: step.seconds(),
    }
}

/// So many files are remembered each by itself; of more, the parts of a tree that they lie in.
const REMEMBERED: usize = 2_000;

/// Returns what tells later which of the files has changed: paths, and what stands for modes and contents.
fn contents(parts: &[Part<'_>]) -> serde_json::Map<String, serde_json::Value> {
    let found = || parts.iter().flat_map(|part| &part.found);
    let count: usize = found().map(|source| source.items.len()).sum();
    let mut hashers: BTreeMap<String, KeyHasher> = BTreeMap::new();
    for source in found() {
        for item in &source.items {
            let path = item.below(&source.at);
            let shown = path.to_string_lossy();
            let shown = shown.trim_start_matches('/');
            let kept = if count <= REMEMBERED {
                shown.to_owned()
            } else {
                shown.split('/').take(2).collect::<Vec<_>>().join("/")
            };
            hashers
                .entry(kept)
                .or_insert_with(|| KeyHasher::new("content"))
                .number(u64::from(item.mode))
                .part(&item.target)
                .part(item.digest.as_ref().map_or(&[][..], |digest| digest));
        }
    }
    hashers
        .into_iter()
        .map(|(path, hasher)| (path, hasher.finish().hex()[..16].into()))
        .collect()
}
