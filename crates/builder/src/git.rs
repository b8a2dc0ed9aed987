//! Git repositories as sources: their addresses, and fetching them with the `git` program.
//!
//! Whatever stands in an address is never taken for an option: addresses and names that begin with a hyphen are
//! refused and stand behind `--` (CVE-2019-13139), only protocols that talk to servers are allowed, and a part of a
//! repository is reached through real directories only.

use crate::error::{Failure, StepError};
use crate::source::{self, Kind, Origin};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use sys::SysError;
use sys::path::Tree;

/// How often a running git is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// No message of git's is longer, as far as we show it.
const LONGEST_MESSAGE: u64 = 4 << 10;

/// A repository's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitSource {
    /// What git is given.
    pub remote: String,
    /// A branch, a tag or a commit.
    pub reference: Option<String>,
    /// A directory in it.
    pub directory: Option<String>,
    /// What the commit's name must begin with.
    pub checksum: Option<String>,
    /// Whether `.git` is wanted as well.
    pub keep_git_directory: Option<bool>,
    /// Whether submodules are wanted; they are.
    pub submodules: Option<bool>,
}

impl GitSource {
    /// Says whether the address itself says which commit is meant.
    pub(crate) fn is_pinned(&self) -> bool {
        self.checksum.is_some() || self.reference.as_deref().is_some_and(is_commit)
    }
}

/// Says whether a name is a commit's whole one, and no branch's or tag's.
fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Says whether an address is one of a repository, and takes it apart: `https://host/x.git#ref:directory`,
/// `git@host:x`, `ssh://…`, `git://…`, and the keys `ref`, `tag`, `branch`, `subdir`, `checksum`, `commit`,
/// `keep-git-dir`, `submodules`, `fetch-by-commit` and `mtime` behind a question mark.
pub fn parse(text: &str) -> Result<Option<GitSource>, String> {
    let (rest, fragment) = match text.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (text, None),
    };
    let (remote, query) = match rest.split_once('?') {
        Some((remote, query)) => (remote, Some(query)),
        None => (rest, None),
    };
    let lower = remote.to_ascii_lowercase();
    let web = lower.starts_with("https://") || lower.starts_with("http://");
    let by_ssh = remote
        .split_once(':')
        .is_some_and(|(host, path)| host.contains('@') && !host.contains('/') && !path.starts_with("//"));
    let is_git = lower.starts_with("git://")
        || lower.starts_with("ssh://")
        || by_ssh
        || web && lower.trim_end_matches('/').rsplit('.').next() == Some("git")
        || lower.starts_with("github.com/");
    if !is_git {
        return Ok(None);
    }
    let remote = if lower.starts_with("github.com/") {
        format!("https://{remote}")
    } else {
        remote.to_owned()
    };
    let mut source = GitSource {
        remote,
        ..GitSource::default()
    };
    if let Some(fragment) = fragment {
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        source.reference = Some(reference.to_owned()).filter(|text| !text.is_empty());
        source.directory = Some(directory.to_owned()).filter(|text| !text.is_empty());
    }
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let boolean = || match value {
            "" | "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(format!("{key} is true or false, not '{value}'")),
        };
        let again = |before: &Option<String>| {
            if before.is_some() {
                Err(format!("'{key}' says again what was said already"))
            } else {
                Ok(Some(value.to_owned()).filter(|text| !text.is_empty()))
            }
        };
        match key {
            "ref" => source.reference = again(&source.reference)?,
            "tag" => source.reference = again(&source.reference)?.map(|tag| format!("refs/tags/{tag}")),
            "branch" => source.reference = again(&source.reference)?.map(|name| format!("refs/heads/{name}")),
            "subdir" => source.directory = again(&source.directory)?,
            "checksum" | "commit" => source.checksum = again(&source.checksum)?,
            "keep-git-dir" => source.keep_git_directory = boolean()?,
            "submodules" => source.submodules = boolean()?,
            // A commit is asked for by its name wherever the server gives it.
            "fetch-by-commit" => drop(boolean()?),
            // All files of a layer have the build's time, not that of their checkout or commit.
            "mtime" if matches!(value, "checkout" | "commit") => {}
            "mtime" => return Err(format!("mtime is checkout or commit, not '{value}'")),
            other => return Err(format!("unexpected query \"{other}\"")),
        }
    }
    check(&source)?;
    Ok(Some(source))
}

