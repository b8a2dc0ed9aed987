//! The name server in a network namespace of its own, with other servers on the host's loopback behind it.

use crate::bed::Namespace;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use network::names::{NameServer, Table, Upstream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn table() -> Arc<Table> {
    let mut table = Table::default();
    table.add("shop", &["db".into()], &["172.18.0.2".parse().unwrap()]);
    for number in 0..100 {
        table.add(
            "shop",
            &["many".into()],
            &[Ipv4Addr::new(172, 18, 1, number).into()],
        );
    }
    Arc::new(table)
}

/// Runs a name server in `namespace` for as long as `work` lasts.
fn served<T>(namespace: &Namespace, upstream: Vec<Upstream>, work: impl FnOnce() -> T) -> T {
    let mut server = NameServer::open(namespace.descriptor(), upstream).unwrap();
    let done = AtomicBool::new(false);
    let table = table();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if ready(&server, server.deadline()) {
                    WAKE_UPS.fetch_add(1, Ordering::Relaxed);
                }
                server.serve(&mut || Arc::clone(&table));
            }
        });
        let stop = StopWhenDropped(&done);
        let result = work();
        drop(stop);
        result
    })
}

/// Waits for the server's descriptor, for a moment; returns whether it was ready.
fn ready(server: &NameServer, deadline: Option<Instant>) -> bool {
    let glance = Duration::from_millis(20);
    let rest = deadline.map_or(glance, |deadline| {
        deadline.saturating_duration_since(Instant::now()).min(glance)
    });
    let mut waiting = [PollFd::new(server, PollFlags::IN)];
    poll(&mut waiting, Some(&Timespec::try_from(rest).unwrap())).unwrap() > 0
}

/// How often a server was woken up, over all tests.
static WAKE_UPS: AtomicUsize = AtomicUsize::new(0);

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn question(name: &str) -> Vec<u8> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_utf8(name).unwrap(), RecordType::A));
    query.to_vec().unwrap()
}

