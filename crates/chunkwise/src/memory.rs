//! The memory budget: what a process may take, and what it takes before a job begins.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a process takes beside what plans count: its code, stacks, the allocator's slack, libraries' own.
const RESERVE: u64 = 30 << 20;
/// Resident bytes of a process that has opened a cube with few labels, at most.
const SMALL: u64 = 24 << 20;

/// Whether the process belongs to another program.
static GUEST: AtomicBool = AtomicBool::new(false);

/// Says that the process belongs to another program, such as Python: budgets are then for what jobs add to what it holds.
pub fn be_guest() {
    GUEST.store(true, Ordering::Relaxed);
}

/// Says that the process is this program's own after all.
pub fn be_host() {
    GUEST.store(false, Ordering::Relaxed);
}

fn is_guest() -> bool {
    GUEST.load(Ordering::Relaxed)
}

/// The default limit: a quarter of the machine's or the control group's memory, at most 2 GiB.
pub fn default_limit() -> u64 {
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|f| fs::read_to_string(f).ok()?.trim().parse::<u64>().ok())
        .min();
    let machine = status("/proc/meminfo", "MemTotal:");
    let limit = [group, machine].into_iter().flatten().min().unwrap_or(8 << 30);
    (limit / 4).min(2 << 30)
}

/// Resident memory of this process now, in bytes; 0 where the system does not tell.
pub fn resident() -> u64 {
    status("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// Peak resident memory of this process so far, in bytes; 0 where the system does not tell, or the process is another
/// program's.
pub fn peak() -> u64 {
    if is_guest() {
        return 0;
    }
    status("/proc/self/status", "VmHWM:").unwrap_or(0)
}

fn status(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Bytes that are taken before a job begins: a fixed reserve, and more where much is held already (labels of many cells).
///
/// The figure does not move with a few pages more or less, so that a budget that was said to work does.
pub fn base() -> u64 {
    match resident() {
        _ if is_guest() => RESERVE,
        held if held <= SMALL => RESERVE,
        held => held.next_multiple_of(16 << 20) + (RESERVE - SMALL),
    }
}

/// Has the allocator give large buffers back to the system when they are freed, for the rest of the process.
///
/// The GNU allocator otherwise keeps ever larger ones once it has seen one freed: statistics over time of a 366 MiB
/// cube on two threads within 64 MiB then peaked at 56 to 71 MiB, and peak at 34 MiB so. Smaller ones, such as what codecs
/// take for each chunk, are kept: a fresh one costs a page fault for every 4 KiB.
/// For programs, at their start; a library leaves the allocator to its host.
pub fn return_freed_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 4 << 20;
        // SAFETY: `mallopt` takes two integers and no pointers; it is safe to call at any time from any thread.
        #[allow(unsafe_code, reason = "the peak is much lower, as measured above")]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
        }
    }
}
