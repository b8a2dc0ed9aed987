//! From the limits of an OCI specification to the files and values of either version. Pure: what is decided here is
//! written by the parent module.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fmt::Display;
use sys::SysError;

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The controller, which on version 1 says in which hierarchy the file is.
    pub(super) controller: &'static str,
    /// File names and values; the first file that exists gets its value.
    pub(super) choices: Vec<(Cow<'static, str>, String)>,
    /// What to do when none of the files exists.
    pub(super) missing: Missing,
}

/// What to do about a limit that the kernel has no file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The user asked for it by the file's name: an error.
    Fail,
    /// Nobody asked for it.
    Ignore,
    /// Tell the user, in Docker's words.
    Warn(&'static str),
}

impl Setting {
    fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl Display,
        missing: Missing,
    ) -> Self {
        Self {
            controller,
            choices: vec![(file.into(), value.to_string())],
            missing,
        }
    }

    fn or(mut self, file: &'static str, value: impl Display) -> Self {
        self.choices.push((file.into(), value.to_string()));
        self
    }
}

const MEMORY: Missing = Missing::Warn(
    "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
);
const SWAP: Missing = Missing::Warn(
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
);
const SOFT: Missing = Missing::Warn(
    "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
);
const SWAPPINESS: Missing = Missing::Warn(
    "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
);
const TCP: Missing = Missing::Warn(
    "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.",
);
const OOM: Missing = Missing::Warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
const SHARES: Missing =
    Missing::Warn("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.");
const CFS: Missing =
    Missing::Warn("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
const BURST: Missing = Missing::Warn("Your kernel does not support CPU burst. CPU burst discarded.");
const IDLE: Missing = Missing::Warn("Your kernel does not support idle CPU cgroups. CPU idle discarded.");
const REAL_TIME: Missing = Missing::Warn(
    "Your kernel does not support CPU real-time scheduler or the cgroup is not mounted. CPU real-time limits discarded.",
);
const CPUSET: Missing =
    Missing::Warn("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
const PIDS: Missing = Missing::Warn(
    "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
);
const WEIGHT: Missing = Missing::Warn(
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
);
const LEAF_WEIGHT: Missing = Missing::Warn(
    "Your kernel does not support Block I/O leaf weight or the cgroup is not mounted. Leaf weight discarded.",
);
const WEIGHT_DEVICE: Missing = Missing::Warn(
    "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
);
const READ_RATE: Missing = Missing::Warn(
    "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
);
const WRITE_RATE: Missing = Missing::Warn(
    "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
);
const READ_OPERATIONS: Missing = Missing::Warn(
    "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
);
const WRITE_OPERATIONS: Missing = Missing::Warn(
    "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
);
const HUGE_PAGES: Missing = Missing::Warn(
    "Your kernel does not support hugepage limit capabilities or the cgroup is not mounted. Limitation discarded.",
);
const RDMA: Missing = Missing::Warn(
    "Your kernel does not support RDMA limit capabilities or the cgroup is not mounted. Limitation discarded.",
);
const CLASS: Missing = Missing::Warn(
    "Your kernel does not support network classes or the cgroup is not mounted. Network class discarded.",
);
const PRIORITY: Missing = Missing::Warn(
    "Your kernel does not support network priorities or the cgroup is not mounted. Network priority discarded.",
);

/// Controllers that a limit needs beyond those that every container gets.
pub(super) fn further_controllers(resources: &LinuxResources) -> Vec<&'static str> {
    let mut controllers = Vec::new();
    if resources
        .cpu()
        .as_ref()
        .is_some_and(|cpu| given(cpu.cpus().as_ref()).is_some() || given(cpu.mems().as_ref()).is_some())
    {
        controllers.push("cpuset");
    }
    if resources
        .hugepage_limits()
        .as_ref()
        .is_some_and(|limits| !limits.is_empty())
    {
        controllers.push("hugetlb");
    }
    if resources.rdma().as_ref().is_some_and(|limits| !limits.is_empty()) {
        controllers.push("rdma");
    }
    if let Some(network) = resources.network() {
        if network.class_id().is_some_and(|class| class != 0) {
            controllers.push("net_cls");
        }
        if network.priorities().as_ref().is_some_and(|list| !list.is_empty()) {
            controllers.push("net_prio");
        }
    }
    controllers
}

/// Returns what to write for everything but devices. `current_swap` is the limit of memory and swap together that
/// is in force, for a cgroup of version 1 that lives.
pub(super) fn version_1(
    resources: &LinuxResources,
    current_swap: Option<u64>,
) -> Result<Vec<Setting>, SysError> {
    if resources.unified().as_ref().is_some_and(|map| !map.is_empty()) {
        return Err(SysError::of("set unified cgroup values without cgroup version 2")(Errno::OPNOTSUPP));
    }
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_1(memory, current_swap, &mut settings);
    }
    if let Some(cpu) = resources.cpu() {
        cpu_1(cpu, &mut settings);
    }
    for_both(resources, &mut settings);
    if let Some(block) = resources.block_io() {
        block_1(block, &mut settings);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let size = page_size(limit.page_size())?;
        for (kind, missing) in [("", HUGE_PAGES), ("rsvd.", Missing::Ignore)] {
            let file = format!("hugetlb.{size}.{kind}limit_in_bytes");
            settings.push(Setting::new("hugetlb", file, limit.limit(), missing));
        }
    }
    if let Some(network) = resources.network() {
        if let Some(class) = network.class_id().filter(|class| *class != 0) {
            settings.push(Setting::new("net_cls", "net_cls.classid", class, CLASS));
        }
        for priority in network.priorities().iter().flatten() {
            let value = format!("{} {}", priority.name(), priority.priority());
            settings.push(Setting::new("net_prio", "net_prio.ifpriomap", value, PRIORITY));
        }
    }
    Ok(settings)
}

