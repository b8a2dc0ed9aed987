//! From a target to what `build` would be told on the command line.

use crate::commands::build::BuildCommand;
use crate::dispatch;
use crate::failure::Failure;
use bake::{Plan, Target};
use clap::FromArgMatches;
use engine::builder::NamedContext;
use std::collections::BTreeMap;
use std::path::Path;

/// Returns the command that builds a target, and its context.
pub(super) fn command(
    name: &str,
    target: &Target,
    stored: &BTreeMap<String, NamedContext>,
    progress: Option<&str>,
    is_stood_on: bool,
) -> Result<(BuildCommand, String), Failure> {
    let of_target = |why: String| Failure::new(format!("target {name}: {why}"));
    if target
        .policy
        .as_ref()
        .is_some_and(|policies| !policies.is_empty())
    {
        return Err(
            of_target("there are no policies for sources".to_owned()).with_hint(
                "leave policy out of the target; '--locked' holds a build to what its names meant before",
            ),
        );
    }
    if let Some(key) = target.resources.keys().next() {
        return Err(of_target(format!("resources.{key}: builds have no such limits"))
            .with_hint("leave resources out; ulimits and shm-size are there"));
    }
    let context = target.context.clone().unwrap_or_else(|| ".".to_owned());
    let is_remote = crate::args::build::is_remote(&context);
    let mut argv = vec!["build".to_owned()];
    let mut flag = |flag: &str, value: &str| argv.push(format!("--{flag}={value}"));
    if target.dockerfile_inline.is_none()
        && let Some(file) = &target.dockerfile
    {
        let path = match file.strip_prefix("cwd://") {
            Some(path) => path.to_owned(),
            None if is_remote || Path::new(file).is_absolute() => file.clone(),
            None => Path::new(&context).join(file).to_string_lossy().into_owned(),
        };
        // Both names are tried where nobody has chosen one.
        if file != "Dockerfile" {
            flag("file", &path);
        }
    }
    for (key, value) in &target.args {
        flag("build-arg", &format!("{key}={value}"));
    }
    for (key, value) in &target.labels {
        flag("label", &format!("{key}={value}"));
    }
    for (key, value) in &target.extra_hosts {
        for address in value.split(',') {
            flag("add-host", &format!("{key}={address}"));
        }
    }
    let mut links = BTreeMap::new();
    for (key, value) in &target.contexts {
        let Some(other) = value.strip_prefix("target:") else {
            let value = value.strip_prefix("cwd://").unwrap_or(value);
            flag("build-context", &format!("{key}={value}"));
            continue;
        };
        let Some(context) = stored.get(other) else {
            return Err(of_target(format!(
                "the context \"{key}\" is target {other}, which makes no image"
            )));
        };
        links.insert(key.clone(), context.clone());
    }
    // Whoever stands on it needs its image, wherever else its result goes. Names are only for who asked for them.
    let is_lent = is_stood_on && !keeps_image(target);
    let lists = [
        ("tag", if is_lent { &None } else { &target.tags }),
        ("annotation", &target.annotations),
        ("platform", &target.platforms),
        ("no-cache-filter", &target.no_cache_filter),
        ("ulimit", &target.ulimits),
    ];
    for (name, values) in lists {
        for value in values.iter().flatten() {
            flag(name, value);
        }
    }
    for entitlement in target.entitlements.iter().flatten() {
        flag("allow", entitlement);
    }
    let entries = [
        ("attest", &target.attest),
        ("cache-from", &target.cache_from),
        ("cache-to", &target.cache_to),
        ("output", &target.output),
    ];
    for (name, values) in entries {
        for value in values.iter().flatten() {
            flag(name, &value.to_string());
        }
    }
    if is_lent {
        flag("output", "type=image");
    }
    for secret in target.secret.iter().flatten() {
        flag("secret", &secret.to_string());
    }
    for agent in target.ssh.iter().flatten() {
        flag("ssh", &agent.to_string());
    }
    let texts = [
        ("target", target.target.as_deref()),
        ("network", target.network.as_deref()),
        ("shm-size", target.shm_size.as_deref()),
        ("call", target.call.as_deref()),
        ("progress", progress),
    ];
    for (name, value) in texts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            flag(name, value);
        }
    }
    for (name, value) in [("no-cache", target.no_cache), ("pull", target.pull)] {
        if value == Some(true) {
            flag(name, "true");
        }
    }
    let Some((entry, _)) = dispatch::find(&["build".to_owned()]) else {
        return Err(of_target("there is no command to build it".to_owned()));
    };
    let matches = dispatch::command(entry).try_get_matches_from(argv);
    let parsed = matches.and_then(|mut matches| BuildCommand::from_arg_matches_mut(&mut matches));
    let mut command = parsed.map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        of_target(why.trim().to_owned())
    })?;
    command.flags.inline.clone_from(&target.dockerfile_inline);
    command.flags.stored = links;
    Ok((command, context))
}

