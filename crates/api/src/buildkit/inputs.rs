//! Where a build's Dockerfile and contexts come from: the client's session, an address, a request's body, standard input.

use super::SolveError;
use super::attributes::Options;
use super::progress::Progress;
use super::receive::{Wanted, receive};
use super::sessions::Session;
use super::solve::{Solve, Workshop};
use super::wire::upload::BytesMessage;
use engine::Engine;
use engine::builder::{FetchedContext, NamedContext};
use engine::builds::{KeptContext, NamedText, dockerfile_in, ignore_file_in};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tonic::codec::Streaming;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

/// The address of what the client reads from its standard input.
const STANDARD_INPUT: &str = "http://buildkit-session/";
const IGNORE_FILE: &str = ".dockerignore";

/// What a build reads, as long as this lives.
#[derive(Debug)]
pub(super) struct Inputs<'e> {
    pub(super) context: PathBuf,
    pub(super) dockerfile: NamedText,
    pub(super) ignore: Option<NamedText>,
    pub(super) contexts: BTreeMap<String, NamedContext>,
    _held: Vec<KeptContext>,
    _fetched: Vec<FetchedContext<'e>>,
}

/// A directory, and the text of a Dockerfile that came instead of one.
type Fetched = (PathBuf, Option<Vec<u8>>);

/// Gathers the inputs of builds.
pub(super) struct Gathering<'g, 'e> {
    pub(super) engine: &'e Engine,
    pub(super) workshop: &'g Workshop,
    pub(super) solve: &'g Solve,
    pub(super) session: Option<&'g Arc<Session>>,
    pub(super) progress: &'g Progress,
    pub(super) cancelled: &'g AtomicBool,
    held: Vec<KeptContext>,
    fetched: Vec<FetchedContext<'e>>,
}

impl<'g, 'e> Gathering<'g, 'e> {
    pub(super) fn new(
        engine: &'e Engine,
        workshop: &'g Workshop,
        solve: &'g Solve,
        session: Option<&'g Arc<Session>>,
        progress: &'g Progress,
        cancelled: &'g AtomicBool,
    ) -> Self {
        Self {
            engine,
            workshop,
            solve,
            session,
            progress,
            cancelled,
            held: Vec::new(),
            fetched: Vec::new(),
        }
    }

