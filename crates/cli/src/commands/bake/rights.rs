//! What targets may do only if whoever builds them says so: a definition is often somebody else's.

use crate::failure::Failure;
use bake::{Entry, Plan, Target};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Turns the check of paths off and on.
const PATHS: &str = "BUILDX_BAKE_ENTITLEMENTS_FS";
const REMOTE_PATHS: &str = "BAKE_ALLOW_REMOTE_FS_ACCESS";

/// What was allowed.
#[derive(Debug, Default)]
struct Allowed {
    host_network: bool,
    insecure: bool,
    ssh: bool,
    devices: bool,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl Allowed {
    fn parse(given: &[String]) -> Result<Self, Failure> {
        let mut allowed = Self::default();
        for text in given.iter().flat_map(|text| text.split(',')) {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            let path = || -> Result<PathBuf, Failure> {
                match value {
                    "" => Err(Failure::new(format!("--allow {key} needs a path: {key}=PATH"))),
                    "*" => Ok(PathBuf::from("/")),
                    value => Ok(real(Path::new(value))),
                }
            };
            match key {
                "network.host" => allowed.host_network = true,
                "security.insecure" => allowed.insecure = true,
                "ssh" => allowed.ssh = true,
                "device" => allowed.devices = true,
                "fs" => {
                    allowed.read.push(path()?);
                    allowed.write.push(path()?);
                }
                "fs.read" => allowed.read.push(path()?),
                "fs.write" => allowed.write.push(path()?),
                // Images are nobody's secret here: there is no daemon that others share.
                "image" | "image.load" | "image.push" | "buildx.local.delete" | "" => {}
                other => {
                    return Err(Failure::new(format!("unknown entitlement key {other:?}")).with_hint(
                        "there are network.host, security.insecure, device, ssh, fs=PATH, fs.read=PATH and fs.write=PATH",
                    ));
                }
            }
        }
        let here = real(Path::new("."));
        allowed.read.push(here.clone());
        allowed.write.push(here);
        Ok(allowed)
    }
}

/// Resolves links of as much of a path as there is.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut known = absolute.clone();
    let mut missing = Vec::new();
    loop {
        if let Ok(found) = std::fs::canonicalize(&known) {
            // What is not there yet cannot lead elsewhere, unless it says so by itself.
            return missing
                .iter()
                .rev()
                .fold(found, |path, part: &PathBuf| path.join(part));
        }
        let name = known
            .components()
            .next_back()
            .filter(|part| matches!(part, Component::Normal(_)));
        match (
            name.map(|part| PathBuf::from(part.as_os_str())),
            known.parent().map(Path::to_owned),
        ) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                known = parent;
            }
            _ => return absolute,
        }
    }
}

/// Refuses a plan that needs what was not allowed.
pub(super) fn check(plan: &Plan, given: &[String], is_remote: bool) -> Result<(), Failure> {
    let allowed = Allowed::parse(given)?;
    let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
    let mut want = |flag: String, what: String| {
        wanted.insert((flag, what));
    };
    for target in plan.targets.values() {
        for entitlement in target.entitlements.iter().flatten() {
            match entitlement.as_str() {
                "network.host" if !allowed.host_network => want(
                    entitlement.clone(),
                    "running build containers that can access host network".to_owned(),
                ),
                "security.insecure" if !allowed.insecure => want(
                    entitlement.clone(),
                    "running privileged containers that can make system changes".to_owned(),
                ),
                other if other.starts_with("device") && !allowed.devices => {
                    want("device".to_owned(), "access to devices".to_owned());
                }
                _ => {}
            }
        }
        if !paths_are_checked(is_remote) {
            continue;
        }
        if !allowed.ssh && target.ssh.iter().flatten().any(|agent| agent.paths.is_empty()) {
            want("ssh".to_owned(), "forwarding default SSH agent socket".to_owned());
        }
        for (verb, paths, roots) in [
            ("read", read(target), &allowed.read),
            ("write", written(target), &allowed.write),
        ] {
            for path in paths {
                let full = real(Path::new(&path));
                if !roots.iter().any(|root| full.starts_with(root)) {
                    want(
                        format!("fs.{verb}={path}"),
                        format!("{verb} access to path {path}"),
                    );
                }
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let whats: Vec<&str> = wanted.iter().map(|(_, what)| what.as_str()).collect();
    let flags: Vec<String> = wanted.iter().map(|(flag, _)| format!("--allow={flag}")).collect();
    Err(Failure::bare(format!(
        "ERROR: additional privileges requested: {}",
        whats.join("; ")
    ))
    .with_hint(format!("if that is wanted, give {}", flags.join(" "))))
}

fn paths_are_checked(is_remote: bool) -> bool {
    let is_set = |name: &str| std::env::var(name).ok();
    let truth = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE");
    if let Some(value) = is_set(PATHS) {
        return truth(&value);
    }
    !(is_remote && is_set(REMOTE_PATHS).is_some_and(|value| truth(&value)))
}

fn local<'t>(entries: Option<&'t Vec<Entry>>, key: &'static str) -> impl Iterator<Item = String> + 't {
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.kind() == "local")
        .filter_map(move |entry| entry.get(key).map(str::to_owned))
}

fn read(target: &Target) -> Vec<String> {
    let is_path = |context: &&String| {
        let elsewhere = ["target:", "docker-image:"];
        !elsewhere.iter().any(|prefix| context.starts_with(prefix)) && !crate::args::build::is_remote(context)
    };
    let contexts = target.context.iter().chain(target.contexts.values());
    let mut paths: Vec<String> = contexts
        .filter(is_path)
        .map(|context| {
            let path = context.strip_prefix("oci-layout://").map(|path| {
                let path = path.split('@').next().unwrap_or(path);
                path.rsplit_once(':').map_or(path, |(path, _)| path)
            });
            let path = path.or_else(|| context.strip_prefix("cwd://")).unwrap_or(context);
            if path.is_empty() {
                ".".to_owned()
            } else {
                path.to_owned()
            }
        })
        .collect();
    let is_local = target.context.as_ref().is_none_or(|context| is_path(&context));
    if let Some(file) = target
        .dockerfile
        .as_ref()
        .filter(|_| is_local && target.dockerfile_inline.is_none())
    {
        let context = target.context.as_deref().unwrap_or(".");
        let file = match file.strip_prefix("cwd://") {
            Some(file) => PathBuf::from(file),
            None => Path::new(context).join(file),
        };
        // Within the context it may be read anyway.
        if !real(&file).starts_with(real(Path::new(context))) {
            paths.push(file.to_string_lossy().into_owned());
        }
    }
    paths.extend(local(target.cache_from.as_ref(), "src"));
    let secrets = target.secret.iter().flatten();
    paths.extend(
        secrets
            .map(|secret| secret.source.clone())
            .filter(|source| !source.is_empty()),
    );
    paths.extend(target.ssh.iter().flatten().flat_map(|agent| agent.paths.clone()));
    paths
}

fn written(target: &Target) -> Vec<String> {
    let outputs = target.output.iter().flatten();
    let mut paths: Vec<String> = outputs
        .filter_map(|output| output.get("dest"))
        .filter(|dest| !dest.is_empty() && *dest != "-")
        .map(str::to_owned)
        .collect();
    paths.extend(local(target.cache_to.as_ref(), "dest"));
    paths
}
