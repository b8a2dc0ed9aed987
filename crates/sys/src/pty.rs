//! Pseudo-terminals and the modes of the terminal that the user sits at (pty(7), termios(3)).

use crate::SysError;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What statfs(2) says of a devpts.
const DEVPTS_MAGIC: u64 = 0x1cd1;
/// Character devices of terminals in a devpts have this major number (Documentation/admin-guide/devices.txt).
const SLAVE_MAJOR: u32 = 136;
/// And their multiplexer, `ptmx`, has these.
const MULTIPLEXER: (u32, u32) = (5, 2);

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The two ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pair {
    /// The end that a person's input is written to.
    pub master: OwnedFd,
    /// The end that programs have for a terminal.
    pub slave: OwnedFd,
}

/// Opens a terminal in the devpts whose top directory is given.
///
/// Everything is checked by descriptor, because a container may have put something else in its place: that it is a
/// devpts, that `ptmx` in it is the multiplexer, and the slave is asked from the master itself (`TIOCGPTPEER`), never
/// opened by name (CVE-2025-52565).
pub fn open_in(devpts: BorrowedFd<'_>) -> Result<Pair, SysError> {
    check_devpts(devpts)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master =
        rustix::fs::openat(devpts, "ptmx", flags, Mode::empty()).map_err(SysError::on("open", "ptmx"))?;
    check_device(master.as_fd(), |major, minor| (major, minor) == MULTIPLEXER)?;
    pair(master)
}

/// Opens a terminal in this process's own `/dev/pts`.
pub fn open() -> Result<Pair, SysError> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    pair(rustix::pty::openpt(flags).map_err(SysError::of("open terminal"))?)
}

fn pair(master: OwnedFd) -> Result<Pair, SysError> {
    rustix::pty::unlockpt(&master).map_err(SysError::of("unlock terminal"))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(SysError::of("open terminal's slave"))?;
    check_devpts(slave.as_fd())?;
    check_device(slave.as_fd(), |major, _| major == SLAVE_MAJOR)?;
    Ok(Pair { master, slave })
}

fn check_devpts(descriptor: BorrowedFd<'_>) -> Result<(), SysError> {
    let filesystem = rustix::fs::fstatfs(descriptor).map_err(SysError::of("stat filesystem of terminal"))?;
    if u64::try_from(filesystem.f_type) == Ok(DEVPTS_MAGIC) {
        Ok(())
    } else {
        Err(SysError::of("find a devpts for the terminal")(Errno::NODEV))
    }
}

fn check_device(descriptor: BorrowedFd<'_>, expected: impl Fn(u32, u32) -> bool) -> Result<(), SysError> {
    let stat = rustix::fs::fstat(descriptor).map_err(SysError::of("stat terminal"))?;
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && expected(major, minor) {
        Ok(())
    } else {
        Err(SysError::of("find a terminal")(Errno::NOTTY))
    }
}

/// Makes `slave` the controlling terminal of this process, which must lead a session that has none (`ioctl_tty(2)`).
pub fn take_control(slave: BorrowedFd<'_>) -> Result<(), SysError> {
    rustix::process::ioctl_tiocsctty(slave).map_err(SysError::of("take controlling terminal"))
}

/// Returns a terminal's size.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size, SysError> {
    let size = rustix::termios::tcgetwinsize(terminal).map_err(SysError::of("read terminal size"))?;
    Ok(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Sets a terminal's size; its foreground processes get `SIGWINCH`.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<(), SysError> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).map_err(SysError::of("set terminal size"))
}

/// A terminal in raw mode: every key goes through as it is. Dropping it restores the modes before.
#[derive(Debug)]
pub struct RawMode<'terminal> {
    terminal: BorrowedFd<'terminal>,
    before: Termios,
}

impl<'terminal> RawMode<'terminal> {
    /// Switches `terminal` to raw mode.
    pub fn enable(terminal: BorrowedFd<'terminal>) -> Result<Self, SysError> {
        let before = rustix::termios::tcgetattr(terminal).map_err(SysError::of("read terminal modes"))?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw)
            .map_err(SysError::of("set terminal modes"))?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // The terminal may be gone, and then there is nothing to restore.
        if let Err(_gone) = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{self, MountAttrFlags};
    use rustix::termios::LocalModes;

    #[test]
    fn sizes_and_modes() {
        let pair = open().unwrap();
        let wanted = Size {
            rows: 33,
            columns: 101,
        };
        set_size(pair.master.as_fd(), wanted).unwrap();
        assert_eq!(size(pair.slave.as_fd()).unwrap(), wanted);
        let canonical = |fd: &OwnedFd| {
            rustix::termios::tcgetattr(fd)
                .unwrap()
                .local_modes
                .contains(LocalModes::ICANON | LocalModes::ECHO)
        };
        assert!(canonical(&pair.slave));
        let raw = RawMode::enable(pair.slave.as_fd()).unwrap();
        assert!(!canonical(&pair.slave));
        drop(raw);
        assert!(canonical(&pair.slave));
    }

    #[test]
    fn privileged_terminal_in_a_detached_devpts() {
        let options = [("newinstance", ""), ("ptmxmode", "0666")];
        let devpts = mount::filesystem("devpts", None, &options, MountAttrFlags::empty()).unwrap();
        let pair = open_in(devpts.as_fd()).unwrap();
        rustix::io::write(&pair.slave, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&pair.master, &mut byte), Ok(1));
    }

    #[test]
    fn privileged_something_else_than_a_devpts_is_refused() {
        let tmpfs = mount::filesystem("tmpfs", None, &[], MountAttrFlags::empty()).unwrap();
        let device = rustix::fs::makedev(5, 2);
        rustix::fs::mknodat(&tmpfs, "ptmx", FileType::CharacterDevice, Mode::RUSR, device).unwrap();
        assert_eq!(open_in(tmpfs.as_fd()).unwrap_err().errno, Errno::NODEV);
    }
}
