//! One stage, instruction by instruction.

use crate::build::Job;
use crate::cache::{Finished, Turn};
use crate::config::Draft;
use crate::error::{BuildError, Failure, StepError, chain, command_failed};
use crate::progress::Step;
use crate::steps::{copy, foreign, from, run, workdir};
use dockerfile::{Instruction, Operation};
use oci::{BuildStep, Digest};
use std::cell::Cell;

/// A stage being built.
pub(crate) struct StageRun<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) index: usize,
    pub(crate) draft: Draft,
    /// What the instruction was looked up by first: by this the next build finds its layer.
    pub(crate) key: Cell<Option<Digest>>,
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
        };
        run.draft.image.config.on_build.clear();
        for instruction in instructions() {
            if self.stopped() {
                return Err(at("", instruction, Failure::Cancelled));
            }
            number += usize::from(is_counted(instruction));
            let name = step_name(self, index, number, total, &instruction.text);
            run.instruction(instruction, &name)
                .map_err(|failure| at(&name, instruction, failure))?;
        }
        Ok(run.draft)
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
        let below = self.draft.layers.len();
        self.key.set(None);
        let result = work(self, &step);
        if let (Ok(()), Some(key)) = (&result, self.key.take()) {
            self.draft.steps.push(BuildStep {
                key,
                layer: (self.draft.layers.len() > below).then_some(below),
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
    pub(crate) fn find(&self, key: &Digest) -> Result<Result<Finished, Turn<'a>>, StepError> {
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
