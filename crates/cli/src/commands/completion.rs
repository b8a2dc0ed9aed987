//! `completion`: scripts for shells. All they know is how to ask this program.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::{complete, output};
use clap::Args;
use std::process::ExitCode;

/// `completion bash` has no flags.
#[derive(Debug, Args)]
pub(super) struct Bash {}

/// `completion fish` has no flags.
#[derive(Debug, Args)]
pub(super) struct Fish {}

/// `completion zsh` has no flags.
#[derive(Debug, Args)]
pub(super) struct Zsh {}

const BASH: &str = r#"# bash completion for PROGRAM
_PROGRAM_complete() {
    local word=${COMP_WORDS[COMP_CWORD]}
    local IFS=$'\n'
    local -a found=()
    local line
    while IFS= read -r line; do
        found+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" ARGUMENT "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${found[0]} == ":files" ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$word"))
        return
    fi
    COMPREPLY=($(compgen -W "${found[*]}" -- "$word"))
}
complete -F _PROGRAM_complete PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
_PROGRAM() {
    local -a lines found
    local line
    lines=("${(@f)$("${words[1]}" ARGUMENT "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ ${lines[1]} == ":files" ]]; then
        _files
        return
    fi
    for line in "${lines[@]}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe 'PROGRAM' found
}
if [[ ${funcstack[1]} == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
"#;

const FISH: &str = r#"# fish completion for PROGRAM
function __PROGRAM_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (command $words[1] ARGUMENT $words[2..-1] 2>/dev/null)
    if test "$found[1]" = ":files"
        __fish_complete_path (commandline -ct)
        return
    end
    printf '%s\n' $found
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;

fn script(cli: &Cli, text: &str) -> Result<ExitCode, Failure> {
    output::text(
        &text
            .replace("PROGRAM", &cli.program)
            .replace("ARGUMENT", complete::ARGUMENT),
    )?;
    Ok(ExitCode::SUCCESS)
}

impl Verb for Bash {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        script(cli, BASH)
    }
}

impl Verb for Fish {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        script(cli, FISH)
    }
}

impl Verb for Zsh {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        script(cli, ZSH)
    }
}
