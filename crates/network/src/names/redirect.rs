//! From 127.0.0.11, port 53, to the ports that the name server has, inside the container's namespace.
//!
//! The name server does not bind port 53 itself, because then a program in the container could not: a container may
//! well be a name server for others.

use super::server::ADDRESS;
use crate::NetworkError;
use crate::nftables::{self as nft, Meta, Register, Rule};
use std::net::Ipv4Addr;
use sys::netlink::{Attributes, Batch, Socket};

const TABLE: &str = "coracle-names";
const CHAIN: &str = "output";
const DOMAIN: [u8; 2] = 53_u16.to_be_bytes();
const UDP: u8 = 17;
const TCP: u8 = 6;

/// Writes the rules. `socket` was opened in the namespace, which has none of ours yet.
pub(super) fn redirect(socket: &mut Socket, udp: u16, tcp: u16) -> Result<(), NetworkError> {
    let mut batch = Batch::transaction(nft::SUBSYSTEM, None);
    nft::make(&mut batch, nft::IPV4, nft::NEWTABLE, |list| {
        list.text(nft::TABLE_NAME, TABLE);
    });
    nft::make(&mut batch, nft::IPV4, nft::NEWCHAIN, |list| {
        list.text(nft::CHAIN_TABLE, TABLE)
            .text(nft::CHAIN_NAME, CHAIN)
            .text(nft::CHAIN_TYPE, "nat")
            .nest(nft::CHAIN_HOOK, |hook| {
                hook.big_endian(nft::HOOK_NUMBER, nft::OUTPUT)
                    .bytes(nft::HOOK_PRIORITY, &(-100_i32).to_be_bytes());
            });
    });
    for (protocol, port) in [(UDP, udp), (TCP, tcp)] {
        batch.message(
            nft::kind(nft::NEWRULE),
            sys::netlink::CREATE | sys::netlink::APPEND,
            &nft::header(nft::IPV4),
            |list| rule(list, protocol, ADDRESS, port),
        );
    }
    batch.commit(nft::SUBSYSTEM);
    socket
        .transact(batch)?
        .map_err(NetworkError::refused("write firewall table", TABLE))
}

fn rule(list: &mut Attributes<'_>, protocol: u8, address: Ipv4Addr, port: u16) {
    list.text(nft::RULE_TABLE, TABLE)
        .text(nft::RULE_CHAIN, CHAIN)
        .nest(nft::RULE_EXPRESSIONS, |expressions| {
            let mut rule = Rule(expressions);
            rule.destination(4, Register::at(0)).equals(&address.octets());
            rule.meta(Meta::Transport, Register::at(0)).equals(&[protocol]);
            rule.destination_port(Register::at(0)).equals(&DOMAIN);
            rule.value(&address.octets(), Register::at(0))
                .value(&port.to_be_bytes(), Register::at(1))
                .translate_destination();
        });
}