/// Returns what to write for everything but devices on version 2.
pub(super) fn version_2(resources: &LinuxResources) -> Result<Vec<Setting>, SysError> {
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_2(memory, &mut settings)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_2(cpu, &mut settings);
    }
    for_both(resources, &mut settings);
    if let Some(block) = resources.block_io() {
        block_2(block, &mut settings);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let size = page_size(limit.page_size())?;
        for (kind, missing) in [("", HUGE_PAGES), ("rsvd.", Missing::Ignore)] {
            let file = format!("hugetlb.{size}.{kind}max");
            settings.push(Setting::new("hugetlb", file, or_max(limit.limit()), missing));
        }
    }
    if let Some(network) = resources.network() {
        if network.class_id().is_some_and(|class| class != 0) {
            settings.push(nowhere("net_cls", CLASS));
        }
        if network.priorities().as_ref().is_some_and(|list| !list.is_empty()) {
            settings.push(nowhere("net_prio", PRIORITY));
        }
    }
    // Last, so that who knows the kernel's names has the last word; sorted, so that the order is always the same.
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        if file.contains('/') || !file.contains('.') {
            return Err(SysError::on("set the unified cgroup value", file)(Errno::INVAL));
        }
        for line in value.lines() {
            settings.push(Setting::new("", file.clone(), line, Missing::Fail));
        }
    }
    Ok(settings)
}

/// A limit for which this version has no file at all.
fn nowhere(controller: &'static str, missing: Missing) -> Setting {
    Setting {
        controller,
        choices: Vec::new(),
        missing,
    }
}

fn for_both(resources: &LinuxResources, settings: &mut Vec<Setting>) {
    if let Some(cpu) = resources.cpu() {
        if let Some(cpus) = given(cpu.cpus().as_ref()) {
            settings.push(Setting::new("cpuset", "cpuset.cpus", cpus, CPUSET));
        }
        if let Some(mems) = given(cpu.mems().as_ref()) {
            settings.push(Setting::new("cpuset", "cpuset.mems", mems, CPUSET));
        }
    }
    if let Some(pids) = resources.pids() {
        // Docker and the specification: anything that is not positive is no limit.
        let value = if pids.limit() > 0 {
            pids.limit().to_string()
        } else {
            "max".to_owned()
        };
        settings.push(Setting::new("pids", "pids.max", value, PIDS));
    }
    let mut rdma: Vec<_> = resources.rdma().iter().flatten().collect();
    rdma.sort_by_key(|(device, _)| *device);
    for (device, limit) in rdma {
        let handles = limit
            .hca_handles()
            .map(|handles| format!(" hca_handle={handles}"));
        let objects = limit
            .hca_objects()
            .map(|objects| format!(" hca_object={objects}"));
        let value = [Some(device.clone()), handles, objects]
            .into_iter()
            .flatten()
            .collect::<String>();
        settings.push(Setting::new("rdma", "rdma.max", value, RDMA));
    }
}

