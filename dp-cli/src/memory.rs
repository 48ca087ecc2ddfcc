//! The memory that this process took at most.

/// Largest resident memory of this process so far, in bytes; `None` where the system does not tell
/// (Linux does, in `/proc/self/status`).
///
/// It covers the whole process, so runs that are to be compared each need a process of their own.
/// Memory of a GPU is not in it.
pub fn peak_bytes() -> Option<u64> {
    high_water_mark(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn high_water_mark(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_proc_is_read() {
        let status = "Name:\tdpcube\nVmPeak:\t  999 kB\nVmHWM:\t  107648 kB\nVmRSS:\t  5 kB\n";
        assert_eq!(high_water_mark(status), Some(107_648 * 1024));
        assert_eq!(high_water_mark("VmHWM:\t 5 pages\n"), None);
        assert_eq!(high_water_mark("VmRSS:\t 5 kB\n"), None);
    }

    /// Touching 64 MiB raises the mark to at least that, and freeing them does not lower it.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_mark_rises_with_what_is_touched() {
        let size = 64 << 20;
        let touched = std::hint::black_box(vec![1_u8; size]);
        drop(touched);
        assert!(peak_bytes().unwrap() >= size as u64);
    }
}
