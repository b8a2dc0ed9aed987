//! `events`.

use crate::args::{filter, timestamp};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::template::{Labels, Template};
use crate::output::{json, time};
use api::wire::EventMessage;
use clap::Args;
use engine::events::follow::EventsRequest;
use engine::events::{Event, Filter};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Flags of `events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Filter output based on conditions provided
    #[arg(short, long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

/// How an event is written.
enum Form {
    Json,
    Line,
    Template(Template),
}

impl Verb for Events {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let form = Form::parse(self.format.as_deref())?;
        let now = jiff::Timestamp::now();
        let moment = |text: &Option<String>| {
            let given = text.as_deref().filter(|text| !text.is_empty());
            given.map(|text| timestamp::nanoseconds(text, now)).transpose()
        };
        let request = EventsRequest {
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            filter: Filter::new(self.filter)?,
        };
        let stdout = std::io::stdout();
        let mut failed = None;
        let mut show = |event: &Event| match form.write(event).and_then(|text| output::line(&text)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        };
        cli.engine()?
            .follow_events(&request, Some(stdout.as_fd()), &mut show)?;
        failed.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

impl Form {
    fn parse(format: Option<&str>) -> Result<Self, Failure> {
        Ok(match format.map(str::trim) {
            None | Some("") => Self::Line,
            // The same, but with the fields in the order in which Docker has them.
            Some("json" | "{{json .}}") => Self::Json,
            Some(text) => Self::Template(
                Template::parse(text)
                    .map_err(|error| Failure::new(format!("error parsing format: {error}")))?,
            ),
        })
    }

    fn write(&self, event: &Event) -> Result<String, Failure> {
        let message = EventMessage::new(event);
        let value = || serde_json::to_value(&message).map_err(|error| Failure::new(error.to_string()));
        match self {
            Self::Json => json::ordered(&message).map_err(|error| Failure::new(error.to_string())),
            Self::Line => Ok(line(event)),
            Self::Template(template) => {
                let mut value = value()?;
                // Fields of a Go struct, which are there also where its JSON leaves them out.
                for name in ["status", "id", "from"] {
                    if value.get(name).is_none() {
                        value[name] = "".into();
                    }
                }
                template
                    .execute(&value, Labels::None, Some("*events.Message"))
                    .map_err(|error| Failure::new(error.to_string()))
            }
        }
    }
}

/// `TIME TYPE ACTION OBJECT (name=value, …)`.
fn line(event: &Event) -> String {
    let mut text = format!(
        "{} {} {} {}",
        time::rfc3339_nano_local(event.time),
        event.kind,
        event.action,
        event.object
    );
    if !event.attributes.is_empty() {
        let attributes: Vec<String> = event
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.extend([format!(" ({})", attributes.join(", "))]);
    }
    // What a container was named or told must not act on the terminal.
    text.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            time: 1_700_000_000_000_000_001,
            kind: "container".into(),
            action: "start".into(),
            object: "abc".into(),
            attributes: [("image", "busybox"), ("name", "web")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    #[test]
    fn every_form_is_dockers() {
        let volume = Event {
            kind: "volume".into(),
            attributes: [("driver".to_owned(), "local".to_owned())].into(),
            ..event()
        };
        for (format, event, expected) in [
            (
                Some("json"),
                &event(),
                r#"{"status":"start","id":"abc","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"image":"busybox","name":"web"}},"scope":"local","time":1700000000,"timeNano":1700000000000000001}"#,
            ),
            (
                Some("{{json .}}"),
                &volume,
                r#"{"Type":"volume","Action":"start","Actor":{"ID":"abc","Attributes":{"driver":"local"}},"scope":"local","time":1700000000,"timeNano":1700000000000000001}"#,
            ),
            (
                Some(
                    "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Status}} {{.ID}} {{.From}} {{.Scope}} {{.Time}} {{.TimeNano}}",
                ),
                &event(),
                "container start abc web start abc busybox local 1700000000 1700000000000000001",
            ),
            (Some("{{.Type}}:{{.From}}:{{.Status}}"), &volume, "volume::"),
            (
                Some("{{json .Actor.Attributes}}"),
                &volume,
                r#"{"driver":"local"}"#,
            ),
        ] {
            let form = Form::parse(format).unwrap();
            assert_eq!(form.write(event).unwrap(), expected, "{format:?}");
        }
        let text = line(&event());
        assert!(
            text.ends_with(" container start abc (image=busybox, name=web)"),
            "{text}"
        );
        assert!(
            text.starts_with("2023-11-1") && text.contains(".000000001"),
            "{text}"
        );
        assert!(Form::parse(Some("{{")).is_err());
    }
}
