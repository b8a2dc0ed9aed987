//! Execution.

use super::parser::{Base, Definitions, Invocation, Node, Operand, Pipeline};
use super::value::Val;
use super::{Labels, TemplateError, functions};
use serde_json::Value;

/// Objects below these names are Go maps, whose missing keys are no mistake; all others are structs.
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "Config.Volumes",
    "Containers",
    "Data",
    "ExposedPorts",
    "GraphDriver.Data",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// How deep templates may invoke each other. Go has 100,000 levels, whose stack grows as it needs.
const DEEPEST: usize = 200;

struct State<'a> {
    definitions: &'a Definitions,
    /// Of the template that is executed; the one that was given has none.
    name: &'a str,
    depth: usize,
    root: &'a Value,
    labels: Labels<'a>,
    kind: Option<&'a str>,
    variables: Vec<(String, Val)>,
    output: String,
}

enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn execute(
    nodes: &[Node],
    definitions: &Definitions,
    data: &Value,
    labels: Labels<'_>,
    kind: Option<&str>,
) -> Result<String, TemplateError> {
    let root = Val::Json(data.clone());
    let mut state = State {
        definitions,
        name: "",
        depth: 0,
        root: data,
        labels,
        kind,
        variables: vec![("$".to_owned(), root.clone())],
        output: String::new(),
    };
    state.nodes(nodes, &root)?;
    Ok(state.output)
}

