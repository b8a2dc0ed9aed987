//! A container's own part of systemd's tree: a transient scope, delegated to us.
//!
//! Where systemd runs, the tree of version 2 is its own ("Control Group APIs and Delegation" on systemd.io): others ask
//! it for a unit with `Delegate=yes` and do as they like below that. A container gets a scope `coracle-<id>.scope`,
//! which `systemctl` shows, stops and orders at shutdown. A scope begins with a process that is there already: the
//! container's monitor, which asks for it as its first act, so that systemd works on it while the plan is made. The
//! kernel wants processes only in the leaves, so below the scope there are two cgroups: the monitor's, and the
//! container's, which the container's process is born in.
//!
//! ```text
//! system.slice/coracle-<id>.scope/monitor      one process of ours
//!                                 container    limits, devices, everything of the container
//! ```
//!
//! systemd removes the scope when the last process in it has gone, however it went.
//!
//! We speak to systemd itself, by the socket that systemctl uses as root: the message bus may not be there, and would be
//! one more process to wait for.

mod message;

use super::directory::Directory;
use super::hierarchy::Layout;
use message::{Incoming, Method, Writer};
use rustix::fs::Access;
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// systemd's own socket.
const SOCKET: &str = "/run/systemd/private";
/// Where units go that name no slice.
const DEFAULT_SLICE: &str = "system.slice";
/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long, and how often, we wait for an earlier scope of the same name to go.
const SUCCESSION: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(1);
/// What a unit that has just been made, and the call for it, go by.
const SERIAL: u32 = 1;

const START: Method = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "StartTransientUnit",
    signature: "ssa(sv)a(sa(sv))",
};

/// Says whether systemd is in charge of the cgroups here: it runs, we may speak to it, and there is only version 2.
pub fn is_in_charge() -> bool {
    // sd_booted(3) looks for the directory.
    Path::new("/run/systemd/system").is_dir()
        && rustix::fs::access(SOCKET, Access::WRITE_OK).is_ok()
        && Layout::detect().is_ok_and(|layout| layout.is_version_2())
}

/// Why there is no scope.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// systemd cannot be spoken to.
    #[error("cannot speak to systemd")]
    Talk(#[source] io::Error),
    /// It has refused.
    #[error("cannot make the unit '{unit}': systemd says: {answer}")]
    Refused {
        /// The scope.
        unit: String,
        /// systemd's words.
        answer: String,
    },
    /// It is there, and we cannot settle in it.
    #[error("cannot use the cgroup of the unit '{unit}'")]
    Settle {
        /// The scope.
        unit: String,
        /// Why not.
        #[source]
        source: sys::SysError,
    },
}

/// A scope's name and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    unit: String,
    slice: String,
}

impl Scope {
    /// Names the scope of the container `id`, in `slice` (`system.slice` if there is none). `None` if that is no slice's
    /// name.
    pub fn new(id: &str, slice: Option<&str>) -> Option<Self> {
        let slice = slice.unwrap_or(DEFAULT_SLICE);
        slice_path(slice)?;
        Some(Self {
            unit: format!("coracle-{id}.scope"),
            slice: slice.to_owned(),
        })
    }

    /// Names it again, from [`Scope::unit`] and [`Scope::slice`].
    pub fn named(unit: String, slice: String) -> Self {
        Self { unit, slice }
    }

    /// Returns the unit's name.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Returns the name of the slice that it is in.
    pub fn slice(&self) -> &str {
        &self.slice
    }

    /// The container's cgroup in it, relative to the hierarchy's mount.
    pub fn container_cgroup(&self) -> PathBuf {
        self.path().join("container")
    }

    fn path(&self) -> PathBuf {
        let slice = slice_path(&self.slice).unwrap_or_else(|| PathBuf::from("/"));
        slice.join(&self.unit)
    }

    /// Asks for the scope with this process in it, and does not wait for it.
    pub fn request(&self) -> Result<Requested, ScopeError> {
        let stream = self.send().map_err(ScopeError::Talk)?;
        Ok(Requested {
            scope: self.clone(),
            stream,
        })
    }

    fn send(&self) -> io::Result<BufReader<UnixStream>> {
        let mut stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Who we are is in the socket; the text is our user id, in hex digits of decimal digits. All at once: the
        // answer to the first line allows nothing that we would do otherwise.
        let id = rustix::process::geteuid().as_raw().to_string();
        let digits = id
            .bytes()
            .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
        let mut bytes = format!("\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n").into_bytes();
        bytes.extend(message::call(START, SERIAL, |body| self.arguments(body)));
        stream.write_all(&bytes)?;
        Ok(BufReader::new(stream))
    }

    fn arguments(&self, body: &mut Writer) {
        body.string(&self.unit);
        body.string("fail");
        body.array(8, |properties| {
            let mut property = |name: &str, kind: &str, value: &dyn Fn(&mut Writer)| {
                properties.structure(|property| {
                    property.string(name);
                    property.signature(kind);
                    value(property);
                });
            };
            property("Description", "s", &|value| {
                value.string("A container of Coracle");
            });
            property("Slice", "s", &|value| value.string(&self.slice));
            property("Delegate", "b", &|value| value.bool(true));
            // A scope that failed would keep its name.
            property("CollectMode", "s", &|value| value.string("inactive-or-failed"));
            // At shutdown the containers are stopped by the service that starts them, if there is one, and only what
            // it leaves is systemd's to stop. Units stop in the reverse order of their start.
            property("Before", "as", &|value| {
                value.array(4, |units| units.string("coracle.service"));
            });
            // How many tasks there may be is said further down; the default for units is far less than 4096.
            property("TasksMax", "t", &|value| value.u64(u64::MAX));
            property("PIDs", "au", &|value| {
                value.array(4, |pids| {
                    pids.u32(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs());
                });
            });
        });
        body.array(8, |_no_further_units| {});
    }
}

