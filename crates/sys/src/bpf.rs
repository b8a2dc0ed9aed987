//! Device programs of cgroups: bpf(2) with `BPF_PROG_TYPE_CGROUP_DEVICE`, which version 2 has in place of a devices
//! controller.

use crate::SysError;
use rustix::io::Errno;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// One instruction of eBPF (`struct bpf_insn`), on a little-endian machine: the low half of `registers` is the
/// destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination (low four bits) and source register.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`. The kernel takes what is missing at the end for zero.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// The same for `BPF_PROG_QUERY`.
#[repr(C)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// The same for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct IdAttributes {
    id: u32,
    next: u32,
    flags: u32,
    padding: u32,
}

/// Has the kernel check and load a device program.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, SysError> {
    let failed = SysError::of("load the device program");
    let Ok(instruction_count) = u32::try_from(program.len()) else {
        return Err(failed(Errno::TOOBIG));
    };
    // The license decides about helper functions, of which these programs call none; it must be there, though.
    let license = c"Apache-2.0";
    let mut attributes = LoadAttributes {
        program_type: TYPE_CGROUP_DEVICE,
        instruction_count,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: BPF_PROG_LOAD reads `instruction_count` instructions and a NUL-terminated license, which both outlive
    // the call, and writes nothing, there being no log buffer.
    let fd = unsafe { bpf(PROG_LOAD, &mut attributes) }.map_err(failed)?;
    // SAFETY: on success the kernel has returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup of version 2, beside others that are there: an access needs the consent of
/// all, and of those of the cgroups above.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<(), SysError> {
    attachment(PROG_ATTACH, ALLOW_MULTI, cgroup.as_fd(), program.as_fd())
        .map_err(SysError::of("attach the device program to the cgroup"))
}

/// Detaches a device program from a cgroup.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<(), SysError> {
    attachment(PROG_DETACH, 0, cgroup.as_fd(), program.as_fd())
        .map_err(SysError::of("detach a device program from the cgroup"))
}

/// Returns the device programs attached to a cgroup itself, at most 64 of them (the kernel's own limit).
pub fn attached_device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>, SysError> {
    let failed = |errno| SysError::of("find the device programs of the cgroup")(errno);
    let mut ids = [0_u32; 64];
    let mut query = QueryAttributes {
        target: number(cgroup.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: 64,
        padding: 0,
    };
    // SAFETY: BPF_PROG_QUERY writes at most `count` numbers to `ids`, which has as many and outlives the call.
    unsafe { bpf(PROG_QUERY, &mut query) }.map_err(failed)?;
    let count = usize::try_from(query.count).unwrap_or(ids.len());
    let mut programs = Vec::with_capacity(count);
    for id in ids.into_iter().take(count) {
        let mut attributes = IdAttributes {
            id,
            next: 0,
            flags: 0,
            padding: 0,
        };
        // SAFETY: BPF_PROG_GET_FD_BY_ID has no pointers in its attributes.
        match unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) } {
            // SAFETY: on success the kernel has returned a new descriptor that nobody else owns.
            Ok(fd) => programs.push(unsafe { OwnedFd::from_raw_fd(fd) }),
            // Gone since the query.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(programs)
}

fn attachment(
    command: i32,
    flags: u32,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut attributes = AttachAttributes {
        target: number(cgroup),
        program: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags,
    };
    // SAFETY: BPF_PROG_ATTACH and BPF_PROG_DETACH have no pointers in their attributes.
    unsafe { bpf(command, &mut attributes) }.map(drop)
}

/// A descriptor as bpf(2) wants it. A borrowed descriptor is never negative.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` must be the `repr(C)` beginning of `union bpf_attr` for `command`, without padding bytes, and what
/// pointers it has must be good for what `command` reads and writes there.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> Result<i32, Errno> {
    // SAFETY: the caller vouches for the attributes; the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    i32::try_from(result).map_err(|_overflow| Errno::OVERFLOW)
}
