//! What the system tells of its load and memory; Linux does, in /proc.

/// Processes that ran or waited, on average over the last minute.
pub fn load() -> Option<f64> {
    first_number(&std::fs::read_to_string("/proc/loadavg").ok()?)
}

/// Bytes that programs can still take without swapping.
pub fn memory_available() -> Option<u64> {
    available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn available(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_proc_are_read() {
        assert_eq!(first_number("1.25 0.90 0.70 2/345 6789\n"), Some(1.25));
        assert_eq!(first_number(""), None);
        let text = "MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:   40 kB\n";
        assert_eq!(available(text), Some(40 * 1024));
        assert_eq!(available("MemTotal: 100 kB\n"), None);
    }
}
