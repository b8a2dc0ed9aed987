//! Control groups: version 1, version 2, and the mixture of both, found out by looking at what is mounted.
//!
//! A cgroup is one directory in each hierarchy that matters to a container. On version 1 those are memory, cpu,
//! cpuacct, pids, devices, blkio and freezer, and others (cpuset, hugetlb, …) only for a limit that needs them; on
//! version 2 it is a single directory. In the mixture the version 2 tree is used only for a controller that a limit
//! needs and that is found nowhere else. Measured on version 1 with starts 50 ms apart: making all seven with a dozen
//! limits 0.7 ms (a tenth of it for each mkdir), opening 0.13 ms, entering 0.06 ms, removing 0.14 ms.
//!
//! Nobody is moved by pid at a start, which would wait for an RCU grace period of some 10 ms: a process is born in
//! its cgroup ([`Cgroup::clone_into`]) or enters it by itself ([`Cgroup::tasks_files`]).

mod devices;
mod directory;
mod hierarchy;
pub mod oom;
mod parents;
mod processes;
mod settings;
mod statistics;
mod support;
pub mod systemd;
mod undo;
mod usage;

pub use undo::Before;

use devices::Rules;
use directory::Directory;
use hierarchy::{Hierarchy, Layout, Version};
use oci_spec::runtime::LinuxResources;
use parents::{copy_cpuset, enable, inherit_cpuset, refused_warnings};
use rustix::fs::OFlags;
use rustix::io::Errno;
use settings::{Missing, Setting};
use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};
use sys::SysError;

pub use statistics::{DeviceCount, Statistics};
pub use support::unsupported;

/// What every container gets on version 1: for `stats`, for `pause`, and for limits that are raised later.
const USUAL_1: [&str; 7] = ["memory", "cpu", "cpuacct", "pids", "devices", "blkio", "freezer"];

/// The same on version 2, where cpuacct, devices and freezer need no controller.
const USUAL_2: [&str; 4] = ["memory", "cpu", "pids", "io"];

/// A cgroup of ours in every hierarchy that has one.
#[derive(Debug)]
pub struct Cgroup {
    members: Vec<Member>,
    tasks: Vec<OwnedFd>,
    relative: PathBuf,
}

/// Its directory in one hierarchy.
#[derive(Debug)]
struct Member {
    hierarchy: Hierarchy,
    directory: Directory,
}

/// What a cgroup's processes have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Bytes in use now.
    pub memory: u64,
    /// The most bytes ever in use, where the kernel tells.
    pub memory_peak: Option<u64>,
    /// Of `memory`, page cache that has not been used lately: what the kernel gives back first.
    pub memory_inactive_file: u64,
    /// The limit in bytes; `None` if there is none.
    pub memory_limit: Option<u64>,
    /// Nanoseconds of processor time.
    pub cpu: u64,
    /// Of that, in the kernel, where it tells.
    pub cpu_system: Option<u64>,
    /// Bytes read from block devices, where the kernel counts them.
    pub read: Option<u64>,
    /// Bytes written to block devices, where the kernel counts them.
    pub written: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The most of them ever, where the kernel tells (since Linux 6.6).
    pub pids_peak: Option<u64>,
    /// The limit of processes and threads; `None` if there is none.
    pub pids_limit: Option<u64>,
    /// Times that the kernel killed a process for lack of memory.
    pub oom_kills: u64,
}

/// Returns the cgroup version that rules on this host: 2 if there is nothing else, otherwise 1.
pub fn version() -> Result<u8, SysError> {
    Ok(if Layout::detect()?.is_version_2() { 2 } else { 1 })
}

impl Cgroup {
    /// Makes the cgroup `path` (relative to every hierarchy's mount) with `resources` as limits. Limits for which the
    /// kernel has no controller come back as warnings; a limit that the kernel refuses is an error and leaves
    /// nothing. An empty cgroup of that name is replaced; one with processes in it is an error.
    pub fn create(path: &Path, resources: Option<&LinuxResources>) -> Result<(Self, Vec<String>), SysError> {
        Self::create_in(&Layout::detect()?, path, resources)
    }

