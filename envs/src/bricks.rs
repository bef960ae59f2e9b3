//! Names of the bricks of a wall, for the factors of both Breakouts.

/// Returns `names`, then `brick_<row>_<column>` for each brick of a wall, the top row first.
///
/// The names live as long as the program: callers keep them in a static.
pub(crate) fn factor_names(names: &[&'static str], rows: usize, columns: usize) -> Vec<&'static str> {
    let brick = |i: usize| &*format!("brick_{}_{}", i / columns, i % columns).leak();
    names.iter().copied().chain((0..rows * columns).map(brick)).collect()
}
