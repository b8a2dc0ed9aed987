//! Instructions that change the configuration only, applied to an image on its way.

use crate::config::{Draft, check_signal};
use crate::error::StepError;
use dockerfile::{Command, Instruction, Operation, expand_word, expand_words};

impl Draft {
    /// Applies an instruction that changes the configuration; the others change nothing here. `escape` is the
    /// Dockerfile's escape character.
    pub(crate) fn configure(&mut self, instruction: &Instruction, escape: char) -> Result<(), StepError> {
        match &instruction.operation {
            Operation::Cmd(command) => {
                let words = self.words(command);
                self.set_command(words);
            }
            Operation::Entrypoint(command) => {
                let words = match command {
                    Command::Exec(words) if words.is_empty() => Vec::new(),
                    command => self.words(command),
                };
                self.set_entrypoint(words);
            }
            Operation::Env(pairs) => {
                // All values are those from before the instruction.
                let pairs = self.pairs(pairs, escape)?;
                let text: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                self.history(format!("ENV {}", text.join(" ")), true);
                for (name, value) in pairs {
                    self.set_environment(&name, &value);
                }
            }
            Operation::Expose(words) => {
                let mut ports = Vec::new();
                for word in words {
                    ports.extend(self.words_of(word, escape)?);
                }
                self.expose(&ports)?;
            }
            Operation::Healthcheck(check) => {
                self.set_healthcheck(check, &instruction.text);
            }
            Operation::Label(pairs) => {
                let pairs = self.pairs(pairs, escape)?;
                let text: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                self.history(format!("LABEL {}", text.join(" ")), true);
                self.image.config.labels.extend(pairs);
            }
            Operation::Maintainer(name) => {
                self.image.author.clone_from(name);
                self.history(format!("MAINTAINER {name}"), true);
            }
            Operation::Onbuild(trigger) => {
                self.image.config.on_build.push(trigger.clone());
                self.history(format!("ONBUILD {trigger}"), true);
            }
            Operation::Shell(words) => {
                self.history(format!("SHELL [{}]", words.join(" ")), true);
                self.image.config.shell.clone_from(words);
            }
            Operation::Stopsignal(signal) => {
                let signal = self.word(signal, escape)?;
                check_signal(&signal)?;
                self.history(format!("STOPSIGNAL {signal}"), true);
                self.image.config.stop_signal = signal;
            }
            Operation::User(user) => {
                let user = self.word(user, escape)?;
                self.history(format!("USER {user}"), true);
                self.image.config.user = user;
            }
            Operation::Volume(paths) => {
                let mut expanded = Vec::new();
                for path in paths {
                    expanded.push(self.word(path, escape)?);
                }
                self.add_volumes(&expanded);
            }
            Operation::Add(..)
            | Operation::Arg(_)
            | Operation::Copy(_)
            | Operation::From(_)
            | Operation::Run(_)
            | Operation::Workdir(_) => {}
        }
        Ok(())
    }

    /// Expands a word with the variables that are visible here.
    pub(crate) fn word(&self, text: &str, escape: char) -> Result<String, StepError> {
        Ok(expand_word(text, escape, &|name| self.variable(name))?)
    }

    fn words_of(&self, text: &str, escape: char) -> Result<Vec<String>, StepError> {
        Ok(expand_words(text, escape, &|name| self.variable(name))?)
    }

    fn pairs(&self, pairs: &[(String, String)], escape: char) -> Result<Vec<(String, String)>, StepError> {
        pairs
            .iter()
            .map(|(name, value)| Ok((self.word(name, escape)?, self.word(value, escape)?)))
            .collect()
    }
}
