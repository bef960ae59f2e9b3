//! Products with states that are mostly 0: sums over the places of the 1s.
//!
//! An eighth of the pixels of a binarised MNIST image are 1, and no more in the samples of an RBM fitted to such
//! images. A product with such states sums the few rows of the other matrix that meet a 1, instead of multiplying all
//! rows. Three of the four products of an update by contrastive divergence are of this kind, among them the gradient's,
//! which has twice as many rows.

use carom_agents::net::threads;
use multiversion::multiversion;
use std::ops::Range;

/// Largest share of 1s at which sums over them take less time than a dense product.
pub(super) const MAX_SPARSE_SHARE: f64 = 0.25;

/// The places of the 1s in rows of states, row by row.
#[derive(Debug, Default)]
pub(super) struct Ones {
    width: usize,
    /// Columns of the 1s, row by row, in ascending order.
    columns: Vec<u32>,
    /// End of each row's columns.
    ends: Vec<usize>,
}

impl Ones {
    /// Finds the 1s of `states [rows, width]`. Returns false if a share of more than `most` is 1, or a state is neither
    /// 0 nor 1; then the contents are undefined.
    pub(super) fn find(&mut self, states: &[f32], width: usize, most: f64) -> bool {
        self.width = width;
        self.ends.clear();
        let room = (states.len() as f64 * most) as usize;
        // Branch-free: each column is written to the end of the list, but only a 1 advances the end.
        self.columns.resize(room + width, 0);
        let (mut n, mut is_binary) = (0, true);
        for row in states.chunks_exact(width) {
            if n > room {
                return false;
            }
            for (column, &state) in row.iter().enumerate() {
                self.columns[n] = column as u32;
                n += usize::from(state != 0.0);
                is_binary &= state == 0.0 || state == 1.0;
            }
            self.ends.push(n);
        }
        self.columns.truncate(n);
        is_binary && n <= room
    }

    fn n_rows(&self) -> usize {
        self.ends.len()
    }

    /// Returns the columns of the 1s of `row`.
    fn row(&self, row: usize) -> &[u32] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.columns[start..self.ends[row]]
    }

    /// Returns the states' product with `values [width]`: `[rows]`.
    pub(super) fn times_vector(&self, values: &[f32]) -> impl Iterator<Item = f32> {
        (0..self.n_rows()).map(move |row| self.row(row).iter().map(|&column| values[column as usize]).sum())
    }

    /// Writes the states' product with `matrix [width, n]` to `out [rows, n]`.
    pub(super) fn times(&self, matrix: &[f32], out: &mut [f32]) {
        let n = matrix.len() / self.width;
        // One chunk a thread, since each chunk reads the whole matrix.
        let rows = self.n_rows().div_ceil(tch::get_num_threads() as usize);
        threads::for_each_chunk(out, rows * n, |chunk, out| {
            out.fill(0.0);
            add_rows(self, chunk * rows, matrix, n, out);
        });
    }

    /// Returns the transpose of the states `above` over the states `below`: the rows that have a 1 in each column.
    pub(super) fn transposed(above: &Self, below: &Self) -> Self {
        let (width, n_above) = (above.width, above.n_rows());
        let n_rows = n_above + below.n_rows();
        let mut ends = vec![0; width];
        above.columns.iter().chain(&below.columns).for_each(|&column| ends[column as usize] += 1);
        let mut rows = vec![0; above.columns.len() + below.columns.len()];
        let mut next = 0;
        // Turns the number of 1s in each column into the beginning of the column.
        for end in &mut ends {
            next += std::mem::replace(end, next);
        }
        for (ones, first) in [(above, 0), (below, n_above)] {
            for row in 0..ones.n_rows() {
                for &column in ones.row(row) {
                    let place = &mut ends[column as usize];
                    rows[*place] = (first + row) as u32;
                    *place += 1;
                }
            }
        }
        // Each beginning is now at its column's end.
        Self { width: n_rows, columns: rows, ends }
    }

    /// Adds the product of the states, less `centre [rows]` in each row, with `matrix [width, n]` to `out [rows, n]`;
    /// `sums [n]` are those of the matrix over its rows.
    pub(super) fn add_centred_times(&self, centre: &[f32], matrix: &[f32], sums: &[f32], out: &mut [f32]) {
        // Small chunks, so that threads share the work evenly: some rows have more 1s than others.
        const ROWS: usize = 32;
        let n = sums.len();
        threads::for_each_chunk(out, ROWS * n, |chunk, out| {
            for (out, &centre) in out.chunks_exact_mut(n).zip(&centre[chunk * ROWS..]) {
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out -= centre * sum);
            }
            add_rows(self, chunk * ROWS, matrix, n, out);
        });
    }
}

