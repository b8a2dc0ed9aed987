//! `update`.

use crate::args::{integer, restart, size};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::containers::request::Limits;
use engine::containers::update::UpdateContainer;
use std::process::ExitCode;

/// Flags of `update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_parser = integer::uint16, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_parser = integer::int64, value_name = "int")]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_parser = integer::int64, value_name = "int")]
    cpu_rt_period: Option<i64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_parser = integer::int64, value_name = "int")]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_parser = integer::nano_cpus, value_name = "decimal", allow_negative_numbers = true)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_parser = size::bytes, value_name = "bytes", allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_parser = size::bytes, value_name = "bytes", allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_parser = size::bytes_or_unlimited, value_name = "bytes", allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Kernel memory limit
    #[arg(long, hide = true, value_parser = size::bytes, value_name = "bytes")]
    kernel_memory: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
}

impl Verb for Update {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.kernel_memory.is_some() {
            output::warning("--kernel-memory is no more: the kernel has no such limit, and it was ignored");
        }
        let count = |value: Option<i64>, flag: &str| match value.map(u64::try_from) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(Failure::new(format!("{flag} cannot be negative"))),
        };
        let limits = Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            nano_cpus: self.cpus,
            cpu_shares: count(self.cpu_shares, "--cpu-shares")?,
            cpu_period: count(self.cpu_period, "--cpu-period")?,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            pids: self.pids_limit,
            blkio_weight: self.blkio_weight,
            cpu_realtime_period: count(self.cpu_rt_period, "--cpu-rt-period")?,
            cpu_realtime_runtime: self.cpu_rt_runtime,
            ..Limits::default()
        };
        let restart = self.restart.as_deref().map(restart::parse).transpose()?;
        if limits == Limits::default() && restart.is_none() && self.kernel_memory.is_none() {
            return Err(Failure::new(
                "you must provide one or more flags when using this command",
            ));
        }
        let request = UpdateContainer { limits, restart };
        let containers = cli.engine()?.containers();
        Ok(super::each(cli, &words, |name| {
            let warnings = containers.update(&containers.find(name)?, &request)?;
            output::line(name)?;
            for warning in warnings {
                output::warning(&warning);
            }
            Ok(())
        }))
    }
}