    fn options(&self) -> &'g Options {
        &self.solve.options
    }

    /// Gets no more than is needed to say something of the Dockerfile: contexts that would be sent are empty.
    pub(super) fn gather_definition(mut self) -> Result<Inputs<'e>, SolveError> {
        let has_address = self.options().address.is_some();
        let (context, dockerfile, ignore) = if has_address {
            self.main()?
        } else {
            let (dockerfile, own) = self.dockerfile()?;
            let ignore = match own {
                Some(own) => Some(own),
                None => self.ignore_file(self.context_name(), "context")?,
            };
            (self.empty()?, dockerfile, ignore)
        };
        let mut contexts = BTreeMap::new();
        for (name, source) in &self.options().contexts {
            let name = name.split_once("::").map_or(name.as_str(), |(name, _)| name);
            let context = if source.starts_with("docker-image://") {
                self.named(name, source)?
            } else {
                NamedContext::Directory(self.empty()?)
            };
            contexts.insert(name.to_owned(), context);
        }
        Ok(Inputs {
            context,
            dockerfile,
            ignore,
            contexts,
            _held: self.held,
            _fetched: self.fetched,
        })
    }

    fn context_name(&self) -> &'g str {
        self.options().context_name.as_deref().unwrap_or("context")
    }

    fn empty(&mut self) -> Result<PathBuf, SolveError> {
        let kept = self.engine.builds().kept_context(None)?;
        let path = kept.path().to_owned();
        self.held.push(kept);
        Ok(path)
    }

    pub(super) fn gather(mut self) -> Result<Inputs<'e>, SolveError> {
        let (context, dockerfile, ignore) = self.main()?;
        let mut contexts = BTreeMap::new();
        for (name, source) in &self.options().contexts {
            let (name, platform) = name.split_once("::").unwrap_or((name, ""));
            let is_ours = platform.is_empty()
                || platform
                    .parse()
                    .is_ok_and(|platform| self.options().platforms.contains(&platform));
            if is_ours && !contexts.contains_key(name) {
                contexts.insert(name.to_owned(), self.named(name, source)?);
            }
        }
        Ok(Inputs {
            context,
            dockerfile,
            ignore,
            contexts,
            _held: self.held,
            _fetched: self.fetched,
        })
    }

    /// Gets the context itself, its Dockerfile and its ignore file.
    fn main(&mut self) -> Result<(PathBuf, NamedText, Option<NamedText>), SolveError> {
        let filename = self.options().filename.as_deref();
        let fetched = match self.options().address.as_deref() {
            Some(address) => Some(self.fetch(address)?),
            None => self.unpack()?,
        };
        let Some((directory, alone)) = fetched else {
            return self.by_session();
        };
        let directory = match self.options().subdirectory.as_deref() {
            None => directory,
            Some(below) => below_of(&directory, below)?,
        };
        if let Some(text) = alone {
            let text = String::from_utf8(text)
                .ok()
                .ok_or_else(|| SolveError::Invalid("the Dockerfile is not UTF-8 text".to_owned()))?;
            return Ok((directory, ("Dockerfile".into(), text), None));
        }
        if self.options().dockerfile_name.is_some() {
            // The Dockerfile is the client's, though the context is not.
            let (dockerfile, own) = self.dockerfile()?;
            let ignore = match own {
                Some(own) => Some(own),
                None => ignore_file_in(&directory, &[IGNORE_FILE])?,
            };
            return Ok((directory, dockerfile, ignore));
        }
        let dockerfile =
            dockerfile_in(&directory, filename)?.ok_or_else(|| self.solve.no_dockerfile(filename))?;
        let own = own_ignore_file(&dockerfile.0);
        let ignore = ignore_file_in(&directory, &[own, PathBuf::from(IGNORE_FILE)])?;
        Ok((directory, dockerfile, ignore))
    }

    /// Gets all of them from the client's directories.
    fn by_session(&mut self) -> Result<(PathBuf, NamedText, Option<NamedText>), SolveError> {
        let (dockerfile, own) = self.dockerfile()?;
        let (directory, ignore) = self.local(
            self.context_name(),
            "context",
            "[internal] load build context",
            own,
        )?;
        Ok((directory, dockerfile, ignore))
    }

    /// Gets the client's Dockerfile, and the ignore file that goes with it, if there is one.
    fn dockerfile(&mut self) -> Result<(NamedText, Option<NamedText>), SolveError> {
        let given = self.options().filename.as_deref();
        let filename = given.unwrap_or("Dockerfile");
        let own = own_ignore_file(Path::new(filename)).display().to_string();
        let mut follow = vec![filename.to_owned(), own.clone()];
        if Path::new(filename)
            .file_name()
            .is_some_and(|name| name == "Dockerfile")
        {
            let lower = Path::new(filename).with_file_name("dockerfile");
            follow.push(lower.display().to_string());
        }
        let name = self.options().dockerfile_name.clone();
        let name = name.as_deref().unwrap_or("dockerfile");
        // Before anything is shown: what is a mistake of the request is answered by its status.
        if self.session.is_none() && !self.options().sessions.contains_key(name) {
            return Err(no_session());
        }
        let work = self.progress.begin_definition(filename);
        let result = self.receive(name, "definition", Vec::new(), follow);
        if let Ok((_, bytes)) = &result {
            work.transferred("dockerfile", *bytes);
        }
        let (directory, _) = work.finish(result)?;
        let dockerfile = dockerfile_in(&directory, given)?.ok_or_else(|| self.solve.no_dockerfile(given))?;
        Ok((dockerfile, ignore_file_in(&directory, &[own])?))
    }

    /// Gets the ignore file of one of the client's directories, which Dockerfiles call `called`.
    fn ignore_file(&mut self, name: &str, called: &str) -> Result<Option<NamedText>, SolveError> {
        let only = vec![IGNORE_FILE.to_owned()];
        let work = if called == "context" {
            self.progress.begin_ignore_file()
        } else {
            self.progress
                .begin(format!("[context {called}] load {IGNORE_FILE}"))
        };
        let result = self.receive(name, IGNORE_FILE, Vec::new(), only);
        if let Ok((_, bytes)) = &result {
            work.transferred(called, *bytes);
        }
        let (directory, _) = work.finish(result)?;
        Ok(ignore_file_in(&directory, &[IGNORE_FILE])?)
    }

    /// Gets one of the client's directories, which Dockerfiles call `called`, without what its ignore file keeps out, and
    /// that file.
    fn local(
        &mut self,
        name: &str,
        called: &str,
        shown: &str,
        own: Option<NamedText>,
    ) -> Result<(PathBuf, Option<NamedText>), SolveError> {
        let ignore = if own.is_some() {
            own
        } else {
            self.ignore_file(name, called)?
        };
        let exclude = ignore.as_ref().map_or_else(Vec::new, |(_, text)| patterns(text));
        let work = self.progress.begin(shown);
        let result = self.receive(name, "files", exclude, Vec::new());
        if let Ok((_, bytes)) = &result {
            work.transferred(called, *bytes);
        }
        let (directory, _) = work.finish(result)?;
        // The builder shows the ignore file by its place in the context.
        let ignore = ignore.map(|(path, text)| {
            let file = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
            (directory.join(file), text)
        });
        Ok((directory, ignore))
    }

    /// Brings one of the client's directories here. `part` tells apart what is taken of it.
    fn receive(
        &mut self,
        name: &str,
        part: &str,
        exclude: Vec<String>,
        follow: Vec<String>,
    ) -> Result<(PathBuf, u64), SolveError> {
        let other = match self.options().sessions.get(name) {
            Some(id) => Some(self.workshop.session(id)?),
            None => None,
        };
        let Some(session) = other.as_ref().or(self.session) else {
            return Err(no_session());
        };
        let key = session.shared_key().map(|key| format!("{part}\0{name}\0{key}"));
        let kept = self.engine.builds().kept_context(key.as_deref())?;
        let wanted = Wanted {
            name,
            exclude,
            follow,
        };
        let received = self
            .workshop
            .wait(self.cancelled, receive(session, &wanted, kept.path()))??;
        let path = kept.path().to_owned();
        self.held.push(kept);
        Ok((path, received.bytes))
    }

    /// Gets a context by its address: a directory, or a Dockerfile alone.
    fn fetch(&mut self, address: &str) -> Result<Fetched, SolveError> {
        let work = self.progress.begin(if address.starts_with(STANDARD_INPUT) {
            "[internal] load remote build context".to_owned()
        } else if address.starts_with("http") && !address.contains(".git") {
            format!("[internal] load remote build context {address}")
        } else {
            format!("[internal] load git source {address}")
        });
        let result = self.fetch_now(address);
        work.finish(result)
    }

    fn fetch_now(&mut self, address: &str) -> Result<Fetched, SolveError> {
        let builds = self.engine.builds();
        let fetched = if address.starts_with(STANDARD_INPUT) {
            let mut input = self.standard_input(address)?;
            builds.context_from_stream(&mut input)
        } else {
            let keep = self
                .options()
                .arguments
                .get("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
                .is_some_and(|value| matches!(value.as_str(), "1" | "true"));
            builds.context_from_address(address, keep, None, self.cancelled)
        };
        Ok(self.keep(fetched?))
    }

    /// Unpacks the context that came with the request, if one did.
    fn unpack(&mut self) -> Result<Option<Fetched>, SolveError> {
        let Some(mut tar) = self.solve.take_tar() else {
            return Ok(None);
        };
        let fetched = self.engine.builds().context_from_stream(&mut tar);
        Ok(Some(self.keep(fetched?)))
    }

    fn keep(&mut self, fetched: FetchedContext<'e>) -> Fetched {
        let found = (fetched.path(), fetched.dockerfile.clone());
        self.fetched.push(fetched);
        found
    }

    fn standard_input(&self, address: &str) -> Result<StandardInput<'g>, SolveError> {
        let Some(session) = self.session else {
            return Err(SolveError::Invalid(
                "the client has opened no session for its standard input".to_owned(),
            ));
        };
        // What we have to say is nothing, and it must not end before the answer does.
        let mut request = Request::new(futures_util::stream::pending::<BytesMessage>());
        let path = format!("/{}", &address[STANDARD_INPUT.len()..]);
        if let Ok(path) = MetadataValue::try_from(path) {
            request.metadata_mut().insert("urlpath", path);
        }
        request
            .metadata_mut()
            .insert("urlhost", MetadataValue::from_static("buildkit-session"));
        let mut client = session.uploads();
        let answer = self.workshop.wait(self.cancelled, client.pull(request))??;
        Ok(StandardInput {
            workshop: self.workshop,
            cancelled: self.cancelled,
            incoming: answer.into_inner(),
            piece: Vec::new(),
            at: 0,
        })
    }

    /// Gets files besides those of the context.
    fn named(&mut self, name: &str, source: &str) -> Result<NamedContext, SolveError> {
        if let Some(image) = source.strip_prefix("docker-image://") {
            let reference = image.parse().map_err(|error: oci::ReferenceError| {
                SolveError::Invalid(format!("the context {name}: invalid image {image}: {error}"))
            })?;
            return Ok(NamedContext::Image(reference));
        }
        if let Some(directory) = source.strip_prefix("local:") {
            let shown = format!("[context {name}] load from client");
            return Ok(NamedContext::Directory(
                self.local(directory, name, &shown, None)?.0,
            ));
        }
        if let Some(input) = source.strip_prefix("input:") {
            return match self
                .solve
                .inputs
                .get(input)
                .or_else(|| self.solve.inputs.get(source))
            {
                Some(images) => Ok(stored(name, images)?),
                None => Err(SolveError::Unsupported(format!(
                    "the context {name}: a build graph of the client's own"
                ))),
            };
        }
        if source.starts_with("oci-layout://") {
            return Err(SolveError::Unsupported(format!(
                "the context {name}: an OCI layout of the client's"
            )));
        }
        let (path, alone) = self.fetch(source)?;
        if alone.is_some() {
            return Err(SolveError::Unsupported(format!(
                "the context {name}: a single file from the web"
            )));
        }
        Ok(NamedContext::Directory(path))
    }
}

