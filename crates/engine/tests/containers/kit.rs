//! An engine on a root of its own, with an image, and short words for what the tests do with it.

use engine::containers::logs::LogEvent;
use engine::containers::record::{ContainerId, ExitRecord};
use engine::containers::request::{CreateContainer, ExecRequest, LogRequest, NetworkMode};
use engine::containers::session::{Session, SessionEvent};
use engine::containers::start::StartRequest;
use engine::{Engine, EngineError, Locations, PruneRequest};
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use tempfile::TempDir;

pub(crate) struct Root {
    pub(crate) engine: Engine,
    directory: TempDir,
}

pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: ExitRecord,
}

impl Deref for Root {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Root {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("coracle-test-")
            .tempdir()
            .unwrap();
        let engine = open(directory.path());
        let image = tempfile::tempdir().unwrap();
        let archive = testkit::images::busybox(image.path());
        engine
            .images()
            .load(&mut File::open(archive).unwrap(), &[])
            .unwrap();
        Self { engine, directory }
    }

    /// Opens a second engine on the same root, as another command would.
    pub(crate) fn again(&self) -> Engine {
        open(self.directory.path())
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn create(&self, request: CreateContainer) -> ContainerId {
        self.try_create(request).unwrap()
    }

    pub(crate) fn try_create(&self, request: CreateContainer) -> Result<ContainerId, EngineError> {
        Ok(self.containers().create(request, &|_| {})?.id)
    }

    pub(crate) fn start(&self, id: &ContainerId) {
        self.containers().start(id, StartRequest::default()).unwrap();
    }

    pub(crate) fn attach_start(&self, id: &ContainerId) -> Session {
        let request = StartRequest {
            attach: true,
            size: None,
        };
        self.containers().start(id, request).unwrap().unwrap()
    }

    /// Creates and starts a shell that does `script`.
    pub(crate) fn run_detached(&self, script: &str) -> ContainerId {
        let id = self.create(shell(script));
        self.start(&id);
        id
    }

    pub(crate) fn run(&self, request: CreateContainer) -> Output {
        let id = self.create(request);
        collect(&mut self.attach_start(&id))
    }

    pub(crate) fn exec(&self, id: &ContainerId, command: &[&str]) -> Output {
        let request = ExecRequest {
            command: words(command),
            ..ExecRequest::default()
        };
        collect(&mut self.containers().exec(id, &request).unwrap().unwrap())
    }

    /// The events of a container, by their actions.
    pub(crate) fn actions(&self, id: &ContainerId) -> Vec<String> {
        let events = self.events(None, None).unwrap();
        let mine = events.into_iter().filter(|event| event.object == id.as_str());
        mine.map(|event| event.action).collect()
    }

    pub(crate) fn logs(&self, id: &ContainerId) -> String {
        let request = LogRequest {
            stdout: true,
            stderr: true,
            ..LogRequest::default()
        };
        let mut text = String::new();
        self.containers()
            .logs(id, &request, &mut |event| {
                if let LogEvent::Entry(entry) = event {
                    text.push_str(&String::from_utf8_lossy(entry.bytes));
                }
                true
            })
            .unwrap();
        text
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let engine = open(self.directory.path());
        let all = engine::containers::request::ListContainers {
            all: true,
            ..Default::default()
        };
        for container in engine.containers().list(&all).unwrap() {
            engine.containers().remove(&container.id, true, true).unwrap();
        }
        let everything = PruneRequest {
            all: true,
            volumes: true,
            ..PruneRequest::default()
        };
        engine.prune(&everything).unwrap();
        let left: Vec<_> = std::fs::read_dir(self.directory.path().join("run"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left in the run root: {left:?}");
        }
    }
}

fn open(directory: &Path) -> Engine {
    Engine::open(Locations {
        root: directory.join("root"),
        run_root: directory.join("run"),
        config: None,
    })
    .unwrap()
}

/// Waits until something is so; panics when it takes too long.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "this never came: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A request for a container without a network that runs `command`.
pub(crate) fn command(command: &[&str]) -> CreateContainer {
    CreateContainer {
        image: "busybox".into(),
        command: words(command),
        network: NetworkMode::None,
        ..CreateContainer::default()
    }
}

pub(crate) fn shell(script: &str) -> CreateContainer {
    command(&["sh", "-c", script])
}

/// Follows a session to its end.
pub(crate) fn collect(session: &mut Session) -> Output {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match session.next().unwrap() {
            Some(SessionEvent::Stdout(bytes)) => stdout.extend(bytes),
            Some(SessionEvent::Stderr(bytes)) => stderr.extend(bytes),
            Some(SessionEvent::Started | SessionEvent::Room) => {}
            Some(SessionEvent::Exited(exit)) => {
                return Output {
                    stdout: String::from_utf8(stdout).unwrap(),
                    stderr: String::from_utf8(stderr).unwrap(),
                    exit,
                };
            }
            Some(SessionEvent::Failed(error)) => panic!("it did not start: {error}"),
            None => panic!("the session ended without an exit"),
        }
    }
}