fn ask_udp(namespace: &Namespace, name: &str) -> Message {
    let socket = namespace.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect("127.0.0.11:53").unwrap();
    socket.send(&question(name)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

fn send_tcp(stream: &mut TcpStream, message: &[u8]) {
    stream
        .write_all(&u16::try_from(message.len()).unwrap().to_be_bytes())
        .unwrap();
    stream.write_all(message).unwrap();
}

fn receive_tcp(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn call(namespace: &Namespace) -> TcpStream {
    let stream = namespace.inside(|| TcpStream::connect("127.0.0.11:53")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask_tcp(stream: &mut TcpStream, name: &str) -> Message {
    send_tcp(stream, &question(name));
    Message::from_vec(&receive_tcp(stream).unwrap()).unwrap()
}

fn addresses(answer: &Message) -> Vec<String> {
    answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

/// Another name server, which knows everything, and counts what it was asked.
struct Elsewhere {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Elsewhere {
    fn start() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let know = |query: &[u8], asked: &AtomicUsize| {
            asked.fetch_add(1, Ordering::Relaxed);
            let query = Message::from_vec(query).unwrap();
            let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
            let name = query.queries[0].name().clone();
            answer.queries.clone_from(&query.queries);
            answer.add_answer(Record::from_rdata(
                name,
                60,
                RData::A(A(Ipv4Addr::new(192, 0, 2, 9))),
            ));
            answer.to_vec().unwrap()
        };
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                let answer = know(&buffer[..length], &counter);
                // An answer with another number comes first: it must not be taken.
                let mut forged = answer.clone();
                forged[0] ^= 0xff;
                udp.send_to(&forged, client).unwrap();
                udp.send_to(&answer, client).unwrap();
            }
        });
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                if let Some(query) = receive_tcp(&mut stream) {
                    send_tcp(&mut stream, &know(&query, &counter));
                }
            }
        });
        Self { address, asked }
    }

    fn upstream(&self) -> Upstream {
        Upstream {
            address: self.address,
            from_host: true,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[test]
fn names_are_answered_at_port_53_over_udp_and_tcp() {
    let namespace = Namespace::new();
    served(&namespace, Vec::new(), || {
        assert_eq!(addresses(&ask_udp(&namespace, "db.")), ["172.18.0.2"]);
        assert!(ask_udp(&namespace, "many.").metadata.truncation);
        let mut stream = call(&namespace);
        assert_eq!(addresses(&ask_tcp(&mut stream, "many.")).len(), 100);
        assert_eq!(addresses(&ask_tcp(&mut stream, "db.shop.")), ["172.18.0.2"]);
        // A program in the container may have port 53 itself.
        namespace.inside(|| UdpSocket::bind("0.0.0.0:53")).unwrap();
        namespace.inside(|| TcpListener::bind("0.0.0.0:53")).unwrap();
    });
}

#[test]
fn an_unknown_name_does_not_exist_where_nobody_may_be_asked() {
    let namespace = Namespace::new();
    let elsewhere = Elsewhere::start();
    served(&namespace, Vec::new(), || {
        let unknown = ask_udp(&namespace, "example.com.");
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
        let unknown = ask_tcp(&mut call(&namespace), "example.com.");
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    });
    assert_eq!(elsewhere.asked(), 0);
}

#[test]
fn unknown_names_are_asked_elsewhere_and_ours_never() {
    let namespace = Namespace::new();
    let elsewhere = Elsewhere::start();
    // Nobody listens there: the next server is asked at once.
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = Upstream {
        address: dead,
        from_host: true,
    };
    served(&namespace, vec![dead, elsewhere.upstream()], || {
        assert_eq!(addresses(&ask_udp(&namespace, "example.com.")), ["192.0.2.9"]);
        assert_eq!(elsewhere.asked(), 1);
        assert_eq!(addresses(&ask_udp(&namespace, "db.")), ["172.18.0.2"]);
        assert_eq!(elsewhere.asked(), 1);
        let mut stream = call(&namespace);
        assert_eq!(addresses(&ask_tcp(&mut stream, "example.org.")), ["192.0.2.9"]);
        assert_eq!(addresses(&ask_tcp(&mut stream, "db.")), ["172.18.0.2"]);
        assert_eq!(elsewhere.asked(), 2);
    });
}

#[test]
fn a_server_that_cannot_be_reached_is_a_failure_and_not_a_name_that_is_not_there() {
    let namespace = Namespace::new();
    // The namespace has no route to it.
    let lost = Upstream {
        address: "192.0.2.1:53".parse().unwrap(),
        from_host: false,
    };
    served(&namespace, vec![lost], || {
        let failed = ask_udp(&namespace, "example.com.");
        assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
        let failed = ask_tcp(&mut call(&namespace), "example.com.");
        assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    });
}

#[test]
fn clients_that_are_silent_or_talk_nonsense_keep_nobody_waiting() {
    let namespace = Namespace::new();
    served(&namespace, Vec::new(), || {
        let silent: Vec<TcpStream> = (0..20).map(|_| call(&namespace)).collect();
        let socket = namespace.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
        for length in 0..200 {
            socket.send_to(&vec![0xa5; length], "127.0.0.11:53").unwrap();
        }
        let mut nonsense = call(&namespace);
        send_tcp(&mut nonsense, b"nonsense");
        assert_eq!(receive_tcp(&mut nonsense), None);
        let begun = Instant::now();
        assert_eq!(addresses(&ask_udp(&namespace, "db.")), ["172.18.0.2"]);
        assert_eq!(addresses(&ask_tcp(&mut call(&namespace), "db.")), ["172.18.0.2"]);
        assert!(begun.elapsed() < PATIENCE / 2);
        drop(silent);
    });
}

/// More callers than there are lines, and one that hangs up while another server is asked for him: nothing of it is
/// looked at again and again.
#[test]
fn what_cannot_be_served_now_wakes_nobody() {
    let namespace = Namespace::new();
    // It hears and does not answer.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = Upstream {
        address: mute.local_addr().unwrap(),
        from_host: true,
    };
    served(&namespace, vec![mute], || {
        let mut hung_up = call(&namespace);
        send_tcp(&mut hung_up, &question("example.com."));
        std::thread::sleep(Duration::from_millis(100));
        rustix::net::sockopt::set_socket_linger(&hung_up, Some(Duration::ZERO)).unwrap();
        drop(hung_up);
        let silent: Vec<TcpStream> = (0..40).map(|_| call(&namespace)).collect();
        std::thread::sleep(Duration::from_millis(100));
        let before = WAKE_UPS.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(1));
        let wake_ups = WAKE_UPS.load(Ordering::Relaxed) - before;
        // Other tests run beside this one; a loop would be woken a hundred thousand times.
        assert!(wake_ups < 5000, "{wake_ups}");
        drop(silent);
        // The lines are free again.
        assert_eq!(addresses(&ask_tcp(&mut call(&namespace), "db.")), ["172.18.0.2"]);
    });
}
