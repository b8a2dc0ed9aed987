//! A host in miniature: network namespaces that only descriptors keep alive, so that nothing is left behind even when
//! a test is killed.
//!
//! ```text
//! outside 10.9.0.2 ──── 10.9.0.1 host ──── bridge 172.17.0.1 ──── containers 172.17.0.2 …
//!      fd09::2              fd09::1               fd17::1                    fd17::2       (where there is IPv6)
//! ```

use network::{Bridge, Endpoint, Protocol, PublishedPort, Side6, Traffic};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a packet that is dropped is waited for: longer than the second after which a lost SYN and a lost solicitation of
/// a neighbour are sent again, so that one lost packet on a busy host is no failure.
const SILENCE: Duration = Duration::from_millis(1200);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    fd: OwnedFd,
}

impl Namespace {
    /// Makes one, with `lo` up.
    pub(crate) fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let fd = std::fs::File::open(format!("/proc/{}/ns/net", child.id()))
            .unwrap()
            .into();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        Self { fd }
    }

    /// Makes one as a runtime does: with nothing set up.
    pub(crate) fn bare() -> Self {
        let namespace = Self::new();
        namespace.sh("ip link set lo down");
        namespace
    }

    /// Returns its descriptor.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Runs `work` inside.
    pub(crate) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        sys::netlink::inside(self.fd.as_fd(), work).unwrap()
    }

    /// Runs a shell command inside and returns what it prints.
    pub(crate) fn sh(&self, command: &str) -> String {
        let net = format!("--net=/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd());
        let output = Command::new("nsenter")
            .args([&net, "sh", "-c", command])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Listens on a TCP port of all IPv4 addresses.
    pub(crate) fn serve(&self, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .unwrap()
    }

    /// The same for IPv6 alone.
    pub(crate) fn serve6(&self, port: u16) -> TcpListener {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
        self.inside(|| {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None).unwrap();
            sockopt::set_ipv6_v6only(&socket, true).unwrap();
            bind(&socket, &SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).unwrap();
            listen(&socket, 16).unwrap();
            socket.into()
        })
    }

    /// Connects, sends and receives a word; returns who the server sees, or `None` if nobody answers.
    pub(crate) fn reaches(&self, server: &TcpListener, address: &str) -> Option<IpAddr> {
        let address: SocketAddr = address.parse().unwrap();
        let mut client = self
            .inside(|| TcpStream::connect_timeout(&address, SILENCE))
            .ok()?;
        server.set_nonblocking(true).unwrap();
        // Connected, but to somebody else: to a server of the host's own.
        let (mut accepted, peer) = server.accept().ok()?;
        accepted.set_nonblocking(false).unwrap();
        client.write_all(b"ping").unwrap();
        let mut word = [0; 4];
        accepted.read_exact(&mut word).unwrap();
        accepted.write_all(b"pong").unwrap();
        client.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"pong");
        Some(peer.ip())
    }

    /// The same over UDP.
    pub(crate) fn reaches_udp(&self, server: &UdpSocket, address: &str) -> Option<IpAddr> {
        let address: SocketAddr = address.parse().unwrap();
        let any: IpAddr = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let client = self.inside(|| UdpSocket::bind((any, 0))).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(address).unwrap();
        client.send(b"ping").ok()?;
        server.set_read_timeout(Some(SILENCE)).unwrap();
        let mut word = [0; 4];
        let (_, peer) = server.recv_from(&mut word).ok()?;
        server.send_to(b"pong", peer).unwrap();
        client.recv(&mut word).unwrap();
        assert_eq!(&word, b"pong");
        Some(peer.ip())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A host with a neighbour.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) host: Namespace,
    pub(crate) outside: Namespace,
    pub(crate) bridge: Bridge,
}

