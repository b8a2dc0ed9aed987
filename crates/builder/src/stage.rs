//! One stage, instruction by instruction.

use crate::build::Job;
use crate::cache::{Finished, Record, Turn};
use crate::config::Draft;
use crate::error::{BuildError, Failure, StepError, chain, command_failed};
use crate::progress::Step;
use crate::steps::snapshot::Settled;
use crate::steps::{copy, foreign, from, run, workdir};
use dockerfile::{Instruction, Operation};
use oci::{BuildStep, Digest};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a cancelled build waits for a layer that is still being hashed, and how often it looks.
const PATIENCE: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_millis(5);

/// A stage being built.
pub(crate) struct StageRun<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) index: usize,
    pub(crate) draft: Draft,
    /// What the instruction was looked up by first: by this the next build finds its layer.
    pub(crate) key: Cell<Option<Digest>>,
    /// The last command's layer, as long as its tar is being hashed. It is the next of the draft's layers.
    pub(crate) pending: Option<Pending<'a>>,
    /// What the next instruction that makes a layer does, if it is a command.
    next: Option<String>,
    /// The step that a failure comes from, if it is not the one that is being done.
    blamed: Option<(String, Instruction)>,
    /// The name of the step that is being done.
    name: String,
}

/// A layer whose tar is being hashed while the next command runs.
pub(crate) struct Pending<'a> {
    pub(crate) settled: Settled<'a>,
    pub(crate) key: Digest,
    /// Other stages with the same step wait for it.
    pub(crate) turn: Option<Turn>,
    pub(crate) inputs: serde_json::Value,
    pub(crate) seconds: f64,
    pub(crate) instruction: Instruction,
    /// The step's name.
    pub(crate) name: String,
}

impl Job<'_> {
    /// Builds a stage in this thread. An error of `None` is one that another stage has had.
    pub(crate) fn build_stage(&self, index: usize) -> Result<Draft, Option<BuildError>> {
        let stage = &self.dockerfile.stages[index];
        let at = |step: &str, instruction: &Instruction, failure| self.locate(step, instruction, failure);
        let base = from::base(self, index).map_err(|failure| at("", &stage.instruction, failure))?;
        let triggers = from::triggers(&base, &stage.from.base, &stage.instruction)
            .map_err(|failure| at("", &stage.instruction, failure))?;
        let instructions = || triggers.iter().chain(&stage.instructions);
        let own = usize::from(matches!(base, from::Base::Image(..)));
        let total = own
            + instructions()
                .filter(|instruction| is_counted(instruction))
                .count();
        let mut number = own;
        let draft = from::begin(self, index, base, total);
        let mut run = StageRun {
            job: self,
            index,
            draft,
            key: Cell::new(None),
            pending: None,
            next: None,
            blamed: None,
            name: String::new(),
        };
        run.draft.image.config.on_build.clear();
        let all: Vec<&Instruction> = instructions().collect();
        for (place, instruction) in all.iter().enumerate() {
            number += usize::from(is_counted(instruction));
            let name = step_name(self, index, number, total, &instruction.text);
            run.next = all[place + 1..]
                .iter()
                .find(|next| is_counted(next))
                .filter(|next| matches!(next.operation, Operation::Run(_)))
                .map(|next| next.text.clone());
            let done = if self.stopped() {
                Err(Failure::Cancelled)
            } else {
                run.instruction(instruction, &name)
            };
            if let Err(failure) = done {
                let error = match run.blamed.take() {
                    Some((name, other)) => at(&name, &other, failure),
                    None => at(&name, instruction, failure),
                };
                // A failed build loses no finished step. That this one cannot be kept is the lesser trouble.
                if !self.services.cancelled() || run.is_hashed_soon() {
                    run.join().unwrap_or_default();
                }
                return Err(error);
            }
        }
        if let Err(failure) = run.join() {
            let blamed = run.blamed.take();
            return Err(blamed.and_then(|(name, instruction)| at(&name, &instruction, failure)));
        }
        Ok(run.draft)
    }

    /// Says whether an instruction stands in the Dockerfile's stages only once.
    fn is_unique(&self, text: &str) -> bool {
        let all = self
            .dockerfile
            .stages
            .iter()
            .flat_map(|stage| &stage.instructions);
        all.filter(|instruction| instruction.text == text).count() <= 1
    }
}

/// Says whether an instruction is one of the numbered steps: those that can make a layer.
pub(crate) fn is_counted(instruction: &Instruction) -> bool {
    matches!(
        instruction.operation,
        Operation::Add(..) | Operation::Copy(_) | Operation::Run(_) | Operation::Workdir(_)
    )
}

/// Returns a step's name as plain progress shows it: `[build 2/4] RUN make`.
pub(crate) fn step_name(job: &Job<'_>, stage: usize, number: usize, total: usize, text: &str) -> String {
    if job.graph.has_several() {
        format!("[{} {number}/{total}] {text}", job.graph.name(stage))
    } else {
        format!("[{number}/{total}] {text}")
    }
}

