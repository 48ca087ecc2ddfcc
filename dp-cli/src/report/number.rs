//! Numbers as people read them. What bounds a guarantee is rounded to the safe side.

/// Epsilon and its like with about three significant digits, never less than the value: rounded to the nearest, and
/// one unit of the last digit further where that went the wrong way.
pub(super) fn upper(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return plain(value);
    }
    let size = value.abs();
    let scientific = !(0.1..1e6).contains(&size);
    let (digits, unit) = match size {
        _ if scientific => (2, 10_f64.powf(size.log10().floor() - 2.0)),
        _ if size >= 100.0 => (0, 1.0),
        _ => (2, 0.01),
    };
    let write = |value: f64| match scientific {
        true => format!("{value:.digits$e}"),
        false => format!("{value:.digits$}"),
    };
    let shown = write(value).parse().unwrap_or(value);
    let shown = if shown < value { shown + unit } else { shown };
    if !scientific && size >= 1000.0 {
        grouped(shown)
    } else {
        write(shown)
    }
}

/// A number with about four significant digits.
pub(crate) fn plain(value: f64) -> String {
    if value.is_nan() {
        return "not a number".into();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "infinite".into()
        } else {
            "minus infinite".into()
        };
    }
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e7).contains(&size) => format!("{value:.2e}"),
        size if size >= 1000.0 => grouped(value.round()),
        size if size >= 100.0 => trimmed(format!("{value:.1}")),
        size if size >= 1.0 => trimmed(format!("{value:.3}")),
        _ => trimmed(format!("{value:.4}")),
    }
}

/// Bits with two decimals.
pub(super) fn bits(value: f64) -> String {
    format!("{value:.2}")
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// A whole number with a comma between thousands.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn grouped(whole: f64) -> String {
    let text = count(whole.abs() as u64);
    if whole < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// Bytes in MiB or GiB.
pub(super) fn bytes(value: Option<u64>) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    match value.map(|bytes| bytes as f64 / MIB) {
        None => "not known".into(),
        Some(mib) if mib >= 1024.0 => format!("{:.2} GiB", mib / 1024.0),
        Some(mib) => format!("{mib:.0} MiB"),
    }
}

/// Seconds in s or ms.
pub(crate) fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{} ms", plain(value * 1000.0))
    } else {
        format!("{} s", plain(value))
    }
}
