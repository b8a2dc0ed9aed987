//! Memory that a process which has done its work, and now only waits, need not keep.

use rustix::mm::{Advice, madvise};
use std::ptr::addr_of;

// SAFETY: every linker defines them, and only their addresses are used: the bounds of what the program's file maps
// and nobody writes, which is headers, constants and code.
unsafe extern "C" {
    static __executable_start: u8;
    static etext: u8;
}

/// Gives back free heap, and takes the program's code and constants out of this process's page tables. They stay in
/// the page cache and come back when they are used, so that of hundreds of waiting processes each accounts only for
/// the few pages that it waits with.
pub fn release() {
    // SAFETY: malloc_trim(3) may be called at any time and touches free memory only.
    unsafe { libc::malloc_trim(0) };
    let page = rustix::param::page_size();
    let from = (addr_of!(__executable_start) as usize).next_multiple_of(page);
    let to = addr_of!(etext) as usize / page * page;
    let Some(length) = to.checked_sub(from) else {
        return;
    };
    // SAFETY: there is nothing between the bounds but private mappings of the program's file that are never written:
    // what is relocated at start lies behind them, in segments of its own. A page that is dropped and read again is
    // the same, for the file of a running program cannot be written.
    let dropped = unsafe { madvise(from as *mut _, length, Advice::LinuxDontNeed) };
    // Without it the process is a little larger.
    dropped.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kilobytes of the program's file in our page tables.
    fn mapped() -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text.lines().find(|line| line.starts_with("RssFile:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn code_leaves_the_page_tables_and_still_runs() {
        // Much of the program has run by now: at least the test harness.
        let before = mapped();
        release();
        let after = mapped();
        assert!(after < before, "{before} kB, then {after} kB");
    }
}
