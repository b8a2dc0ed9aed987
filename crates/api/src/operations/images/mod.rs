//! Images: list, pull, push, tag, load, save, …

mod archive;
mod list;
mod pull;
mod push;

use super::pruned::{self, Gone};
use crate::server::{ApiVersion, Exchange, Failure, Method, Reply, Route};
use crate::wire::{HistoryEntry, ImageInspect};
use engine::EngineError;
use engine::images::{Image, Images, Removed, SearchFilter};
use hyper::StatusCode;
use oci::{Platform, Reference};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        pattern: "/images/json",
        operation: list::list,
    },
    Route {
        method: Method::Get,
        pattern: "/images/search",
        operation: search,
    },
    Route {
        method: Method::Get,
        pattern: "/images/get",
        operation: archive::save,
    },
    Route {
        method: Method::Get,
        pattern: "/images/{*name}/get",
        operation: archive::save,
    },
    Route {
        method: Method::Get,
        pattern: "/images/{*name}/history",
        operation: history,
    },
    Route {
        method: Method::Get,
        pattern: "/images/{*name}/json",
        operation: inspect,
    },
    Route {
        method: Method::Get,
        pattern: "/images/{*name}/attestations",
        operation: attestations,
    },
    Route {
        method: Method::Post,
        pattern: "/images/load",
        operation: archive::load,
    },
    Route {
        method: Method::Post,
        pattern: "/images/create",
        operation: create,
    },
    Route {
        method: Method::Post,
        pattern: "/images/prune",
        operation: prune,
    },
    Route {
        method: Method::Post,
        pattern: "/images/{*name}/push",
        operation: push::push,
    },
    Route {
        method: Method::Post,
        pattern: "/images/{*name}/tag",
        operation: tag,
    },
    Route {
        method: Method::Delete,
        pattern: "/images/{*name}",
        operation: remove,
    },
];

fn create(exchange: &mut Exchange) -> Result<Reply, Failure> {
    if exchange.query().get("fromImage").is_some() {
        pull::pull(exchange)
    } else {
        archive::import(exchange)
    }
}

/// A platform as the API writes it in JSON; the command line has `os/architecture/variant`.
#[derive(Debug, Deserialize)]
struct PlatformDocument {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
}

/// Reads a platform of a query in its JSON form.
fn platform_document(text: &str) -> Result<Platform, Failure> {
    let wrong = |why: &str| Failure::bad_request(format!("failed to parse platform '{text}': {why}"));
    let document: PlatformDocument = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    match (document.os.as_deref(), document.architecture.as_deref()) {
        (Some(os), Some(architecture)) if !os.is_empty() && !architecture.is_empty() => Ok(Platform::new(
            os,
            architecture,
            document.variant.as_deref().unwrap_or_default(),
        )),
        _ => Err(wrong("both os and architecture must be provided")),
    }
}

/// Reads the platforms of a query, from the version on that has them.
fn platforms(exchange: &Exchange, name: &str, since: u16) -> Result<Vec<Platform>, Failure> {
    if exchange.version() < ApiVersion::new(since) {
        return Ok(Vec::new());
    }
    let texts = exchange.query().all(name).filter(|text| !text.is_empty());
    texts.map(platform_document).collect()
}

/// Finds an image, of a name that leads to several the one for a platform, if one is named.
fn find_for(images: Images<'_>, name: &str, platforms: &[Platform]) -> Result<Image, Failure> {
    let Some(platform) = platforms.first() else {
        return Ok(images.find(name)?);
    };
    // That there is none for the platform is Docker's 404.
    images
        .find_for(name, Some(platform))
        .map_err(|error| match error {
            EngineError::Invalid { message, .. } => Failure::not_found(message),
            error => error.into(),
        })
}

/// Reads a reference that a client gives in two pieces. The tag may be a digest; a digest in the name counts most.
fn reference(name: &str, tag: Option<&str>) -> Result<Reference, Failure> {
    let named: Reference = name.parse().map_err(|error| invalid_reference(&error))?;
    let Some(tag) = tag.filter(|_| named.digest().is_none()) else {
        return Ok(named);
    };
    match tag.parse::<oci::Digest>() {
        Ok(digest) => Ok(format!("{}@{digest}", named.name())
            .parse()
            .map_err(|error| invalid_reference(&error))?),
        Err(_) => named.with_tag(tag).map_err(|error| invalid_reference(&error)),
    }
}

fn invalid_reference(error: &oci::ReferenceError) -> Failure {
    Failure::bad_request(engine::explain(error))
}

