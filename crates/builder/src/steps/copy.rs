//! `COPY` and `ADD`.

use super::from;
use super::snapshot::{Draught, mount};
use crate::archive;
use crate::build::Job;
use crate::cache::{Finished, KeyHasher, Record, chain};
use crate::config::Draft;
use crate::digests;
use crate::error::{Failure, StepError};
use crate::mode::ModeChange;
use crate::place::Placement;
use crate::progress::Step;
use crate::source::{self, Found, Kind as ItemKind, Origin};
use crate::stage::StageRun;
use crate::users;
use dockerfile::{AddFlags, CopyFiles, Glob, Instruction, is_remote_source};
use oci::Digest;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use store::{Layer, Times};
use sys::path::Tree;

/// Which of the two it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Add(AddFlags),
    Copy,
}

impl Kind {
    fn keyword(self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Copy => "COPY",
        }
    }

    fn unpacks(self) -> bool {
        matches!(self, Self::Add(flags) if flags.unpack != Some(false))
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
    /// As history shows it.
    text: String,
    hasher_parts: Vec<String>,
}

/// Other files than the context's.
pub(crate) enum Foreign {
    Image(Box<store::Image>, String),
    Stage(Arc<Draft>, String),
}

impl Foreign {
    fn layers(&self) -> &[Layer] {
        match self {
            Self::Image(image, _) => &image.layers,
            Self::Stage(draft, _) => &draft.layers,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Image(_, name) | Self::Stage(_, name) => name.clone(),
        }
    }
}

