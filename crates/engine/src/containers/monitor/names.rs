//! The name server of a container, which its monitor is: in the container's namespace, with what the networks'
//! directories tell.

use crate::Locations;
use crate::networks::names::{Book, NamesPlan};
use network::NetworkError;
use network::names::NameServer;
use rustix::event::PollFlags;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// A name server and what it answers.
pub(super) struct Names {
    server: NameServer,
    plan: NamesPlan,
    book: Book,
}

impl Names {
    /// Opens it in a namespace whose `lo` is up.
    pub(super) fn open(namespace: BorrowedFd<'_>, plan: NamesPlan) -> Result<Self, NetworkError> {
        Ok(Self {
            server: NameServer::open(namespace, plan.upstream.clone())?,
            plan,
            book: Book::default(),
        })
    }

    /// Has it answer for other networks.
    pub(super) fn change(&mut self, plan: NamesPlan) {
        self.server.set_upstream(plan.upstream.clone());
        self.plan = plan;
        self.book.forget();
    }

    /// What to poll for.
    pub(super) fn news(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.server.as_fd(), PollFlags::IN)
    }

    /// When [`Names::answer`] is due even without news.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.server.deadline()
    }

    /// Answers what has been asked.
    pub(super) fn answer(&mut self, locations: &Locations) {
        let Self { server, plan, book } = self;
        server.serve(&mut || book.table(locations, plan));
    }
}