impl Bed {
    /// Makes the host and its neighbour, not yet the bridge.
    pub(crate) fn new() -> Self {
        let host = Namespace::new();
        let outside = Namespace::new();
        let far = format!("/proc/{}/fd/{}", std::process::id(), outside.fd.as_raw_fd());
        host.sh(&format!(
            "ip link add uplink mtu 1400 type veth peer name uplink mtu 1400 netns {far} &&
             ip addr add 10.9.0.1/24 dev uplink && ip addr add fd09::1/64 dev uplink nodad &&
             echo 0 > /proc/sys/net/ipv6/conf/uplink/accept_dad && ip link set uplink up"
        ));
        outside.sh(
            "ip addr add 10.9.0.2/24 dev uplink && ip addr add fd09::2/64 dev uplink nodad &&
             echo 0 > /proc/sys/net/ipv6/conf/uplink/accept_dad && ip link set uplink up",
        );
        host.sh(
            "ip route add default via 10.9.0.2 && ip route add default via fd09::2 &&
             for i in 1 2 3 4 5 6 7 8 9; do busybox ping -c1 -W1 fd09::2 >/dev/null && exit 0; done; exit 1",
        );
        Self {
            host,
            outside,
            bridge: Bridge {
                name: "cora0".to_owned(),
                subnet: "172.17.0.0/16".parse().unwrap(),
                gateway: Ipv4Addr::new(172, 17, 0, 1),
                ipv6: None,
                mtu: 1400,
                table: "cora-test".to_owned(),
                traffic: Traffic::default(),
            },
        }
    }

    /// Gives the bridge to come IPv6 as well.
    pub(crate) fn dual() -> Self {
        let mut bed = Self::new();
        bed.bridge.ipv6 = Some(side6("fd17::"));
        bed
    }

    /// Makes the bridge too.
    pub(crate) fn with_bridge() -> Self {
        let bed = Self::new();
        bed.ensure();
        bed
    }

    pub(crate) fn ensure(&self) -> network::Ensured {
        self.host.inside(|| self.bridge.ensure()).unwrap()
    }

    /// Attaches a new namespace as endpoint `number`.
    pub(crate) fn container(&self, number: u8, ports: &[PublishedPort]) -> (Namespace, Endpoint) {
        attach_to(&self.host, &self.bridge, number, ports)
    }

    pub(crate) fn rules(&self) -> String {
        self.host.sh("nft list ruleset")
    }
}

/// Attaches a new namespace to any bridge.
pub(crate) fn attach_to(
    host: &Namespace,
    bridge: &Bridge,
    number: u8,
    ports: &[PublishedPort],
) -> (Namespace, Endpoint) {
    let namespace = Namespace::bare();
    let endpoint = endpoint(bridge, number, ports);
    host.inside(|| bridge.attach(namespace.as_fd(), &endpoint))
        .unwrap();
    (namespace, endpoint)
}

pub(crate) fn endpoint(bridge: &Bridge, number: u8, ports: &[PublishedPort]) -> Endpoint {
    let [a, b, _, _] = bridge.gateway.octets();
    Endpoint {
        host_link: format!("v-{}-{number}", bridge.name),
        link: "eth0".to_owned(),
        address: Ipv4Addr::new(a, b, 0, number),
        address6: bridge.ipv6.map(|side| {
            let base = u128::from(side.subnet.network());
            Ipv6Addr::from(base + u128::from(number))
        }),
        mac: [0x02, 0x42, a, b, 0, number],
        default_route: true,
        ports: ports.to_vec(),
    }
}

/// Returns the IPv6 side `<network>/64` with the gateway `<network>1`.
pub(crate) fn side6(network: &str) -> Side6 {
    Side6 {
        subnet: format!("{network}/64").parse().unwrap(),
        gateway: format!("{network}1").parse().unwrap(),
    }
}

pub(crate) fn tcp(host: &str, host_port: u16, port: u16) -> PublishedPort {
    PublishedPort {
        host: host.parse().unwrap(),
        host_port,
        port,
        protocol: Protocol::Tcp,
    }
}
