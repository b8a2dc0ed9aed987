//! `login` and `logout`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::terminal::{NoEcho, stdin_is_terminal};
use clap::Args;
use engine::login::{Kept, registry_of};
use std::io::Read;
use std::process::ExitCode;

/// What Docker calls the Hub here.
const HUB: &str = "https://index.docker.io/v1/";
/// No password is longer.
const LONGEST: u64 = 1 << 20;

/// Flags of `login`.
#[derive(Debug, Args)]
pub(super) struct Login {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
}

impl Verb for Login {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let registry = registry_of(words.first().map_or("", String::as_str));
        let mut password = self.password.filter(|password| !password.is_empty());
        let user = self.username.filter(|user| !user.is_empty());
        if password.is_some() {
            output::warning("Using --password via the CLI is insecure. Use --password-stdin.");
            if self.password_stdin {
                return Err(Failure::new(
                    "--password and --password-stdin are mutually exclusive",
                ));
            }
        }
        if self.password_stdin {
            if user.is_none() {
                return Err(Failure::new("Must provide --username with --password-stdin"));
            }
            let mut text = String::new();
            std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            password = Some(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
        let engine = cli.engine()?;
        if user.is_none() && password.is_none() {
            match engine.login_again(registry) {
                Ok(Some(user)) => {
                    let whose = if user.is_empty() {
                        String::new()
                    } else {
                        format!(" [Username: {user}]")
                    };
                    output::line(&format!("Authenticating with existing credentials...{whose}"))?;
                    output::line("\nLogin Succeeded")?;
                    return Ok(ExitCode::SUCCESS);
                }
                Ok(None) => {}
                // With a terminal there may be better ones.
                Err(error) if !stdin_is_terminal() => return Err(error.into()),
                Err(error) => output::note(&format!(
                    "Login did not succeed, error: {}",
                    Failure::from(error).message
                )),
            }
        }
        let (user, password) = ask(user, password)?;
        let kept = engine.login(registry, &user, &password)?;
        if let Kept::File(path) = kept {
            output::note(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                path.display()
            ));
        }
        output::line("Login Succeeded")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks on the terminal for what was not given.
fn ask(user: Option<String>, password: Option<String>) -> Result<(String, String), Failure> {
    if (user.is_none() || password.is_none()) && !stdin_is_terminal() {
        return Err(
            Failure::new("cannot perform an interactive login from a non TTY device")
                .with_hint("give --username and --password-stdin"),
        );
    }
    let line = |question: &str| -> Result<String, Failure> {
        output::text(question)?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
    };
    let user = match user {
        Some(user) => user,
        None => line("Username: ")?.trim().to_owned(),
    };
    if user.is_empty() {
        return Err(Failure::new("username is required"));
    }
    let password = if let Some(password) = password {
        password
    } else {
        let silent = NoEcho::begin()?;
        let typed = line("Password: ");
        drop(silent);
        typed?
    };
    if password.is_empty() {
        return Err(Failure::new("password is required"));
    }
    Ok((user, password))
}

/// Flags of `logout`: none.
#[derive(Debug, Args)]
pub(super) struct Logout {}

impl Verb for Logout {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let registry = registry_of(words.first().map_or("", String::as_str));
        let shown = if registry == oci::DEFAULT_REGISTRY {
            HUB
        } else {
            registry
        };
        output::line(&format!("Removing login credentials for {shown}"))?;
        if !cli.engine()?.logout(registry)? {
            output::note(&format!("There were none for {shown}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
