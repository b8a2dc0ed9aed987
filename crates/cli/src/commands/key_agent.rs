//! `--ssh ID=KEY`: an agent for one build that holds the keys in these files.

use crate::failure::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the socket is called in its directory.
const SOCKET: &str = "agent";

/// An agent, as long as this lives.
///
/// It is OpenSSH's, which knows every kind of key and asks for a passphrase where there is one. It ends with the shell
/// that it is started for, and that with our end of its standard input: if we are killed, neither stays.
#[derive(Debug)]
pub(super) struct KeyAgent {
    directory: PathBuf,
    shell: Child,
    process: Option<Pid>,
}

impl KeyAgent {
    /// Starts one with the keys in these files.
    pub(super) fn start(run_root: &Path, keys: &[PathBuf]) -> Result<Self, Failure> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let directory = run_root
            .join("agents")
            .join(format!("{}-keys-{number}", std::process::id()));
        let failed = |error: &std::io::Error| Failure::file("make", &directory, error);
        sys::fs::create_directories(&directory, 0o700)
            .map_err(|error| failed(&std::io::Error::from_raw_os_error(error.errno.raw_os_error())))?;
        let shell = Command::new("ssh-agent")
            // The address of a socket holds 107 bytes; our directory may be deeper.
            .args(["-a", SOCKET, "sh", "-c", "echo $SSH_AGENT_PID; exec cat"])
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let shell = match shell {
            Ok(shell) => shell,
            Err(error) => {
                sys::fs::remove_all(&directory).unwrap_or_default();
                return Err(not_started("ssh-agent", &error));
            }
        };
        let mut agent = Self {
            directory,
            shell,
            process: None,
        };
        let mut line = String::new();
        if let Some(output) = agent.shell.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(|error| not_started("ssh-agent", &error))?;
        }
        agent.process = line.trim().parse().ok().and_then(Pid::from_raw);
        if agent.process.is_none() {
            return Err(Failure::new("--ssh: ssh-agent has not started"));
        }
        for key in keys {
            agent.add(key)?;
        }
        Ok(agent)
    }

    /// Returns where it listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    fn add(&self, key: &Path) -> Result<(), Failure> {
        let file = File::open(key).map_err(|error| Failure::file("open the key", key, &error))?;
        // Read from standard input, it may be a file that others may read, too, as with Docker.
        let output = Command::new("ssh-add")
            .args(["-q", "-"])
            .current_dir(&self.directory)
            .env("SSH_AUTH_SOCK", SOCKET)
            .stdin(file)
            .output()
            .map_err(|error| not_started("ssh-add", &error))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let why: Vec<&str> = complaint.lines().map(str::trim).collect();
        Err(Failure::new(format!(
            "--ssh: the key {} cannot be used: {}",
            key.display(),
            why.join("; ")
        ))
        .with_hint("it must be a private key such as ssh-keygen makes"))
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            // It is the shell's child, so as long as that lives the number is nobody else's.
            kill_process(process, Signal::TERM).unwrap_or_default();
        }
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
        // What is left is a socket that nobody answers, in a directory that a reboot clears.
        sys::fs::remove_all(&self.directory).unwrap_or_default();
    }
}

fn not_started(program: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "--ssh with keys in files needs OpenSSH's {program}, which cannot be started: {error}"
    ))
    .with_hint("install OpenSSH's client, or give the socket of an agent that has the keys")
}
