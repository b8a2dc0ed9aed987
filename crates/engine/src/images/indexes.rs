//! Indexes of images for several platforms, made of images that registries have: `manifest`, `buildx imagetools`.

use super::Images;
use super::push::Pushed;
use super::push_content::Elsewhere;
use crate::EngineError;
use oci::{Descriptor, Digest, LayerMediaType, Manifest, Platform, Reference, descriptor_digest};
use registry::{Client, RegistryError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest or an index, as the registry has it.
#[derive(Debug, Clone)]
pub struct RemoteManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// What it lists if it is an index: digest, type, size and platform of each entry.
    pub entries: Option<Vec<Member>>,
}

/// An image in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it is: its repository, and the name that it was listed by.
    pub reference: Reference,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Its manifest's type.
    pub media_type: String,
    /// Its manifest's size.
    pub size: u64,
    /// What it is for.
    pub platform: MemberPlatform,
}

/// What an image in an index is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPlatform {
    /// `amd64`, …
    pub architecture: String,
    /// `linux`, …
    pub os: String,
    /// Of Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Of Windows, too.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v7`, …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A list in the making, in a file of its own.
#[derive(Debug, Serialize, Deserialize)]
struct Draft {
    list: Reference,
    members: Vec<Member>,
}

impl Images<'_> {
    /// Fetches the manifest or index that a reference names from its registry.
    pub fn remote_manifest(
        &self,
        reference: &Reference,
        insecure: bool,
    ) -> Result<RemoteManifest, EngineError> {
        fetch(&self.trusting(reference, insecure)?, reference)
    }

    fn trusting(self, reference: &Reference, insecure: bool) -> Result<Client, EngineError> {
        let more = insecure.then(|| reference.registry().to_owned());
        self.engine.registry_client_trusting(more)
    }

    /// Finds the images that a reference names at its registry, for an index: itself, or what its index lists.
    pub fn members_of(&self, reference: &Reference, insecure: bool) -> Result<Vec<Member>, EngineError> {
        let client = self.trusting(reference, insecure)?;
        let manifest = fetch(&client, reference)?;
        if let Some(entries) = manifest.entries {
            return Ok(entries);
        }
        // Only its configuration says what an image is for.
        let image = client.resolve(&reference.with_digest(manifest.digest), &Platform::host())?;
        let config: oci::ImageConfig =
            serde_json::from_slice(&image.raw_config).map_err(|error| EngineError::Invalid {
                message: format!(
                    "the configuration of {} cannot be read: {error}",
                    reference.familiar()
                ),
                hint: None,
            })?;
        let Platform {
            os,
            architecture,
            variant,
        } = config.platform();
        Ok(vec![Member {
            reference: reference.clone(),
            digest: manifest.digest,
            media_type: manifest.media_type,
            size: manifest.raw.len() as u64,
            platform: MemberPlatform {
                architecture,
                os,
                variant,
                ..MemberPlatform::default()
            },
        }])
    }

    /// Returns an index's bytes and type: Docker's if all its images are of Docker's type, otherwise OCI's.
    pub fn index_of(&self, members: &[Member]) -> (Vec<u8>, &'static str) {
        let all_docker = members.iter().all(|member| member.media_type == DOCKER_IMAGE);
        let media_type = if all_docker { DOCKER_LIST } else { OCI_INDEX };
        let manifests: Vec<_> = members
            .iter()
            .map(|member| {
                json!({
                    "mediaType": member.media_type,
                    "digest": member.digest,
                    "size": member.size,
                    "platform": member.platform,
                })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        (index.to_string().into_bytes(), media_type)
    }

    /// Stores an index of images under a name. Images of other repositories of the registry are brought into its
    /// repository, which sends nothing; images of other registries are refused.
    pub fn push_index(
        &self,
        target: &Reference,
        members: &[Member],
        insecure: bool,
    ) -> Result<Pushed, EngineError> {
        if let Some(other) = members
            .iter()
            .find(|member| member.reference.registry() != target.registry())
        {
            return Err(EngineError::Invalid {
                message: format!(
                    "{} is at another registry than {}",
                    other.reference.familiar(),
                    target.familiar()
                ),
                hint: Some("pull it, tag it, and push it there first".into()),
            });
        }
        let client = self.trusting(target, insecure)?;
        let mut sources: Vec<String> = members
            .iter()
            .map(|member| member.reference.repository().to_owned())
            .filter(|repository| repository != target.repository())
            .collect();
        sources.sort();
        sources.dedup();
        let place = client.target(target, sources);
        for member in members {
            if member.reference.repository() != target.repository() {
                bring(&client, &place, member)?;
            }
        }
        let (raw, media_type) = self.index_of(members);
        let tag = target.tag().unwrap_or("latest");
        let digest = client.push_manifest(&place, tag, media_type, &raw)?;
        Ok(Pushed {
            digest,
            size: raw.len() as u64,
        })
    }

    /// Begins a list of images, or with `amend` adds to one.
    pub fn draft_create(
        &self,
        list: &Reference,
        images: &[Reference],
        amend: bool,
        insecure: bool,
    ) -> Result<(), EngineError> {
        let mut members = match self.draft(list)? {
            Some(_) if !amend => {
                return Err(EngineError::Conflict {
                    message: "refusing to amend an existing manifest list with no --amend flag".into(),
                    hint: Some(format!("'manifest rm {}' forgets it", list.familiar())),
                });
            }
            Some(members) => members,
            None => Vec::new(),
        };
        for image in images {
            for member in self.members_of(image, insecure)? {
                members.retain(|known| known.digest != member.digest && known.reference != member.reference);
                members.push(member);
            }
        }
        self.keep_draft(list, members)
    }

    /// Changes what an image of a list is said to be for.
    pub fn draft_annotate(
        &self,
        list: &Reference,
        image: &Reference,
        change: &dyn Fn(&mut MemberPlatform),
    ) -> Result<(), EngineError> {
        let mut members = self.draft_or_error(list)?;
        let member = members
            .iter_mut()
            .find(|member| {
                member.reference == *image
                    || (member.reference.name() == image.name() && image.digest() == Some(&member.digest))
            })
            .ok_or_else(|| EngineError::NotFound {
                kind: "manifest",
                name: format!("{} in {}", image.familiar(), list.familiar()),
            })?;
        change(&mut member.platform);
        self.keep_draft(list, members)
    }

    /// Returns the images of a list in the making.
    pub fn draft(&self, list: &Reference) -> Result<Option<Vec<Member>>, EngineError> {
        let path = self.draft_path(list)?;
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(sys::SysError::io("read", &path, &error).into()),
        };
        let draft: Draft = serde_json::from_slice(&text).map_err(|error| EngineError::Invalid {
            message: format!("the list {} cannot be read: {error}", path.display()),
            hint: Some("remove the file".into()),
        })?;
        Ok(Some(draft.members))
    }

    /// Returns the images of a list that must be there.
    pub fn draft_or_error(&self, list: &Reference) -> Result<Vec<Member>, EngineError> {
        self.draft(list)?.ok_or_else(|| EngineError::NotFound {
            kind: "manifest",
            name: list.familiar(),
        })
    }

    /// Forgets a list.
    pub fn draft_remove(&self, list: &Reference) -> Result<(), EngineError> {
        self.draft_or_error(list)?;
        let path = self.draft_path(list)?;
        std::fs::remove_file(&path).map_err(|error| sys::SysError::io("remove", &path, &error).into())
    }

    fn keep_draft(self, list: &Reference, members: Vec<Member>) -> Result<(), EngineError> {
        let path = self.draft_path(list)?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|error| sys::SysError::io("make the directory", directory, &error))?;
        }
        let draft = Draft {
            list: list.clone(),
            members,
        };
        let text = json!(draft).to_string();
        Ok(sys::fs::write_atomically(&path, text.as_bytes(), 0o600)?)
    }

    fn draft_path(self, list: &Reference) -> Result<PathBuf, EngineError> {
        let directory = self
            .engine
            .client_directory()
            .ok_or(RegistryError::NoCredentialFile)?;
        // No name has a per cent sign of its own.
        let name = list.to_string().replace('/', "%2F");
        Ok(directory.join("manifests").join(format!("{name}.json")))
    }
}

