//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` as a container gets them: files of its own, written at each
//! start and bind-mounted over the image's.

use super::record::Settings;
use super::rows::Record;
use crate::EngineError;
use crate::networks::connect::has_names;
use crate::networks::joining::addresses_of;
use network::names::Upstream;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// No resolver configuration or hosts file that anybody uses is larger.
const LARGEST: u64 = 1 << 20;
/// How a host resolves names.
const RESOLVER: &str = "/etc/resolv.conf";
/// Where systemd-resolved lists the real name servers when /etc/resolv.conf names only its stub on loopback.
const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// Docker's name servers where the host has none that a container could reach.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What a container's network looks like from inside, as far as the files tell of it.
#[derive(Debug, Clone)]
pub(crate) enum View {
    /// The host's own network: its files as they are.
    Host,
    /// A namespace of its own.
    Own {
        /// Its addresses, those of the way out first.
        addresses: Vec<IpAddr>,
        /// Where the host is found, if it can be.
        gateway: Option<IpAddr>,
        /// Whether a name server of ours answers in there.
        has_names: bool,
    },
}

impl View {
    /// A namespace with nothing but `lo`.
    pub(crate) const LONELY: Self = Self::Own {
        addresses: Vec::new(),
        gateway: None,
        has_names: false,
    };
}

/// The port that name servers listen on.
const DOMAIN: u16 = 53;

/// Writes the three files into `directory`.
pub(crate) fn write(directory: &Path, settings: &Settings, view: &View) -> Result<(), EngineError> {
    let hosts = match view {
        View::Host => hosts_of_host(settings),
        View::Own {
            addresses, gateway, ..
        } => hosts(settings, addresses, *gateway),
    };
    let resolver = match view {
        View::Host if settings.request.dns.is_empty() => read_host(Path::new(RESOLVER)),
        View::Own { has_names: true, .. } => own_resolver(&read_host(Path::new(RESOLVER)), settings),
        _ => resolver(&host_resolver(), settings),
    };
    for (name, content) in [
        ("hostname", format!("{}\n", settings.hostname)),
        ("hosts", hosts),
        ("resolv.conf", resolver),
    ] {
        put(&directory.join(name), content.as_bytes())?;
    }
    Ok(())
}

/// Replaces a file by a new one, so that a container that still has the old one mounted keeps it unchanged. Users in
/// the container may read it, whatever our umask.
fn put(path: &Path, content: &[u8]) -> Result<(), EngineError> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let failed = |error: std::io::Error| sys::SysError::io("write", path, &error);
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.set_permissions(PermissionsExt::from_mode(0o644))
        .map_err(failed)?;
    Ok(())
}

/// Brings the files of a running container to where it is now. It may have changed them itself: of `hosts` only our own
/// lines are touched, and `resolv.conf` only if it is still what we wrote. They are mounted, so they are written in place.
pub(crate) fn revise(directory: &Path, before: &Record, after: &Record) -> Result<(), EngineError> {
    let lines = |record: &Record| -> Vec<String> {
        let endpoints = record.status.endpoints.iter();
        let addresses = endpoints.flat_map(|endpoint| addresses_of(&endpoint.endpoint));
        addresses
            .map(|address| host_line(&record.settings, address))
            .collect()
    };
    let (former, new) = (lines(before), lines(after));
    let path = directory.join("hosts");
    let text = read_host(&path);
    let mut revised: String = text
        .split_inclusive('\n')
        .filter(|line| new.iter().any(|ours| ours == line) || !former.iter().any(|ours| ours == line))
        .collect();
    for line in new {
        if !revised.lines().any(|there| there == line.trim_end()) {
            if !revised.is_empty() && !revised.ends_with('\n') {
                revised.push('\n');
            }
            revised.push_str(&line);
        }
    }
    if revised != text {
        overwrite(&path, &revised)?;
    }
    if has_names(&after.status.endpoints) {
        let path = directory.join("resolv.conf");
        if read_host(&path) == resolver(&host_resolver(), &after.settings) {
            overwrite(
                &path,
                &own_resolver(&read_host(Path::new(RESOLVER)), &after.settings),
            )?;
        }
    }
    Ok(())
}

fn overwrite(path: &Path, content: &str) -> Result<(), EngineError> {
    std::fs::write(path, content).map_err(|error| sys::SysError::io("write", path, &error).into())
}

