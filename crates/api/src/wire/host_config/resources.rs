//! Limits and devices: what `docker update` may change, and some more.

use crate::wire::none_if_empty;
use engine::containers::request::{CreateContainer, DeviceRequest, GpuRequest, Ulimit};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Docker's `Resources`, which stand among the fields of `HostConfig`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Resources {
    cpu_shares: u64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: String,
    blkio_weight: u16,
    blkio_weight_device: Vec<Weight>,
    blkio_device_read_bps: Vec<Rate>,
    blkio_device_write_bps: Vec<Rate>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Vec<Rate>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Vec<Rate>,
    cpu_period: u64,
    cpu_quota: i64,
    cpu_realtime_period: u64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<Device>,
    device_cgroup_rules: Option<Vec<String>>,
    device_requests: Option<Vec<Request>>,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: bool,
    pids_limit: Option<i64>,
    ulimits: Vec<Limit>,
    /// Four of another system's.
    cpu_count: i64,
    cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weight {
    path: String,
    weight: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rate {
    path: String,
    rate: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Device {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

/// A device that a driver finds: a GPU, or one of the Container Device Interface.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    driver: String,
    count: i64,
    #[serde(rename = "DeviceIDs")]
    device_ids: Option<Vec<String>>,
    capabilities: Option<Vec<Vec<String>>>,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    name: String,
    hard: i64,
    soft: i64,
}

impl Resources {
    pub(super) fn new(request: &CreateContainer) -> Self {
        let limits = &request.limits;
        let memory = limits.memory.unwrap_or(0);
        Self {
            cpu_shares: limits.cpu_shares.unwrap_or(0),
            memory,
            nano_cpus: limits.nano_cpus.unwrap_or(0),
            cgroup_parent: request.cgroup_parent.clone().unwrap_or_default(),
            blkio_weight: limits.blkio_weight.unwrap_or(0),
            blkio_weight_device: limits
                .blkio_weight_devices
                .iter()
                .map(|(path, weight)| Weight {
                    path: text(path),
                    weight: *weight,
                })
                .collect(),
            blkio_device_read_bps: rates(&limits.device_read_bps),
            blkio_device_write_bps: rates(&limits.device_write_bps),
            blkio_device_read_iops: rates(&limits.device_read_iops),
            blkio_device_write_iops: rates(&limits.device_write_iops),
            cpu_period: limits.cpu_period.unwrap_or(0),
            cpu_quota: limits.cpu_quota.unwrap_or(0),
            cpu_realtime_period: limits.cpu_realtime_period.unwrap_or(0),
            cpu_realtime_runtime: limits.cpu_realtime_runtime.unwrap_or(0),
            cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
            devices: request.devices.iter().map(device).collect(),
            device_cgroup_rules: none_if_empty(request.device_rules.clone()),
            device_requests: none_if_empty(requests(request)),
            memory_reservation: limits.memory_reservation.unwrap_or(0),
            memory_swap: limits.memory_swap.unwrap_or_else(|| memory.saturating_mul(2)),
            memory_swappiness: limits.memory_swappiness,
            oom_kill_disable: limits.oom_kill_disable,
            pids_limit: limits.pids,
            ulimits: request.ulimits.iter().map(ulimit).collect(),
            cpu_count: 0,
            cpu_percent: 0,
            io_maximum_iops: 0,
            io_maximum_bandwidth: 0,
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn rates(rates: &[(PathBuf, u64)]) -> Vec<Rate> {
    rates
        .iter()
        .map(|(path, rate)| Rate {
            path: text(path),
            rate: *rate,
        })
        .collect()
}

fn device(device: &DeviceRequest) -> Device {
    Device {
        path_on_host: text(&device.source),
        path_in_container: text(&device.target),
        cgroup_permissions: device.permissions.clone(),
    }
}

fn requests(request: &CreateContainer) -> Vec<Request> {
    let mut all: Vec<Request> = request.gpus.iter().map(gpu).collect();
    if !request.cdi_devices.is_empty() {
        all.push(Request {
            driver: "cdi".into(),
            count: 0,
            device_ids: Some(request.cdi_devices.clone()),
            capabilities: None,
            options: BTreeMap::new(),
        });
    }
    all
}

fn gpu(gpu: &GpuRequest) -> Request {
    // Docker asks for the capability "gpu" of itself.
    let mut capabilities = gpu.capabilities.clone();
    if !capabilities.iter().any(|name| name == "gpu") {
        capabilities.push("gpu".into());
    }
    Request {
        driver: gpu.driver.clone().unwrap_or_default(),
        count: gpu.count.unwrap_or(0),
        device_ids: none_if_empty(gpu.devices.clone()),
        capabilities: Some(vec![capabilities]),
        options: gpu.options.clone(),
    }
}

fn ulimit(limit: &Ulimit) -> Limit {
    Limit {
        name: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    }
}
