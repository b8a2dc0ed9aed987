//! Users and groups by name or number, looked up in the container's own files.
//!
//! Those files belong to whoever made the image: they are opened as what they are inside the root, must be regular
//! and of bearable size (containerd CVE-2026-47262, buildah CVE-2024-9676), and a line that is not well-formed is
//! nobody's. A number never stands for a name, nor the reverse (crun CVE-2026-30892): `1000` is the uid 1000 even
//! where someone is called so.

use crate::error::{reason, with_causes};
use rustix::io::Errno;
use std::path::Path;
use sys::SysError;
use sys::path::Tree;

/// Ids above this are used by the kernel and C libraries for other things, as `-1` is (containerd CVE-2024-40635).
const HIGHEST: u32 = i32::MAX.cast_unsigned();
/// The longest passwd or group file that is read.
const LONGEST_FILE: u64 = 10 * 1024 * 1024;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups of the process; the primary one is always among them, or else files that exclude their group
    /// would let it in (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    /// Its home directory, `/` if it has none.
    pub(crate) home: String,
}

/// There is no such user in a root filesystem, or none that can be found.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoSuchUser(#[from] UserError);

/// Why a user or group could not be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("the id {0} is out of range: uids and gids must be in range 0-{HIGHEST}")]
    OutOfRange(String),
    #[error("cannot look up users")]
    File(#[source] SysError),
}

impl From<UserError> for crate::StartError {
    fn from(error: UserError) -> Self {
        match &error {
            UserError::File(cause) => Self::setup(format!("{error}: {cause}: {}", reason(cause.errno))),
            _ => Self::setup(with_causes(&error)),
        }
    }
}

/// Ids that are known as numbers already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// The two files as far as they are needed.
#[derive(Debug, Default)]
struct Files {
    passwd: Vec<Passwd>,
    group: Vec<Group>,
}

#[derive(Debug, PartialEq, Eq)]
struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Finds out who `user` (`user[:group]`) and `groups` are; without `user` it is `numbers`.
pub(crate) fn look_up(
    root: &Tree,
    user: Option<&str>,
    groups: &[String],
    numbers: &Numbers,
) -> Result<Identity, UserError> {
    let wants_groups = user.is_some_and(|user| !user.is_empty()) || !groups.is_empty();
    let files = Files {
        passwd: read(root, "/etc/passwd", parse_passwd)?,
        group: if wants_groups {
            read(root, "/etc/group", parse_group)?
        } else {
            Vec::new()
        },
    };
    resolve(&files, user, groups, numbers)
}

/// Returns the ids of `user[:group]`, by name or number, in a root filesystem; without one they are root's.
pub fn ids_of(root: &Tree, user: &str) -> Result<(u32, u32), NoSuchUser> {
    let nobody = Numbers {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    };
    let identity = look_up(root, Some(user), &[], &nobody)?;
    Ok((identity.uid, identity.gid))
}

/// A file that is not there has no entries.
fn read<Entry>(root: &Tree, path: &str, parse: fn(&str) -> Option<Entry>) -> Result<Vec<Entry>, UserError> {
    match root.read(Path::new(path), LONGEST_FILE) {
        Ok(content) => Ok(String::from_utf8_lossy(&content)
            .lines()
            .filter_map(parse)
            .collect()),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        Err(error) => Err(UserError::File(error)),
    }
}

fn parse_passwd(line: &str) -> Option<Passwd> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let mut fields = fields.skip(1);
    Some(Passwd {
        name,
        uid: number(fields.next()?)?.ok()?,
        gid: number(fields.next()?)?.ok()?,
        home: fields.nth(1).unwrap_or_default().to_owned(),
    })
}

fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let mut fields = fields.skip(1);
    Some(Group {
        name,
        gid: number(fields.next()?)?.ok()?,
        members: fields
            .next()
            .unwrap_or_default()
            .split(',')
            .map(str::to_owned)
            .collect(),
    })
}

/// Reads an id; `None` if the text is not a number at all.
fn number(text: &str) -> Option<Result<u32, UserError>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parsed = text.parse().ok().filter(|id| *id <= HIGHEST);
    Some(parsed.ok_or_else(|| UserError::OutOfRange(text.to_owned())))
}

