//! Products of small matrices, in the precision of the instructions.

use super::rounded;
use super::simd::Simd;
use super::tiles::Product;
pub(super) use super::tiles::{Size, Strides, Terms};

/// `c = Σ a b`, or `c += Σ a b` with `add`. Rows of `c` are `c_row` apart.
///
/// # Panics
/// When a factor or the product has fewer elements than the sizes say.
#[inline(always)]
pub(super) fn product<S: Simd>(s: S, size: Size, terms: Terms, c: &mut [f32], c_row: usize, add: bool) {
    let product = Product { size, terms, c, c_row, add };
    if S::ROUNDS && terms.may_round {
        rounded::run(s, product);
    } else {
        s.run(product);
    }
}
