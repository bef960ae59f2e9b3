//! Ranges, ticks and tick labels.

/// Returns at most about `most` ticks within `lo..=hi`, at multiples of 1, 2, 2.5 or 5 times a power of ten.
pub(super) fn ticks(lo: f64, hi: f64, most: usize) -> Vec<f64> {
    multiples(nice_step(hi - lo, most), lo, hi)
}

/// Returns ticks of an axis of steps from 0 to `hi`; they are whole numbers.
pub(super) fn step_ticks(hi: f64, most: usize) -> Vec<f64> {
    multiples(nice_step(hi, most).floor().max(1.0), 0.0, hi)
}

fn multiples(step: f64, lo: f64, hi: f64) -> Vec<f64> {
    let slack = 1e-9 * (hi - lo) / step;
    let first = (lo / step - slack).ceil() as i64;
    let last = (hi / step + slack).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

fn nice_step(span: f64, most: usize) -> f64 {
    let rough = span / most as f64;
    let power = 10f64.powf(rough.log10().floor());
    let multiple = [1.0, 2.0, 2.5, 5.0].into_iter().find(|multiple| multiple * power >= rough * (1.0 - 1e-9));
    multiple.unwrap_or(10.0) * power
}

/// Formats a count: `0`, `500`, `250k`, `1M`, `1.5M`, `2G`, `1e15`.
pub(super) fn count_label(count: f64) -> String {
    let (unit, suffix) = match count.abs() {
        size if size >= 1e13 => return with_minus(format!("{:e}", three_digits(count))),
        size if size >= 1e9 => (1e9, "G"),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = format!("{:.3}", count / unit);
    with_minus(format!("{}{suffix}", digits.trim_end_matches('0').trim_end_matches('.')))
}

/// Formats evenly spaced ticks, all with as many decimals as their distance needs.
pub(super) fn value_labels(ticks: &[f64]) -> Vec<String> {
    let step =
        if let [first, second, ..] = ticks { second - first } else { ticks.first().map_or(1.0, |tick| tick.abs()) };
    let largest = ticks.iter().fold(0f64, |largest, tick| largest.max(tick.abs()));
    let decimals = (0..=5).find(|&n| is_whole(step * 10f64.powi(n)));
    let label = |&tick: &f64| match decimals {
        _ if largest >= 20_000.0 && step >= 100.0 => count_label(tick),
        Some(decimals) => with_minus(format!("{tick:.*}", decimals as usize)),
        None if tick.abs() < step / 2.0 => "0".to_owned(),
        None => with_minus(format!("{:e}", three_digits(tick))),
    };
    ticks.iter().map(label).collect()
}

/// Formats a value with three digits.
pub(super) fn short_value(value: f64) -> String {
    value_within(value, f64::INFINITY)
}

/// Formats a value of a range that is `width` wide with three digits, and with more if the range is narrow.
pub(super) fn value_within(value: f64, width: f64) -> String {
    /// Digits beyond the third that a number can have.
    const MOST: f64 = 14.0;
    let more = (value.abs().log10().floor() - width.log10().floor()).clamp(0.0, MOST);
    let rounded = rounded(value, 3 + more as usize);
    match rounded.abs() {
        size if size >= 20_000.0 => count_label(rounded),
        size if size >= 1e-4 || size == 0.0 => with_minus(rounded.to_string()),
        _ => with_minus(format!("{rounded:e}")),
    }
}

fn is_whole(x: f64) -> bool {
    x.abs() >= 0.5 && (x - x.round()).abs() < 1e-6
}

/// Rounds `x` to three digits.
fn three_digits(x: f64) -> f64 {
    rounded(x, 3)
}

/// Rounds `x` to `n_digits` digits.
fn rounded(x: f64, n_digits: usize) -> f64 {
    format!("{x:.*e}", n_digits - 1).parse().unwrap_or(x)
}

/// Replaces a hyphen by a minus sign, which is as wide as a digit, and `-0` by `0`.
fn with_minus(label: String) -> String {
    match label.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.to_owned(),
        Some(digits) => format!("\u{2212}{digits}"),
        None => label,
    }
}

/// Visible range of the value axis.
#[derive(Debug, PartialEq)]
pub(super) struct ValueRange {
    pub lo: f64,
    pub hi: f64,
    /// The lowest value, if it is below `lo`.
    pub cut_below: Option<f64>,
    /// The highest value, if it is above `hi`.
    pub cut_above: Option<f64>,
}

/// Returns a range of `values` and `levels`, with a margin, that starts at 0 if that is near.
///
/// A few extreme values (the first episodes of cliff walking, a spike of a loss) would flatten all the others. If a
/// twentieth of the values takes more than three quarters of the height, it is cut off. So is a level beside which the
/// values would have less than a quarter of the height. Without values the levels take their place.
pub(super) fn value_range(mut values: Vec<f64>, levels: &[f64]) -> ValueRange {
    if values.is_empty() {
        values = if levels.is_empty() { vec![0.0, 1.0] } else { levels.to_vec() };
    }
    values.sort_by(f64::total_cmp);
    let at = |fraction: f64| values[((values.len() - 1) as f64 * fraction).round() as usize];
    let (lowest, highest) = (at(0.0), at(1.0));
    let (mut lo, mut hi) = (lowest, highest);
    if hi - at(0.05) < 0.25 * (hi - lo) {
        lo = at(0.05);
    }
    if at(0.95) - lo < 0.25 * (hi - lo) {
        hi = at(0.95);
    }
    let span = hi - lo;
    let is_near = |level: &f64| span <= 0.0 || hi.max(*level) - lo.min(*level) <= 4.0 * span;
    let near: Vec<f64> = levels.iter().copied().filter(is_near).collect();
    let lo = near.iter().copied().fold(lo, f64::min);
    let hi = near.iter().copied().fold(hi, f64::max);
    let flat = hi - lo <= 1e-9 * lo.abs().max(hi.abs());
    let air = match flat {
        false => 0.05 * (hi - lo),
        true if hi == 0.0 => 1.0,
        true => 0.1 * hi.abs(),
    };
    let (bottom, top) = (lo - air, hi + air);
    let lo = if !flat && lo >= 0.0 && lo < 0.35 * hi { 0.0 } else { bottom };
    let hi = if !flat && hi <= 0.0 && hi > 0.35 * bottom { 0.0 } else { top };
    let cut = |value: f64| (value < lo || value > hi).then_some(value);
    ValueRange { lo, hi, cut_below: cut(lowest), cut_above: cut(highest) }
}

/// Returns the end of a step axis: the last step, or the next tick if that is very near, since runs seldom log their
/// last step exactly.
pub(super) fn step_end(last: f64, most_ticks: usize) -> f64 {
    let last = last.max(1.0);
    let tick = nice_step(last, most_ticks);
    let next = (last / tick).ceil() * tick;
    if next - last < 0.02 * last { next } else { last }
}
