//! `context`: scripts ask which daemon they would talk to. There is one answer.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::json;
use crate::output::table::{self, Layout, Row};
use crate::output::template::{Labels, Template};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The context's name, which is Docker's for what nobody chose.
pub(crate) const NAME: &str = "default";
const DESCRIPTION: &str = "This program itself; 'serve' offers it to other clients at the endpoint";

/// Flags of `context inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

/// Flags of `context ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only show context names
    #[arg(short, long)]
    quiet: bool,
}

/// `context show` has no flags.
#[derive(Debug, Args)]
pub(super) struct Show {}

/// `context use` has no flags.
#[derive(Debug, Args)]
pub(super) struct Use {}

const LAYOUT: Layout<'_> = Layout {
    kind: "*formatter.clientContextContext",
    headers: &[
        ("Current", "CURRENT"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
        ("Name", "NAME"),
    ],
    default: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
};

/// Returns where `serve` listens unless it is told otherwise. Programs ask for it to connect there themselves.
fn endpoint(cli: &Cli) -> String {
    format!("unix://{}", super::serve::default_socket(cli).display())
}

fn known(name: &str) -> Result<(), Failure> {
    if name == NAME {
        return Ok(());
    }
    Err(Failure::bare(format!("context \"{name}\" does not exist"))
        .with_hint("there is one context, \"default\": this program itself"))
}

impl Verb for Inspect {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        words.iter().try_for_each(|name| known(name))?;
        let context = json!({
            "Name": NAME,
            "Metadata": {},
            "Endpoints": {"docker": {"Host": endpoint(cli), "SkipTLSVerify": false}},
            "TLSMaterial": {},
            "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
        });
        match self.format.as_deref() {
            None | Some("") => {
                let all = vec![context; words.len().max(1)];
                output::line(&json::pretty(&all).map_err(|error| Failure::new(error.to_string()))?)?;
            }
            Some("json") => output::line(&json::compact(&context))?,
            Some(text) => {
                let template = Template::parse(text)
                    .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
                let text = template
                    .execute(&context, Labels::None, None)
                    .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
                output::line(&text)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for List {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let mut row = Row::new([
            ("Description", DESCRIPTION.to_owned()),
            ("DockerEndpoint", endpoint(cli)),
            ("Error", String::new()),
            ("Name", NAME.to_owned()),
        ]);
        row.fields.insert("Current".to_owned(), Value::Bool(true));
        table::print(&LAYOUT, &[row], self.format.as_deref(), self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Show {
    fn run(self, _cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        output::line(NAME)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Use {
    fn run(self, _cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        known(&words[0])?;
        output::line(NAME)?;
        output::note("Current context is now \"default\"");
        Ok(ExitCode::SUCCESS)
    }
}
