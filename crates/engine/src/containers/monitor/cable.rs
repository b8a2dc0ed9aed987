//! The host's end of a container's cable, on its way out while the end is recorded.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked whether a link has gone.
const GLANCE: Duration = Duration::from_micros(200);

/// The host's end of a cable on its way out.
#[derive(Default)]
pub(super) struct Cable {
    pub(super) removal: Option<(JoinHandle<()>, String)>,
}

impl Cable {
    /// Waits until nobody can find the link any more.
    pub(super) fn wait_until_gone(&self) {
        if let Some((thread, host_link)) = &self.removal {
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