fn memory_1(memory: &LinuxMemory, current_swap: Option<u64>, settings: &mut Vec<Setting>) {
    let limit = memory.limit().filter(|limit| *limit != 0);
    let swap = memory.swap().filter(|swap| *swap != 0);
    // The kernel holds memory <= memory and swap together at every moment, so unlimited memory needs unlimited both,
    // and which goes first depends on whether the sum rises.
    let swap = swap.or((limit == Some(-1)).then_some(-1));
    let rises = match (swap, current_swap) {
        (Some(-1), _) => true,
        (Some(new), Some(current)) => u64::try_from(new).is_ok_and(|new| new > current),
        _ => false,
    };
    let limit = limit.map(|limit| Setting::new("memory", "memory.limit_in_bytes", limit, MEMORY));
    let swap = swap.map(|swap| {
        let missing = if swap == -1 { Missing::Ignore } else { SWAP };
        Setting::new("memory", "memory.memsw.limit_in_bytes", swap, missing)
    });
    if rises {
        settings.extend(swap.into_iter().chain(limit));
    } else {
        settings.extend(limit.into_iter().chain(swap));
    }
    if let Some(soft) = memory.reservation().filter(|soft| *soft != 0) {
        settings.push(Setting::new("memory", "memory.soft_limit_in_bytes", soft, SOFT));
    }
    if let Some(tcp) = memory.kernel_tcp().filter(|tcp| *tcp != 0) {
        settings.push(Setting::new("memory", "memory.kmem.tcp.limit_in_bytes", tcp, TCP));
    }
    if let Some(swappiness) = memory.swappiness() {
        settings.push(Setting::new(
            "memory",
            "memory.swappiness",
            swappiness,
            SWAPPINESS,
        ));
    }
    if memory.disable_oom_killer() == Some(true) {
        settings.push(Setting::new("memory", "memory.oom_control", 1, OOM));
    }
}

fn memory_2(memory: &LinuxMemory, settings: &mut Vec<Setting>) -> Result<(), SysError> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(swap) = swap_alone(limit, memory.swap())? {
        let missing = if swap == "max" { Missing::Ignore } else { SWAP };
        settings.push(Setting::new("memory", "memory.swap.max", swap, missing));
    }
    if let Some(limit) = limit {
        settings.push(Setting::new("memory", "memory.max", or_max(limit), MEMORY));
    }
    if let Some(soft) = memory.reservation().filter(|soft| *soft != 0) {
        settings.push(Setting::new("memory", "memory.low", or_max(soft), SOFT));
    }
    if memory.kernel_tcp().is_some_and(|tcp| tcp > 0) {
        settings.push(nowhere("memory", TCP));
    }
    if memory.swappiness().is_some() {
        settings.push(nowhere("memory", SWAPPINESS));
    }
    if memory.disable_oom_killer() == Some(true) {
        settings.push(nowhere("memory", OOM));
    }
    Ok(())
}

/// Version 1 and the specification limit memory and swap together, version 2 swap alone.
fn swap_alone(limit: Option<i64>, both: Option<i64>) -> Result<Option<String>, SysError> {
    let refuse = |action| Err(SysError::of(action)(Errno::INVAL));
    match (limit, both.filter(|both| *both != 0)) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (None | Some(-1), Some(_)) => refuse("limit memory and swap without a limit of memory"),
        (Some(limit), Some(both)) if both < limit => {
            refuse("limit memory and swap together to less than memory")
        }
        (Some(limit), Some(both)) => Ok(Some((both - limit).to_string())),
    }
}

fn cpu_1(cpu: &LinuxCpu, settings: &mut Vec<Setting>) {
    // An idle cgroup has no weight; the kernel refuses to set one.
    if let Some(idle) = cpu.idle() {
        settings.push(Setting::new("cpu", "cpu.idle", idle, IDLE));
    }
    if let Some(shares) = cpu
        .shares()
        .filter(|shares| *shares != 0 && cpu.idle() != Some(1))
    {
        settings.push(Setting::new("cpu", "cpu.shares", shares, SHARES));
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        settings.push(Setting::new("cpu", "cpu.cfs_period_us", period, CFS));
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        settings.push(Setting::new("cpu", "cpu.cfs_quota_us", quota, CFS));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(Setting::new("cpu", "cpu.cfs_burst_us", burst, BURST));
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        settings.push(Setting::new("cpu", "cpu.rt_period_us", period, REAL_TIME));
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        settings.push(Setting::new("cpu", "cpu.rt_runtime_us", runtime, REAL_TIME));
    }
}

