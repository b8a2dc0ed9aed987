//! What `POST /build` is asked for.

use crate::buildkit::SolveError;
use crate::buildkit::attributes::{Attributes, Options, rights};
use crate::buildkit::caches::Caches;
use crate::buildkit::credentials::Credentials;
use crate::buildkit::outputs::{Output, references};
use crate::buildkit::solve::Solve;
use crate::operations::credentials;
use crate::server::{ApiVersion, Exchange, Failure, Query};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A request, read.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    /// Whether the client is one of the classic builder's.
    pub(super) classic: bool,
    pub(super) quiet: bool,
    /// What the client calls the build.
    pub(super) id: Option<String>,
    /// Where the context is, if it is not in the body.
    pub(super) remote: Option<String>,
    pub(super) names: Vec<String>,
    pub(super) wants_aux: bool,
    pub(super) ignored: Vec<String>,
    session: Option<String>,
    attributes: Attributes,
    outputs: Vec<Exporter>,
    credentials: Credentials,
}

/// One of `outputs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exporter {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    attrs: Option<BTreeMap<String, String>>,
}

/// One of `ulimits`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: String,
    #[serde(default)]
    hard: i64,
    #[serde(default)]
    soft: i64,
}

fn document<T: DeserializeOwned + Default>(query: &Query, name: &str, what: &str) -> Result<T, Failure> {
    let Some(text) = query.get(name) else {
        return Ok(T::default());
    };
    // Go's clients write null for what they have not.
    let parsed: Option<T> = serde_json::from_str(text)
        .map_err(|error| Failure::bad_request(format!("error reading {what}: {error}")))?;
    Ok(parsed.unwrap_or_default())
}

/// Reads a request's parameters.
pub(super) fn read(exchange: &Exchange) -> Result<Form, Failure> {
    let form = parse(exchange.query(), exchange.version())?;
    Ok(Form {
        credentials: credentials::all(exchange),
        ..form
    })
}

fn parse(query: &Query, version: ApiVersion) -> Result<Form, Failure> {
    let classic = match query.get("version") {
        None | Some("1") => true,
        Some("2") => false,
        Some(other) => return Err(Failure::bad_request(format!("invalid version \"{other}\""))),
    };
    if query.flag("squash") {
        return Err(Failure::bad_request(
            "squash is only supported with experimental mode",
        ));
    }
    if query.get("securityopt").is_some() {
        return Err(Failure::bad_request(
            "security options are not supported on linux",
        ));
    }
    if let Some(isolation) = query.get("isolation").filter(|isolation| *isolation != "default") {
        return Err(Failure::bad_request(format!(
            "unsupported isolation: \"{isolation}\""
        )));
    }
    let mut form = Form {
        classic,
        quiet: query.flag("q"),
        id: query.get("buildid").map(str::to_owned),
        remote: query.get("remote").map(str::to_owned),
        names: query
            .all("t")
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        wants_aux: version >= ApiVersion::new(30),
        session: query.get("session").map(str::to_owned),
        ..Form::default()
    };
    if version >= ApiVersion::new(40) {
        form.outputs = document(query, "outputs", "outputs")?;
    }
    if form.outputs.len() > 1 {
        return Err(Failure::bad_request("multiple outputs not supported"));
    }
    form.attributes(query, version)?;
    Ok(form)
}

