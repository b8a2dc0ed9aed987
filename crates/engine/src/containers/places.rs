//! Where a container's things lie, and who may touch them.

use super::record::ContainerId;
use crate::{EngineError, Locations};
use std::path::PathBuf;
use std::time::Duration;
use sys::lock::Lock;

/// How often, and how long apart, a lock is tried that nobody seems to hold for good. A busy host may stop whoever looks
/// at it in the midst of that.
const LOOKS: u32 = 400;
const PAUSE: Duration = Duration::from_micros(500);

impl Locations {
    /// `<root>/containers/<id>`: what lives as long as the container.
    pub(crate) fn container_directory(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    /// `<run root>/<id>`: what lives as long as it runs.
    pub(crate) fn run_directory(&self, id: &ContainerId) -> PathBuf {
        self.run_root.join(id.as_str())
    }

    /// The file whose lock the monitor holds.
    pub(crate) fn lock_file(&self, id: &ContainerId) -> PathBuf {
        self.run_directory(id).join("lock")
    }

    /// `<root>/volumes/<name>`.
    pub(crate) fn volume_directory(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    /// `<run root>/networks`: who is on which.
    pub(crate) fn networks_directory(&self) -> PathBuf {
        self.run_root.join("networks")
    }

    /// `<run root>/networks/<id>`.
    pub(crate) fn network_directory(&self, network: &str) -> PathBuf {
        self.networks_directory().join(network)
    }

    /// A directory on the same filesystem as the containers, for what is about to be deleted.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("containers").join(".removed")
    }

    /// Makes that directory if it is missing, and holds its lock shared: what is moved there is safe from recovery
    /// until the lock is let go.
    pub(crate) fn open_trash(&self) -> Result<Lock, EngineError> {
        let trash = self.trash();
        super::super::make_private_directory(&trash)?;
        let lock = Lock::shared(&trash.join("lock"))?;
        sys::failpoint::reach("trash.opened")?;
        Ok(lock)
    }

    /// Eight hex digits that tell this root's kernel objects from another root's.
    pub(crate) fn mark(&self) -> String {
        let root = std::fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        let digest = ring::digest::digest(
            &ring::digest::SHA256,
            std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()),
        );
        hex(&digest.as_ref()[..4])
    }

    /// The cgroup of a container, relative to every hierarchy's mount. Of one that runs it is the one it has, whatever
    /// the configuration says meanwhile.
    pub(crate) fn cgroup(&self, id: &ContainerId, parent: Option<&str>) -> PathBuf {
        if let Some(cgroup) = super::seat::assigned(self, id) {
            return cgroup;
        }
        match parent {
            Some(parent) => PathBuf::from("/").join(parent).join(id.as_str()),
            None => self.cgroup_of_all().join(id.as_str()),
        }
    }

    /// The cgroup in which this root's containers lie.
    pub(crate) fn cgroup_of_all(&self) -> PathBuf {
        PathBuf::from(format!("/coracle-{}", self.mark()))
    }

    /// Takes the container's lock, making its run directory; `None` if it runs, or is being started or removed.
    pub(crate) fn claim(&self, id: &ContainerId) -> Result<Option<Lock>, EngineError> {
        let mut looks = 0;
        loop {
            super::super::make_private_directory(&self.run_directory(id))?;
            sys::failpoint::reach("claim.directory")?;
            match Lock::try_exclusive(&self.lock_file(id)) {
                // Somebody swept the directory away between our two steps.
                Err(error) if error.errno == rustix::io::Errno::NOENT => {}
                // Whoever only looks whether it is held holds it for a moment, too; a monitor has a process to show.
                Ok(None) if looks < LOOKS && super::running::read(self, id).is_none() => {
                    looks += 1;
                    std::thread::sleep(PAUSE);
                }
                result => return Ok(result?),
            }
        }
    }

    /// Says whether a monitor (or somebody about to become or to remove one) holds the container.
    pub(crate) fn is_claimed(&self, id: &ContainerId) -> Result<bool, EngineError> {
        Ok(Lock::is_held(&self.lock_file(id))?)
    }
}

/// Writes bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Fills an array with random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(sys::SysError::of("get random bytes"))?;
    }
    Ok(bytes)
}

impl ContainerId {
    /// Makes a new id. One whose first twelve digits are all decimal would be mistaken for a number by some.
    pub(crate) fn random() -> Result<Self, EngineError> {
        loop {
            let id = hex(&random::<32>()?);
            if !id.as_bytes()[..12].iter().all(u8::is_ascii_digit) {
                return Ok(Self(id));
            }
        }
    }

    /// Reads a whole id; `None` if it is not 64 lower-case hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }
}