fn cpu_2(cpu: &LinuxCpu, settings: &mut Vec<Setting>) {
    if let Some(idle) = cpu.idle() {
        settings.push(Setting::new("cpu", "cpu.idle", idle, IDLE));
    }
    if let Some(shares) = cpu
        .shares()
        .filter(|shares| *shares != 0 && cpu.idle() != Some(1))
    {
        settings.push(Setting::new(
            "cpu",
            "cpu.weight",
            weight_of_shares(shares),
            SHARES,
        ));
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    let value = match (quota, period) {
        (None, None) => None,
        (Some(quota), None) => Some(or_max(quota)),
        (quota, Some(period)) => Some(format!("{} {period}", or_max(quota.unwrap_or(-1)))),
    };
    if let Some(value) = value {
        settings.push(Setting::new("cpu", "cpu.max", value, CFS));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(Setting::new("cpu", "cpu.max.burst", burst, BURST));
    }
    if cpu.realtime_period().is_some_and(|period| period != 0)
        || cpu.realtime_runtime().is_some_and(|runtime| runtime != 0)
    {
        settings.push(nowhere("cpu", REAL_TIME));
    }
}

/// Converts shares (2 to 262144, 1024 by default) to a weight (1 to 10000, 100 by default) by the curve that newer runc
/// uses: a power of ten whose exponent is quadratic in log2(shares), which hits all three of those
/// points. The straight line used before made a default container of version 1 lighter than a default process.
fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2^18 every integer is exact")]
    let log = (shares as f64).log2();
    let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
    // Rounding noise must not lift 100.00000000000001 to 101.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000"
    )]
    let weight = (weight - 1e-9).ceil() as u64;
    weight.clamp(1, 10_000)
}

fn block_1(block: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        settings.push(Setting::new("blkio", "blkio.weight", weight, WEIGHT).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = block.leaf_weight().filter(|weight| *weight != 0) {
        settings.push(Setting::new("blkio", "blkio.leaf_weight", weight, LEAF_WEIGHT));
    }
    for device in block.weight_device().iter().flatten() {
        let line = |weight: u16| format!("{}:{} {weight}", device.major(), device.minor());
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            settings.push(
                Setting::new("blkio", "blkio.weight_device", line(weight), WEIGHT_DEVICE)
                    .or("blkio.bfq.weight_device", line(weight)),
            );
        }
        if let Some(weight) = device.leaf_weight().filter(|weight| *weight != 0) {
            let file = "blkio.leaf_weight_device";
            settings.push(Setting::new("blkio", file, line(weight), WEIGHT_DEVICE));
        }
    }
    for (devices, file, missing) in [
        (
            block.throttle_read_bps_device(),
            "blkio.throttle.read_bps_device",
            READ_RATE,
        ),
        (
            block.throttle_write_bps_device(),
            "blkio.throttle.write_bps_device",
            WRITE_RATE,
        ),
        (
            block.throttle_read_iops_device(),
            "blkio.throttle.read_iops_device",
            READ_OPERATIONS,
        ),
        (
            block.throttle_write_iops_device(),
            "blkio.throttle.write_iops_device",
            WRITE_OPERATIONS,
        ),
    ] {
        for device in devices.iter().flatten() {
            settings.push(Setting::new("blkio", file, throttle(device, ""), missing));
        }
    }
}

fn block_2(block: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        settings.push(
            Setting::new("io", "io.bfq.weight", weight, WEIGHT)
                .or("io.weight", weight_of_block_weight(weight)),
        );
    }
    if block.leaf_weight().is_some_and(|weight| weight != 0) {
        settings.push(nowhere("io", LEAF_WEIGHT));
    }
    for device in block.weight_device().iter().flatten() {
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            let line = |weight: u64| format!("{}:{} {weight}", device.major(), device.minor());
            settings.push(
                Setting::new("io", "io.bfq.weight", line(weight.into()), WEIGHT_DEVICE)
                    .or("io.weight", line(weight_of_block_weight(weight))),
            );
        }
    }
    for (devices, key, missing) in [
        (block.throttle_read_bps_device(), "rbps=", READ_RATE),
        (block.throttle_write_bps_device(), "wbps=", WRITE_RATE),
        (block.throttle_read_iops_device(), "riops=", READ_OPERATIONS),
        (block.throttle_write_iops_device(), "wiops=", WRITE_OPERATIONS),
    ] {
        for device in devices.iter().flatten() {
            settings.push(Setting::new("io", "io.max", throttle(device, key), missing));
        }
    }
}

/// Converts a weight of version 1 (10 to 1000) to one of `io.weight` (1 to 10000), linearly as runc does.
fn weight_of_block_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// A rate of 0 lifts the limit; version 2 has a word for that.
fn throttle(device: &LinuxThrottleDevice, key: &str) -> String {
    let (major, minor) = (device.major(), device.minor());
    match device.rate() {
        0 if !key.is_empty() => format!("{major}:{minor} {key}max"),
        rate => format!("{major}:{minor} {key}{rate}"),
    }
}

/// A negative limit is none.
fn or_max(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

fn given(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

/// A page size becomes part of a file name: `2MB`, `1GB`.
fn page_size(text: &str) -> Result<&str, SysError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text)
    } else {
        Err(SysError::on("limit huge pages of the size", text)(Errno::INVAL))
    }
}

#[cfg(test)]
mod tests;
