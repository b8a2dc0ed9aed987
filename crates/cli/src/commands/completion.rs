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
    # Bash takes words apart at ':' and '='; names of images and flags with values have both.
    local line=${COMP_LINE:0:COMP_POINT} word break
    local -a words=() found=()
    IFS=$' \t\n' read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    # What stands before the last of those characters is there already.
    break=${word%"${word##*[:=]}"}
    while IFS= read -r line; do
        if [[ $line == ":files" ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do
                found+=("$line")
            done < <(compgen -f -- "${word#"$break"}")
            continue
        fi
        line=${line%%$'\t'*}
        [[ $line == *[:=,] ]] && compopt -o nospace 2>/dev/null
        found+=("${line#"$break"}")
    done < <("${words[0]}" ARGUMENT "${words[@]:1}" 2>/dev/null)
    COMPREPLY=("${found[@]}")
}
complete -F _PROGRAM_complete PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
_PROGRAM() {
    local -a lines found more
    local line word files
    lines=("${(@f)$("${words[1]}" ARGUMENT "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        word=${line%%$'\t'*}
        case $word in
            "") ;;
            :files) files=yes ;;
            *[:=,]) more+=("${word//:/\\:}:${line#*$'\t'}") ;;
            *) found+=("${word//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (( $#found )) && _describe -t words 'PROGRAM' found
    (( $#more )) && _describe -t unfinished 'PROGRAM' more -S ''
    if [[ -n $files ]]; then
        compset -P '*='
        _files
    fi
}
if [[ ${funcstack[1]} == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
"#;

const FISH: &str = r#"# fish completion for PROGRAM
function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (command $words[1] ARGUMENT $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (string replace -r '^.*=' '' -- "$current")
        else
            echo $line
        end
    end
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