/// Says whether a target's image stays in the store by itself.
pub(super) fn keeps_image(target: &Target) -> bool {
    let outputs = target.output.as_deref().unwrap_or_default();
    let keeps = |output: &bake::Entry| match output.kind() {
        "image" | "registry" => true,
        "docker" => output.get("dest").is_none(),
        _ => false,
    };
    outputs.is_empty() || outputs.iter().any(keeps)
}

/// Makes the context that another target sees of what one gave.
pub(super) fn stored(name: &str, images: &[(oci::Platform, oci::Digest)]) -> Option<NamedContext> {
    // A target's name may have large letters, an image's may not.
    let reference = format!("target/{}", name.to_lowercase().trim_matches(['_', '-']))
        .parse()
        .ok()?;
    (!images.is_empty()).then(|| NamedContext::Stored {
        name: reference,
        images: images.to_vec(),
    })
}

/// Makes the contexts of a definition that was fetched lie where it was fetched from.
pub(super) fn move_contexts(plan: &mut Plan, address: &str) -> Result<(), Failure> {
    for (name, target) in &mut plan.targets {
        if let Some(context) = &mut target.context {
            *context = moved(name, context, address)?;
        }
        for context in target.contexts.values_mut() {
            *context = moved(name, context, address)?;
        }
    }
    Ok(())
}

fn moved(target: &str, context: &str, address: &str) -> Result<String, Failure> {
    let elsewhere = ["cwd://", "target:", "docker-image:", "oci-layout://"];
    if elsewhere.iter().any(|prefix| context.starts_with(prefix)) || crate::args::build::is_remote(context) {
        return Ok(context.to_owned());
    }
    if context == "." {
        return Ok(address.to_owned());
    }
    let (repository, fragment) = address.split_once('#').unwrap_or((address, ""));
    if repository.contains('?') || context.starts_with("..") || !repository.contains(".git") {
        return Err(Failure::new(format!(
            "target {target}: the context {context} is not in {address}"
        ))
        .with_hint("a directory of a repository is a context, what is above it is not; cwd:// is the current directory"));
    }
    let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let context = context.trim_start_matches('/');
    let directory = if directory.is_empty() {
        context.to_owned()
    } else {
        format!("{directory}/{context}")
    };
    Ok(format!("{repository}#{reference}:{directory}"))
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn contexts_of_a_fetched_definition() {
        for (context, address, expected) in [
            (".", "https://h/x.git", Some("https://h/x.git")),
            ("sub", "https://h/x.git", Some("https://h/x.git#:sub")),
            (
                "sub",
                "https://h/x.git#v1:dir",
                Some("https://h/x.git#v1:dir/sub"),
            ),
            ("cwd://a", "https://h/x.git", Some("cwd://a")),
            ("../a", "https://h/x.git", None),
            ("sub", "https://h/x.tar", None),
        ] {
            assert_eq!(
                moved("t", context, address).ok().as_deref(),
                expected,
                "{context} {address}"
            );
        }
    }
}
