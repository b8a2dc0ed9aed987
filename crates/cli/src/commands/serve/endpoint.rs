//! Where to listen, as `--host` says it.

use super::socket::{self, SocketFile};
use crate::failure::Failure;
use crate::front::Cli;
use api::server::{Listener, Tls};
use rustix::net::{AddressFamily, sockopt};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Docker's port for the API in the clear.
const PORT: u16 = 2375;
/// Docker's port for the API with TLS.
const PORT_WITH_TLS: u16 = 2376;

/// Returns the socket that `serve` listens on unless it is told otherwise.
pub(in crate::commands) fn default_socket(cli: &Cli) -> PathBuf {
    cli.locations().run_root.join("docker.sock")
}

/// One `--host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The sockets that systemd hands over.
    Activated,
    /// Addresses that a name stands for.
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

/// A socket that listens, the file that goes with it, and how to call it.
pub(super) struct Opened {
    pub listener: Listener,
    pub file: Option<SocketFile>,
    pub name: String,
}

impl Endpoint {
    pub(super) fn parse(host: &str, default: &Path, tls: bool) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::new(format!("cannot listen on '{host}': {why}"))
                .with_hint("write unix:///path/of/the/socket, tcp://host:port or fd://")
        };
        match host.split_once("://") {
            Some(("fd", "" | "*")) => Ok(Self::Activated),
            Some(("fd", _)) => Err(wrong(
                "single sockets cannot be chosen, all that are handed over are taken",
            )),
            Some(("unix", "")) => Ok(Self::Unix(default.to_owned())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", _)) => Err(wrong("the socket's path must begin with a slash")),
            Some(("tcp", address)) => Ok(Self::Tcp(
                addresses(address, if tls { PORT_WITH_TLS } else { PORT }).map_err(|why| wrong(&why))?,
            )),
            _ => Err(wrong("it is neither a unix socket nor a TCP address")),
        }
    }

    /// Listens.
    pub(super) fn open(self, group: Option<u32>, tls: Option<&Tls>) -> Result<Vec<Opened>, Failure> {
        match self {
            Self::Activated => activated(tls),
            Self::Unix(path) => {
                let (listener, file) = socket::listen(&path, group)?;
                Ok(vec![Opened {
                    listener: Listener::Unix(listener),
                    file: Some(file),
                    name: path.display().to_string(),
                }])
            }
            Self::Tcp(addresses) => addresses
                .into_iter()
                .map(|address| {
                    let listener = TcpListener::bind(address).map_err(|error| {
                        Failure::new(format!("cannot listen on tcp://{address}: {error}"))
                    })?;
                    over_tcp(listener, tls)
                })
                .collect(),
        }
    }
}

/// Docker's rule: without a host it is localhost, without a port Docker's.
fn addresses(text: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let with_port = if text.is_empty() {
        format!("127.0.0.1:{port}")
    } else if let Some(port) = text.strip_prefix(':') {
        format!("127.0.0.1:{port}")
    } else if text.ends_with(']') || !text.contains(':') {
        format!("{text}:{port}")
    } else {
        text.to_owned()
    };
    let mut found: Vec<SocketAddr> = with_port
        .to_socket_addrs()
        .map_err(|error| error.to_string())?
        .collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A TCP socket, with TLS or on the loopback interface.
fn over_tcp(listener: TcpListener, tls: Option<&Tls>) -> Result<Opened, Failure> {
    let address = listener.local_addr()?;
    let listener = match tls {
        Some(tls) => Listener::Tls(listener, tls.clone()),
        None if address.ip().is_loopback() => Listener::Tcp(listener),
        None => {
            return Err(Failure::new(format!(
                "cannot listen on tcp://{address} without TLS: it is no loopback address, and everybody who reaches it would be root here"
            ))
            .with_hint("give --tlsverify with --tlscacert, --tlscert and --tlskey"));
        }
    };
    Ok(Opened {
        listener,
        file: None,
        name: format!("tcp://{address}"),
    })
}

/// Takes the sockets that systemd opened. Who may open their files its unit says.
fn activated(tls: Option<&Tls>) -> Result<Vec<Opened>, Failure> {
    let sockets = sys::activation::take_sockets()
        .map_err(|error| Failure::new(format!("cannot take the sockets that were handed over: {error}")))?;
    if sockets.is_empty() {
        return Err(Failure::new("cannot listen on fd://: no socket was handed over")
            .with_hint("fd:// is for a systemd unit with a socket; 'system install --api' writes both"));
    }
    sockets.into_iter().map(|socket| adopt(socket, tls)).collect()
}

fn adopt(socket: OwnedFd, tls: Option<&Tls>) -> Result<Opened, Failure> {
    let refused = |why: &str| Failure::new(format!("cannot serve a socket that was handed over: {why}"));
    let domain = sockopt::socket_domain(&socket).map_err(|errno| refused(&errno.to_string()))?;
    if !sockopt::socket_acceptconn(&socket).map_err(|errno| refused(&errno.to_string()))? {
        return Err(refused(
            "it does not listen (the unit needs Accept=no and ListenStream=)",
        ));
    }
    match domain {
        AddressFamily::UNIX => {
            let listener = std::os::unix::net::UnixListener::from(socket);
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
            Ok(Opened {
                listener: Listener::Unix(listener),
                // It is systemd's, and stays when we go.
                file: None,
                name: path.map_or_else(
                    || "a socket without a name".to_owned(),
                    |path| path.display().to_string(),
                ),
            })
        }
        AddressFamily::INET | AddressFamily::INET6 => over_tcp(socket.into(), tls),
        _ => Err(refused("it is neither a unix socket nor TCP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_dockers() {
        let parse = |host: &str, tls| Endpoint::parse(host, Path::new("/run/x/docker.sock"), tls);
        let tcp = |text: &str| Endpoint::Tcp(vec![text.parse().unwrap()]);
        for (host, tls, expected) in [
            ("unix://", false, Endpoint::Unix("/run/x/docker.sock".into())),
            ("unix:///a/b.sock", false, Endpoint::Unix("/a/b.sock".into())),
            ("fd://", false, Endpoint::Activated),
            ("tcp://", false, tcp("127.0.0.1:2375")),
            ("tcp://", true, tcp("127.0.0.1:2376")),
            ("tcp://:99", true, tcp("127.0.0.1:99")),
            ("tcp://0.0.0.0", true, tcp("0.0.0.0:2376")),
            ("tcp://[::1]", false, tcp("[::1]:2375")),
            ("tcp://[::1]:7", false, tcp("[::1]:7")),
        ] {
            assert_eq!(parse(host, tls).unwrap(), expected, "{host}");
        }
        for bad in [
            "",
            "/run/docker.sock",
            "unix://docker.sock",
            "fd://3",
            "npipe://x",
            "tcp://:x",
            "tcp://a:b:c",
        ] {
            assert!(parse(bad, false).is_err(), "{bad}");
        }
    }
}