impl State<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Val) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        for node in nodes {
            match self.node(node, dot)? {
                Flow::On => {}
                flow => {
                    self.variables.truncate(scope);
                    return Ok(flow);
                }
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Val) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    let shown = value.show();
                    self.output.push_str(&shown);
                }
            }
            Node::Template(invocation) => self.invoke(invocation, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::If(pipeline, body, otherwise) | Node::With(pipeline, body, otherwise) => {
                let scope = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                let inner = if matches!(node, Node::With(..)) {
                    &value
                } else {
                    dot
                };
                let flow = if value.truth() {
                    self.nodes(body, inner)?
                } else {
                    self.nodes(otherwise, dot)?
                };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range(pipeline, body, otherwise) => {
                let scope = self.variables.len();
                let flow = self.range(pipeline, body, otherwise, dot);
                self.variables.truncate(scope);
                return flow;
            }
        }
        Ok(Flow::On)
    }

    /// Executes a named body on a value of its own, which is its `$`, too. It sees none of our variables.
    fn invoke(&mut self, invocation: &Invocation, dot: &Val) -> Result<(), TemplateError> {
        let Invocation {
            name, line, column, ..
        } = invocation;
        let failed = |message: String| {
            TemplateError(format!(
                "template: :{line}:{column}: executing {:?} at <{{{{template {name:?}}}}}>: {message}",
                self.name
            ))
        };
        let Some((known, body)) = self.definitions.get_key_value(name) else {
            return Err(failed(format!("template {name:?} not defined")));
        };
        if self.depth == DEEPEST {
            return Err(failed(format!("exceeded maximum template depth ({DEEPEST})")));
        }
        let value = match &invocation.pipeline {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Val::Missing,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        let outer_name = std::mem::replace(&mut self.name, known);
        self.depth += 1;
        self.nodes(body, &value)?;
        self.depth -= 1;
        self.name = outer_name;
        self.variables = outer;
        Ok(())
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Val,
    ) -> Result<Flow, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        let items: Vec<(Value, Value)> = match value.json() {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (at.into(), item))
                .collect(),
            Value::Object(map) => map.into_iter().map(|(key, item)| (key.into(), item)).collect(),
            Value::Number(number) => (0..number.as_u64().unwrap_or(0).min(1 << 20))
                .map(|at| (at.into(), at.into()))
                .collect(),
            Value::Null => Vec::new(),
            _ => {
                let text = pipeline.commands.first().and_then(|command| command.first());
                return match text {
                    Some(operand) => {
                        Err(self.at(operand, &format!("range can't iterate over {}", value.show())))
                    }
                    None => Ok(Flow::On),
                };
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            match pipeline.variables.as_slice() {
                [item_name] => self.variables.push((item_name.clone(), Val::Json(item.clone()))),
                [key_name, item_name] => {
                    self.variables.push((key_name.clone(), Val::Json(key)));
                    self.variables.push((item_name.clone(), Val::Json(item.clone())));
                }
                _ => {}
            }
            let flow = self.nodes(body, &Val::Json(item))?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Evaluates a pipeline and sets its variables.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Val) -> Result<Val, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            if pipeline.assigns {
                let found = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, old)) => *old = value.clone(),
                    None => return Err(TemplateError(format!("template: : undefined variable {name:?}"))),
                }
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Val) -> Result<Val, TemplateError> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or(Val::Missing))
    }

    fn command(&mut self, command: &[Operand], last: Option<Val>, dot: &Val) -> Result<Val, TemplateError> {
        let [first, rest @ ..] = command else {
            return Ok(Val::Missing);
        };
        if let Base::Function(name) = &first.base {
            if matches!(name.as_str(), "and" | "or") {
                return self.choose(name == "or", rest, last, dot);
            }
            let mut arguments = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                arguments.push(self.operand(operand, dot)?);
            }
            arguments.extend(last);
            // A column's header stays as it is, whatever is done with its values.
            if matches!(self.labels, Labels::Headers)
                && matches!(name.as_str(), "json" | "lower" | "title" | "truncate" | "upper")
            {
                return Ok(arguments.into_iter().next().unwrap_or(Val::Missing));
            }
            return functions::call(name, &arguments).map_err(|message| self.at(first, &message));
        }
        if rest.is_empty() && last.is_none() {
            return self.operand(first, dot);
        }
        // A method: `.Label "name"`.
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        if let ([method], Base::Dot, [Val::Json(Value::String(name))]) =
            (first.fields.as_slice(), &first.base, arguments.as_slice())
            && method == "Label"
        {
            match self.labels {
                Labels::Of(labels) => return Ok(Val::text(labels.get(name).cloned().unwrap_or_default())),
                Labels::Headers => {
                    let end = name.rsplit('.').next().unwrap_or(name);
                    return Ok(Val::text(end.replace(['-', '_'], " ")));
                }
                Labels::None => {}
            }
        }
        let what = first.fields.last().cloned().unwrap_or_else(|| first.text.clone());
        Err(if first.fields.is_empty() {
            self.at(first, &format!("can't give argument to non-function {what}"))
        } else {
            self.at(first, &format!("{what} is not a method but has arguments"))
        })
    }

    /// `and` and `or` stop at the argument that decides.
    fn choose(
        &mut self,
        wanted: bool,
        rest: &[Operand],
        last: Option<Val>,
        dot: &Val,
    ) -> Result<Val, TemplateError> {
        let mut value = Val::Missing;
        for operand in rest {
            value = self.operand(operand, dot)?;
            if value.truth() == wanted {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn operand(&mut self, operand: &Operand, dot: &Val) -> Result<Val, TemplateError> {
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => match self.variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => value.clone(),
                None => {
                    return Err(TemplateError(format!(
                        "template: :{}: undefined variable {name:?}",
                        operand.line
                    )));
                }
            },
            Base::Function(name) => {
                functions::call(name, &[]).map_err(|message| self.at(operand, &message))?
            }
            Base::Text(text) => Val::text(text.clone()),
            Base::Integer(number) => Val::Json((*number).into()),
            Base::Float(number) => Val::Json((*number).into()),
            Base::Bool(value) => Val::bool(*value),
            Base::Nil => Val::Json(Value::Null),
            Base::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
        };
        self.fields(operand, base)
    }

    fn fields(&self, operand: &Operand, base: Val) -> Result<Val, TemplateError> {
        let mut value = base;
        let mut parent = "";
        for (index, name) in operand.fields.iter().enumerate() {
            value = match &value {
                Val::Json(Value::Object(map)) => match found(map, name) {
                    Some(found) => Val::Json(found.clone()),
                    None if MAPS.contains(&parent) => Val::Missing,
                    None if index + 1 == operand.fields.len()
                        && self.may_omit(&value)
                        && is_omitted(name) =>
                    {
                        Val::Json(Value::Null)
                    }
                    None => return Err(self.no_field(operand, &value, name)),
                },
                Val::Missing => Val::Missing,
                Val::Json(Value::Null) => {
                    return Err(self.at(operand, &format!("nil data; no entry for key {name:?}")));
                }
                other @ Val::Json(_) => {
                    let kind = functions::kind(other);
                    return Err(self.at(operand, &format!("can't evaluate field {name} in type {kind}")));
                }
            };
            parent = name;
        }
        Ok(match value {
            Val::Json(Value::Null) => null(parent),
            value => value,
        })
    }

    /// Rows of tables have all their fields; the JSON of a Go structure leaves empty ones out.
    fn may_omit(&self, value: &Val) -> bool {
        self.kind.is_none() || !matches!(value, Val::Json(value) if value == self.root)
    }

    fn no_field(&self, operand: &Operand, value: &Val, name: &str) -> TemplateError {
        let is_root =
            matches!(value, Val::Json(value) if std::ptr::eq(value, self.root) || value == self.root);
        match self.kind.filter(|_| is_root) {
            Some(kind) => self.at(operand, &format!("can't evaluate field {name} in type {kind}")),
            None => self.at(operand, &format!("map has no entry for key {name:?}")),
        }
    }

    fn at(&self, operand: &Operand, message: &str) -> TemplateError {
        // Go counts the column of a chain of fields at the dot of the second.
        let column = match operand.text.get(1..).and_then(|rest| rest.find('.')) {
            Some(at) if matches!(operand.base, Base::Dot | Base::Variable(_)) => operand.column + at + 1,
            _ => operand.column,
        };
        TemplateError(format!(
            "template: :{}:{column}: executing {:?} at <{}>: {message}",
            operand.line, self.name, operand.text
        ))
    }
}

