//! How much of the server clients can have.

use std::time::Duration;

/// What one server takes on at the same time, and how long it waits for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections, idle ones too. Those beyond are answered with 503 and closed.
    pub connections: usize,
    /// Operations under way, each of which has a thread. Those that wait (`wait`, `logs -f`, `events`) count as long as
    /// they do. Those beyond are answered with 503.
    pub operations: usize,
    /// For a request's head, and between two requests on one connection.
    pub head: Duration,
    /// For the next bytes of a document.
    pub document: Duration,
    /// For the next bytes of a body that is read as it comes: an image, an archive. Whoever makes it may need time.
    pub body: Duration,
    /// For requests that are being answered when the server is asked to end.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            operations: 2048,
            head: Duration::from_mins(2),
            document: Duration::from_secs(30),
            body: Duration::from_mins(10),
            farewell: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// Returns the limits that so many descriptors are enough for: an operation may have a database, its connection and
    /// some pipes open.
    #[must_use]
    pub fn within(self, descriptors: u64) -> Self {
        let most = |wanted: usize, each: u64| {
            let fit = usize::try_from(descriptors / each).unwrap_or(usize::MAX);
            wanted.min(fit.max(8))
        };
        Self {
            connections: most(self.connections, 4),
            operations: most(self.operations, 8),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_allow_little() {
        let limits = Limits::default();
        assert_eq!(limits.within(1 << 20), limits);
        let few = limits.within(1024);
        assert_eq!((few.connections, few.operations), (256, 128));
        assert_eq!(limits.within(0).operations, 8);
    }
}
