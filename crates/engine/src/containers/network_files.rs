//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` as a container gets them: files of its own, written at each
//! start and bind-mounted over the image's.

use super::record::Settings;
use crate::EngineError;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// No resolver configuration or hosts file that anybody uses is larger.
const LARGEST: u64 = 1 << 20;
/// Where systemd-resolved lists the real name servers when /etc/resolv.conf names only its stub on loopback.
const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// Docker's name servers where the host has none that a container could reach.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What a container's network looks like from inside, as far as the files tell of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View {
    /// The host's own network: its files as they are.
    Host,
    /// A namespace of its own; on the bridge, with its address and gateway.
    Own(Option<(Ipv4Addr, Ipv4Addr)>),
}

/// Writes the three files into `directory`.
pub(crate) fn write(directory: &Path, settings: &Settings, view: View) -> Result<(), EngineError> {
    let hosts = match view {
        View::Host => hosts_of_host(settings),
        View::Own(addresses) => hosts(settings, addresses),
    };
    let resolver = match view {
        View::Host if settings.request.dns.is_empty() => read_host(Path::new("/etc/resolv.conf")),
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

fn hosts(settings: &Settings, addresses: Option<(Ipv4Addr, Ipv4Addr)>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    add_extra_hosts(&mut text, settings, addresses.map(|(_, gateway)| gateway));
    if let Some((address, _)) = addresses {
        let line = match &settings.request.domain_name {
            Some(domain) => format!("{address}\t{0}.{domain} {0}\n", settings.hostname),
            None => format!("{address}\t{}\n", settings.hostname),
        };
        text.push_str(&line);
    }
    text
}

fn hosts_of_host(settings: &Settings) -> String {
    let mut text = read_host(Path::new("/etc/hosts"));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    add_extra_hosts(&mut text, settings, Some(Ipv4Addr::LOCALHOST));
    text
}

fn add_extra_hosts(text: &mut String, settings: &Settings, gateway: Option<Ipv4Addr>) {
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
    let text = read_host(Path::new("/etc/resolv.conf"));
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
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

/// Writes a container's resolv.conf: what was asked for, and for the rest what the host has, without name servers on
/// the host's loopback.
fn resolver(host: &str, settings: &Settings) -> String {
    let request = &settings.request;
    let mut servers: Vec<String> = request.dns.iter().map(ToString::to_string).collect();
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
    let of_host = |word: &str| {
        host.lines()
            .filter(|line| line.split_whitespace().next() == Some(word))
            .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
            .next_back()
    };
    // A single dot asks for no search list at all.
    let search = match request.dns_search.as_slice() {
        [] => of_host("search"),
        [dot] if dot == "." => None,
        list => Some(list.join(" ")),
    };
    if let Some(search) = search.filter(|search| !search.is_empty()) {
        text.extend(["search ", &search, "\n"]);
    }
    let options = match request.dns_options.as_slice() {
        [] => of_host("options"),
        list => Some(list.join(" ")),
    };
    if let Some(options) = options.filter(|options| !options.is_empty()) {
        text.extend(["options ", &options, "\n"]);
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
        let address = Ipv4Addr::new(172, 17, 0, 2);
        let text = hosts(&settings, Some((address, Ipv4Addr::new(172, 17, 0, 1))));
        assert!(
            text.ends_with("10.9.9.9\tdb\n172.17.0.1\thost.docker.internal\n172.17.0.2\tbox.lan box\n"),
            "{text}"
        );
    }
}
