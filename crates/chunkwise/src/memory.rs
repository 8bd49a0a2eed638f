//! The memory budget: what a process may take, what a job takes, and whether it fits.

use chunkwise_core::plan::Stage;
use std::fs;

/// Room beside what is counted: the allocator's slack, stacks, libraries' own.
const SLACK: u64 = 6 << 20;

/// A job that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Threads to run on.
    pub threads: usize,
    /// Leaves in work at once where threads share a patch.
    pub window: usize,
    /// Peak memory that the job is projected to take.
    pub projected: u64,
}

/// A job that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The smallest budget that works.
    pub needed: u64,
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

/// Peak resident memory of this process so far, in bytes; 0 where the system does not tell.
pub fn peak() -> u64 {
    status("/proc/self/status", "VmHWM:").unwrap_or(0)
}

fn status(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Fits the stages into `limit`: on fewer threads where they do not fit on all. `first` are stages whose results are held
/// in memory for those of `stages`.
///
/// # Errors
/// They do not fit on one thread either.
pub fn fit(stages: &[Stage], first: &[Stage], limit: u64, threads: usize) -> Result<Budget, Refused> {
    let held: u64 = first.iter().map(|s| s.cost().output_bytes * 9 / 8).max().unwrap_or(0);
    let base = resident().max(12 << 20) + SLACK + held;
    let mut needed = 0;
    for t in (1..=threads).rev() {
        let (least, wanted, window) = stages
            .iter()
            .map(|s| of_stage(s, t as u64))
            .fold((0, 0, 2), |a, b| (a.0.max(b.0), a.1.max(b.1), b.2.max(a.2)));
        if base + wanted <= limit {
            return Ok(Budget { threads: t, window, projected: base + wanted });
        }
        if base + least <= limit {
            return Ok(Budget { threads: t, window: t + 1, projected: base + least });
        }
        needed = base + least;
    }
    // Up to whole MiB, so that what is told works when it is given back.
    Err(Refused { needed: needed.div_ceil(1 << 20) << 20 })
}

/// Bytes of a stage on `threads` threads: the least, what it would like, and the window it would like.
fn of_stage(stage: &Stage, threads: u64) -> (u64, u64, usize) {
    let cost = stage.cost();
    let by_patch = stage.patch_count() >= 2 * threads || threads == 1;
    let output = cost.output_bytes.min(64 << 20);
    if by_patch {
        let bytes = threads * (cost.state_bytes + cost.leaf_bytes) + output;
        (bytes, bytes, (threads + 1) as usize)
    } else {
        let leaf = cost.leaf_bytes + cost.state_bytes.min(cost.leaf_bytes);
        let window = 4 * threads;
        let fixed = cost.state_bytes + output;
        (fixed + (threads + 1) * leaf, fixed + window * leaf, window as usize)
    }
}