/// Go's names of fields, where Docker's JSON has others. Docker's templates see the structures first.
const ALIASES: &[(&str, &str)] = &[
    ("APIVersion", "ApiVersion"),
    ("CPUCount", "CpuCount"),
    ("CPUPercent", "CpuPercent"),
    ("CPUPeriod", "CpuPeriod"),
    ("CPUQuota", "CpuQuota"),
    ("CPURealtimePeriod", "CpuRealtimePeriod"),
    ("CPURealtimeRuntime", "CpuRealtimeRuntime"),
    ("CPUSetCPUs", "CpusetCpus"),
    ("DNS", "Dns"),
    ("DNSOptions", "DnsOptions"),
    ("DNSSearch", "DnsSearch"),
    ("From", "from"),
    ("ID", "Id"),
    ("ID", "id"),
    ("MinAPIVersion", "MinApiVersion"),
    ("NanoCPUs", "NanoCpus"),
    ("Scope", "scope"),
    ("Status", "status"),
    ("Time", "time"),
    ("TimeNano", "timeNano"),
];

fn found<'m>(map: &'m serde_json::Map<String, Value>, name: &str) -> Option<&'m Value> {
    map.get(name).or_else(|| {
        let mut others = ALIASES.iter().filter(|(go, _)| *go == name);
        others.find_map(|(_, json)| map.get(*json))
    })
}

/// Says whether the JSON of `inspect` leaves a field out where the structure's is empty.
fn is_omitted(name: &str) -> bool {
    const OMITTED: &[&str] = &[
        "Annotations",
        "BindOptions",
        "Cause",
        "Descriptor",
        "ExposedPorts",
        "Health",
        "HealthOnFailure",
        "Healthcheck",
        "Init",
        "Mounts",
        "Shell",
        "SizeRootFs",
        "SizeRw",
        "StopTimeout",
        "StorageOpt",
        "Sysctls",
        "Timeout",
        "Tmpfs",
        "TmpfsOptions",
        "Usage",
        "UsageData",
        "VolumeOptions",
        "Volumes",
    ];
    OMITTED.contains(&name)
}

/// What Go shows where JSON has null: an empty slice or map, or a pointer that is nil.
fn null(name: &str) -> Val {
    const SLICES: &[&str] = &[
        "Args",
        "Binds",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "Devices",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Entrypoint",
        "Env",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "Mounts",
        "OnBuild",
        "RepoDigests",
        "RepoTags",
        "SecurityOpt",
        "Shell",
        "Ulimits",
        "VolumesFrom",
    ];
    if SLICES.contains(&name) {
        Val::Json(Value::Array(Vec::new()))
    } else if MAPS.contains(&name) {
        Val::Json(Value::Object(serde_json::Map::new()))
    } else {
        Val::Json(Value::Null)
    }
}
