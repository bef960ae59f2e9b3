//! Numbers, durations and paths as people write them: `1.5M`, `2e6`, `3m20s`.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// Parses a count: digits with optional underscores, a decimal point, an exponent, or a suffix `k`, `M` or `G`.
///
/// # Errors
/// When `text` is not a number, or its value is not a whole number.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    // Where whole numbers stop being exact as floating-point numbers.
    const LARGEST: u64 = 1 << 53;
    let digits = text.replace('_', "");
    if let Ok(count) = digits.parse::<u64>() {
        let is_exact = count <= LARGEST;
        return is_exact.then_some(count).ok_or_else(|| format!("`{text}` is more than {LARGEST}"));
    }
    let (mantissa, unit) = match digits.chars().last() {
        Some('k' | 'K') => (&digits[..digits.len() - 1], 1e3),
        Some('m' | 'M') => (&digits[..digits.len() - 1], 1e6),
        Some('g' | 'G') => (&digits[..digits.len() - 1], 1e9),
        _ => (digits.as_str(), 1.0),
    };
    let error = || format!("`{text}` is not a count; write e.g. 50000, 10k, 1.5M or 2e6");
    let value = mantissa.parse::<f64>().map_err(|_| error())? * unit;
    let count = value.round();
    // 4.35k is 4349.999… in binary.
    let is_count = (value - count).abs() <= 1e-9 * value.abs() && (0.0..=LARGEST as f64).contains(&count);
    if is_count { Ok(count as u64) } else { Err(error()) }
}

/// The largest seed: configuration files, which are TOML, hold no larger number.
pub(crate) const MAX_SEED: u64 = i64::MAX as u64;

/// Parses a seed.
///
/// # Errors
/// When `text` is not a whole number in `0..=MAX_SEED`.
pub(crate) fn parse_seed(text: &str) -> Result<u64, String> {
    let seed = text.parse().ok().filter(|&seed| seed <= MAX_SEED);
    seed.ok_or_else(|| format!("seeds are whole numbers from 0 to {MAX_SEED}"))
}

/// Largest number of seeds of one command.
pub(crate) const MAX_SEEDS: u64 = 1000;

/// Parses a range of seeds, `A..B`.
///
/// # Errors
/// When `text` is no such range, or holds too many or too large seeds.
pub(crate) fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let bounds = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    match bounds.filter(|range: &Range<u64>| !range.is_empty()) {
        None => Err("expected A..B with A below B, e.g. 0..5 for the seeds 0, 1, 2, 3, 4".to_owned()),
        Some(range) if range.end - range.start > MAX_SEEDS => Err(format!("expected at most {MAX_SEEDS} seeds")),
        Some(range) if range.end > MAX_SEED + 1 => Err(format!("seeds go up to {MAX_SEED}")),
        Some(range) => Ok(range),
    }
}

/// Formats a count in at most four significant digits: `950`, `12.5k`, `1M`.
pub(crate) fn count(n: u64) -> String {
    let (value, unit) = match n {
        0..1_000 => return n.to_string(),
        1_000..999_950 => (n as f64 / 1e3, "k"),
        999_950..999_950_000 => (n as f64 / 1e6, "M"),
        _ => (n as f64 / 1e9, "G"),
    };
    let digits = if value < 10.0 { 2 } else { 1 };
    let text = format!("{value:.digits$}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Formats a count and its noun: `1 step`, `2 steps`.
pub(crate) fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Formats a number of bytes: `7.1 GB`.
pub(crate) fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Formats a duration in its two largest units: `45s`, `3m20s`, `2h05m`.
pub(crate) fn duration(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0 => format!("{:.1}s", time.as_secs_f64()),
        1..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

/// Returns `path` as a shell reads it: in quotes if it holds a character that a shell would interpret.
pub(crate) fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    // Only a NUL byte cannot be quoted, and no path holds one.
    shlex::try_quote(&text).map_or_else(|_| text.clone(), Cow::into_owned)
}

/// Returns the largest of 1, 2, 5, 10, 20, 50, … that is at most `n`, and 1 for 0.
pub(crate) fn round_down(n: u64) -> u64 {
    let power = 10_u64.pow(n.max(1).ilog10());
    [5, 2, 1].into_iter().map(|digit| digit * power).find(|&round| round <= n).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_write_them() {
        let cases = [("0", 0), ("10k", 10_000), ("1.5M", 1_500_000), ("2e6", 2_000_000), ("1_000", 1_000)];
        for (text, count) in cases.into_iter().chain([("4.35k", 4_350), ("0.3M", 300_000), ("1G", 1_000_000_000)]) {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "k", "ten", "1.5", "-3", "1e-4", "nan", "inf", "1e300", "0x10"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_and_durations_are_written_briefly() {
        let counts = [(950, "950"), (1_000, "1k"), (12_500, "12.5k"), (999_999, "1M"), (1_250_000, "1.25M")];
        for (n, text) in counts {
            assert_eq!(count(n), text);
        }
        assert_eq!(duration(Duration::from_secs(200)), "3m20s");
        assert_eq!(duration(Duration::from_secs(7_500)), "2h05m");
    }

    #[test]
    fn rounding_down_gives_round_numbers() {
        for (n, round) in [(0, 1), (1, 1), (4, 2), (9, 5), (10, 10), (600, 500), (19_999, 10_000)] {
            assert_eq!(round_down(n), round, "{n}");
        }
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(shell(Path::new("runs/taxi-q-learning-s0")), "runs/taxi-q-learning-s0");
        assert_eq!(shell(Path::new("my runs/a")), "'my runs/a'");
        for path in ["it's", "a b/$HOME", "a=b", "*"] {
            assert_eq!(shlex::split(&shell(Path::new(path))), Some(vec![path.to_owned()]));
        }
    }
}