    fn create_in(
        layout: &Layout,
        path: &Path,
        resources: Option<&LinuxResources>,
    ) -> Result<(Self, Vec<String>), SysError> {
        let nothing = LinuxResources::default();
        let resources = resources.unwrap_or(&nothing);
        let mut cgroup = Self {
            members: Vec::new(),
            tasks: Vec::new(),
            relative: relative(path)?,
        };
        let filled = cgroup.fill(layout, resources);
        match filled {
            Ok(warnings) => Ok((cgroup, warnings)),
            Err(error) => {
                // Nobody has entered it, so there is nothing to wait for; why it failed is what counts.
                let _removed: Option<()> = cgroup.remove(Duration::ZERO).ok();
                Err(error)
            }
        }
    }

    fn fill(&mut self, layout: &Layout, resources: &LinuxResources) -> Result<Vec<String>, SysError> {
        let mut warnings = Vec::new();
        for (hierarchy, controllers) in wanted(layout, resources) {
            if hierarchy.version == Version::Two {
                let refused = enable(&hierarchy, &self.relative, &controllers)?;
                warnings.extend(refused_warnings(&refused, resources)?);
            } else if hierarchy.has_any(&["cpuset"]) {
                inherit_cpuset(&hierarchy.mount, &self.relative)?;
            }
            // memory.use_hierarchy needs no setting: since Linux 5.11 limits always count for what is below, too.
            let directory = Directory::make(&hierarchy.mount, &self.relative)?;
            sys::failpoint::reach("cgroup.directory")?;
            let version = hierarchy.version;
            self.members.push(Member { hierarchy, directory });
            if let (Version::One, Some(member)) = (version, self.members.last()) {
                if member.hierarchy.has_any(&["cpuset"]) {
                    member.inherit_cpuset_from(&member.directory.path().join(".."))?;
                }
                self.tasks.push(member.directory.file("tasks", OFlags::WRONLY)?);
            }
        }
        if self.members.is_empty() {
            return Err(SysError::on("find a controller for cgroup", &self.relative)(
                Errno::NOENT,
            ));
        }
        warnings.extend(self.apply(resources, None)?);
        Ok(warnings)
    }

    /// Opens a cgroup that is there.
    pub fn open(path: &Path) -> Result<Self, SysError> {
        Self::open_in(&Layout::detect()?, path)
    }

    fn open_in(layout: &Layout, path: &Path) -> Result<Self, SysError> {
        let relative = relative(path)?;
        let (mut members, mut tasks) = (Vec::new(), Vec::new());
        for hierarchy in &layout.hierarchies {
            // A hierarchy without controllers is somebody else's: systemd's, which may have a slice of our name.
            if hierarchy.version == Version::One && hierarchy.controllers.is_empty() {
                continue;
            }
            let Some(directory) = Directory::open_existing(hierarchy.mount.join(&relative))? else {
                continue;
            };
            if hierarchy.version == Version::One {
                tasks.push(directory.file("tasks", OFlags::WRONLY)?);
            }
            members.push(Member {
                hierarchy: hierarchy.clone(),
                directory,
            });
        }
        if members.is_empty() {
            return Err(SysError::on("open cgroup", relative)(Errno::NOENT));
        }
        Ok(Self {
            members,
            tasks,
            relative,
        })
    }

