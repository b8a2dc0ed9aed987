//! `RUN`: a command in a snapshot.

mod mounts;
mod stubs;

use super::snapshot::{Draught, mount};
use crate::arguments::EPOCH;
use crate::build::Job;
use crate::cache::{KeyHasher, Record, chain};
use crate::config::DEFAULT_PATH;
use crate::error::{Failure, StepError};
use crate::progress::Step;
use crate::stage::{Pending, StageRun};
use crate::{FailedStep, OutputStream, RunNetwork, RunStep};
use dockerfile::{Instruction, Run, RunSecurity};
use oci::Digest;
use std::collections::VecDeque;
use store::Times;

/// How much of a failed command's output its error repeats.
const TAIL_LINES: usize = 10;
const LONGEST_LINE: usize = 1024;
/// What `--debug-shell` runs where the Dockerfile names no other.
const SHELL: &str = "/bin/sh";

pub(crate) fn run(
    run: &mut StageRun<'_>,
    command: &Run,
    instruction: &Instruction,
    step: &Step<'_>,
) -> Result<(), Failure> {
    let job = run.job;
    let words = run.draft.words(&command.command);
    let config = &run.draft.image.config;
    let visible = run.draft.visible_arguments();
    let mut environment = config.env.clone();
    environment.extend(visible.iter().map(|(name, value)| format!("{name}={value}")));
    if run.draft.environment("PATH").is_none() && !visible.iter().any(|(name, _)| name == "PATH") {
        environment.push(format!("PATH={DEFAULT_PATH}"));
    }
    let (user, shell) = (config.user.clone(), config.shell.clone());
    let directory = if config.working_dir.is_empty() {
        "/".to_owned()
    } else {
        config.working_dir.clone()
    };
    let network = match command.network {
        None | Some(dockerfile::RunNetwork::Default) => job.request.network,
        Some(dockerfile::RunNetwork::None) => RunNetwork::None,
        Some(dockerfile::RunNetwork::Host) => {
            if job.request.network != RunNetwork::Host && !job.request.allowed.host_network {
                return Err(StepError::HostNetwork.into());
            }
            RunNetwork::Host
        }
    };
    let insecure = is_insecure(job, command)?;
    if run.pending.is_some() && !run.may_run_ahead(instruction)? {
        run.join()?;
    }
    let mounts = mounts::plan(run, command)?;
    let key = |below: &Digest, environment: &[String]| {
        let mut hasher = KeyHasher::new("run");
        hasher
            .part(below.as_bytes())
            .parts(&words)
            .parts(environment)
            .part(&directory)
            .part(&user)
            .part(network_name(network))
            .part(job.epoch.map_or_else(String::new, |epoch| epoch.to_string()))
            .number(u64::from(job.request.reproducible))
            .parts(
                job.request
                    .extra_hosts
                    .iter()
                    .map(|(name, address)| format!("{name}={address}")),
            );
        if !mounts.is_empty() {
            hasher.part("mounts");
            mounts.hash(&mut hasher);
        }
        if insecure {
            hasher.part("insecure");
        }
        hasher.finish()
    };
    let joined = words.join(" ");
    // What runs ahead is in no cache; what it is called is known when the layer below it is.
    let found = match &run.pending {
        None => {
            let key = key(&chain(&run.draft.layers), &environment);
            Some(run.find(&key)?)
        }
        Some(_) => None,
    };
    let layer = match found {
        Some(Ok(finished)) => {
            step.cached();
            finished.layer
        }
        none => {
            let turn = none.and_then(Result::err);
            let mut made = mounts.make(run)?;
            let permit = job.permit();
            if job.stopped() {
                return Err(Failure::Cancelled);
            }
            // Proxies are how this machine reaches the network, and nothing of the image.
            let mut with_proxy = environment.clone();
            for (name, value) in job.globals.proxy() {
                let prefix = format!("{name}=");
                if !with_proxy.iter().any(|entry| entry.starts_with(&prefix)) {
                    with_proxy.push(format!("{prefix}{value}"));
                }
            }
            with_proxy.append(&mut made.environment);
            if let Some(why) = crate::platforms::obstacle(&run.draft.image.platform()) {
                return Err(StepError::ForeignProgram(why).into());
            }
            let over = run
                .pending
                .as_ref()
                .map(|pending| pending.settled.upper().to_owned());
            let draught = Draught::begin_over(job, &run.draft.layers, over.as_deref())?;
            let mut rootfs = draught.overlay(true);
            if !made.mounts.is_empty() {
                let ids: Vec<_> = run.draft.layers.iter().map(|layer| layer.id.clone()).collect();
                let mut below = job.store.overlay(&ids, None, true);
                below.lower.splice(0..0, over);
                let root = mount(&below)?;
                // Between the image and what is written.
                rootfs.lower.splice(0..0, made.places(job, &root)?);
            }
            let mut tail = Tail::default();
            let shell = [shell.first().cloned().unwrap_or_else(|| SHELL.to_owned())];
            let mut asked = RunStep {
                rootfs,
                arguments: &words,
                environment: &with_proxy,
                working_directory: &directory,
                user: &user,
                network,
                extra_hosts: &job.request.extra_hosts,
                mounts: &made.mounts,
                insecure,
                limits: &job.request.limits,
            };
            let code = job.services.run(
                &asked,
                &mut |stream: OutputStream, bytes: &[u8]| {
                    tail.add(bytes);
                    step.output(stream, bytes);
                },
                &|| job.stopped(),
            );
            // Whatever else a stopped command answers, it has not finished.
            if job.services.cancelled() || (job.stopped() && !matches!(code, Ok(0))) {
                return Err(Failure::Cancelled);
            }
            let code = code?;
            if code != 0 {
                // Whoever fails first; the others are on their way out.
                if job.request.debug_shell && job.fail() {
                    asked.arguments = &shell;
                    draught.reopen()?;
                    let failed = FailedStep {
                        instruction: &instruction.text,
                        code,
                    };
                    if let Err(error) = job.services.debug(&asked, &failed) {
                        let why = crate::error::chain(&error);
                        job.progress
                            .warn(format!("there was no shell in the failed step: {why}"), None);
                    }
                }
                return Err(Failure::Command {
                    command: joined,
                    code,
                    output: tail.lines(),
                });
            }
            drop(made);
            let times = if job.request.reproducible {
                draught.tidied(job.file_epoch(), job.epoch)?
            } else {
                job.epoch.map_or(Times::AsFound, Times::NoLaterThan)
            };
            run.join()?;
            let below = chain(&run.draft.layers);
            let key = key(&below, &environment);
            run.key.set(Some(key));
            let inputs = serde_json::json!({
                "operation": &instruction.text,
                "below": below,
                "environment": environment,
                "directory": directory,
                "user": user,
                "network": network_name(network),
                "time": job.epoch,
            });
            let seconds = step.seconds();
            if run.may_hash_behind(instruction)? {
                run.pending = Some(Pending {
                    settled: draught.commit_behind(times)?,
                    key,
                    turn,
                    inputs,
                    seconds,
                    instruction: instruction.clone(),
                    name: run.name().to_owned(),
                });
                None
            } else {
                let layer = draught.commit(times)?;
                drop(permit);
                let record = Record {
                    summary: &instruction.text,
                    inputs,
                    seconds,
                };
                job.cache.record(&[key], Some(&layer), &record)?;
                Some(layer)
            }
        }
    };
    let arguments: Vec<String> = visible
        .iter()
        .filter(|(name, _)| name != EPOCH)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let text = if arguments.is_empty() {
        format!("RUN {joined}")
    } else {
        format!("RUN |{} {} {joined}", arguments.len(), arguments.join(" "))
    };
    match layer {
        Some(layer) => run.draft.add_layer(layer, text),
        None => run.draft.history(text, run.pending.is_none()),
    }
    Ok(())
}

