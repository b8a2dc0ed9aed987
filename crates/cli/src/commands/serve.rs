//! `serve`: Docker's Engine API on a socket.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::signals::{Caught, Signals, terminates};
use api::server::{Listener, Server};
use clap::Args;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Socket to listen on (default "unix:///run/coracle/docker.sock")
    #[arg(short = 'H', long, value_name = "string")]
    host: Option<String>,
}

impl Verb for Serve {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        // What stands against an engine here is said before anybody connects.
        cli.engine()?;
        let path = match self.host.as_deref() {
            None => cli.locations().run_root.join("docker.sock"),
            Some(host) => match host.strip_prefix("unix://") {
                Some(path) if Path::new(path).is_absolute() => PathBuf::from(path),
                _ => {
                    return Err(
                        Failure::new(format!("cannot listen on '{host}': it is no unix socket"))
                            .with_hint("write unix:///path/of/the/socket"),
                    );
                }
            },
        };
        let listener = listen(&path)?;
        let mut signals = Signals::catch()?;
        output::note(&format!("API listen on {}", path.display()));
        // A hang-up or a new window size does not end a server.
        let (stop, stopping) = UnixStream::pair()?;
        let server = &Server::new(cli.locations().clone());
        std::thread::scope(|scope| {
            let serving = scope.spawn(move || server.run(vec![Listener::Unix(listener)], stop));
            while !serving.is_finished() && !asked_to_end(&mut signals)? {}
            drop(stopping);
            match serving.join() {
                Ok(result) => result.map_err(|error| Failure::new(crate::failure::chain(&error))),
                Err(_) => Err(Failure::new("the server ended without a word")),
            }
        })?;
        // Nobody can connect to it any more.
        std::fs::remove_file(&path).map_err(|error| Failure::file("remove", &path, &error))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits for signals, at most a second; says whether one of them ends us.
fn asked_to_end(signals: &mut Signals) -> Result<bool, Failure> {
    let second = rustix::event::Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let mut descriptors = [rustix::event::PollFd::from_borrowed_fd(
        signals.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    match rustix::event::poll(&mut descriptors, Some(&second)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(std::io::Error::from(error).into()),
    }
    let ends = |caught: &Caught| matches!(caught, Caught::Signal(number) if terminates(*number));
    Ok(signals.take().iter().any(ends))
}

/// Listens for root alone. A socket's file that nobody serves any more is replaced.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let failed = |error| Failure::file("listen on", path, &error);
    if UnixStream::connect(path).is_ok() {
        return Err(
            Failure::new(format!("somebody serves {} already", path.display()))
                .with_hint("name another socket with --host"),
        );
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
