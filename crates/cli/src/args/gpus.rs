//! `--gpus all|N|device=…,driver=…,count=…,capabilities=…,options=…`.

use super::{Invalid, csv, invalid};
use engine::containers::request::GpuRequest;

/// Reads a request for graphics processors.
pub(crate) fn parse(text: &str) -> Result<GpuRequest, Invalid> {
    let mut request = GpuRequest::default();
    let mut seen: Vec<String> = Vec::new();
    for field in csv::fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), value),
            None => ("count".to_owned(), field.as_str()),
        };
        if seen.contains(&key) {
            return invalid(format!("gpu request key '{key}' can be specified only once"));
        }
        match key.as_str() {
            "driver" => request.driver = Some(value.to_owned()).filter(|driver| !driver.is_empty()),
            "count" => request.count = Some(count(value)?),
            "device" => request.devices = list(value),
            "capabilities" => request.capabilities = list(value),
            "options" => {
                for option in csv::fields(value)? {
                    let (name, value) = option.split_once('=').unwrap_or((&option, ""));
                    request.options.insert(name.to_owned(), value.to_owned());
                }
            }
            _ => return invalid(format!("unexpected key '{key}' in '{field}'")),
        }
        seen.push(key);
    }
    if request.count.is_none() && request.devices.is_empty() {
        request.count = Some(1);
    }
    if !request.capabilities.iter().any(|capability| capability == "gpu") {
        request.capabilities.push("gpu".into());
    }
    Ok(request)
}

fn count(text: &str) -> Result<i64, Invalid> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_error: std::num::ParseIntError| {
        Invalid(format!(
            "invalid count ({text}): value must be either \"all\" or an integer"
        ))
    })
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|each| !each.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (text, count, devices) in [
            ("all", Some(-1), &[][..]),
            ("2", Some(2), &[]),
            ("count=all", Some(-1), &[]),
            ("driver=nvidia", Some(1), &[]),
            ("device=1", None, &["1"]),
            ("\"device=0,GPU-3a\"", None, &["0", "GPU-3a"]),
        ] {
            let request = parse(text).unwrap();
            assert_eq!(request.count, count, "{text}");
            assert_eq!(request.devices, devices, "{text}");
            assert_eq!(request.capabilities, ["gpu"], "{text}");
        }
        let request = parse("driver=amd,\"capabilities=compute,utility\",\"options=a=1\"").unwrap();
        assert_eq!(request.driver.as_deref(), Some("amd"));
        assert_eq!(request.capabilities, ["compute", "utility", "gpu"]);
        assert_eq!(request.options["a"], "1");
    }

    #[test]
    fn wrong_ones() {
        for (text, message) in [
            (
                "count=1,count=2",
                "gpu request key 'count' can be specified only once",
            ),
            ("x=1", "unexpected key 'x' in 'x=1'"),
            (
                "many",
                "invalid count (many): value must be either \"all\" or an integer",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().0, message);
        }
    }
}
