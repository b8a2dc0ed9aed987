//! One stage, instruction by instruction.

use crate::build::Job;
use crate::config::{Draft, check_signal};
use crate::error::{BuildError, Failure, StepError};
use crate::progress::Step;
use crate::steps::{copy, from, run, workdir};
use dockerfile::{Command, Instruction, Operation, expand_word, expand_words};

/// A stage being built.
pub(crate) struct StageRun<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) index: usize,
    pub(crate) draft: Draft,
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
fn is_counted(instruction: &Instruction) -> bool {
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
            Operation::Add(files, flags) => self.step(name, |run, step| {
                copy::copy(run, copy::Kind::Add(*flags), files, None, instruction, step)
            }),
            Operation::Copy(files) => {
                // Other stages are waited for before the step begins, so that its time is its own.
                let other = copy::foreign(self, files)?;
                self.step(name, |run, step| {
                    copy::copy(run, copy::Kind::Copy, files, other.as_ref(), instruction, step)
                })
            }
            Operation::Run(command) => self.step(name, |run, step| run::run(run, command, instruction, step)),
            Operation::Workdir(path) => self.step(name, |run, step| workdir::workdir(run, path, step)),
            operation => Ok(self.configure(operation, instruction)?),
        }
    }

    /// Announces a step, does it and says how it ended.
    fn step(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self, &Step<'a>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let step = self.job.progress.start(name.to_owned());
        let result = work(self, &step);
        match &result {
            Ok(()) => step.done(),
            Err(Failure::Cancelled | Failure::Elsewhere) => step.failed("cancelled".to_owned()),
            Err(Failure::Command { code, .. }) => step.failed(format!("exit code: {code}")),
            Err(Failure::Step(error)) => step.failed(error.to_string()),
        }
        result
    }

    /// Instructions that change the configuration only.
    fn configure(&mut self, operation: &Operation, instruction: &Instruction) -> Result<(), StepError> {
        match operation {
            Operation::Arg(declared) => {
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
            }
            Operation::Cmd(command) => {
                let words = self.draft.words(command);
                self.draft.set_command(words);
            }
            Operation::Entrypoint(command) => {
                let words = match command {
                    Command::Exec(words) if words.is_empty() => Vec::new(),
                    command => self.draft.words(command),
                };
                self.draft.set_entrypoint(words);
            }
            Operation::Env(pairs) => {
                // All values are those from before the instruction.
                let pairs = self.pairs(pairs)?;
                let text: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                self.draft.history(format!("ENV {}", text.join(" ")), true);
                for (name, value) in pairs {
                    self.draft.set_environment(&name, &value);
                }
            }
            Operation::Expose(words) => {
                let mut ports = Vec::new();
                for word in words {
                    ports.extend(self.words(word)?);
                }
                self.draft.expose(&ports)?;
            }
            Operation::Healthcheck(check) => {
                self.draft.set_healthcheck(check, &instruction.text);
            }
            Operation::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                let text: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                self.draft.history(format!("LABEL {}", text.join(" ")), true);
                self.draft.image.config.labels.extend(pairs);
            }
            Operation::Maintainer(name) => {
                self.draft.image.author.clone_from(name);
                self.draft.history(format!("MAINTAINER {name}"), true);
            }
            Operation::Onbuild(trigger) => {
                self.draft.image.config.on_build.push(trigger.clone());
                self.draft.history(format!("ONBUILD {trigger}"), true);
            }
            Operation::Shell(words) => {
                self.draft.history(format!("SHELL [{}]", words.join(" ")), true);
                self.draft.image.config.shell.clone_from(words);
            }
            Operation::Stopsignal(signal) => {
                let signal = self.word(signal)?;
                check_signal(&signal)?;
                self.draft.history(format!("STOPSIGNAL {signal}"), true);
                self.draft.image.config.stop_signal = signal;
            }
            Operation::User(user) => {
                let user = self.word(user)?;
                self.draft.history(format!("USER {user}"), true);
                self.draft.image.config.user = user;
            }
            Operation::Volume(paths) => {
                let mut expanded = Vec::new();
                for path in paths {
                    expanded.push(self.word(path)?);
                }
                self.draft.add_volumes(&expanded);
            }
            Operation::Add(..)
            | Operation::Copy(_)
            | Operation::From(_)
            | Operation::Run(_)
            | Operation::Workdir(_) => {}
        }
        Ok(())
    }

    /// Expands a word with the variables that are visible here.
    pub(crate) fn word(&self, text: &str) -> Result<String, StepError> {
        let escape = self.job.dockerfile.escape;
        Ok(expand_word(text, escape, &|name| self.draft.variable(name))?)
    }

    fn words(&self, text: &str) -> Result<Vec<String>, StepError> {
        let escape = self.job.dockerfile.escape;
        Ok(expand_words(text, escape, &|name| self.draft.variable(name))?)
    }

    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, StepError> {
        pairs
            .iter()
            .map(|(name, value)| Ok((self.word(name)?, self.word(value)?)))
            .collect()
    }
}
