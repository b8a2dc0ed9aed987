//! `POST /commit`: an image of a container.

use crate::operations::object::{Object, Words};
use crate::server::{Exchange, Failure, Reply};
use engine::containers::commit::CommitRequest;
use hyper::StatusCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn commit(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut changes = configuration(&mut Object::new(exchange.document()?)?)?;
    let query = exchange.query();
    let written = query.all("changes").filter(|change| !change.is_empty());
    changes.extend(written.map(str::to_owned));
    let reference = match (query.get("repo"), query.get("tag")) {
        (None, _) => None,
        (Some(name), tag) => {
            let text = tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"));
            let parsed = text.parse::<oci::Reference>();
            Some(parsed.map_err(|error| Failure::bad_request(error.to_string()))?)
        }
    };
    let request = CommitRequest {
        reference,
        author: query.get("author").unwrap_or_default().to_owned(),
        message: query.get("comment").unwrap_or_default().to_owned(),
        changes,
        no_pause: !query.flag_or("pause", true),
        source_date_epoch: None,
    };
    let engine = exchange.engine()?;
    let containers = engine.containers();
    let id = containers.find(query.get("container").unwrap_or_default())?;
    let committed = containers.commit(&id, &request, &|| false)?;
    Reply::json_with(StatusCode::CREATED, &json!({ "Id": committed.id.to_string() }))
}

/// Says in a Dockerfile's words what a body's `Config` says: it goes over the container's own, as they do.
fn configuration(body: &mut Object) -> Result<Vec<String>, Failure> {
    let mut changes = Vec::new();
    let list = |words: &[String]| json!(words).to_string();
    let mut word = |body: &mut Object, name: &str, instruction: &str| -> Result<(), Failure> {
        changes.extend(body.text(name)?.map(|text| format!("{instruction} {text}")));
        Ok(())
    };
    word(body, "User", "USER")?;
    word(body, "WorkingDir", "WORKDIR")?;
    word(body, "StopSignal", "STOPSIGNAL")?;
    for variable in body.take::<Vec<String>>("Env")? {
        if let Some((name, value)) = variable.split_once('=') {
            changes.push(format!("ENV {name}={}", quoted(value)));
        }
    }
    for (name, value) in body.take::<BTreeMap<String, Option<String>>>("Labels")? {
        changes.push(format!(
            "LABEL {}={}",
            quoted(&name),
            quoted(&value.unwrap_or_default())
        ));
    }
    changes.extend(
        body.keys("ExposedPorts")?
            .iter()
            .map(|port| format!("EXPOSE {port}")),
    );
    let volumes = body.keys("Volumes")?;
    if !volumes.is_empty() {
        changes.push(format!("VOLUME {}", list(&volumes)));
    }
    // An entry point does away with arguments that were there, and not with those that come with it.
    if let Some(Words(words)) = body.take::<Option<Words>>("Entrypoint")? {
        changes.push(format!("ENTRYPOINT {}", list(&words)));
    }
    let Words(command) = body.take("Cmd")?;
    if !command.is_empty() {
        changes.push(format!("CMD {}", list(&command)));
    }
    changes.extend(check(&mut body.object("Healthcheck")?)?);
    Ok(changes)
}

fn check(check: &mut Object) -> Result<Option<String>, Failure> {
    let test: Vec<String> = check.take("Test")?;
    let Some((kind, command)) = test.split_first() else {
        return Ok(None);
    };
    let mut text = "HEALTHCHECK".to_owned();
    for (name, flag) in [
        ("Interval", "interval"),
        ("Timeout", "timeout"),
        ("StartPeriod", "start-period"),
        ("StartInterval", "start-interval"),
    ] {
        if let Some(nanoseconds) = check.count(name)? {
            let milliseconds = Duration::from_nanos(nanoseconds).as_millis();
            text.extend([format!(" --{flag}={milliseconds}ms")]);
        }
    }
    if let Some(retries) = check.count("Retries")? {
        text.extend([format!(" --retries={retries}")]);
    }
    Ok(Some(match kind.as_str() {
        "NONE" => "HEALTHCHECK NONE".to_owned(),
        "CMD" => format!("{text} CMD {}", json!(command)),
        _ => format!("{text} CMD {}", command.join(" ")),
    }))
}

/// Quotes for a Dockerfile, where nothing is to be expanded.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_said_in_instructions() {
        let body = json!({
            "Hostname": "x", "Cmd": ["a", "b c"], "Entrypoint": "/e", "Env": ["A=1 \"2\" $B"],
            "ExposedPorts": {"80/tcp": {}}, "Labels": {"a.b": "c"}, "User": "9:9", "WorkingDir": "/w", "Volumes": {"/v": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_500_000_000, "Retries": 2},
        });
        assert_eq!(
            configuration(&mut Object::new(body).unwrap()).unwrap(),
            [
                "USER 9:9",
                "WORKDIR /w",
                r#"ENV A="1 \"2\" \$B""#,
                r#"LABEL "a.b"="c""#,
                "EXPOSE 80/tcp",
                r#"VOLUME ["/v"]"#,
                r#"ENTRYPOINT ["/e"]"#,
                r#"CMD ["a","b c"]"#,
                r#"HEALTHCHECK --interval=1500ms --retries=2 CMD ["true"]"#,
            ]
        );
        assert!(configuration(&mut Object::default()).unwrap().is_empty());
    }
}