/// Returns whom a container's name server asks for what it does not know: whoever was asked for, or whoever the host
/// asks, the host's own loopback included.
pub(crate) fn upstream(settings: &Settings) -> Vec<Upstream> {
    let asked = &settings.request.dns;
    if !asked.is_empty() {
        let server = |address: &IpAddr| Upstream {
            address: SocketAddr::new(*address, DOMAIN),
            from_host: false,
        };
        return asked.iter().map(server).collect();
    }
    upstream_of_host(&read_host(Path::new(RESOLVER)))
}

fn upstream_of_host(text: &str) -> Vec<Upstream> {
    let of_host: Vec<Upstream> = nameservers(text)
        .filter_map(|server| server.parse::<IpAddr>().ok())
        .map(|address| Upstream {
            address: SocketAddr::new(address, DOMAIN),
            // The container need not have IPv6 because the host has.
            from_host: address.is_loopback() || address.is_ipv6(),
        })
        .collect();
    if !of_host.is_empty() {
        return of_host;
    }
    let fallback = FALLBACK.iter().filter_map(|server| server.parse().ok());
    fallback
        .map(|address| Upstream {
            address: SocketAddr::new(address, DOMAIN),
            from_host: false,
        })
        .collect()
}

fn hosts(settings: &Settings, addresses: &[IpAddr], gateway: Option<IpAddr>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    add_extra_hosts(&mut text, settings, gateway);
    for address in addresses {
        text.push_str(&host_line(settings, *address));
    }
    text
}

/// The line by which a container finds itself.
fn host_line(settings: &Settings, address: IpAddr) -> String {
    match &settings.request.domain_name {
        Some(domain) => format!("{address}\t{0}.{domain} {0}\n", settings.hostname),
        None => format!("{address}\t{}\n", settings.hostname),
    }
}

fn hosts_of_host(settings: &Settings) -> String {
    let mut text = read_host(Path::new("/etc/hosts"));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    add_extra_hosts(&mut text, settings, Some(Ipv4Addr::LOCALHOST.into()));
    text
}

fn add_extra_hosts(text: &mut String, settings: &Settings, gateway: Option<IpAddr>) {
    for (name, address) in &settings.request.extra_hosts {
        let line = match (address.as_str(), gateway) {
            ("host-gateway", Some(gateway)) => writeln!(text, "{gateway}\t{name}"),
            // Without a way to the host there is no address to write.
            ("host-gateway", None) => Ok(()),
            (address, _) => writeln!(text, "{address}\t{name}"),
        };
        // Writing into a String cannot fail.
        line.unwrap_or_default();
    }
}

/// Returns what the host resolves names by, as far as a container can use it.
fn host_resolver() -> String {
    let text = read_host(Path::new(RESOLVER));
    let servers: Vec<&str> = nameservers(&text).collect();
    if !servers.is_empty() && servers.into_iter().all(is_loopback) {
        let behind = read_host(Path::new(BEHIND_THE_STUB));
        if !behind.is_empty() {
            return behind;
        }
    }
    text
}

/// A file that is not there, or is no text, says nothing.
fn read_host(path: &Path) -> String {
    let bytes = sys::fs::read(path, LARGEST).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn nameservers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    })
}

