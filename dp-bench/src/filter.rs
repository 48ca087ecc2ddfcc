//! Which rows are asked for.

/// Text that a row's words hold, or the words of one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    text: String,
}

impl Filter {
    /// Rows with `text` in their words "op model layer dtype shape"; every row where it is empty.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Of some rows' words, which are chosen: the one of exactly these words, else all that hold the text.
    ///
    /// Exactness is decided over all rows together (`exact`), see [`is_exact`](Self::is_exact).
    #[must_use]
    pub fn takes(&self, words: &str, exact: bool) -> bool {
        if exact {
            words == self.text
        } else {
            words.contains(&self.text)
        }
    }

    /// Whether one of these rows has exactly the filter's words.
    pub fn is_exact<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> bool {
        words.any(|words| words == self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command that repeats "B 1" must not run "B 16" too.
    #[test]
    fn a_whole_name_selects_one() {
        let rows = ["norm gpt2 up f32 B 1", "norm gpt2 up f32 B 16"];
        let chosen = |text: &str| {
            let filter = Filter::new(text);
            let exact = filter.is_exact(rows.into_iter());
            rows.map(|row| filter.takes(row, exact))
        };
        assert_eq!(chosen("norm gpt2 up f32 B 1"), [true, false]);
        assert_eq!(chosen("norm gpt2"), [true, true]);
        assert_eq!(chosen("16"), [false, true]);
        assert_eq!(chosen(""), [true, true]);
    }
}