impl<'a> StageRun<'a> {
    fn instruction(&mut self, instruction: &Instruction, name: &str) -> Result<(), Failure> {
        match &instruction.operation {
            Operation::Add(files, flags) => self.step(name, instruction, |run, step| {
                copy::copy(
                    run,
                    &copy::Kind::Add(flags.clone()),
                    files,
                    None,
                    instruction,
                    step,
                )
            }),
            Operation::Copy(files) => {
                // Other stages are waited for before the step begins, so that its time is its own.
                let other = foreign::foreign(self, "COPY", files.from.as_deref())?;
                if self.job.stopped() {
                    return Err(Failure::Cancelled);
                }
                self.step(name, instruction, |run, step| {
                    copy::copy(run, &copy::Kind::Copy, files, other.as_ref(), instruction, step)
                })
            }
            Operation::Run(command) => self.step(name, instruction, |run, step| {
                run::run(run, command, instruction, step)
            }),
            Operation::Workdir(path) => {
                self.step(name, instruction, |run, step| workdir::workdir(run, path, step))
            }
            Operation::Arg(declared) => Ok(self.declare(declared)?),
            _ => Ok(self.draft.configure(instruction, self.job.dockerfile.escape)?),
        }
    }

    /// Announces a step, does it and says how it ended.
    fn step(
        &mut self,
        name: &str,
        instruction: &Instruction,
        work: impl FnOnce(&mut Self, &Step<'a>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let step = self.job.progress.start(name.to_owned());
        name.clone_into(&mut self.name);
        self.key.set(None);
        let result = if matches!(instruction.operation, Operation::Run(_)) {
            Ok(())
        } else {
            self.join()
        };
        let below = self.draft.layers.len();
        let result = result.and_then(|()| work(self, &step));
        if let (Ok(()), Some(key)) = (&result, self.key.take()) {
            let layers = self.draft.layers.len();
            let layer = match &self.pending {
                Some(_) => Some(layers),
                None => (layers > below).then(|| layers - 1),
            };
            self.draft.steps.push(BuildStep {
                key,
                layer,
                summary: instruction.text.clone(),
            });
        }
        match &result {
            Ok(()) => step.done(),
            Err(Failure::Cancelled | Failure::Elsewhere) => step.cancelled(),
            Err(Failure::Command { command, code, .. }) => step.failed(command_failed(command, *code)),
            Err(Failure::Step(error)) => step.failed(chain(error)),
        }
        result
    }

    /// Says whether a command may run before it is known what the last one's layer is called: only what can be in no cache.
    pub(crate) fn may_run_ahead(&self, instruction: &Instruction) -> Result<bool, StepError> {
        let job = self.job;
        Ok(job.caches().is_empty()
            && (job.is_uncached(self.index) || !job.cache.may_know(&instruction.text)?))
    }

    /// Says whether the layer of the command that has just ended may be hashed while the next one runs.
    pub(crate) fn may_hash_behind(&self, instruction: &Instruction) -> Result<bool, StepError> {
        let job = self.job;
        let Some(next) = &self.next else { return Ok(false) };
        // Another stage that waits for this very step would wait for the next one, too.
        Ok(job.is_unique(&instruction.text)
            && job.caches().is_empty()
            && (job.is_uncached(self.index) || !job.cache.may_know(next)?))
    }

    /// Says whether the last command's layer is hashed, or is so before who has pressed Ctrl-C becomes impatient.
    fn is_hashed_soon(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self
            .pending
            .as_ref()
            .is_some_and(|pending| !pending.settled.is_hashed())
        {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(GLANCE);
        }
        true
    }

    /// Waits for the last command's layer.
    pub(crate) fn join(&mut self) -> Result<(), Failure> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let Pending {
            settled,
            key,
            turn,
            inputs,
            seconds,
            instruction,
            name,
        } = pending;
        let record = Record {
            summary: &instruction.text,
            inputs,
            seconds,
        };
        let recorded = settled.finish().and_then(|layer| {
            self.job.cache.record(&[key], Some(&layer), &record)?;
            Ok(layer)
        });
        drop(turn);
        match recorded {
            Ok(layer) => {
                self.draft.push_layer(layer);
                Ok(())
            }
            Err(error) => {
                self.blamed = Some((name, instruction));
                Err(error.into())
            }
        }
    }

    /// Returns the name of the step that is being done.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `ARG`: the value comes from outside, or from the default.
    fn declare(&mut self, declared: &[dockerfile::Argument]) -> Result<(), StepError> {
        let mut values = Vec::new();
        for argument in declared {
            let value = self.job.globals.value(argument, |text| self.word(text))?;
            values.push((argument.name.clone(), value));
        }
        for (name, value) in values {
            let text = match &value {
                Some(value) => format!("ARG {name}={value}"),
                None => format!("ARG {name}"),
            };
            self.draft.history(text, true);
            self.draft.declare(name, value);
        }
        Ok(())
    }

    /// Looks a step up in the cache, unless this stage is to be built anew.
    pub(crate) fn find(&self, key: &Digest) -> Result<Result<Finished, Turn>, StepError> {
        let job = self.job;
        if self.key.get().is_none() {
            self.key.set(Some(*key));
        }
        job.cache.find(key, !job.is_uncached(self.index))
    }

    /// Expands a word with the variables that are visible here.
    pub(crate) fn word(&self, text: &str) -> Result<String, StepError> {
        self.draft.word(text, self.job.dockerfile.escape)
    }
}
