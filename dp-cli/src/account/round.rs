//! Numbers with a few digits, rounded to the safe side.

/// A number of at least 0 with `digits` significant digits, not below the value.
pub fn up(value: f64, digits: usize) -> String {
    rounded(value, digits, |shown, value| shown < value, 1.0)
}

/// A number of at least 0 with `digits` significant digits, not above the value.
pub fn down(value: f64, digits: usize) -> String {
    rounded(value, digits, |shown, value| shown > value, -1.0)
}

/// A number as a person gave it; a small one by its power of ten.
pub fn given(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// A probability in percent, not below the value and not above 100.
pub fn percent_up(probability: f64) -> String {
    let percent = (probability * 100.0).clamp(0.0, 100.0);
    if percent > 99.0 {
        // Near certainty it is the distance from it that counts.
        let rest = down((1.0 - probability).max(0.0) * 100.0, 2);
        let decimals = rest.split_once('.').map_or(0, |(_, tail)| tail.len());
        let rest: f64 = rest.parse().unwrap_or(0.0);
        return format!("{:.decimals$}%", 100.0 - rest);
    }
    format!("{}%", up(percent, 3))
}

fn rounded(value: f64, digits: usize, wrong: fn(f64, f64) -> bool, side: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = digits - 1;
    let write = |value: f64| format!("{value:.decimals$e}");
    let read = |text: &str| text.parse().unwrap_or(value);
    let mut text = write(value);
    if wrong(read(&text), value) {
        // Of the value, not of the text, which may have been rounded over a power of ten.
        let own = format!("{value:e}");
        let exponent: i32 = own
            .split_once('e')
            .map_or(0, |(_, e)| e.parse().unwrap_or(0));
        let unit = 10_f64.powi(exponent - decimals as i32);
        text = write(read(&text) + side * unit);
    }
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..=9).contains(&exponent) {
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    // The digits are decimal already: moving the point changes none.
    let places = (decimals as i32 - exponent).max(0) as usize;
    trimmed(&format!("{:.places$}", read(&text))).to_owned()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_their_side() {
        assert_eq!([up(6.907_384, 4), down(6.907_384, 4)], ["6.908", "6.907"]);
        assert_eq!([up(9.9999, 3), down(9.9999, 3)], ["10", "9.99"]);
        assert_eq!([up(1234.5, 3), down(1e-6, 3)], ["1240", "1e-6"]);
        assert_eq!([up(0.001_234_1, 3), up(2e-30, 2)], ["0.00124", "2e-30"]);
        assert_eq!(
            [percent_up(0.611), percent_up(0.999_000_4)],
            ["61.1%", "99.901%"]
        );
        assert_eq!([percent_up(1.0), percent_up(0.0)], ["100%", "0%"]);
        let mut value = 1.234_567e-12;
        while value < 1e15 {
            for digits in 1..6 {
                let read = |text: String| text.parse::<f64>().unwrap();
                let (low, high) = (read(down(value, digits)), read(up(value, digits)));
                assert!(low <= value && value <= high, "{low} {value} {high}");
                assert!(high - low <= value * 10_f64.powi(1 - digits as i32) * 1.001);
            }
            value *= 1.37;
        }
    }
}