fn fetch(client: &Client, reference: &Reference) -> Result<RemoteManifest, EngineError> {
    let (raw, digest, media_type) = client.manifest(reference)?;
    let unusable = |source| RegistryError::Manifest {
        reference: reference.familiar(),
        source,
    };
    let entries = match Manifest::parse(&raw, media_type.as_deref()).map_err(unusable)? {
        Manifest::Image(_) => None,
        Manifest::Index(index) => Some(
            index
                .manifests()
                .iter()
                .map(|entry| member(reference, entry).map_err(unusable))
                .collect::<Result<Vec<_>, _>>()?,
        ),
    };
    let media_type = Manifest::parse(&raw, media_type.as_deref())
        .map_err(unusable)?
        .media_type()
        .to_string();
    Ok(RemoteManifest {
        digest,
        media_type,
        raw,
        entries,
    })
}

fn member(of: &Reference, entry: &Descriptor) -> Result<Member, oci::ManifestError> {
    let digest = descriptor_digest(entry)?;
    let platform = entry.platform().as_ref().map(|platform| MemberPlatform {
        architecture: platform.architecture().to_string(),
        os: platform.os().to_string(),
        os_version: platform.os_version().clone().unwrap_or_default(),
        os_features: platform.os_features().clone().unwrap_or_default(),
        variant: platform.variant().clone().unwrap_or_default(),
    });
    Ok(Member {
        reference: of.with_digest(digest),
        digest,
        media_type: entry.media_type().to_string(),
        size: entry.size(),
        platform: platform.unwrap_or_default(),
    })
}

/// Brings an image of another repository into one: its blobs by mounting them, then its manifest.
fn bring(client: &Client, place: &registry::Target, member: &Member) -> Result<(), EngineError> {
    let from = member.reference.with_digest(member.digest);
    let (raw, _, media_type) = client.manifest(&from)?;
    let unusable = |source| RegistryError::Manifest {
        reference: from.familiar(),
        source,
    };
    let Manifest::Image(image) = Manifest::parse(&raw, media_type.as_deref()).map_err(unusable)? else {
        return Err(EngineError::Invalid {
            message: format!("{} is an index itself", from.familiar()),
            hint: Some("name the images that it lists".into()),
        });
    };
    for blob in std::iter::once(image.config()).chain(image.layers()) {
        if LayerMediaType::recognise(blob.media_type()).is_some_and(|kind| kind.foreign) {
            continue;
        }
        let digest = descriptor_digest(blob).map_err(unusable)?;
        let content = Elsewhere::new(digest, blob.size());
        let sources = vec![member.reference.repository().to_owned()];
        client
            .push_blob(place, Arc::new(content), sources)
            .map_err(|error| match error {
                RegistryError::Content { .. } => EngineError::Invalid {
                    message: format!(
                        "the registry does not let {} be used in another repository",
                        from.familiar()
                    ),
                    hint: Some("pull the image, tag it into the list's repository, and push it first".into()),
                },
                error => error.into(),
            })?;
    }
    client.push_manifest(place, &member.digest.to_string(), &member.media_type, &raw)?;
    Ok(())
}
