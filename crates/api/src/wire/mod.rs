//! Docker's JSON shapes, made of the engine's records. Field order is Docker's, because `inspect` prints it.

mod artifact;
mod build_cache;
mod container;
mod container_stats;
mod container_status;
mod container_summary;
mod event;
mod exec;
mod fate;
mod host_config;
mod image;
mod info;
mod log;
mod network;
mod network_settings;
mod version;
mod volume;

pub use artifact::ArtifactInspect;
pub use build_cache::BuildCacheRecord;
pub use container::{ContainerInspect, status_text};
pub(crate) use container_stats::ContainerStats;
pub use container_status::{human_duration, since, status_line};
pub(crate) use container_summary::ContainerSummary;
pub use event::EventMessage;
pub use exec::ExecInspect;
pub use fate::health_text;
pub use host_config::HostConfig;
pub use image::{HistoryEntry, ImageInspect, ImageSummary};
pub use info::SystemInfo;
pub use log::log_line;
pub use network::NetworkInspect;
pub(crate) use network::network_status;
pub use version::SystemVersion;
pub use volume::VolumeInspect;

use jiff::Timestamp;

/// Go's zero time, which stands for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Writes nanoseconds since 1970 as Go does: RFC 3339 in UTC, with as many digits as it takes.
pub fn time(moment: Option<i64>) -> String {
    let timestamp = moment.and_then(|moment| Timestamp::from_nanosecond(i128::from(moment)).ok());
    timestamp.map_or_else(|| NEVER.to_owned(), |timestamp| timestamp.to_string())
}

/// Go writes an empty list that was never made as `null`.
fn none_if_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

/// Writes a hardware address.
fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        assert_eq!(time(None), "0001-01-01T00:00:00Z");
        assert_eq!(time(Some(1_700_000_000_500_000_000)), "2023-11-14T22:13:20.5Z");
    }
}