/// Says whether a name ends in a tag or a digest.
fn has_tag(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|end| end.contains([':', '@']))
}

fn inspect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let version = exchange.version();
    let platforms = platforms(exchange, "platform", 49)?;
    if !platforms.is_empty() && exchange.query().flag("manifests") {
        return Err(Failure::bad_request(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let engine = exchange.engine()?;
    let images = engine.images();
    let image = find_for(images, exchange.parameter("name"), &platforms)?;
    let inspect = ImageInspect::new(&image, &images.layer_directories(&image));
    let document = serde_json::to_value(&inspect).map_err(|error| Failure::internal(error.to_string()))?;
    let mut document = as_of(document, image.size, version);
    if exchange.query().flag("manifests") && version >= ApiVersion::new(48) {
        document["Manifests"] = list::Manifests::new(&engine)?.of(&image)?;
    }
    Reply::json(&document)
}

/// Gives an image's document the shape that it had in a version.
fn as_of(mut document: Value, size: u64, version: ApiVersion) -> Value {
    let Value::Object(fields) = &mut document else {
        return document;
    };
    let before = |minor| version < ApiVersion::new(minor);
    if before(44) {
        fields.insert("VirtualSize".into(), size.into());
    }
    if before(45) {
        // What a commit or the classic builder ran. Nobody keeps it.
        fields.insert("Container".into(), "".into());
        let none = legacy_config(true);
        fields.insert("ContainerConfig".into(), none.into());
    }
    if !before(52) {
        for name in ["Parent", "Comment", "DockerVersion", "Author"] {
            if fields.get(name).is_some_and(|value| value == "") {
                fields.remove(name);
            }
        }
        return document;
    }
    if let Some(Value::Object(config)) = fields.get_mut("Config") {
        for (name, value) in legacy_config(before(50)) {
            config.entry(name).or_insert(value);
        }
    }
    document
}

/// Fields of a configuration that were there when nothing was said, too, before version 1.52, and with `all` those of
/// containers that were there before 1.50.
fn legacy_config(all: bool) -> Map<String, Value> {
    let mut fields = json!({
        "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null, "User": "", "Volumes": null,
        "WorkingDir": "",
    });
    if all {
        for name in ["Domainname", "Hostname", "Image"] {
            fields[name] = "".into();
        }
        for name in [
            "AttachStderr",
            "AttachStdin",
            "AttachStdout",
            "OpenStdin",
            "StdinOnce",
            "Tty",
        ] {
            fields[name] = false.into();
        }
    }
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn history(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let platforms = platforms(exchange, "platform", 48)?;
    let engine = exchange.engine()?;
    let image = find_for(engine.images(), exchange.parameter("name"), &platforms)?;
    let entries: Vec<Value> = HistoryEntry::all(&image)
        .into_iter()
        .map(|entry| {
            let tags = (!entry.tags.is_empty()).then_some(entry.tags);
            json!({
                "Id": entry.id,
                "Created": entry.created.unwrap_or_default().div_euclid(1_000_000_000),
                "CreatedBy": entry.created_by,
                "Tags": tags,
                "Size": entry.size,
                "Comment": entry.comment,
            })
        })
        .collect();
    Reply::json(&entries)
}

/// We make no attestations, and keep none that others have made.
fn attestations(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let platforms = platforms(exchange, "platform", 0)?;
    find_for(
        exchange.engine()?.images(),
        exchange.parameter("name"),
        &platforms,
    )?;
    Reply::json(&json!([]))
}

fn search(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let term = query.get("term").unwrap_or_default();
    let limit = query.number("limit")?.unwrap_or(0);
    let filter = SearchFilter::new(&query.filters()?)?;
    let mut engine = exchange.engine()?;
    engine.show(exchange, oci::DEFAULT_REGISTRY);
    let found: Vec<Value> = engine
        .images()
        .search(term, limit)?
        .iter()
        .filter(|found| filter.accepts(found))
        .map(|found| {
            json!({
                "star_count": found.stars,
                "is_official": found.official,
                "name": found.name,
                "is_automated": found.automated,
                "description": found.description,
            })
        })
        .collect();
    Reply::json(&found)
}

fn tag(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let repository = query.get("repo").unwrap_or_default();
    let target = reference(repository, query.get("tag"))?;
    let engine = exchange.engine()?;
    engine.images().tag(exchange.parameter("name"), &target)?;
    Ok(Reply::empty(StatusCode::CREATED))
}

fn remove(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let platforms = platforms(exchange, "platforms", 50)?;
    let name = exchange.parameter("name");
    let engine = exchange.engine()?;
    let images = engine.images();
    let force = exchange.query().flag("force");
    let removed = if platforms.is_empty() {
        images.remove(name, force)?
    } else {
        for platform in &platforms {
            find_for(images, name, std::slice::from_ref(platform))?;
        }
        images.remove_platforms(name, &platforms, force)?
    };
    Reply::json(&removed.iter().map(removed_document).collect::<Vec<_>>())
}

fn removed_document(removed: &Removed) -> Value {
    match removed {
        Removed::Deleted(digest) => json!({"Deleted": digest.to_string()}),
        Removed::Untagged(reference) => json!({"Untagged": reference.familiar()}),
    }
}

fn prune(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut all = false;
    let mut filters = Vec::new();
    for (key, value) in exchange.query().filters()? {
        match (key.as_str(), value.as_str()) {
            ("dangling", "0" | "false") => all = true,
            ("dangling", "1" | "true") => {}
            ("dangling", _) => {
                return Err(Failure::bad_request(format!("invalid filter 'dangling={value}'")));
            }
            _ => filters.push((key, value)),
        }
    }
    let (removed, bytes) = exchange.engine()?.images().prune(all, &filters)?;
    let gone: Vec<Gone> = removed
        .iter()
        .map(|removed| match removed {
            Removed::Deleted(digest) => Gone::new(digest.to_string(), "deleted"),
            Removed::Untagged(reference) => Gone::new(reference.familiar(), "untagged"),
        })
        .collect();
    let documents: Vec<Value> = removed.iter().map(removed_document).collect();
    let report = json!({
        "ImagesDeleted": (!documents.is_empty()).then_some(documents),
        "SpaceReclaimed": bytes,
    });
    pruned::reply(exchange, gone, &report)
}

/// What a registry refuses has its own statuses when an image is fetched.
fn fetch_failure(error: EngineError) -> Failure {
    let kind = error.kind();
    let failure = Failure::from(error);
    match kind {
        // Registries do not tell what may not be seen from what is not there.
        engine::Kind::Forbidden => Failure::not_found(failure.message),
        engine::Kind::Unauthorized => Failure::internal(failure.message),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_in_pieces() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, tag, expected) in [
            ("busybox", None, "busybox:latest".to_owned()),
            ("busybox", Some("1.36"), "busybox:1.36".into()),
            ("r.example:5000/a/b:1", Some("2"), "r.example:5000/a/b:2".into()),
            ("busybox", Some(digest.as_str()), format!("busybox@{digest}")),
            (
                &format!("busybox@{digest}"),
                Some("1"),
                format!("busybox@{digest}"),
            ),
        ] {
            assert_eq!(reference(name, tag).unwrap().familiar(), expected);
        }
        for (name, tag) in [("", None), ("Busybox", None), ("busybox", Some("a b"))] {
            assert_eq!(reference(name, tag).unwrap_err().status, StatusCode::BAD_REQUEST);
        }
        assert!(has_tag("a/b:c") && has_tag("a@b") && !has_tag("a:5000/b"));
    }

    #[test]
    fn an_image_has_the_shape_of_the_clients_version() {
        let document =
            json!({"Id": "x", "Parent": "", "Comment": "", "Author": "me", "Config": {"Cmd": ["sh"]}});
        let of = |minor| as_of(document.clone(), 7, ApiVersion::new(minor));
        let newest = of(52);
        assert_eq!(
            newest,
            json!({"Id": "x", "Author": "me", "Config": {"Cmd": ["sh"]}})
        );
        let middle = of(51);
        assert_eq!(middle["Config"]["Cmd"], json!(["sh"]));
        assert_eq!(middle["Config"]["Entrypoint"], Value::Null);
        assert!(middle["Config"].get("Tty").is_none() && middle["Parent"] == "");
        let old = of(43);
        assert_eq!(
            (&old["Config"]["Tty"], &old["VirtualSize"]),
            (&json!(false), &json!(7))
        );
        assert!(old["ContainerConfig"].is_object() && of(45).get("Container").is_none());
    }

    #[test]
    fn platforms_are_documents() {
        let read = platform_document(r#"{"os":"linux","architecture":"arm","variant":"v7"}"#).unwrap();
        assert_eq!(read, Platform::new("linux", "arm", "v7"));
        for bad in [
            "linux/arm",
            "{}",
            r#"{"os":"linux"}"#,
            r#"{"os":"linux","architecture":""}"#,
        ] {
            assert!(platform_document(bad).is_err(), "{bad}");
        }
    }
}