/// Moves this process into the monitor's part of the scope that a container's cgroup is in, so that it outlives the unit
/// or session it was started from. Where the container has no scope, it stays where it is.
pub fn follow(container_cgroup: &Path) -> Result<(), sys::SysError> {
    let scope = container_cgroup.parent().unwrap_or(container_cgroup);
    if scope.extension().is_some_and(|kind| kind == "scope") {
        move_below(scope)?;
    }
    Ok(())
}

/// Goes to a leaf of a scope, beside the container's. `scope` is relative to the hierarchy's mount.
fn move_below(scope: &Path) -> Result<(), sys::SysError> {
    for hierarchy in &Layout::detect()?.hierarchies {
        let scope = hierarchy.mount.join(scope.strip_prefix("/").unwrap_or(scope));
        let leaf = Directory::shared(scope.join("monitor"))?;
        leaf.write("cgroup.procs", "0")?;
    }
    Ok(())
}

/// A scope that systemd is making.
#[derive(Debug)]
pub struct Requested {
    scope: Scope,
    stream: BufReader<UnixStream>,
}

impl Requested {
    /// Waits until it is there with this process in it, and clears its top for what lies below.
    pub fn settle(mut self) -> Result<(), ScopeError> {
        let deadline = Instant::now() + SUCCESSION;
        while let Err(refusal) = self.listen().map_err(ScopeError::Talk)? {
            // The last run's scope goes a moment after the last run.
            if !refusal.0.ends_with(".UnitExists") || Instant::now() >= deadline {
                return Err(ScopeError::Refused {
                    unit: self.scope.unit,
                    answer: refusal.1,
                });
            }
            std::thread::sleep(GLANCE);
            self.stream = self.scope.send().map_err(ScopeError::Talk)?;
        }
        // It is the second time within a moment that this process is moved, so there is no new grace period to wait for.
        move_below(&self.scope.path()).map_err(|source| ScopeError::Settle {
            unit: self.scope.unit.clone(),
            source,
        })
    }

    /// Listens until the job is done; otherwise tells the error's name and words.
    fn listen(&mut self) -> io::Result<Result<(), (String, String)>> {
        skip_greeting(&mut self.stream)?;
        loop {
            match message::receive(&mut self.stream)? {
                Incoming::Refused {
                    serial: SERIAL,
                    name,
                    text,
                } => return Ok(Err((name, text))),
                // The job, the unit and how it went.
                Incoming::Signal { member, strings } if member == "JobRemoved" => {
                    if let [_job, unit, result] = &strings[..]
                        && *unit == self.scope.unit
                    {
                        return Ok(match result.as_str() {
                            "done" => Ok(()),
                            other => Err((String::new(), format!("the job is {other}"))),
                        });
                    }
                }
                _ => {}
            }
        }
    }
}

/// Reads the answer to the authentication, a line.
fn skip_greeting(stream: &mut BufReader<UnixStream>) -> io::Result<()> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
        if line.len() > 1024 {
            break;
        }
    }
    if line.starts_with(b"OK ") {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "it does not let us in: {}",
            String::from_utf8_lossy(&line).trim()
        )))
    }
}

/// Returns where a slice is: `a-b.slice` is `/a.slice/a-b.slice` (systemd.slice(5)), `-.slice` the top. `None` if that is
/// no slice's name.
fn slice_path(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice")?;
    let mut path = PathBuf::from("/");
    if name == "-" {
        return Some(path);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
    if slice.len() > 255 || !name.bytes().all(known) {
        return None;
    }
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        if !prefix.is_empty() {
            prefix.push('-');
        }
        prefix.push_str(part);
        path.push(format!("{prefix}.slice"));
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_in_one_another() {
        for (slice, path) in [
            ("system.slice", Some("/system.slice")),
            ("a-b-c.slice", Some("/a.slice/a-b.slice/a-b-c.slice")),
            ("-.slice", Some("/")),
            (".slice", None),
            ("a--b.slice", None),
            ("-a.slice", None),
            ("a/b.slice", None),
            ("a b.slice", None),
            ("system", None),
            ("", None),
        ] {
            assert_eq!(slice_path(slice), path.map(PathBuf::from), "{slice}");
        }
    }

    #[test]
    fn a_scope_has_a_name_and_a_place() {
        let scope = Scope::new("0a", None).unwrap();
        assert_eq!(
            scope.container_cgroup(),
            Path::new("/system.slice/coracle-0a.scope/container")
        );
        assert_eq!(Scope::new("0a", Some("/sys")), None);
    }

    #[test]
    fn who_is_not_let_in_is_told() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        let error = skip_greeting(&mut BufReader::new(ours)).unwrap_err();
        assert!(error.to_string().contains("REJECTED EXTERNAL"), "{error}");
    }
}
