//! A root on which things are killed, and a container on it that must not notice.

use crate::program;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::registry::{FakeRegistry, TestImage};
use testkit::sandbox::outcome;
use testkit::{Outcome, Residue, Sandbox};

/// No command of these takes longer; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what was killed may take to be gone. Removal of network namespaces is the kernel's, at its leisure.
const SETTLING: Duration = Duration::from_secs(10);

/// The root, and what is to be there whatever happens.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) residue: Residue,
    pub(crate) registry: FakeRegistry,
    before: BTreeSet<String>,
    bystander: String,
    count: PathBuf,
}

/// How a command ended, and how long that took.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl World {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::on_a_busy_host(program());
        sandbox.load_busybox();
        let registry = FakeRegistry::start();
        let image = TestImage {
            layers: vec![
                vec![("first".into(), b"1".repeat(5000))],
                vec![("second/file".into(), b"2".repeat(5000))],
            ],
            ..TestImage::default()
        };
        registry.put_image("chaos", Some("latest"), &image);
        // An archive to be loaded: an image with a layer that is not here.
        sandbox.write("extra/Dockerfile", "FROM busybox\nCOPY file /file\n");
        sandbox.write("extra/file", "extra\n");
        let path = |name: &str| sandbox.path().join(name).to_str().unwrap().to_owned();
        sandbox.run(["build", "-q", "-t", "extra", &path("extra")]).ok();
        sandbox.run(["save", "-o", &path("extra.tar"), "extra"]).ok();
        // What is built: a step that runs on the bridge, and a copy.
        sandbox.write(
            "context/Dockerfile",
            "FROM busybox\nRUN echo made > /made\nCOPY file /file\n",
        );
        sandbox.write("context/file", "content\n");
        sandbox.write("in/file", "copied\n");
        let count = "i=0; while :; do i=$((i+1)); echo $i > /data/count; sleep 0.02; done";
        sandbox
            .run([
                "run",
                "-d",
                "--name",
                "bystander",
                "-p",
                "127.0.0.1:0:80",
                "-v",
                "kept:/data",
                "busybox",
                "sh",
                "-c",
                count,
            ])
            .ok();
        let residue = sandbox.residue();
        let mut world = Self {
            count: sandbox.path().join("root/volumes/kept/_data/count"),
            bystander: String::new(),
            before: BTreeSet::new(),
            sandbox,
            residue,
            registry,
        };
        world.bystander = world.look_at_bystander();
        world.clear();
        // A process that syncs what was loaded may still be at work.
        let start = Instant::now();
        loop {
            world.before = steady(world.residue.now());
            std::thread::sleep(Duration::from_millis(300));
            if steady(world.residue.now()) == world.before && world.residue.processes().len() <= 3 {
                return world;
            }
            assert!(start.elapsed() < SETTLING, "it never becomes quiet");
        }
    }

    /// Prepares a command with failpoints: what is to happen where, and a file for the trace.
    pub(crate) fn command(&self, arguments: &[String], points: &str, trace: Option<&Path>) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.env("CORACLE_FAILPOINTS", points);
        if let Some(trace) = trace {
            command.env("CORACLE_FAILPOINTS_TRACE", trace);
        }
        command
    }

    /// Runs a command to its end; one that hangs fails the test.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[String], points: &str, trace: Option<&Path>) -> Ended {
        let start = Instant::now();
        let child = start_quietly(self.command(arguments, points, trace));
        let outcome = self.finish(child, arguments);
        Ended {
            outcome,
            took: start.elapsed(),
        }
    }

    /// Runs a command that does the same to many containers, one after the other, and so may take as long as many
    /// commands do on a busy host.
    #[track_caller]
    pub(crate) fn run_on_many(&self, arguments: &[String]) -> Ended {
        let start = Instant::now();
        let child = start_quietly(self.command(arguments, "", None));
        let count = u32::try_from(arguments.len()).unwrap();
        let outcome = self.finish_within(child, arguments, PATIENCE + Duration::from_millis(500) * count);
        Ended {
            outcome,
            took: start.elapsed(),
        }
    }

    /// Waits for a command's end; one that hangs fails the test.
    #[track_caller]
    pub(crate) fn finish(&self, child: Child, arguments: &[String]) -> Outcome {
        self.finish_within(child, arguments, PATIENCE)
    }

    #[track_caller]
    fn finish_within(&self, mut child: Child, arguments: &[String], patience: Duration) -> Outcome {
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > patience {
                let stack = fs::read_to_string(format!("/proc/{}/stack", child.id())).unwrap_or_default();
                let there = self.residue.processes();
                let trace = fs::read_to_string(self.sandbox.path().join("trace")).unwrap_or_default();
                child.kill().unwrap();
                panic!("{arguments:?} hangs: {stack}\n{there:#?}\n{trace}");
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        outcome(&child.wait_with_output().unwrap())
    }

    /// Runs the command that heals; returns how long it took. What runs then is whole, and nothing else is left.
    #[track_caller]
    pub(crate) fn heal(&self, context: &str) -> Duration {
        let healed = self.run(&words("ps -a"), "", None);
        assert_eq!(healed.outcome.code, 0, "{context}: {}", healed.outcome.stderr);
        assert!(
            healed.took < Duration::from_secs(10),
            "{context}: healing took {:?}",
            healed.took
        );
        for bad in ["Dead", "Removal", "Removing"] {
            assert!(
                !healed.outcome.stdout.contains(bad),
                "{context}: {}",
                healed.outcome.stdout
            );
        }
        assert_eq!(self.look_at_bystander(), self.bystander, "{context}");
        healed.took
    }

    /// Removes what a case has made, through the engine; then nothing of it may be there any more.
    #[track_caller]
    pub(crate) fn assert_clean(&self, context: &str) {
        self.clear();
        let start = Instant::now();
        loop {
            let now = steady(self.residue.now());
            if now == self.before {
                break;
            }
            assert!(
                start.elapsed() < SETTLING,
                "{context}: left behind: {:#?}\ntaken away: {:#?}",
                now.difference(&self.before).collect::<Vec<_>>(),
                self.before.difference(&now).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes containers, images, volumes and the build cache, but what the bystander needs.
    pub(crate) fn clear(&self) {
        let list = self.run(&words("ps -aq --no-trunc"), "", None).outcome.ok();
        let bystander = self.bystander.split(' ').next().unwrap();
        let ids: Vec<String> = list
            .split_whitespace()
            .filter(|id| *id != bystander)
            .map(str::to_owned)
            .collect();
        if !ids.is_empty() {
            self.run_on_many(&[words("rm -f"), ids].concat());
        }
        let versions = self.run(&words("volume versions -q"), "", None).outcome.ok();
        let volumes: BTreeSet<&str> = versions
            .lines()
            .filter_map(|version| version.split(':').next())
            .collect();
        for volume in volumes {
            let volume = vec![volume.to_owned()];
            self.run(&[words("volume rm --versions"), volume].concat(), "", None)
                .outcome
                .ok();
        }
        self.run(&words("system prune -af --volumes"), "", None)
            .outcome
            .ok();
        self.run(&words("volume prune -af"), "", None).outcome.ok();
    }

    /// The bystander's id, pid and start, if it counts.
    #[track_caller]
    fn look_at_bystander(&self) -> String {
        let format = "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.State.Status}} {{.RestartCount}}";
        let look = ["inspect", "-f", format, "bystander"].map(str::to_owned);
        let state = self.run(&look, "", None).outcome.ok();
        let counted = || fs::read_to_string(&self.count).unwrap_or_default();
        let (first, start) = (counted(), Instant::now());
        while counted() == first {
            assert!(
                start.elapsed() < SETTLING,
                "the bystander counts no more: {state}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        state
    }

    /// Returns the monitors of this root, but the bystander's.
    pub(crate) fn monitors(&self) -> Vec<i32> {
        let ours: BTreeSet<i32> = self
            .before
            .iter()
            .filter_map(|fact| fact.strip_prefix("process ")?.split(' ').next()?.parse().ok())
            .collect();
        self.residue
            .processes()
            .into_iter()
            .filter(|(pid, command)| command.contains("coracle-monitor") && !ours.contains(pid))
            .map(|(pid, _)| pid)
            .collect()
    }
}

/// Leaves out what comes and goes in the bystander itself: its loop starts a process 50 times a second.
fn steady(mut facts: BTreeSet<String>) -> BTreeSet<String> {
    facts.retain(|fact| {
        let mut parts = fact.splitn(3, ' ');
        let is_process = parts.next() == Some("process");
        let command = parts.nth(1).unwrap_or_default();
        !is_process || !(command.is_empty() || command == "sleep 0.02 ")
    });
    // Between fork and exec it is one more shell that counts.
    let mut counting = 0;
    facts.retain(|fact| {
        let counts = fact.starts_with("process ") && fact.contains("while :;");
        counting += usize::from(counts);
        !counts
    });
    assert!(counting > 0, "the bystander is gone: {facts:#?}");
    facts
}

/// Starts a command whose output is read when it has ended.
pub(crate) fn start_quietly(mut command: Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Splits a command line at spaces.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn kill(pid: i32) {
    // It may have ended meanwhile.
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap_or_default();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // After a failure the sandbox, which goes next, must not wait for what is left.
        self.sandbox.run(["rm", "-f", "bystander"]);
    }
}
