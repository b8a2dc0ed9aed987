//! One query, and what the table says to it.

use super::Table;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

/// Seconds for which an answer may be remembered. Docker says 600; but a container that is started anew has another
/// address, and a name is looked up here in microseconds.
const LIFETIME: u32 = 5;
/// What a client takes over UDP unless it says otherwise (RFC 1035, 4.2.1).
const PLAIN_UDP: u16 = 512;
/// What we say that we take (the DNS flag day's size).
const OUR_UDP: u16 = 1232;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// With a limit on the answer.
    Udp,
    /// Without.
    Tcp,
}

/// What is to be done with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is the answer.
    Answer(Vec<u8>),
    /// We do not know.
    Forward,
    /// It is no query: an answer to it could go round for ever.
    Ignore,
}

/// Judges one message. `turn` says with which of several addresses the answer begins.
pub(super) fn judge(query: &[u8], table: &Table, way: Way, turn: usize) -> Verdict {
    let Ok(query) = Message::from_vec(query) else {
        return Verdict::Ignore;
    };
    if query.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    let [question] = query.queries.as_slice() else {
        return refusal(&query, ResponseCode::FormErr);
    };
    if query.metadata.op_code != OpCode::Query || question.query_class() != DNSClass::IN {
        return Verdict::Forward;
    }
    let name = question.name();
    let kind = question.query_type();
    if kind == RecordType::PTR {
        let names = address_of(name).map_or(&[] as &[String], |address| table.names_of(address));
        if names.is_empty() {
            return Verdict::Forward;
        }
        let pointers = names.iter().filter_map(|target| {
            let target = Name::from_utf8(format!("{target}.")).ok()?;
            Some(RData::PTR(PTR(target)))
        });
        return reply(&query, name, pointers, way);
    }
    let Some(addresses) = table.addresses_of(&name.to_utf8()) else {
        return Verdict::Forward;
    };
    let start = turn.checked_rem(addresses.len()).unwrap_or(0);
    let records = addresses[start..]
        .iter()
        .chain(&addresses[..start])
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), RecordType::A | RecordType::ANY) => Some(RData::A(A(*address))),
            (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(*address))),
            _ => None,
        });
    // A name that is ours has no records of other kinds, and nobody else knows better.
    reply(&query, name, records, way)
}

/// Makes an answer that says no more than why there is none.
pub(super) fn failure(query: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    match refusal(&query, code) {
        Verdict::Answer(bytes) => Some(bytes),
        Verdict::Forward | Verdict::Ignore => None,
    }
}

fn refusal(query: &Message, code: ResponseCode) -> Verdict {
    let mut answer = begin(query);
    answer.metadata.response_code = code;
    answer.to_vec().map_or(Verdict::Ignore, Verdict::Answer)
}

fn begin(query: &Message) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.queries.clone_from(&query.queries);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OUR_UDP);
        answer.edns = Some(edns);
    }
    answer
}

fn reply(query: &Message, name: &Name, records: impl Iterator<Item = RData>, way: Way) -> Verdict {
    let mut answer = begin(query);
    answer.metadata.authoritative = true;
    answer
        .answers
        .extend(records.map(|data| Record::from_rdata(name.clone(), LIFETIME, data)));
    let Ok(bytes) = answer.to_vec() else {
        return refusal(query, ResponseCode::ServFail);
    };
    let limit = query.edns.as_ref().map_or(PLAIN_UDP, Edns::max_payload);
    if way == Way::Udp && bytes.len() > usize::from(limit.max(PLAIN_UDP)) {
        // The client asks again over TCP.
        answer.answers.clear();
        answer.metadata.truncation = true;
        return answer.to_vec().map_or(Verdict::Ignore, Verdict::Answer);
    }
    Verdict::Answer(bytes)
}