fn resolve(
    files: &Files,
    user: Option<&str>,
    groups: &[String],
    numbers: &Numbers,
) -> Result<Identity, UserError> {
    let find_group = |text: &str| match number(text) {
        Some(gid) => gid,
        None => files
            .group
            .iter()
            .find(|group| group.name == text)
            .map(|group| group.gid)
            .ok_or_else(|| UserError::NoGroup(text.to_owned())),
    };
    let entry_of = |uid: u32| files.passwd.iter().find(|entry| entry.uid == uid);
    let mut identity = match user.filter(|user| !user.is_empty()) {
        None => Identity {
            uid: numbers.uid,
            gid: numbers.gid,
            groups: numbers.groups.clone(),
            home: entry_of(numbers.uid)
                .map(|entry| entry.home.clone())
                .unwrap_or_default(),
        },
        Some(text) => {
            let (user, group) = text.split_once(':').unwrap_or((text, ""));
            let (uid, entry) = match number(user) {
                Some(uid) => {
                    let uid = uid?;
                    (uid, entry_of(uid))
                }
                None if user.is_empty() => (0, entry_of(0)),
                None => {
                    let entry = files.passwd.iter().find(|entry| entry.name == user);
                    let entry = entry.ok_or_else(|| UserError::NoUser(user.to_owned()))?;
                    (entry.uid, Some(entry))
                }
            };
            let (gid, groups) = if group.is_empty() {
                let member = |group: &&Group| entry.is_some_and(|entry| group.members.contains(&entry.name));
                let groups = files.group.iter().filter(member).map(|group| group.gid).collect();
                (entry.map_or(0, |entry| entry.gid), groups)
            } else {
                (find_group(group)?, Vec::new())
            };
            Identity {
                uid,
                gid,
                groups,
                home: entry.map(|entry| entry.home.clone()).unwrap_or_default(),
            }
        }
    };
    for group in groups {
        identity.groups.push(find_group(group)?);
    }
    identity.groups.insert(0, identity.gid);
    let mut seen = std::collections::HashSet::new();
    identity.groups.retain(|gid| seen.insert(*gid));
    for id in identity.groups.iter().chain([&identity.uid]) {
        if *id > HIGHEST {
            return Err(UserError::OutOfRange(id.to_string()));
        }
    }
    if identity.home.is_empty() {
        "/".clone_into(&mut identity.home);
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\
            # comment\n\
            broken:x:none:0::/:\n\
            1000:x:7:7::/seven:\n\
            alice:x:1000:100:Alice:/home/alice:/bin/sh\n\
            short:x:1001:1001\n\
            minus:x:-1:0::/:\n\
            huge:x:4294967295:0::/:\n\
            :x:0:0::/:\n";
        let group =
            "root:x:0:root\nusers:x:100:\nwheel:x:10:root,alice\naudio:x:29:alice\nbad:x:x:alice\n7:x:70:\n";
        Files {
            passwd: passwd.lines().filter_map(parse_passwd).collect(),
            group: group.lines().filter_map(parse_group).collect(),
        }
    }

    fn ids(user: &str, groups: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        resolve(&files(), Some(user), &groups, &Numbers::default())
            .map(|identity| (identity.uid, identity.gid, identity.groups, identity.home))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn users() {
        for (text, uid, gid, groups, home) in [
            ("root", 0, 0, vec![0, 10], "/root"),
            ("0", 0, 0, vec![0, 10], "/root"),
            ("alice", 1000, 100, vec![100, 10, 29], "/home/alice"),
            ("1000", 1000, 100, vec![100, 10, 29], "/home/alice"),
            ("alice:audio", 1000, 29, vec![29], "/home/alice"),
            ("alice:5", 1000, 5, vec![5], "/home/alice"),
            ("alice:7", 1000, 7, vec![7], "/home/alice"),
            ("alice:", 1000, 100, vec![100, 10, 29], "/home/alice"),
            ("4711", 4711, 0, vec![0], "/"),
            ("4711:12", 4711, 12, vec![12], "/"),
            ("01", 1, 0, vec![0], "/"),
            ("2147483647", 2_147_483_647, 0, vec![0], "/"),
            ("short", 1001, 1001, vec![1001], "/"),
            (":users", 0, 100, vec![100], "/root"),
        ] {
            assert_eq!(ids(text, &[]), Ok((uid, gid, groups, home.to_owned())), "{text}");
        }
        assert_eq!(ids("4711", &["wheel", "5", "5"]).unwrap().2, [0, 10, 5]);
    }

    #[test]
    fn what_is_nobody_is_an_error_and_never_root() {
        let range =
            |id: &str| format!("the id {id} is out of range: uids and gids must be in range 0-2147483647");
        let user = |name: &str| format!("unable to find user {name}: no matching entries in passwd file");
        let group = |name: &str| format!("unable to find group {name}: no matching entries in group file");
        for (text, error) in [
            ("bob", user("bob")),
            ("-1", user("-1")),
            ("+1", user("+1")),
            (" 1", user(" 1")),
            ("1x", user("1x")),
            ("0x0", user("0x0")),
            ("broken", user("broken")),
            ("minus", user("minus")),
            ("2147483648", range("2147483648")),
            ("4294967295", range("4294967295")),
            ("4294967296", range("4294967296")),
            ("99999999999999999999", range("99999999999999999999")),
            ("huge", user("huge")),
            ("alice:bad", group("bad")),
            ("alice:staff", group("staff")),
            ("alice:-1", group("-1")),
            ("alice:2147483648", range("2147483648")),
            ("alice:audio:x", group("audio:x")),
        ] {
            assert_eq!(ids(text, &[]), Err(error), "{text}");
        }
        assert_eq!(ids("alice", &["nobody"]), Err(group("nobody")));
    }

    #[test]
    fn numbers_are_taken_without_a_user() {
        let numbers = Numbers {
            uid: 1000,
            gid: 5,
            groups: vec![6, 5],
        };
        let identity = resolve(&files(), None, &[], &numbers).unwrap();
        assert_eq!(
            (identity.uid, identity.gid, identity.groups),
            (1000, 5, vec![5, 6])
        );
        assert_eq!(identity.home, "/home/alice");
    }

    #[test]
    fn files_that_are_no_files_are_errors_not_hangs() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        let root = Tree::open(directory.path()).unwrap();
        let look = || look_up(&root, Some("0"), &[], &Numbers::default());
        assert_eq!(look().unwrap().uid, 0);
        let passwd = directory.path().join("etc/passwd");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &passwd,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(matches!(look(), Err(UserError::File(_))));
        std::fs::remove_file(&passwd).unwrap();
        std::fs::File::create(&passwd)
            .unwrap()
            .set_len(LONGEST_FILE + 1)
            .unwrap();
        assert!(matches!(look(), Err(UserError::File(_))));
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/proc/kcore", &passwd).unwrap();
        assert_eq!(look().unwrap().uid, 0, "the link leads nowhere inside the root");
    }

    proptest::proptest! {
        /// Whatever is asked for, root is who was called so: by a number that is zero, by nothing at all before the
        /// colon, or by a name that the container's own file gives to 0.
        #[test]
        fn nobody_becomes_root_by_accident(text in "[-+ 0-9a-z:]{0,24}|.{0,24}") {
            let files = files();
            if let Ok(identity) = resolve(&files, Some(&text), &[], &Numbers { uid: 7, gid: 7, groups: Vec::new() })
                && identity.uid == 0
            {
                let user = text.split(':').next().unwrap();
                let zero = user.bytes().all(|byte| byte == b'0');
                let named = files.passwd.iter().any(|entry| entry.name == user && entry.uid == 0);
                assert!(zero || named, "{text:?} became root");
            }
        }

        /// A file that says anything at all gives nobody an id that it does not spell.
        #[test]
        fn entries_spell_their_ids(line in "[a-z0-9:+ -]{0,40}|.{0,60}") {
            if let Some(entry) = parse_passwd(&line) {
                let fields: Vec<&str> = line.trim().split(':').collect();
                assert_eq!(fields[2].trim_start_matches('0'), entry.uid.to_string().trim_start_matches('0'));
                assert!(entry.uid <= HIGHEST && entry.gid <= HIGHEST);
            }
        }
    }
}
