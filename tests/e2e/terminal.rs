//! `-it` on a real pseudo-terminal.

use crate::sandbox;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use testkit::Sandbox;

/// A command of the engine with a terminal of its own, as a user sits at it.
pub(crate) struct Seat {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Seat {
    fn new(coracle: &Sandbox, arguments: &[&str]) -> Self {
        Self::at(&coracle.command(arguments))
    }

    /// Gives a terminal to any command.
    pub(crate) fn at(template: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        resize(&master, 33, 101);
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        // setsid(1) makes the terminal the command's controlling one, so that it hears of a new size.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(template.get_program())
            .args(template.get_args());
        for (name, value) in template.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(directory) = template.get_current_dir() {
            command.current_dir(directory);
        }
        command
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last slave's end is an input/output error.
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            keyboard,
            screen,
            seen: String::new(),
            child,
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows `text`, and forgets what came before it.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(end) = self.seen.find(text) {
                self.seen.drain(..end + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.screen.recv_timeout(left) else {
                panic!("never saw {text:?} in {:?}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Sends the command a signal, as a terminal does that is closed.
    pub(crate) fn signal(&self, number: i32) {
        let own = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        // setsid(1) has a process of its own only where it must.
        let waits = std::fs::read_to_string(format!("/proc/{own}/comm"))
            .unwrap()
            .starts_with("setsid");
        let pid = match children.split_whitespace().next() {
            Some(child) if waits => child.to_owned(),
            _ => own.to_string(),
        };
        let sent = Command::new("kill")
            .args([&format!("-{number}"), &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) fn ends(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

fn resize(master: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    tcsetwinsize(
        master,
        Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
    .unwrap();
}

#[test]
fn a_shell_can_be_used() {
    let coracle = sandbox();
    let mut seat = Seat::new(&coracle, &["run", "-it", "--rm", "busybox", "sh"]);
    seat.types("stty size; tty; echo $TERM\n");
    seat.shows("33 101\r\n");
    seat.shows("/dev/pts/0\r\n");
    seat.shows("xterm\r\n");
    resize(&seat.keyboard, 44, 122);
    std::thread::sleep(Duration::from_millis(200));
    seat.types("stty size\n");
    seat.shows("44 122\r\n");
    seat.types("sleep 100\n");
    seat.shows("sleep 100");
    std::thread::sleep(Duration::from_millis(200));
    seat.types("\x03");
    seat.types("echo int$((1+1))\n");
    seat.shows("int2\r\n");
    seat.types("exit 5\n");
    assert_eq!(seat.ends(), 5);
}

#[test]
fn detaching_leaves_the_container_running() {
    let coracle = sandbox();
    let mut seat = Seat::new(&coracle, &["run", "-it", "--name", "it", "busybox", "sh"]);
    seat.types("echo here$((1+1))\n");
    seat.shows("here2");
    seat.types("\x10\x11");
    seat.ends();
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Running}}", "it"]).ok(),
        "true\n"
    );
    let mut seat = Seat::new(&coracle, &["attach", "it"]);
    seat.types("echo back$((1+1))\n");
    seat.shows("back2");
    seat.types("exit 0\n");
    assert_eq!(seat.ends(), 0);
}

#[test]
fn exec_has_a_terminal_too() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "100"])
        .ok();
    let mut seat = Seat::new(&coracle, &["exec", "-it", "it", "sh"]);
    seat.types("stty size; tty\n");
    seat.shows("33 101\r\n");
    seat.shows("/dev/pts/0\r\n");
    seat.types("exit 6\n");
    assert_eq!(seat.ends(), 6);
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn a_terminal_is_asked_for_where_there_is_none() {
    let coracle = sandbox();
    let refused = coracle.run(["run", "-it", "--rm", "busybox", "sh"]).fails(1);
    assert!(refused.contains("the input device is not a TTY"), "{refused}");
}
