//! `serve`: Docker's Engine API on sockets.

mod endpoint;
mod socket;

pub(super) use endpoint::default_socket;

use crate::dispatch::Verb;
use crate::failure::{self, Failure};
use crate::front::Cli;
use crate::output;
use crate::signals::{Caught, Signals, terminates};
use api::server::{Limits, Server, Tls};
use clap::Args;
use endpoint::{Endpoint, Opened};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Let the members of this group use the unix socket, too, which makes them root on this host
    #[arg(short = 'G', long, value_name = "string")]
    group: Option<String>,
    /// Where to listen: unix://PATH, tcp://HOST:PORT, or fd:// for sockets that systemd hands over; can be given several times (default "unix:///run/coracle/docker.sock")
    #[arg(short = 'H', long, value_name = "list")]
    host: Vec<String>,
    /// Listen on tcp://127.0.0.1 without TLS: every user and every program on this host, in containers with its network as well, becomes root
    #[arg(long)]
    insecure_tcp: bool,
    /// Trust clients whose certificates this authority has signed
    #[arg(long, value_name = "string")]
    tlscacert: Option<PathBuf>,
    /// The server's certificate
    #[arg(long, value_name = "string")]
    tlscert: Option<PathBuf>,
    /// The key of the server's certificate
    #[arg(long, value_name = "string")]
    tlskey: Option<PathBuf>,
    /// Listen on tcp:// with TLS and ask every client for its certificate
    #[arg(long)]
    tlsverify: bool,
}

impl Verb for Serve {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let tls = self.tls()?;
        let endpoints = self.endpoints(cli, tls.is_some())?;
        // What stands against an engine here is said before anybody connects.
        cli.engine()?;
        let group = self.group.as_deref().map(socket::group_id).transpose()?;
        // Before anything listens, so that an end at any moment clears up.
        let mut signals = Signals::catch()?;
        let descriptors =
            sys::descriptors::raise_limit().map_err(|error| Failure::new(failure::chain(&error)))?;
        let mut listeners = Vec::new();
        let mut ours = Vec::new();
        for endpoint in endpoints {
            for Opened { listener, file, name } in endpoint.open(group, tls.as_ref())? {
                output::note(&format!("API listen on {name}"));
                listeners.push(listener);
                ours.extend(file);
            }
        }
        let server = &Server::new(cli.locations().clone()).with_limits(Limits::default().within(descriptors));
        let (stop, stopping) = UnixStream::pair()?;
        std::thread::scope(|scope| {
            let serving = scope.spawn(move || server.run(listeners, stop));
            tell("READY=1");
            // A hang-up or a new window size does not end a server.
            while !serving.is_finished() && !asked_to_end(&mut signals)? {}
            tell("STOPPING=1");
            // Before the last answers: whoever looks for a server now finds none, or the next.
            drop(ours);
            drop(stopping);
            match serving.join() {
                Ok(result) => result.map_err(|error| Failure::new(failure::chain(&error))),
                Err(_) => Err(Failure::new("the server ended without a word")),
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Serve {
    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let files = [&self.tlscacert, &self.tlscert, &self.tlskey];
        if !self.tlsverify {
            if files.iter().any(|file| file.is_some()) {
                return Err(Failure::new("certificates are given, but not --tlsverify")
                    .with_hint("there is no TLS here that takes clients without a certificate"));
            }
            return Ok(None);
        }
        let [Some(authority), Some(certificate), Some(key)] = files else {
            return Err(Failure::new(
                "--tlsverify needs --tlscacert, --tlscert and --tlskey",
            ));
        };
        Tls::load(authority, certificate, key)
            .map(Some)
            .map_err(|error| Failure::new(failure::chain(&error)))
    }

    fn endpoints(&self, cli: &Cli, tls: bool) -> Result<Vec<Endpoint>, Failure> {
        let default = default_socket(cli);
        if self.host.is_empty() {
            return Ok(vec![Endpoint::Unix(default)]);
        }
        let endpoints = self.host.iter().map(|host| Endpoint::parse(host, &default, tls));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>()?;
        let on_tcp = endpoints
            .iter()
            .any(|endpoint| matches!(endpoint, Endpoint::Tcp(_)));
        if on_tcp && !tls {
            if !self.insecure_tcp {
                return Err(Failure::new("TCP without TLS would make everybody root who reaches it").with_hint(
                    "give --tlsverify with --tlscacert, --tlscert and --tlskey, or use a unix socket, also over ssh: DOCKER_HOST=ssh://user@host",
                ));
            }
            output::warning(
                "the API listens on TCP without TLS: every user and every program of this host can become root by it",
            );
        }
        Ok(endpoints)
    }
}

/// Tells systemd, if it asked to be told. A server that cannot say that it is ready is one all the same.
fn tell(state: &str) {
    if let Err(error) = sys::activation::notify(state) {
        output::warning(&format!("cannot tell the service manager {state}: {error}"));
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