/// Reads `2.0.18.172.in-addr.arpa`; a part of an address is none.
fn address_of(name: &Name) -> Option<IpAddr> {
    let mut name = name.clone();
    name.set_fqdn(true);
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    fn table() -> Table {
        let mut table = Table::default();
        for (name, address) in [("db-1", "172.18.0.2"), ("db-2", "172.18.0.3"), ("six", "fd00::5")] {
            table.add("shop", &[name.into(), "db".into()], &[address.parse().unwrap()]);
        }
        table
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.metadata.id = 77;
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
        query
    }

    fn answer(query: &Message, way: Way, turn: usize) -> Message {
        match judge(&query.to_vec().unwrap(), &table(), way, turn) {
            Verdict::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn data(answer: &Message) -> Vec<String> {
        answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect()
    }

    #[test]
    fn names_of_ours_are_answered_in_turn_and_by_kind() {
        for (name, kind, turn, expected) in [
            ("db-1.", RecordType::A, 0, &["172.18.0.2"][..]),
            ("DB-1.Shop.", RecordType::A, 0, &["172.18.0.2"]),
            ("db.", RecordType::A, 0, &["172.18.0.2", "172.18.0.3"]),
            ("db.", RecordType::A, 1, &["172.18.0.3", "172.18.0.2"]),
            ("db.", RecordType::AAAA, 0, &["fd00::5"]),
            ("db-1.", RecordType::AAAA, 0, &[]),
            ("db-1.", RecordType::MX, 0, &[]),
            ("2.0.18.172.in-addr.arpa.", RecordType::PTR, 0, &["db-1.shop."]),
        ] {
            let query = query(name, kind);
            let answer = answer(&query, Way::Udp, turn);
            assert_eq!(data(&answer), expected, "{name} {kind}");
            assert_eq!(answer.metadata.id, 77);
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
            assert_eq!(answer.queries, query.queries);
        }
    }

    #[test]
    fn what_we_do_not_know_is_forwarded_and_what_is_no_query_ignored() {
        let verdict = |message: &Message| judge(&message.to_vec().unwrap(), &table(), Way::Udp, 0);
        for (name, kind) in [
            ("example.com.", RecordType::A),
            ("db.example.com.", RecordType::A),
            ("9.0.18.172.in-addr.arpa.", RecordType::PTR),
            ("18.172.in-addr.arpa.", RecordType::PTR),
            ("db.", RecordType::PTR),
            (".", RecordType::NS),
        ] {
            assert_eq!(verdict(&query(name, kind)), Verdict::Forward, "{name}");
        }
        let mut response = query("db.", RecordType::A);
        response.metadata.message_type = MessageType::Response;
        assert_eq!(verdict(&response), Verdict::Ignore);
        assert_eq!(judge(b"nonsense", &table(), Way::Udp, 0), Verdict::Ignore);
        assert_eq!(judge(&[], &table(), Way::Udp, 0), Verdict::Ignore);
        let mut none = Message::query();
        none.metadata.id = 5;
        assert_eq!(
            answer(&none, Way::Udp, 0).metadata.response_code,
            ResponseCode::FormErr
        );
    }

    #[test]
    fn an_answer_that_is_too_long_for_udp_says_so() {
        let mut table = Table::default();
        for number in 0..100 {
            table.add(
                "n",
                &["many".into()],
                &[format!("10.0.0.{number}").parse().unwrap()],
            );
        }
        let plain = query("many.", RecordType::A).to_vec().unwrap();
        let read = |verdict| match verdict {
            Verdict::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        let udp = read(judge(&plain, &table, Way::Udp, 0));
        assert!(udp.metadata.truncation && udp.answers.is_empty());
        let tcp = read(judge(&plain, &table, Way::Tcp, 0));
        assert!(!tcp.metadata.truncation);
        assert_eq!(tcp.answers.len(), 100);
        let mut extended = query("many.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        extended.edns = Some(edns);
        let udp = read(judge(&extended.to_vec().unwrap(), &table, Way::Udp, 0));
        assert_eq!(udp.answers.len(), 100);
        assert!(udp.edns.is_some());
    }

    #[test]
    fn a_failure_repeats_the_question() {
        let query = query("x.", RecordType::A);
        let failed = failure(&query.to_vec().unwrap(), ResponseCode::NXDomain).unwrap();
        let failed = Message::from_vec(&failed).unwrap();
        assert_eq!(failed.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!((failed.metadata.id, failed.queries), (77, query.queries));
        assert_eq!(failure(b"?", ResponseCode::NXDomain), None);
    }
}