    /// Returns the descriptor for `CLONE_INTO_CGROUP` where it has a version 2 directory, so that nobody is ever
    /// moved. In the mixture of versions there may be one **and** [`Cgroup::tasks_files`]: then both apply.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.members
            .iter()
            .find(|member| member.hierarchy.version == Version::Two)
            .map(|member| member.directory.as_fd())
    }

    /// Returns open `tasks` files of version 1 hierarchies: the child writes `0` into each before it drops its
    /// rights (an RCU grace period cheaper than writing its pid into `cgroup.procs`).
    pub fn tasks_files(&self) -> &[OwnedFd] {
        &self.tasks
    }

    /// Changes limits of a living cgroup.
    ///
    /// A limit of a version 1 controller that the cgroup was made without (cpuset, usually) adds that controller, for
    /// the processes that are in it now as well.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<String>, SysError> {
        let layout = Layout::detect()?;
        let mut added = Self {
            members: Vec::new(),
            tasks: Vec::new(),
            relative: self.relative.clone(),
        };
        let mut warnings = Vec::new();
        for (hierarchy, controllers) in wanted(&layout, resources) {
            let member = self
                .members
                .iter()
                .find(|member| member.hierarchy.mount == hierarchy.mount);
            let needed = settings::further_controllers(resources);
            match (hierarchy.version, member) {
                (Version::Two, Some(_)) => {
                    let refused = enable(&hierarchy, &self.relative, &controllers)?;
                    warnings.extend(refused_warnings(&refused, resources)?);
                }
                (Version::One, None) if hierarchy.has_any(&needed) => {
                    if hierarchy.has_any(&["cpuset"]) {
                        inherit_cpuset(&hierarchy.mount, &self.relative)?;
                    }
                    let directory = Directory::make(&hierarchy.mount, &self.relative)?;
                    let member = Member { hierarchy, directory };
                    if member.hierarchy.has_any(&["cpuset"]) {
                        member.inherit_cpuset_from(&member.directory.path().join(".."))?;
                    }
                    added.members.push(member);
                }
                _ => {}
            }
        }
        let result = self.apply(resources, Some(&added));
        let result = result.and_then(|warnings| self.move_into(&added).map(|()| warnings));
        match result {
            Ok(applied) => {
                warnings.extend(applied);
                Ok(warnings)
            }
            Err(error) => {
                // Should somebody be in it already, it stays: better an unused limit than a lost process.
                let _removed: Option<()> = added.remove(Duration::ZERO).ok();
                Err(error)
            }
        }
    }

    /// Moves what is in this cgroup into hierarchies that it has just got. Here alone, where nobody waits for a start,
    /// processes are moved by pid; a fork meanwhile is caught by reading the list again.
    fn move_into(&self, added: &Self) -> Result<(), SysError> {
        let Some(source) = self.members.first() else {
            return Ok(());
        };
        for member in &added.members {
            loop {
                let inside = processes::list(&member.directory)?;
                let outside: Vec<_> = processes::list(&source.directory)?
                    .difference(&inside)
                    .copied()
                    .collect();
                if outside.is_empty() {
                    break;
                }
                for pid in outside {
                    match member.directory.write("cgroup.procs", &pid.to_string()) {
                        Ok(()) => {}
                        Err(error) if error.errno == Errno::SRCH => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads what its processes have used.
    pub fn usage(&self) -> Result<Usage, SysError> {
        let mut usage = Usage::default();
        for member in &self.members {
            usage::add(&mut usage, member.hierarchy.version, &member.directory)?;
        }
        Ok(usage)
    }

    /// Reads what the kernel counts besides.
    pub fn statistics(&self) -> Result<Statistics, SysError> {
        let mut statistics = Statistics::default();
        for member in &self.members {
            statistics::add(&mut statistics, member.hierarchy.version, &member.directory)?;
        }
        Ok(statistics)
    }

    /// Returns the processes in it and below it, as our pid namespace numbers them. One that left a single hierarchy is
    /// still seen in the others.
    pub fn processes(&self) -> Result<BTreeSet<i32>, SysError> {
        let mut pids = BTreeSet::new();
        for member in &self.members {
            pids.append(&mut processes::list(&member.directory)?);
        }
        Ok(pids)
    }

    /// Freezes or thaws every process in it, and returns when that is done.
    pub fn freeze(&self, frozen: bool) -> Result<(), SysError> {
        let Some(member) = self.freezer() else {
            return Err(SysError::on(
                "freeze without a freezer controller cgroup",
                &self.relative,
            )(Errno::OPNOTSUPP));
        };
        processes::freeze(member.hierarchy.version, &member.directory, frozen)
    }

    /// The hierarchy that can freeze: version 1's controller, or version 2 where it rules.
    fn freezer(&self) -> Option<&Member> {
        self.with_controller("freezer")
            .or_else(|| self.members.iter().find(|_| self.tasks.is_empty()))
    }

    /// Kills every process in it. They are all doomed when this returns, not yet all gone.
    pub fn kill(&self) -> Result<(), SysError> {
        // cgroup.kill (since Linux 5.14) is one write that no fork escapes, but where version 1 rules the version 2
        // directory need not hold everybody.
        if let ([member], true) = (&self.members[..], self.tasks.is_empty()) {
            match member.directory.write("cgroup.kill", "1") {
                Err(error) if error.errno == Errno::NOENT => {}
                done => return done,
            }
        }
        let Some(first) = self.freezer().or_else(|| self.members.first()) else {
            return Ok(());
        };
        // What cannot fork cannot outrun us; and what was paused must run to die. A freezer that does not work is no
        // reason not to kill.
        let frozen = self.freeze(true).is_ok();
        let killed = processes::kill_each(&first.directory);
        match self.freeze(false) {
            Err(error) if frozen => killed.and(Err(error)),
            _ => killed,
        }
    }

    /// Removes it, empty, from every hierarchy; also below it. Waits at most `patience` for processes to go. What
    /// fails in one hierarchy does not keep the others; the first failure is reported.
    pub fn remove(&self, patience: Duration) -> Result<(), SysError> {
        let deadline = Instant::now() + patience;
        let mut result = Ok(());
        for member in &self.members {
            result = result.and(processes::remove(
                member.hierarchy.version,
                &member.directory,
                deadline,
            ));
        }
        result
    }

    /// Removes the cgroup `path` from every hierarchy in which nothing is in it, neither a cgroup nor a process.
    pub fn remove_if_idle(path: &Path) -> Result<(), SysError> {
        let relative = relative(path)?;
        for hierarchy in &Layout::detect()?.hierarchies {
            let directory = hierarchy.mount.join(&relative);
            match rustix::fs::rmdir(&directory) {
                Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
                Err(errno) => return Err(SysError::on("remove cgroup", directory)(errno)),
            }
        }
        Ok(())
    }

    fn with_controller(&self, controller: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.hierarchy.has_any(&[controller]))
    }

    /// Writes the limits to this cgroup's files, or to those of hierarchies `added` just now.
    fn apply(&self, resources: &LinuxResources, added: Option<&Self>) -> Result<Vec<String>, SysError> {
        let mut warnings = Vec::new();
        let find = |controller: &str| {
            self.with_controller(controller)
                .or_else(|| added.and_then(|added| added.with_controller(controller)))
        };
        let version_2 = self.tasks.is_empty();
        let settings = if version_2 {
            settings::version_2(resources)?
        } else {
            let current = match find("memory") {
                Some(memory) => memory.directory.read_existing("memory.memsw.limit_in_bytes")?,
                None => None,
            };
            let current = current.and_then(|text| text.trim().parse().ok());
            let mut settings = settings::version_1(resources, current)?;
            // In the mixture a controller may be found in the version 2 tree, whose files are others.
            if let Some(member) = self
                .members
                .iter()
                .find(|each| each.hierarchy.version == Version::Two)
            {
                let theirs = |setting: &Setting| member.hierarchy.has_any(&[setting.controller]);
                let mut rest = resources.clone();
                if !member.hierarchy.has_any(&["memory"]) {
                    rest.set_memory(None);
                }
                settings.retain(|setting| !theirs(setting));
                settings.extend(settings::version_2(&rest)?.into_iter().filter(theirs));
            }
            settings
        };
        let mut late = Vec::new();
        for setting in &settings {
            let member = if version_2 {
                self.members.first()
            } else {
                find(setting.controller)
            };
            match set(member, setting) {
                Ok(warning) => warnings.extend(warning.filter(|new| !warnings.contains(new))),
                // The kernel checks quota against period at every moment (and a period is at most a second), so a
                // period that does not fit the old quota may fit the new one.
                Err(error) if error.errno == Errno::INVAL && is_period(setting) => {
                    late.push((error, setting));
                }
                Err(error) => return Err(error),
            }
        }
        for (error, setting) in late {
            // If it still does not fit, the first refusal is the one to report.
            if set(find(setting.controller), setting).is_err() {
                return Err(error);
            }
        }
        if let Some(list) = resources.devices().as_ref().filter(|list| !list.is_empty()) {
            let rules = Rules::read(list)?;
            warnings.extend(if version_2 {
                self.apply_device_program(&rules)?
            } else {
                Self::apply_device_lines(find("devices"), &rules)?
            });
        }
        Ok(warnings)
    }

    fn apply_device_lines(member: Option<&Member>, rules: &Rules) -> Result<Option<String>, SysError> {
        let writes = rules.version_1()?;
        let Some(member) = member else {
            return Ok((!rules.allow_everything()).then(|| {
                "Your kernel does not support the devices cgroup or the cgroup is not mounted. Device rules discarded."
                    .to_owned()
            }));
        };
        for (file, line) in writes {
            member.directory.write(file, &line)?;
        }
        Ok(None)
    }

    fn apply_device_program(&self, rules: &Rules) -> Result<Option<String>, SysError> {
        let Some(directory) = self.clone_into() else {
            return Ok(None);
        };
        let replace = || -> Result<(), SysError> {
            // The new program is in force before the old one goes: no moment without any.
            let old = sys::bpf::attached_device_programs(directory)?;
            if !rules.allow_everything() {
                let program = sys::bpf::load_device_program(&rules.program())?;
                sys::bpf::attach_device_program(directory, &program)?;
            }
            for program in old {
                sys::bpf::detach_device_program(directory, program)?;
            }
            Ok(())
        };
        match replace() {
            // A user's containers cannot make device nodes, and those that are bound into them obey the user's own
            // rights, so this is no hole.
            Err(error) if error.errno == Errno::PERM && in_user_namespace() => Ok((!rules.allow_everything()).then(|| {
                "Device rules need the right to load BPF programs, which a user does not have. Device rules discarded."
                    .to_owned()
            })),
            result => result.map(|()| None),
        }
    }
}

impl Member {
    /// On version 1 a new cpuset is empty and takes no process, so it starts as its parent is.
    fn inherit_cpuset_from(&self, parent: &Path) -> Result<(), SysError> {
        let parent = Directory::open(parent.to_owned())?;
        copy_cpuset(&parent, &self.directory)
    }
}

/// Chooses the hierarchies to use and the controllers that matter in each.
fn wanted(layout: &Layout, resources: &LinuxResources) -> Vec<(Hierarchy, Vec<&'static str>)> {
    let further = settings::further_controllers(resources);
    let usual = if layout.is_version_2() {
        &USUAL_2[..]
    } else {
        &USUAL_1[..]
    };
    let all: Vec<_> = usual.iter().copied().chain(further).collect();
    layout
        .hierarchies
        .iter()
        .filter_map(|hierarchy| {
            let controllers: Vec<_> = all
                .iter()
                .copied()
                .filter(|controller| hierarchy.has_any(&[controller]))
                .collect();
            // Version 2 needs no controller to hold processes.
            (!controllers.is_empty() || layout.is_version_2()).then(|| (hierarchy.clone(), controllers))
        })
        .collect()
}

/// Writes one setting; the answer is a warning if there is no file for it.
fn set(member: Option<&Member>, setting: &Setting) -> Result<Option<String>, SysError> {
    for (file, value) in member.iter().flat_map(|_| &setting.choices) {
        let Some(member) = member else { break };
        match member.directory.write(file, value) {
            Err(error) if error.errno == Errno::NOENT => {}
            result => return result.map(|()| None),
        }
    }
    match setting.missing {
        Missing::Ignore => Ok(None),
        Missing::Warn(text) => Ok(Some(text.to_owned())),
        Missing::Fail => {
            let file = setting.choices.first().map_or("", |(file, _)| file);
            Err(SysError::on("find the cgroup file", file)(Errno::NOENT))
        }
    }
}

fn is_period(setting: &Setting) -> bool {
    setting
        .choices
        .iter()
        .any(|(file, _)| file == "cpu.cfs_period_us" || file == "cpu.rt_period_us")
}

/// Checks a cgroup path and makes it relative: no way up, and never the hierarchy's root.
fn relative(path: &Path) -> Result<PathBuf, SysError> {
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(SysError::on("use the cgroup path", path)(Errno::INVAL));
            }
        }
    }
    if relative.as_os_str().is_empty() {
        return Err(SysError::on("use the cgroup path", path)(Errno::INVAL));
    }
    Ok(relative)
}

/// Says whether the root of this process is not the host's.
fn in_user_namespace() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        let fields: Vec<_> = map.split_ascii_whitespace().collect();
        fields != ["0", "0", "4294967295"]
    })
}

#[cfg(test)]
mod tests;
