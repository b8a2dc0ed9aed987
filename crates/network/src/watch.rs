//! Noticing that somebody took firewall rules away.

use crate::NetworkError;
use crate::nftables as nft;
use std::os::fd::{AsFd, BorrowedFd};
use sys::netlink::{Family, Heard, Listener};

/// `NFNLGRP_NFTABLES`: the kernel tells this group what is done to rules.
const GROUP: u32 = 7;

/// Listens to changes of the host's firewall. A monitor waits for its descriptor beside others.
///
/// On a busy host containers come and go all the time, and with them elements of our sets. Those changes, and the new
/// generation's number that follows every change, are dropped inside the kernel: hundreds of monitors sleep through
/// them.
#[derive(Debug)]
pub struct FirewallWatch {
    listener: Listener,
}

impl FirewallWatch {
    /// Begins to listen, in the network namespace that the thread is in.
    pub fn open() -> Result<Self, NetworkError> {
        let ignored = [nft::NEWSETELEM, nft::DELSETELEM, nft::NEWGEN].map(nft::kind);
        Ok(Self {
            listener: Listener::open(Family::Netfilter, GROUP, &ignored)?,
        })
    }

    /// Takes in what was heard since the last time, and says whether tables, chains, rules or sets were taken away:
    /// then it is time to look whether one's own are there ([`crate::Segment::ensure`], [`crate::Segment::publish`]).
    pub fn changed(&mut self) -> bool {
        let gone = [nft::DELTABLE, nft::DELCHAIN, nft::DELRULE, nft::DELSET].map(nft::kind);
        let mut changed = false;
        loop {
            match self.listener.hear() {
                Ok(Heard::Messages(messages)) => {
                    changed |= messages.iter().any(|message| gone.contains(&message.kind));
                }
                // What it was is not known, so it is time to look.
                Ok(Heard::Lost) | Err(sys::netlink::NetlinkError::Malformed) => changed = true,
                Ok(Heard::Silence) => return changed,
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for FirewallWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