/// Adds to each row of `out [rows, n]`, the states from `first_row` on, the rows of `matrix [width, n]` that meet its
/// 1s.
///
/// Some columns at a time, so that their sums stay in registers and their part of the matrix in the cache.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn add_rows(ones: &Ones, first_row: usize, matrix: &[f32], n: usize, out: &mut [f32]) {
    let mut done = 0;
    while done < n {
        done += match n - done {
            64.. => add_columns::<64>(ones, first_row, matrix, n, done, out),
            16.. => add_columns::<16>(ones, first_row, matrix, n, done, out),
            4.. => add_columns::<4>(ones, first_row, matrix, n, done, out),
            _ => add_columns::<1>(ones, first_row, matrix, n, done, out),
        };
    }
}

/// Adds the rows for `N` columns from `first` on, and returns N.
#[inline(always)]
fn add_columns<const N: usize>(
    ones: &Ones,
    first_row: usize,
    matrix: &[f32],
    n: usize,
    first: usize,
    out: &mut [f32],
) -> usize {
    let part = |row: usize| -> Range<usize> { row * n + first..row * n + first + N };
    for row in 0..out.len() / n {
        let out: &mut [f32; N] = (&mut out[part(row)]).try_into().expect("N of them");
        let mut sums = *out;
        for &column in ones.row(first_row + row) {
            let values: &[f32; N] = matrix[part(column as usize)].try_into().expect("N of them");
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        *out = sums;
    }
    N
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::model::seeded;
    use carom_agents::net::tensor::to_vec;
    use tch::{Device, Kind, Tensor};

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Returns states of which about a sixth are 1, and their 1s.
    fn states(rows: i64, width: i64) -> (Tensor, Ones) {
        let states = Tensor::rand([rows, width], OPTIONS).lt(1.0 / 6.0).to_kind(Kind::Float);
        let mut ones = Ones::default();
        assert!(ones.find(&to_vec(&states), width as usize, 0.9));
        (states, ones)
    }

    fn assert_close(ours: &[f32], theirs: &Tensor) {
        for (ours, theirs) in ours.iter().zip(to_vec(theirs)) {
            assert!((ours - theirs).abs() < 1e-4, "{ours} for {theirs}");
        }
    }

    #[test]
    fn sums_over_ones_are_dense_products() {
        let _torch = seeded(0);
        for (width, n) in [(1, 1), (7, 5), (40, 20), (100, 151)] {
            let ((above, ones_above), (below, ones_below)) = (states(6, width), states(3, width));
            let matrix = Tensor::randn([width, n], OPTIONS);
            let mut out = vec![9.0; 6 * n as usize];
            ones_above.times(&to_vec(&matrix), &mut out);
            assert_close(&out, &above.mm(&matrix));
            let values = Tensor::randn([width], OPTIONS);
            let products: Vec<f32> = ones_above.times_vector(&to_vec(&values)).collect();
            assert_close(&products, &above.mv(&values));

            let (both, centre) = (Tensor::cat(&[&above, &below], 0), Tensor::rand([width], OPTIONS));
            let (matrix, before) = (Tensor::randn([9, n], OPTIONS), Tensor::randn([width, n], OPTIONS));
            let expected = &before + (&both - &centre).tr().mm(&matrix);
            let sums = matrix.sum_dim_intlist(0, false, Kind::Float);
            let transposed = Ones::transposed(&ones_above, &ones_below);
            let mut out = to_vec(&before);
            transposed.add_centred_times(&to_vec(&centre), &to_vec(&matrix), &to_vec(&sums), &mut out);
            assert_close(&out, &expected);
        }
    }

    #[test]
    fn what_is_not_binary_or_mostly_on_is_left_to_others() {
        let mut ones = Ones::default();
        assert!(ones.find(&[0.0, 1.0, 0.0, 0.0], 2, 0.25));
        assert!(!ones.find(&[0.0, 1.0, 1.0, 0.0], 2, 0.25), "two of four are 1");
        assert!(!ones.find(&[1.0; 6], 2, 0.25));
        assert!(!ones.find(&[0.0, 0.5, 0.0, 0.0], 2, 0.25));
        assert!(!ones.find(&[0.0, f32::NAN, 0.0, 0.0], 2, 0.25));
    }
}