impl Form {
    fn attributes(&mut self, query: &Query, version: ApiVersion) -> Result<(), Failure> {
        let attributes = &mut self.attributes;
        for (parameter, key) in [
            ("dockerfile", "filename"),
            ("target", "target"),
            ("cgroupparent", "cgroup-parent"),
            ("shmsize", "shm-size"),
        ] {
            if let Some(value) = query.get(parameter) {
                attributes.insert(key.to_owned(), value.to_owned());
            }
        }
        if let Some(platform) = query.get("platform").filter(|_| version >= ApiVersion::new(32)) {
            attributes.insert("platform".to_owned(), platform.to_owned());
        }
        let arguments: BTreeMap<String, Option<String>> = document(query, "buildargs", "build args")?;
        for (name, value) in arguments {
            // One without a value is not set where the client runs, and so not here either.
            if let Some(value) = value {
                attributes.insert(format!("build-arg:{name}"), value);
            }
        }
        let labels: BTreeMap<String, String> = document(query, "labels", "labels")?;
        for (name, value) in labels {
            attributes.insert(format!("label:{name}"), value);
        }
        let caches: Vec<String> = document(query, "cachefrom", "cache-from")?;
        // The classic builder looks for layers in images that are here; our cache has them.
        if !caches.is_empty() && !self.classic {
            attributes.insert("cache-from".to_owned(), caches.join(","));
        }
        if query.flag("nocache") {
            attributes.insert("no-cache".to_owned(), String::new());
        }
        if query.flag("pull") {
            attributes.insert("image-resolve-mode".to_owned(), "pull".to_owned());
        }
        let ulimits: Vec<Ulimit> = document(query, "ulimits", "ulimit settings")?;
        if !ulimits.is_empty() {
            let written: Vec<String> = ulimits
                .iter()
                .map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard))
                .collect();
            attributes.insert("ulimit".to_owned(), written.join(","));
        }
        let hosts: Vec<String> = query
            .all("extrahosts")
            .flat_map(|hosts| hosts.split(','))
            .filter(|host| !host.is_empty())
            .map(|host| host.replacen([':', '='], "=", 1))
            .collect();
        if !hosts.is_empty() {
            attributes.insert("add-hosts".to_owned(), hosts.join(","));
        }
        match query.get("networkmode") {
            None | Some("default" | "bridge") => {}
            Some(mode @ ("host" | "none")) => {
                attributes.insert("force-network-mode".to_owned(), mode.to_owned());
            }
            Some(other) => {
                return Err(Failure::new(
                    hyper::StatusCode::NOT_IMPLEMENTED,
                    format!("network mode \"{other}\" cannot be used in a build: use default, host or none"),
                ));
            }
        }
        for name in ["memory", "memswap", "cpushares", "cpuperiod", "cpuquota"] {
            if query.number::<i64>(name)?.is_some_and(|value| value != 0) {
                self.ignored.push(name.to_owned());
            }
        }
        for name in ["cpusetcpus", "cpusetmems"] {
            if query.get(name).is_some() {
                self.ignored.push(name.to_owned());
            }
        }
        match self.remote.as_deref() {
            None | Some("client-session" | super::UPLOAD) => {}
            Some(address) => {
                attributes.insert("context".to_owned(), address.to_owned());
            }
        }
        Ok(())
    }

    /// Makes the build that is asked for, but for a context that is in the body.
    pub(super) fn solve(&self) -> Result<Solve, SolveError> {
        let names = references(&self.names.join(","))?;
        let output = match self.outputs.first() {
            None => Output::Store { names, push: false },
            Some(exporter) => {
                let mut attributes = exporter.attrs.clone().unwrap_or_default();
                if matches!(exporter.r#type.as_str(), "image" | "moby") && !self.names.is_empty() {
                    attributes.insert("name".to_owned(), self.names.join(","));
                }
                Output::parse(&exporter.r#type, &attributes)?
            }
        };
        let options = Options::parse(&self.attributes)?;
        let host = self
            .attributes
            .get("force-network-mode")
            .is_some_and(|mode| mode == "host");
        Ok(Solve {
            session: self.session.clone(),
            allowed: rights(host.then_some("network.host"))?,
            outputs: vec![output],
            inputs: BTreeMap::new(),
            caches: Caches {
                inline: options
                    .arguments
                    .get("BUILDKIT_INLINE_CACHE")
                    .is_some_and(|value| matches!(value.as_str(), "1" | "true")),
                ..Caches::default()
            },
            classic: self.classic,
            credentials: self.credentials.clone(),
            tar: Mutex::new(None),
            options,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Result<Form, Failure> {
        let text: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        parse(&Query::parse(&text), ApiVersion::NEWEST)
    }

    #[test]
    fn parameters_become_attributes() {
        let form = form(&[
            ("t", "a:1"),
            ("t", "b"),
            ("dockerfile", "x/Dockerfile"),
            ("buildargs", r#"{"A":"1","B":null}"#),
            ("labels", r#"{"c":"d"}"#),
            ("nocache", "1"),
            ("q", "true"),
            ("extrahosts", "h:1.2.3.4"),
            ("extrahosts", "six:::1"),
            ("ulimits", r#"[{"Name":"nofile","Hard":2,"Soft":1}]"#),
            ("networkmode", "host"),
            ("memory", "1024"),
            ("cachefrom", "null"),
            ("outputs", "[]"),
        ])
        .unwrap();
        assert!(form.classic && form.quiet);
        assert_eq!(form.ignored, ["memory"]);
        let solve = form.solve().unwrap();
        assert!(matches!(&solve.outputs[0], Output::Store { names, .. } if names.len() == 2));
        assert!(solve.allowed.host_network && solve.options.no_cache);
        assert_eq!(solve.options.arguments.len(), 1);
        assert_eq!(
            solve.options.hosts,
            [
                ("h".to_owned(), "1.2.3.4".to_owned()),
                ("six".to_owned(), "::1".to_owned())
            ]
        );
        assert_eq!(solve.options.limits.ulimits, [("nofile".to_owned(), 1, 2)]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [
            ("version", "3"),
            ("buildargs", "["),
            ("labels", "[]"),
            ("squash", "1"),
            ("networkmode", "container:x"),
            ("outputs", r#"[{"Type":"tar"},{"Type":"local"}]"#),
        ] {
            assert!(form(&[(name, value)]).is_err(), "{name}={value}");
        }
        assert!(form(&[("t", "A b")]).unwrap().solve().is_err());
    }
}