/// Makes a context of images that are here, for a name that a Dockerfile has.
fn stored(name: &str, images: &[(oci::Platform, oci::Digest)]) -> Result<NamedContext, SolveError> {
    // A target's name may have large letters, an image's may not.
    let shown = format!("target/{}", name.to_lowercase().trim_matches(['_', '-']));
    let name = shown.parse().map_err(|error: oci::ReferenceError| {
        SolveError::Invalid(format!("the context {name} cannot be called {shown}: {error}"))
    })?;
    Ok(NamedContext::Stored {
        name,
        images: images.to_vec(),
    })
}

/// Returns the ignore file that belongs to one Dockerfile.
fn own_ignore_file(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(IGNORE_FILE);
    name.into()
}

/// Returns a directory in one that somebody else has made.
fn below_of(directory: &Path, below: &str) -> Result<PathBuf, SolveError> {
    let tree = sys::path::Tree::open(directory)?;
    let found = tree.resolve(Path::new(below))?;
    let found = found.strip_prefix("/").unwrap_or(&found);
    Ok(directory.join(found))
}

/// Reads an ignore file's patterns as the client wants them.
fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let line = line.trim();
            let (mark, pattern) = match line.strip_prefix('!') {
                Some(pattern) => ("!", pattern.trim()),
                None => ("", line),
            };
            let parts: Vec<&str> = pattern
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect();
            (!parts.is_empty()).then(|| format!("{mark}{}", parts.join("/")))
        })
        .collect()
}

/// The client's standard input, as a plain reader.
struct StandardInput<'w> {
    workshop: &'w Workshop,
    cancelled: &'w AtomicBool,
    incoming: Streaming<BytesMessage>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for StandardInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.piece.len() {
            let next = self
                .workshop
                .wait(self.cancelled, self.incoming.message())
                .map_err(std::io::Error::other)?;
            match next {
                Ok(Some(message)) => {
                    self.piece = message.data;
                    self.at = 0;
                }
                Ok(None) => return Ok(0),
                Err(status) if status.code() == Code::Ok => return Ok(0),
                Err(status) => return Err(std::io::Error::other(status)),
            }
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn no_session() -> SolveError {
    SolveError::Invalid("the build's files are with the client, and it has opened no session".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_cleaned() {
        let text = "\u{feff}# no\n/a/\n  b/./c \n! d\n\n!\n #x\n**/*.o\n";
        assert_eq!(patterns(text), ["a", "b/c", "!d", "#x", "**/*.o"]);
    }
}