/// Says whether the command gets all rights, and refuses that where the build does not allow it.
pub(crate) fn is_insecure(job: &Job<'_>, command: &Run) -> Result<bool, StepError> {
    match command.security {
        RunSecurity::Sandbox => Ok(false),
        RunSecurity::Insecure if job.request.allowed.insecure => Ok(true),
        RunSecurity::Insecure => Err(StepError::Insecure),
    }
}

fn network_name(network: RunNetwork) -> &'static str {
    match network {
        RunNetwork::Default => "default",
        RunNetwork::Host => "host",
        RunNetwork::None => "none",
    }
}

/// The last lines of a command's output.
#[derive(Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    open: bool,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.open {
                if self.lines.len() == TAIL_LINES {
                    self.lines.pop_front();
                }
                self.lines.push_back(Vec::new());
            }
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            if let Some(line) = self.lines.back_mut() {
                let room = LONGEST_LINE - line.len().min(LONGEST_LINE);
                line.extend_from_slice(&text[..text.len().min(room)]);
            }
            self.open = text.len() == piece.len();
        }
    }

    fn lines(self) -> Vec<String> {
        self.lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).trim_end_matches('\r').to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines_whatever_the_pieces() {
        let mut tail = Tail::default();
        for number in 0..20 {
            tail.add(format!("line {number}\nhalf").as_bytes());
            tail.add(b" way\r\n");
        }
        tail.add(b"end");
        let lines = tail.lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[7..], ["line 19", "half way", "end"]);
        let mut tail = Tail::default();
        tail.add(&vec![b'x'; 1 << 20]);
        assert_eq!(tail.lines()[0].len(), LONGEST_LINE);
    }
}
