//! `manifest …` and `buildx imagetools …`: indexes of images for several platforms, at registries.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::images::{Images, Member};
use oci::Reference;
use std::process::ExitCode;

/// Flags of `manifest inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Allow communication with an insecure registry
    #[arg(long)]
    insecure: bool,
    /// Output additional info including layers and platform
    #[arg(short, long, hide = true)]
    verbose: bool,
}

impl Verb for Inspect {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.verbose {
            return Err(Failure::new("'manifest inspect --verbose' is not there yet")
                .with_hint("without the flag the manifest is shown as it is"));
        }
        let images = cli.engine()?.images();
        // With two words the second is an image of a list in the making.
        if let [list, image] = words.as_slice() {
            let (list, image): (Reference, Reference) = (list.parse()?, image.parse()?);
            let members = images.draft_or_error(&list)?;
            let member = members
                .iter()
                .find(|member| member.reference == image)
                .ok_or_else(|| {
                    Failure::new(format!(
                        "no such manifest: {} in {}",
                        image.familiar(),
                        list.familiar()
                    ))
                })?;
            let raw = images.remote_manifest(&image.with_digest(member.digest), self.insecure)?;
            output::line(&indented(&raw.raw))?;
            return Ok(ExitCode::SUCCESS);
        }
        let reference: Reference = words[0].parse()?;
        let raw = match images.draft(&reference)? {
            Some(members) => images.index_of(&members).0,
            None => images.remote_manifest(&reference, self.insecure)?.raw,
        };
        output::line(&indented(&raw))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `manifest create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Amend an existing manifest list
    #[arg(short, long)]
    amend: bool,
    /// Allow communication with an insecure registry
    #[arg(long)]
    insecure: bool,
}

impl Verb for Create {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let list: Reference = words[0].parse()?;
        let images = references(&words[1..])?;
        cli.engine()?
            .images()
            .draft_create(&list, &images, self.amend, self.insecure)?;
        output::line(&format!("Created manifest list {list}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `manifest annotate`.
#[derive(Debug, Args)]
pub(super) struct Annotate {
    /// Set architecture
    #[arg(long, value_name = "string")]
    arch: Option<String>,
    /// Set operating system
    #[arg(long, value_name = "string")]
    os: Option<String>,
    /// Set operating system feature
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Set operating system version
    #[arg(long, value_name = "string")]
    os_version: Option<String>,
    /// Set architecture variant
    #[arg(long, value_name = "string")]
    variant: Option<String>,
}

impl Verb for Annotate {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let (list, image): (Reference, Reference) = (words[0].parse()?, words[1].parse()?);
        cli.engine()?
            .images()
            .draft_annotate(&list, &image, &|platform| {
                for (given, kept) in [
                    (&self.arch, &mut platform.architecture),
                    (&self.os, &mut platform.os),
                    (&self.os_version, &mut platform.os_version),
                    (&self.variant, &mut platform.variant),
                ] {
                    if let Some(given) = given {
                        kept.clone_from(given);
                    }
                }
                if !self.os_features.is_empty() {
                    platform.os_features.clone_from(&self.os_features);
                }
            })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `manifest push`.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// Allow push to an insecure registry
    #[arg(long)]
    insecure: bool,
    /// Remove the local manifest list after push
    #[arg(short, long)]
    purge: bool,
}

impl Verb for Push {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let list: Reference = words[0].parse()?;
        let images = cli.engine()?.images();
        let members = images.draft_or_error(&list)?;
        if let Some(member) = members
            .iter()
            .find(|member| member.platform.architecture.is_empty() || member.platform.os.is_empty())
        {
            return Err(Failure::new(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                member.reference.familiar()
            ))
            .with_hint("'manifest annotate' sets them"));
        }
        let pushed = images.push_index(&list, &members, self.insecure)?;
        if self.purge {
            images.draft_remove(&list)?;
        }
        output::line(&pushed.digest.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Flags of `manifest rm`: none.
#[derive(Debug, Args)]
pub(super) struct Remove {}

impl Verb for Remove {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        Ok(super::each(cli, &words, |name| {
            Ok(images.draft_remove(&name.parse()?)?)
        }))
    }
}

/// Flags of `buildx imagetools`, whose first word says what to do.
#[derive(Debug, Args)]
pub(super) struct ImageTools {
    /// create: append to existing manifest
    #[arg(long)]
    append: bool,
    /// create: show final image instead of pushing
    #[arg(long)]
    dry_run: bool,
    /// inspect: show original, unformatted JSON manifest
    #[arg(long)]
    raw: bool,
    /// create: set reference for new image
    #[arg(short, long, value_name = "stringArray")]
    tag: Vec<String>,
}

impl Verb for ImageTools {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        match words.split_first() {
            Some((verb, [name])) if verb == "inspect" => self.inspect(images, &name.parse()?),
            Some((verb, sources)) if verb == "create" => self.create(images, &references(sources)?),
            _ => Err(
                Failure::new("'buildx imagetools' has 'inspect NAME' and 'create -t NAME SOURCE...'")
                    .with_hint("'manifest' does the same with Docker's older names"),
            ),
        }
    }
}

impl ImageTools {
    fn inspect(&self, images: Images<'_>, reference: &Reference) -> Result<ExitCode, Failure> {
        let manifest = images.remote_manifest(reference, false)?;
        if self.raw {
            output::bytes(&manifest.raw)?;
            return Ok(ExitCode::SUCCESS);
        }
        output::line(&format!("Name:      {reference}"))?;
        output::line(&format!("MediaType: {}", manifest.media_type))?;
        output::line(&format!("Digest:    {}", manifest.digest))?;
        let Some(entries) = manifest.entries else {
            return Ok(ExitCode::SUCCESS);
        };
        output::line("           \nManifests: ")?;
        for (place, entry) in entries.iter().enumerate() {
            if place > 0 {
                output::line("             ")?;
            }
            output::line(&format!("  Name:      {}", entry.reference))?;
            output::line(&format!("  MediaType: {}", entry.media_type))?;
            output::line(&format!("  Platform:  {}", platform(entry)))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn create(&self, images: Images<'_>, sources: &[Reference]) -> Result<ExitCode, Failure> {
        let targets = references(&self.tag)?;
        let Some(first) = targets.first().or(sources.first()) else {
            return Err(Failure::new(
                "no repositories specified, please set -t or a source",
            ));
        };
        if targets.is_empty() && !self.dry_run {
            return Err(Failure::new("no tag specified").with_hint("name the index with -t"));
        }
        let mut members: Vec<Member> = Vec::new();
        if self.append {
            members = images.members_of(first, false)?;
        }
        for source in sources {
            for member in images.members_of(source, false)? {
                members.retain(|known| known.digest != member.digest);
                members.push(member);
            }
        }
        if self.dry_run {
            output::line(&indented(&images.index_of(&members).0))?;
            return Ok(ExitCode::SUCCESS);
        }
        for target in &targets {
            let pushed = images.push_index(target, &members, false)?;
            output::note(&format!("pushed {} to {target}", pushed.digest));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn platform(member: &Member) -> String {
    let platform = &member.platform;
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let parts: Vec<&str> = parts
        .iter()
        .map(|part| part.as_str())
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("/")
}

fn references(words: &[String]) -> Result<Vec<Reference>, Failure> {
    words.iter().map(|word| Ok(word.parse()?)).collect()
}

/// Indents JSON by tabs, and changes neither order nor spelling of what is in it.
fn indented(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut characters = text.chars().filter(|c| !c.is_control()).peekable();
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n('\t', depth));
    };
    while let Some(c) = characters.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            ' ' => {}
            '{' | '[' => {
                out.push(c);
                while characters.next_if_eq(&' ').is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_nothing_else() {
        assert_eq!(
            indented(br#"{ "b":[1, {}],"a" : "x, {\"y\"}: \\", "e":[ ]}"#),
            "{\n\t\"b\": [\n\t\t1,\n\t\t{}\n\t],\n\t\"a\": \"x, {\\\"y\\\"}: \\\\\",\n\t\"e\": []\n}"
        );
    }
}
