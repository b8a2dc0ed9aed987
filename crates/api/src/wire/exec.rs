//! An exec instance, as Docker tells of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::containers::instance::InstanceStatus;
use engine::containers::keys::DetachKeys;
use serde::Serialize;

/// `GET /exec/{id}/json`.
#[derive(Debug, Serialize)]
pub struct ExecInspect {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Running")]
    running: bool,
    #[serde(rename = "ExitCode")]
    exit_code: Option<i32>,
    #[serde(rename = "ProcessConfig")]
    process: Process,
    #[serde(rename = "OpenStdin")]
    open_stdin: bool,
    #[serde(rename = "OpenStderr")]
    open_stderr: bool,
    #[serde(rename = "OpenStdout")]
    open_stdout: bool,
    #[serde(rename = "CanRemove")]
    can_remove: bool,
    #[serde(rename = "ContainerID")]
    container: String,
    #[serde(rename = "DetachKeys")]
    detach_keys: String,
    #[serde(rename = "Pid")]
    pid: i32,
}

#[derive(Debug, Serialize)]
struct Process {
    tty: bool,
    entrypoint: String,
    arguments: Vec<String>,
    privileged: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
}

impl From<InstanceStatus> for ExecInspect {
    fn from(status: InstanceStatus) -> Self {
        let instance = status.instance;
        let mut command = instance.request.command.into_iter();
        let keys = Some(instance.detach_keys.as_str()).filter(|keys| !keys.is_empty());
        let keys = keys.and_then(|keys| DetachKeys::parse(keys).ok());
        Self {
            id: status.id,
            running: status.running,
            exit_code: status.exit_code,
            process: Process {
                tty: instance.request.terminal,
                entrypoint: command.next().unwrap_or_default(),
                arguments: command.collect(),
                privileged: instance.request.privileged,
                user: instance.request.user.unwrap_or_default(),
            },
            open_stdin: instance.request.open_stdin,
            open_stderr: instance.stderr,
            open_stdout: instance.stdout,
            can_remove: false,
            container: status.container.to_string(),
            // Go writes bytes in base64.
            detach_keys: keys.map_or_else(String::new, |keys| STANDARD.encode(keys.bytes())),
            pid: status.pid,
        }
    }
}
