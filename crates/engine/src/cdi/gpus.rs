//! `--gpus`, turned into names of devices.

use super::{CdiError, Registry};
use crate::containers::request::GpuRequest;

/// Returns the names of the devices that requests for graphics processors come to.
pub(crate) fn names(requests: &[GpuRequest], registry: &Registry) -> Result<Vec<String>, CdiError> {
    let mut names = Vec::new();
    for request in requests {
        if request.count.is_some_and(|count| count != 0) && !request.devices.is_empty() {
            return Err(CdiError::Request(
                "cannot set both Count and DeviceIDs on device request",
            ));
        }
        let kind = kind(request, registry)?;
        match request.count {
            Some(-1) => names.push(format!("{kind}=all")),
            Some(count) if count > 0 => names.extend((0..count).map(|number| format!("{kind}={number}"))),
            _ => {}
        }
        for device in &request.devices {
            names.push(if device.contains('=') {
                device.clone()
            } else {
                format!("{kind}={device}")
            });
        }
    }
    Ok(names)
}

/// Returns the kind of devices that a driver's name stands for; without one, the first vendor that has any.
fn kind(request: &GpuRequest, registry: &Registry) -> Result<&'static str, CdiError> {
    let candidates: &[&str] = match request.driver.as_deref() {
        None | Some("" | "cdi") => &["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu"],
        Some("nvidia") => &["nvidia.com/gpu"],
        Some("amd") => &["amd.com/gpu"],
        Some("intel") => &["intel.com/gpu"],
        Some(_) => &[],
    };
    let whole = !request.devices.is_empty() && request.devices.iter().all(|device| device.contains('='));
    candidates
        .iter()
        .find(|kind| whole || registry.has_kind(kind))
        .copied()
        .ok_or_else(|| CdiError::NoDriver {
            driver: request.driver.clone().unwrap_or_default(),
            capabilities: request.capabilities.join(" "),
        })
}

#[cfg(test)]
mod tests {
    use super::super::specification::Specification;
    use super::*;

    fn registry(kind: &str) -> Registry {
        let text = format!(r#"{{"cdiVersion":"0.6.0","kind":"{kind}","devices":[{{"name":"all"}}]}}"#);
        Registry {
            found: vec![(0, "x.json".into(), Specification::parse_json(&text).unwrap())],
            complaints: Vec::new(),
        }
    }

    fn request(driver: Option<&str>, count: Option<i64>, devices: &[&str]) -> GpuRequest {
        GpuRequest {
            driver: driver.map(str::to_owned),
            count,
            devices: devices.iter().map(|&device| device.to_owned()).collect(),
            capabilities: vec!["gpu".into()],
            ..GpuRequest::default()
        }
    }

    #[test]
    fn every_form() {
        let nvidia = registry("nvidia.com/gpu");
        for (request, expected) in [
            (request(None, Some(-1), &[]), &["nvidia.com/gpu=all"][..]),
            (
                request(Some("nvidia"), Some(2), &[]),
                &["nvidia.com/gpu=0", "nvidia.com/gpu=1"],
            ),
            (
                request(None, None, &["1", "GPU-3a"]),
                &["nvidia.com/gpu=1", "nvidia.com/gpu=GPU-3a"],
            ),
            (request(Some("cdi"), None, &["v.com/c=x"]), &["v.com/c=x"]),
        ] {
            assert_eq!(names(&[request], &nvidia).unwrap(), expected);
        }
        assert_eq!(
            names(&[request(None, Some(1), &[])], &registry("amd.com/gpu")).unwrap(),
            ["amd.com/gpu=0"]
        );
    }

    #[test]
    fn without_a_specification_it_is_dockers_error() {
        let error = names(&[request(None, Some(-1), &[])], &Registry::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not select device driver \"\" with capabilities: [[gpu]]"
        );
        assert!(
            error
                .hint(&["/etc/cdi".into()])
                .contains("nvidia-ctk cdi generate")
        );
    }
}
