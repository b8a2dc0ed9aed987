//! A root of its own for a test of the binary, and the host compared afterwards.

use crate::{HostState, Residue, images};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Names the `docker` client to be tried in place of coracle; `DOCKER_HOST` names its daemon.
const REFERENCE: &str = "CORACLE_TEST_REFERENCE";

/// Names a coracle to be tried in place of the one that was built with the tests: one that was broken on purpose, to see
/// a test fail.
const UNDER_TEST: &str = "CORACLE_UNDER_TEST";

/// An engine under test: its root, and the host as it was before. Tests that have one run one after the other, so
/// that whatever changes on the host is theirs.
#[derive(Debug)]
pub struct Sandbox {
    program: PathBuf,
    directory: TempDir,
    /// Docker is the engine: what its daemon leaves on the host is not ours to judge.
    reference: bool,
    /// The host as it was, and the lock that keeps other tests from it.
    alone: Option<(HostState, File)>,
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; 128 + n for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Panics unless the command succeeded; returns its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Panics unless the command ended with `code`; returns its standard error.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.stderr
    }
}

impl Sandbox {
    /// Makes an empty root for `program`, the coracle binary. Panics unless we are root: what these tests look at
    /// cannot be seen otherwise, and a test that skips says nothing.
    pub fn empty(program: impl AsRef<Path>) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        if let Some(broken) = std::env::var_os(UNDER_TEST) {
            // What that one leaves behind is not what its test is about.
            return Self::on_a_busy_host(Path::new(&broken));
        }
        let alone = File::create("/tmp/coracle-tests.lock").expect("the lock file is made");
        rustix::fs::flock(&alone, rustix::fs::FlockOperation::LockExclusive).expect("the lock is taken");
        let before = HostState::now();
        Self::on_a_busy_host(program).alone((before, alone))
    }

    /// Makes an empty root for `program` without waiting for other tests; the host is not compared: see
    /// [`Sandbox::residue`].
    pub fn on_a_busy_host(program: impl AsRef<Path>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("coracle-test-")
            .tempdir()
            .expect("a directory is made");
        Self {
            program: program.as_ref().to_owned(),
            directory,
            reference: false,
            alone: None,
        }
    }

    /// Makes a root that has the image `busybox`, for a test of what Docker does too. With `CORACLE_TEST_REFERENCE`
    /// in the environment the engine is that docker client, and its daemon is emptied before and after.
    pub fn comparable(program: impl AsRef<Path>) -> Self {
        let Some(reference) = std::env::var_os(REFERENCE) else {
            return Self::new(program);
        };
        let mut sandbox = Self::empty(Path::new(&reference));
        sandbox.reference = true;
        sandbox.clear();
        sandbox.load_busybox();
        sandbox
    }

    /// Removes everything through the engine itself.
    fn clear(&self) -> Outcome {
        let containers = self.run(["ps", "-aq"]);
        let ids: Vec<&str> = containers.stdout.split_whitespace().collect();
        if !ids.is_empty() {
            self.run(["rm", "-f"].into_iter().chain(ids));
        }
        if self.reference {
            // Docker's prune spares volumes with names.
            let volumes = self.run(["volume", "ls", "-q"]);
            let names: Vec<&str> = volumes.stdout.split_whitespace().collect();
            if !names.is_empty() {
                self.run(["volume", "rm", "-f"].into_iter().chain(names));
            }
        }
        self.run(["system", "prune", "-af", "--volumes"])
    }

    /// Returns the program under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn alone(mut self, alone: (HostState, File)) -> Self {
        self.alone = Some(alone);
        self
    }

    /// Loads the image `busybox`.
    pub fn load_busybox(&self) {
        // Not kept for the next sandbox: what a static owns is never removed.
        let directory = tempfile::tempdir().expect("a directory is made");
        let archive = images::busybox(directory.path());
        self.run(["load", "-q", "-i", archive.to_str().expect("the path is UTF-8")])
            .ok();
    }

    /// Looks at what there is of this root on the host.
    pub fn residue(&self) -> Residue {
        Residue::of(&self.path().join("root"), &self.path().join("run"))
    }

    /// Makes a root that has the image `busybox`.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let sandbox = Self::empty(program);
        sandbox.load_busybox();
        sandbox
    }

    /// Returns a directory for the test's own files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below [`Sandbox::path`], with its directories, and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("the file has a directory")).expect("it is made");
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    /// Prepares a command of the engine.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("CORACLE_ROOT", self.path().join("root"))
            .env("CORACLE_RUN_ROOT", self.path().join("run"))
            .env("DOCKER_CONFIG", self.path().join("docker-config"))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the engine to its end, with nothing on its standard input.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        outcome(&self.command(arguments).output().expect("the program runs"))
    }

    /// Runs a command of the engine with `input` on its standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Outcome {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let writer = std::thread::spawn({
            let input = input.to_vec();
            // The command may end before it has read everything.
            move || drop(stdin.write_all(&input))
        });
        let output = child.wait_with_output().expect("the program ends");
        writer.join().expect("the writer ends");
        outcome(&output)
    }

    /// Starts a command of the engine with pipes for all three streams.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }
}

/// Sorts a finished process's output into an [`Outcome`].
pub fn outcome(output: &std::process::Output) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let code = output
        .status
        .code()
        .or_else(|| output.status.signal().map(|signal| 128 + signal));
    Outcome {
        code: code.expect("a process ends by exit or signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Drop for Sandbox {
    /// Removes everything through the engine itself, then checks that the host is as it was.
    fn drop(&mut self) {
        let pruned = self.clear();
        if std::thread::panicking() {
            return;
        }
        assert_eq!(pruned.code, 0, "system prune failed: {}", pruned.stderr);
        if let Some((before, _lock)) = &self.alone
            && !self.reference
        {
            before.assert_restored();
        }
    }
}