pub(crate) fn copy(
    run: &mut StageRun<'_>,
    kind: Kind,
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

fn plan(run: &StageRun<'_>, kind: Kind, files: &CopyFiles) -> Result<Plan, StepError> {
    let expand_all = |words: &[String]| {
        words
            .iter()
            .map(|word| run.word(word))
            .collect::<Result<Vec<_>, _>>()
    };
    let expand = |word: &Option<String>| word.as_ref().map(|word| run.word(word)).transpose();
    let sources = expand_all(&files.sources)?;
    if sources
        .iter()
        .any(|source| matches!(kind, Kind::Add(_)) && is_remote_source(source))
    {
        return Err(StepError::Unsupported("ADD of URLs and Git repositories is"));
    }
    let written = run.word(&files.destination)?;
    let last = written.rsplit('/').next().unwrap_or_default();
    let is_directory = matches!(last, "" | "." | "..");
    if sources.len() > 1 && !is_directory {
        return Err(StepError::SeveralSources(kind.keyword()));
    }
    if written.contains('\0') {
        return Err(StepError::BadPath(written.replace('\0', "\\0")));
    }
    let owner = expand(&files.owner)?.filter(|owner| !owner.is_empty());
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
    for word in sources.iter().chain([&written]) {
        text.push(' ');
        text.push_str(word);
    }
    let destination = run.draft.absolute(&written);
    let hasher_parts = vec![
        destination.clone(),
        is_directory.to_string(),
        owner.clone().unwrap_or_default(),
        mode_text.unwrap_or_default(),
        run.job.file_epoch().to_string(),
        kind.unpacks().to_string(),
    ];
    Ok(Plan {
        kind,
        sources,
        destination,
        is_directory,
        owner,
        mode,
        text,
        hasher_parts,
    })
}

/// Finds what `--from` means: an earlier stage, else an image.
pub(crate) fn foreign(run: &StageRun<'_>, files: &CopyFiles) -> Result<Option<Foreign>, Failure> {
    let Some(from) = files.from.as_deref().filter(|from| !from.is_empty()) else {
        return Ok(None);
    };
    if from.contains('$') {
        return Err(StepError::FromExpansion.into());
    }
    let job = run.job;
    if let Some(stage) = job.graph.stage_before(run.index, from) {
        let draft = job.stage(stage).ok_or(Failure::Elsewhere)?;
        return Ok(Some(Foreign::Stage(
            draft,
            format!("stage {}", job.graph.name(stage)),
        )));
    }
    if let Ok(index) = from.parse() {
        return Err(StepError::StageIndex {
            keyword: "COPY",
            index,
        }
        .into());
    }
    let reference: oci::Reference = from.parse().map_err(StepError::from)?;
    let image = from::image(job, &reference, &job.request.platform)?;
    Ok(Some(Foreign::Image(
        Box::new(image),
        format!("the image {}", reference.familiar()),
    )))
}

fn from_context(
    run: &StageRun<'_>,
    plan: &Plan,
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<Option<Layer>, Failure> {
    let job = run.job;
    let origin = job.context.origin();
    let found = find(job, &origin, plan, step, Some(job.database))?;
    let key = content_key(run, plan, &found, false);
    match job.cache.find(&key)? {
        Ok(finished) => {
            step.cached();
            Ok(finished.layer)
        }
        Err(_turn) => execute(run, plan, &origin, &found, false, &[key], instruction, step),
    }
}

fn from_other(
    run: &StageRun<'_>,
    plan: &Plan,
    other: &Foreign,
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<Option<Layer>, Failure> {
    let job = run.job;
    // The layers that hold the files say all about them, and are known without a look at the files.
    let mut hasher = KeyHasher::new("copy by layers");
    hasher
        .part(chain(&run.draft.layers).as_bytes())
        .parts(&plan.hasher_parts)
        .parts(&plan.sources)
        .part(chain(other.layers()).as_bytes());
    let by_layers = hasher.finish();
    let _turn = match job.cache.find(&by_layers)? {
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
    let origin = Origin {
        tree: &tree,
        name: other.name(),
        ignore: None,
    };
    let found = find(job, &origin, plan, step, None)?;
    let key = content_key(run, plan, &found, true);
    match job.cache.find(&key)? {
        Ok(Finished { layer }) => {
            step.cached();
            let record = record(run, plan, &[key], &found, instruction, step);
            job.cache.note(&[by_layers], layer.as_ref(), &record)?;
            Ok(layer)
        }
        Err(_turn) => execute(
            run,
            plan,
            &origin,
            &found,
            true,
            &[key, by_layers],
            instruction,
            step,
        ),
    }
}

/// Finds all sources, with their files' digests.
fn find(
    job: &Job<'_>,
    origin: &Origin<'_>,
    plan: &Plan,
    step: &Step<'_>,
    database: Option<&state::Database>,
) -> Result<Vec<Found>, Failure> {
    let stopped = || job.stopped();
    let mut found = Vec::new();
    for written in &plan.sources {
        let before = found.len();
        found.extend(source::find(origin, written, &stopped)?);
        if found.len() == before {
            step.note(&format!("{written} matches nothing in {}", origin.name));
        }
        if Glob::is_pattern(written)
            && found.len() > before + 1
            && !plan.is_directory
            && found[before..].iter().any(|found| !found.is_directory())
        {
            // Docker would write them one over the other.
            return Err(StepError::SeveralSources(plan.kind.keyword()).into());
        }
    }
    for source in &mut found {
        let at = source.at.clone();
        digests::fill(origin.tree, &at, &mut source.items, database, &stopped)?;
    }
    Ok(found)
}

/// Hashes what the step reads: names, kinds, modes and contents; not times, and owners only where they are kept.
fn content_key(run: &StageRun<'_>, plan: &Plan, found: &[Found], foreign: bool) -> Digest {
    let mut hasher = KeyHasher::new(if foreign { "copy from image" } else { "copy" });
    hasher
        .part(chain(&run.draft.layers).as_bytes())
        .parts(&plan.hasher_parts);
    for source in found {
        // A directory's own name and mode reach nothing: its content is what is copied.
        let whole = source.is_directory();
        hasher.number(u64::from(whole)).number(source.items.len() as u64);
        if !whole {
            hasher.part(source.name.as_encoded_bytes());
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

#[expect(clippy::too_many_arguments, reason = "the ends of both ways that lead here")]
fn execute(
    run: &StageRun<'_>,
    plan: &Plan,
    origin: &Origin<'_>,
    found: &[Found],
    foreign: bool,
    keys: &[Digest],
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<Option<Layer>, Failure> {
    let job = run.job;
    let permit = job.permit();
    let draught = Draught::begin(job, &run.draft.layers)?;
    let tree = draught.mount()?;
    let changed = write(job, plan, origin, found, foreign, &tree)?;
    drop(tree);
    if job.stopped() {
        return Err(Failure::Cancelled);
    }
    let layer = draught.commit(Times::Exactly(job.file_epoch()))?;
    drop(permit);
    if changed {
        step.note("a source was changed while it was copied; the step will be done again next time");
        return Ok(Some(layer));
    }
    let record = record(run, plan, keys, found, instruction, step);
    job.cache.record(keys, Some(&layer), &record)?;
    Ok(Some(layer))
}

/// Puts the sources into the tree; says whether one of them changed meanwhile.
fn write(
    job: &Job<'_>,
    plan: &Plan,
    origin: &Origin<'_>,
    found: &[Found],
    foreign: bool,
    tree: &Tree,
) -> Result<bool, Failure> {
    let owner = plan
        .owner
        .as_deref()
        .map(|owner| users::resolve(tree, owner))
        .transpose()?;
    let stopped = || job.stopped();
    let placement = Placement {
        from: origin.tree,
        to: tree,
        destination: Path::new(&plan.destination),
        is_directory: plan.is_directory,
        owner,
        keep_owners: foreign,
        mode: plan.mode.as_ref(),
        cancelled: &stopped,
        changed: Cell::new(false),
    };
    if plan.is_directory {
        placement.directory(placement.destination)?;
    }
    for source in found {
        if plan.kind.unpacks() && archive::unpack(&placement, source)? {
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
    found: &[Found],
    instruction: &'a Instruction,
    step: &Step<'_>,
) -> Record<'a> {
    Record {
        summary: &instruction.text,
        inputs: serde_json::json!({
            "operation": plan.text,
            "below": chain(&run.draft.layers),
            "files": keys.first(),
            "contents": contents(found),
            "time": run.job.file_epoch(),
        }),
        seconds: step.seconds(),
    }
}

/// So many files are remembered each by itself; of more, the parts of a tree that they lie in.
const REMEMBERED: usize = 2_000;

/// Returns what tells later which of the files has changed: paths, and what stands for modes and contents.
fn contents(found: &[Found]) -> serde_json::Map<String, serde_json::Value> {
    let count: usize = found.iter().map(|source| source.items.len()).sum();
    let mut parts: BTreeMap<String, KeyHasher> = BTreeMap::new();
    for source in found {
        for item in &source.items {
            let path = item.below(&source.at);
            let shown = path.to_string_lossy();
            let shown = shown.trim_start_matches('/');
            let kept = if count <= REMEMBERED {
                shown.to_owned()
            } else {
                shown.split('/').take(2).collect::<Vec<_>>().join("/")
            };
            parts
                .entry(kept)
                .or_insert_with(|| KeyHasher::new("content"))
                .number(u64::from(item.mode))
                .part(&item.target)
                .part(item.digest.as_ref().map_or(&[][..], |digest| digest));
        }
    }
    parts
        .into_iter()
        .map(|(path, hasher)| (path, hasher.finish().hex()[..16].into()))
        .collect()
}
