//! `--change` of `import` and `commit`: single instructions applied to an image's configuration.

use crate::BuildError;
use crate::config::Draft;
use crate::error::{Place, StepError};
use dockerfile::{Instruction, Operation};
use oci::ImageConfig;

/// What messages call the instructions.
const FILE: &str = "--change";

/// Applies Dockerfile instructions that change the configuration only (CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
/// ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR) in order. Any other instruction is an error. The history stays as it is.
pub fn apply_changes(config: &mut ImageConfig, changes: &[String]) -> Result<(), BuildError> {
    if changes.is_empty() {
        return Ok(());
    }
    let text = format!("FROM scratch\n{}\n", changes.join("\n"));
    let parsed = dockerfile::parse(FILE, &text)?;
    let failed = |instruction: &Instruction, source| BuildError::Step {
        step: instruction.text.clone(),
        place: Box::new(Place {
            file: FILE.to_owned(),
            lines: instruction.lines,
            text: instruction.source.clone(),
        }),
        source: Box::new(source),
    };
    if let [_, second, ..] = &parsed.stages[..] {
        return Err(failed(&second.instruction, StepError::NoChange("FROM")));
    }
    let history = config.history.clone();
    let mut draft = Draft::on(config.clone(), Vec::new(), None, 0);
    for instruction in parsed.stages.iter().flat_map(|stage| &stage.instructions) {
        let applied = match &instruction.operation {
            Operation::Add(..)
            | Operation::Arg(_)
            | Operation::Copy(_)
            | Operation::From(_)
            | Operation::Run(_) => Err(StepError::NoChange(instruction.operation.keyword())),
            Operation::Workdir(path) => draft.word(path, parsed.escape).map(|path| {
                draft.image.config.working_dir = draft.absolute(&path);
            }),
            _ => draft.configure(instruction, parsed.escape),
        };
        applied.map_err(|source| failed(instruction, source))?;
    }
    *config = draft.image;
    config.history = history;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<ImageConfig, BuildError> {
        let mut config = ImageConfig::default();
        let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
        apply_changes(&mut config, &changes)?;
        Ok(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = changed(&[
            "ENV A=1 B=2",
            "CMD [\"sh\", \"-c\", \"true\"]",
            "WORKDIR /srv",
            "USER app",
            "EXPOSE 80",
            "LABEL team=data",
        ])
        .unwrap();
        assert_eq!(config.config.env, ["A=1", "B=2"]);
        assert_eq!(config.config.cmd, ["sh", "-c", "true"]);
        assert_eq!(config.config.working_dir, "/srv");
        assert_eq!(config.config.user, "app");
        assert!(config.config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(config.config.labels["team"], "data");
        assert!(config.history.is_empty());
    }

    #[test]
    fn what_changes_files_is_refused() {
        for change in ["RUN true", "COPY a b", "FROM busybox", "NOSUCH x"] {
            assert!(changed(&[change]).is_err(), "{change}");
        }
    }
}
