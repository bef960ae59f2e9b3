//! The draws of numpy's `RandomState`, from the words of any generator. With MT19937's words they are the reference's.

use rand::RngCore;

/// Draws a number in [0, 1) from two words, as `rand` does.
#[inline]
pub(super) fn uniform(rng: &mut dyn RngCore) -> f64 {
    let (first, second) = (rng.next_u32(), rng.next_u32());
    (f64::from(first >> 5) * 67_108_864.0 + f64::from(second >> 6)) / 9_007_199_254_740_992.0
}

/// Draws a whole number in `0..n`, as `randint(n)` does: the low bits of the first word in which they are below `n`. No
/// word is taken if `n` is 1.
///
/// # Panics
/// When `n` is 0.
#[inline]
pub(super) fn below(n: u32, rng: &mut dyn RngCore) -> u32 {
    assert_ne!(n, 0, "there is no number below 0");
    if n == 1 {
        return 0;
    }
    let mask = u32::MAX >> (n - 1).leading_zeros();
    loop {
        let value = rng.next_u32() & mask;
        if value < n {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_mt::Mt;

    /// numpy 2.2.6: `r = RandomState(7)`, then `r.rand()`, `[r.randint(n) for n in (1, 2, 5, 6, 8)]`, `r.rand()`.
    #[test]
    fn draws_are_numpys() {
        let mut rng = Mt::new(7);
        assert_eq!(uniform(&mut rng), 0.076_308_289_373_957_17);
        assert_eq!([1, 2, 5, 6, 8].map(|n| below(n, &mut rng)), [0, 1, 3, 3, 7]);
        assert_eq!(uniform(&mut rng), 0.455_584_913_328_211_8);
    }
}
