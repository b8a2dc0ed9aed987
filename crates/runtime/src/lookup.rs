//! Finding the command inside the container, with the answers that Docker's users know.

use crate::error::reason;
use crate::{StartError, StartFailure};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use std::ffi::CString;

/// Finds the command as the process itself would, in the directories of `PATH` if its name has no slash.
pub(crate) fn find(command: &str, path: Option<&str>) -> Result<CString, StartError> {
    if command.contains('/') {
        return executable(command).map_err(|(errno, call)| {
            let why = match call {
                Some(call) => format!("{call} {command}: {}", reason(errno)),
                None => reason(errno),
            };
            failure(command, errno, &why)
        });
    }
    // An element that is empty is the working directory; commands from there are never run by accident.
    let directories = path
        .unwrap_or_default()
        .split(':')
        .filter(|directory| directory.starts_with('/'));
    for directory in directories {
        if let Ok(found) = executable(&format!("{}/{command}", directory.trim_end_matches('/'))) {
            return Ok(found);
        }
    }
    Err(StartError {
        failure: StartFailure::CommandNotFound,
        message: format!("exec: \"{command}\": executable file not found in $PATH"),
    })
}

/// Says what execve(2) objected to.
pub(crate) fn refused(command: &str, errno: Errno) -> StartError {
    failure(command, errno, &reason(errno))
}

fn failure(command: &str, errno: Errno, why: &str) -> StartError {
    let failure = match errno {
        Errno::NOENT | Errno::NOTDIR => StartFailure::CommandNotFound,
        Errno::NOMEM | Errno::AGAIN | Errno::NFILE | Errno::MFILE | Errno::IO => StartFailure::Setup,
        _ => StartFailure::CommandNotExecutable,
    };
    StartError {
        failure,
        message: format!("exec: \"{command}\": {why}"),
    }
}

fn executable(path: &str) -> Result<CString, (Errno, Option<&'static str>)> {
    let name = CString::new(path).map_err(|_zero| (Errno::INVAL, None))?;
    let stat = rustix::fs::stat(name.as_c_str()).map_err(|errno| (errno, Some("stat")))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err((Errno::ISDIR, None));
    }
    match rustix::fs::accessat(CWD, name.as_c_str(), Access::EXEC_OK, AtFlags::EACCESS) {
        // An older kernel, or a filter, that does not know faccessat2(2): exec will tell.
        Ok(()) | Err(Errno::NOSYS) => Ok(name),
        Err(errno) => Err((errno, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn commands() {
        use StartFailure::{CommandNotExecutable, CommandNotFound};
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("first")).unwrap();
        std::fs::create_dir(at("second")).unwrap();
        std::fs::create_dir(at("first/there")).unwrap();
        for (name, mode) in [
            ("second/there", 0o755),
            ("first/plain", 0o644),
            ("second/plain", 0o644),
        ] {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = format!("relative::{}/:{}", at("first"), at("second"));
        let find = |command: &str, path: Option<&str>| {
            find(command, path)
                .map(|found| found.into_string().unwrap())
                .map_err(|error| (error.failure, error.message))
        };
        // A directory of that name is passed over.
        assert_eq!(find("there", Some(&path)), Ok(at("second/there")));
        assert_eq!(find(&at("second/there"), None), Ok(at("second/there")));
        for (command, path, failure, why) in [
            (
                "nosuch",
                Some(path.as_str()),
                CommandNotFound,
                "executable file not found in $PATH",
            ),
            (
                "there",
                None,
                CommandNotFound,
                "executable file not found in $PATH",
            ),
            (
                "there",
                Some(""),
                CommandNotFound,
                "executable file not found in $PATH",
            ),
            (
                "",
                Some(path.as_str()),
                CommandNotFound,
                "executable file not found in $PATH",
            ),
            (
                "plain",
                Some(path.as_str()),
                CommandNotFound,
                "executable file not found in $PATH",
            ),
            (
                "/x/y",
                None,
                CommandNotFound,
                "stat /x/y: no such file or directory",
            ),
            (
                "/etc/passwd/x",
                None,
                CommandNotFound,
                "stat /etc/passwd/x: not a directory",
            ),
            ("/etc", None, CommandNotExecutable, "is a directory"),
            ("/etc/passwd", None, CommandNotExecutable, "permission denied"),
        ] {
            assert_eq!(
                find(command, path),
                Err((failure, format!("exec: \"{command}\": {why}"))),
                "{command}"
            );
        }
        let error = refused("/x", Errno::NOEXEC);
        assert_eq!(
            (error.failure, error.message.as_str()),
            (CommandNotExecutable, "exec: \"/x\": exec format error")
        );
    }
}