fn is_loopback(server: &str) -> bool {
    server
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

/// Writes a container's resolv.conf: what was asked for, and for the rest what the host has, without name servers on
/// the host's loopback.
fn resolver(host: &str, settings: &Settings) -> String {
    let mut servers: Vec<String> = settings.request.dns.iter().map(ToString::to_string).collect();
    if servers.is_empty() {
        servers = nameservers(host)
            .filter(|server| !is_loopback(server))
            .map(str::to_owned)
            .collect();
    }
    if servers.is_empty() {
        servers = FALLBACK.map(str::to_owned).to_vec();
    }
    let mut text = String::new();
    for server in servers {
        text.extend(["nameserver ", &server, "\n"]);
    }
    let options = options(host, settings);
    add_search_and_options(text, host, settings, options.as_deref())
}

/// Writes the resolv.conf of a container in which our name server answers, and asks the others itself.
fn own_resolver(host: &str, settings: &Settings) -> String {
    let options = options(host, settings).unwrap_or_default();
    // A name without a dot may well be another container's: it is asked for as it is, before any domain.
    let options = if options
        .split_whitespace()
        .any(|option| option.starts_with("ndots:"))
    {
        options
    } else {
        format!("{options} ndots:0").trim_start().to_owned()
    };
    let text = format!("nameserver {}\n", network::names::ADDRESS);
    add_search_and_options(text, host, settings, Some(&options))
}

fn of_host(host: &str, word: &str) -> Option<String> {
    host.lines()
        .filter(|line| line.split_whitespace().next() == Some(word))
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        .next_back()
}

fn options(host: &str, settings: &Settings) -> Option<String> {
    match settings.request.dns_options.as_slice() {
        [] => of_host(host, "options"),
        list => Some(list.join(" ")),
    }
}

fn add_search_and_options(
    mut text: String,
    host: &str,
    settings: &Settings,
    options: Option<&str>,
) -> String {
    // A single dot asks for no search list at all.
    let search = match settings.request.dns_search.as_slice() {
        [] => of_host(host, "search"),
        [dot] if dot == "." => None,
        list => Some(list.join(" ")),
    };
    if let Some(search) = search.filter(|search| !search.is_empty()) {
        text.extend(["search ", &search, "\n"]);
    }
    if let Some(options) = options.filter(|options| !options.is_empty()) {
        text.extend(["options ", options, "\n"]);
    }
    text
}

/// Returns the three files and where they are mounted.
pub(crate) fn targets(directory: &Path) -> [(PathBuf, &'static str); 3] {
    [
        (directory.join("resolv.conf"), "/etc/resolv.conf"),
        (directory.join("hostname"), "/etc/hostname"),
        (directory.join("hosts"), "/etc/hosts"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings {
            hostname: "box".into(),
            ..Settings::default()
        };
        change(&mut settings);
        settings
    }

    #[test]
    fn name_servers_on_the_hosts_loopback_are_of_no_use() {
        for (host, expected) in [
            (
                "nameserver 10.0.0.2\nsearch a b\n",
                "nameserver 10.0.0.2\nsearch a b\n",
            ),
            (
                "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\noptions edns0 trust-ad\n",
            ),
            (
                "nameserver 127.0.0.1\nnameserver ::1\nnameserver 10.1.1.1\n",
                "nameserver 10.1.1.1\n",
            ),
            ("# nothing\n", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ] {
            assert_eq!(resolver(host, &settings(|_| {})), expected, "{host}");
        }
    }

    #[test]
    fn what_was_asked_for_wins() {
        let settings = settings(|settings| {
            settings.request.dns = vec!["1.1.1.1".parse().unwrap()];
            settings.request.dns_search = vec![".".into()];
            settings.request.dns_options = vec!["ndots:2".into()];
        });
        assert_eq!(
            resolver("nameserver 10.0.0.2\nsearch a\n", &settings),
            "nameserver 1.1.1.1\noptions ndots:2\n"
        );
    }

    #[test]
    fn a_container_finds_itself_and_its_extra_hosts() {
        let settings = settings(|settings| {
            settings.request.domain_name = Some("lan".into());
            settings.request.extra_hosts = vec![
                ("db".into(), "10.9.9.9".into()),
                ("host.docker.internal".into(), "host-gateway".into()),
            ];
        });
        let addresses = ["172.17.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let text = hosts(&settings, &addresses, Some("172.17.0.1".parse().unwrap()));
        assert!(
            text.ends_with(
                "10.9.9.9\tdb\n172.17.0.1\thost.docker.internal\n172.17.0.2\tbox.lan box\nfd00::2\tbox.lan box\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn our_own_name_server_is_asked_for_names_as_they_are() {
        for (host, options, expected) in [
            (
                "nameserver 10.0.0.2\nsearch a b\noptions edns0\n",
                &[][..],
                "nameserver 127.0.0.11\nsearch a b\noptions edns0 ndots:0\n",
            ),
            ("", &["ndots:2"][..], "nameserver 127.0.0.11\noptions ndots:2\n"),
            ("", &[][..], "nameserver 127.0.0.11\noptions ndots:0\n"),
        ] {
            let settings = settings(|settings| {
                settings.request.dns_options = options.iter().map(ToString::to_string).collect();
            });
            assert_eq!(own_resolver(host, &settings), expected);
        }
    }

    #[test]
    fn the_hosts_own_name_server_is_asked_from_the_host() {
        let found: Vec<(String, bool)> = upstream_of_host("nameserver 127.0.0.53\nnameserver 10.0.0.2\n")
            .iter()
            .map(|upstream| (upstream.address.to_string(), upstream.from_host))
            .collect();
        assert_eq!(
            found,
            [
                ("127.0.0.53:53".to_owned(), true),
                ("10.0.0.2:53".to_owned(), false)
            ]
        );
        assert_eq!(upstream_of_host("").len(), 2);
    }
}