fn check(source: &GitSource) -> Result<(), String> {
    let harmless =
        |text: &str| !text.starts_with('-') && !text.contains(|c: char| c.is_control() || c.is_whitespace());
    if !harmless(&source.remote) {
        return Err(format!("'{}' is no address of a repository", source.remote));
    }
    // The host is handed to ssh.
    let host = source
        .remote
        .split_once("://")
        .map_or(source.remote.as_str(), |(_, rest)| rest);
    if host.starts_with('-') || host.split('@').nth(1).is_some_and(|host| host.starts_with('-')) {
        return Err(format!("'{}' is no address of a repository", source.remote));
    }
    if let Some(reference) = &source.reference
        && (!harmless(reference)
            || reference.contains("..")
            || reference.contains(['~', '^', ':', '?', '*', '[', '\\', '+']))
    {
        return Err(format!("'{reference}' is no name of a branch, tag or commit"));
    }
    if let Some(checksum) = &source.checksum
        && (checksum.len() < 4 || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(format!("'{checksum}' is no beginning of a commit's name"));
    }
    if let Some(directory) = &source.directory
        && directory.split('/').any(|component| component == "..")
    {
        return Err(format!("'{directory}' leads out of the repository"));
    }
    Ok(())
}

/// Who asks git, and for what.
pub(crate) struct Fetch<'a> {
    pub(crate) source: &'a GitSource,
    /// An empty directory that it goes into.
    pub(crate) into: &'a Path,
    /// An existing directory for git's messages.
    pub(crate) aside: &'a Path,
    /// Value of an `Authorization` header for this repository.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl Fetch<'_> {
    /// Fetches and checks out; returns where the wanted part is, below `into`, and the commit.
    pub(crate) fn run(&self) -> Result<(PathBuf, String), Failure> {
        let source = self.source;
        let wanted = source.reference.as_deref().unwrap_or("HEAD");
        self.git(&["init", "--quiet", "."])?;
        self.fetch(wanted)?;
        let commit = self.commit(wanted)?;
        self.git(&["checkout", "--quiet", "--detach", &commit])?;
        if let Some(checksum) = &source.checksum
            && !commit.starts_with(&checksum.to_ascii_lowercase())
        {
            return Err(StepError::GitChecksum {
                remote: source.remote.clone(),
                expected: checksum.clone(),
                found: commit,
            }
            .into());
        }
        if source.submodules != Some(false) && self.into.join(".gitmodules").exists() {
            self.git(&["submodule", "--quiet", "update", "--init", "--recursive"])?;
        }
        let tree = Tree::open(self.into)?;
        if source.keep_git_directory != Some(true) {
            tree.remove_all(Path::new(".git"))?;
        }
        self.settle(&tree)?;
        let Some(directory) = &source.directory else {
            return Ok((PathBuf::new(), commit));
        };
        let path = PathBuf::from(source::clean(directory));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        sys::path::open_resolving(
            std::os::fd::AsFd::as_fd(&tree),
            &path,
            flags,
            Mode::empty(),
            resolve,
        )
        .map_err(|_errno| StepError::GitDirectory {
            remote: source.remote.clone(),
            directory: directory.clone(),
        })?;
        Ok((path, commit))
    }

    /// Fetches as little as the server can give.
    fn fetch(&self, wanted: &str) -> Result<(), Failure> {
        let remote = &self.source.remote;
        let shallow = self.git(&["fetch", "--quiet", "--no-tags", "--depth=1", "--", remote, wanted]);
        match shallow {
            Err(Failure::Step(_)) => {}
            other => return other.map(drop),
        }
        // Not every server gives single commits, or parts of a history.
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        if is_commit(wanted) {
            self.git(&["fetch", "--quiet", "--", remote, all[0], all[1]])?;
        } else {
            self.git(&["fetch", "--quiet", "--no-tags", "--", remote, wanted])?;
        }
        Ok(())
    }

    fn commit(&self, wanted: &str) -> Result<String, Failure> {
        let name = if is_commit(wanted) { wanted } else { "FETCH_HEAD" };
        let text = self.git(&[
            "rev-parse",
            "--verify",
            "--end-of-options",
            &format!("{name}^{{commit}}"),
        ])?;
        Ok(text.trim().to_owned())
    }

    /// Makes modes what git knows of them, whatever our umask is.
    fn settle(&self, tree: &Tree) -> Result<(), Failure> {
        let origin = Origin {
            tree,
            name: "the repository".to_owned(),
            ignore: None,
        };
        let found = source::find_one(&origin, "", self.cancelled)?;
        for item in &found.items {
            let mode = match item.kind {
                Kind::Directory => 0o755,
                Kind::File if item.mode & 0o100 != 0 => 0o755,
                Kind::File => 0o644,
                Kind::Link | Kind::Special(_) => continue,
            };
            tree.set_mode(&item.below(Path::new("/")), Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }

    /// Runs git in the directory and returns what it writes.
    fn git(&self, arguments: &[&str]) -> Result<String, Failure> {
        let remote = &self.source.remote;
        let failed = |message: String| StepError::Git {
            remote: remote.clone(),
            message,
        };
        let open = |name: &str| -> Result<(File, PathBuf), StepError> {
            let path = self.aside.join(name);
            let file = File::create(&path).map_err(|error| SysError::io("make", &path, &error))?;
            Ok((file, path))
        };
        let ((stdout, said), (stderr, complained)) = (open("git.out")?, open("git.err")?);
        let mut command = Command::new("git");
        command
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.fsmonitor=false",
                "-c",
                "advice.detachedHead=false",
            ])
            .args([
                "-c",
                "init.defaultBranch=main",
                "-c",
                "safe.directory=*",
                "-c",
                "core.autocrlf=false",
            ])
            .args(arguments)
            .current_dir(self.into)
            .env("GIT_ALLOW_PROTOCOL", "http:https:git:ssh")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_DIR", self.into.join(".git"))
            .env("LC_ALL", "C")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        if arguments.first() == Some(&"submodule") {
            command.env_remove("GIT_DIR");
        }
        if let Some(value) = self.authorization {
            // In the environment others cannot read it, as they can arguments.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{remote}.extraheader"))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: {value}"));
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StepError::NoGit,
            _ => failed(error.to_string()),
        })?;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if (self.cancelled)() => {
                    let group = rustix::process::Pid::from_child(&child);
                    // It may just have ended by itself.
                    rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
                        .unwrap_or_default();
                    drop(child.wait());
                    return Err(Failure::Cancelled);
                }
                Ok(None) => std::thread::sleep(GLANCE),
                Err(error) => return Err(failed(error.to_string()).into()),
            }
        };
        if !status.success() {
            let message = sys::fs::read(&complained, LONGEST_MESSAGE).unwrap_or_default();
            let message = String::from_utf8_lossy(&message);
            let message: Vec<&str> = message
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            return Err(failed(message.join("; ")).into());
        }
        let said = sys::fs::read(&said, LONGEST_MESSAGE)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parsed = |text: &str| parse(text).unwrap().unwrap();
        let source = parsed("https://example.com/x.git#v1:sub/dir");
        assert_eq!(source.remote, "https://example.com/x.git");
        assert_eq!(source.reference.as_deref(), Some("v1"));
        assert_eq!(source.directory.as_deref(), Some("sub/dir"));
        let source =
            parsed("git@example.com:me/x?branch=b&subdir=s&checksum=abcd12&keep-git-dir=1&submodules=false");
        assert_eq!(source.remote, "git@example.com:me/x");
        assert_eq!(source.reference.as_deref(), Some("refs/heads/b"));
        assert_eq!(source.directory.as_deref(), Some("s"));
        assert_eq!(source.checksum.as_deref(), Some("abcd12"));
        assert_eq!(
            (source.keep_git_directory, source.submodules),
            (Some(true), Some(false))
        );
        assert!(source.is_pinned());
        assert!(!parsed("https://example.com/x.git#v1").is_pinned());
        assert!(parsed(&format!("https://example.com/x.git#{}", "0a".repeat(20))).is_pinned());
        assert_eq!(parsed("github.com/me/x").remote, "https://github.com/me/x");
        assert_eq!(parsed("ssh://git@example.com/x").reference, None);
        for text in [
            "https://example.com/x",
            "https://example.com/x.tar.gz",
            "./dir",
            "a:b",
            "x.git",
        ] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn nothing_in_an_address_is_an_option() {
        for text in [
            "git://x#--upload-pack=touch m",
            "git://x#-b",
            "git://-oProxyCommand=x/y.git",
            "ssh://-oProxyCommand=x/y",
            "git@-oProxyCommand=x:y",
            "https://example.com/x.git?ref=--upload-pack=x",
            "https://example.com/x.git?ref=a&ref=b",
            "https://example.com/x.git?color=blue",
            "https://example.com/x.git?keep-git-dir=perhaps",
            "https://example.com/x.git?mtime=yesterday",
            "https://example.com/x.git?fetch-by-commit=perhaps",
            "https://example.com/x.git?checksum=xyz",
            "https://example.com/x.git#main:../../etc",
            "https://example.com/x.git#a..b",
            "https://example.com/x.git#+refs/heads/*",
            "ssh://x y/z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
