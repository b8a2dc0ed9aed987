//! The host's ends of a container's cables, on their way out while the end is recorded.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked whether a link has gone.
const GLANCE: Duration = Duration::from_micros(200);

/// The host's ends of cables on their way out.
#[derive(Default)]
pub(super) struct Cable {
    pub(super) removal: Option<(JoinHandle<()>, Vec<String>)>,
}

impl Cable {
    /// Waits until nobody can find the links any more.
    pub(super) fn wait_until_gone(&self) {
        let Some((thread, host_links)) = &self.removal else {
            return;
        };
        for host_link in host_links {
            // Its directory goes when the link is out of the kernel's lists.
            let link = Path::new("/sys/class/net").join(host_link);
            while !thread.is_finished() && link.exists() {
                std::thread::sleep(GLANCE);
            }
        }
    }

    /// Waits until the thread has ended. A panic in there changes nothing here: what stays is swept.
    pub(super) fn wait(self) {
        if let Some((thread, _)) = self.removal {
            thread.join().unwrap_or_default();
        }
    }
}
