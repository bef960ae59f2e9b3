//! Means and states of layers of binary units: the passes between an RBM's matrix products.
//!
//! A layer's bias, logistic function and draw are one pass, compiled for AVX-512, AVX2 and the baseline and chosen at
//! run time. It takes 5 % of a CD-1 update of 784-500 units; matrix products take most of the rest. Tensors that are
//! not on the CPU use torch's operations instead.

use super::lanes::{LANES, Lanes, exp, padded};
use super::tensor::{assert_apart, slice, slice_mut};
use multiversion::multiversion;
use tch::{Device, Kind, Tensor};

/// Source of uniform numbers: sixteen xoshiro128+ generators side by side (Blackman & Vigna 2021).
#[derive(Clone, Debug)]
pub struct Uniforms {
    state: [[u32; LANES]; 4],
}

impl Uniforms {
    /// Seeds it by one draw from torch's generator, so that it is reproducible with that generator's seed.
    pub fn from_torch() -> Self {
        let seed = Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
        Self::new(seed as u64)
    }

    /// Seeds it by `seed` through SplitMix64, as the generator's authors advise.
    pub fn new(mut seed: u64) -> Self {
        let mut next = || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 32) as u32
        };
        Self { state: std::array::from_fn(|_| std::array::from_fn(|_| next())) }
    }

    /// Draws one number in 0..1.
    pub fn uniform(&mut self) -> f64 {
        f64::from(uniform(&mut self.state)[0])
    }
}

/// Draws sixteen numbers in 0..1, multiples of 2⁻²⁴.
#[inline(always)]
fn uniform(state: &mut [[u32; LANES]; 4]) -> Lanes {
    let [s0, s1, s2, s3] = state;
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        // A float holds 24 bits exactly. The signed type converts in one instruction.
        out[i] = (s0[i].wrapping_add(s3[i]) >> 8) as i32 as f32 * (1.0 / 16_777_216.0);
        let shifted = s1[i] << 9;
        s2[i] ^= s0[i];
        s3[i] ^= s1[i];
        s1[i] ^= s2[i];
        s0[i] ^= s3[i];
        s2[i] ^= shifted;
        s3[i] = s3[i].rotate_left(11);
    }
    out
}

/// σ(scale z + bias)
#[inline(always)]
fn means_of(z: &mut Lanes, scale: f32, bias: &Lanes) {
    for (z, bias) in z.iter_mut().zip(bias) {
        *z = 1.0 / (1.0 + exp(-(*z * scale + bias)));
    }
}

/// 1 with the probability `means`, else 0.
#[inline(always)]
fn states_of(means: &Lanes, noise: &mut Uniforms) -> Lanes {
    let mut states = uniform(&mut noise.state);
    for (state, mean) in states.iter_mut().zip(means) {
        *state = if *state < *mean { 1.0 } else { 0.0 };
    }
    states
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn means_pass(z: &mut [f32], scale: f32, bias: &[f32]) {
    let (bias_lanes, bias_tail) = bias.as_chunks::<LANES>();
    for z in z.chunks_exact_mut(bias.len()) {
        let (z_lanes, z_tail) = z.as_chunks_mut::<LANES>();
        for (z, bias) in z_lanes.iter_mut().zip(bias_lanes) {
            means_of(z, scale, bias);
        }
        let mut last = padded(z_tail, 0.0);
        means_of(&mut last, scale, &padded(bias_tail, 0.0));
        z_tail.copy_from_slice(&last[..z_tail.len()]);
    }
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn draw_pass(z: &mut [f32], scale: f32, bias: &[f32], states: &mut [f32], noise: &mut Uniforms) {
    let (bias_lanes, bias_tail) = bias.as_chunks::<LANES>();
    // The compiler can keep a copy in registers.
    let mut own = noise.clone();
    for (z, states) in z.chunks_exact_mut(bias.len()).zip(states.chunks_exact_mut(bias.len())) {
        let (z_lanes, z_tail) = z.as_chunks_mut::<LANES>();
        let (state_lanes, state_tail) = states.as_chunks_mut::<LANES>();
        for ((z, states), bias) in z_lanes.iter_mut().zip(state_lanes).zip(bias_lanes) {
            means_of(z, scale, bias);
            *states = states_of(z, &mut own);
        }
        if !z_tail.is_empty() {
            let mut last = padded(z_tail, 0.0);
            means_of(&mut last, scale, &padded(bias_tail, 0.0));
            state_tail.copy_from_slice(&states_of(&last, &mut own)[..z_tail.len()]);
            z_tail.copy_from_slice(&last[..z_tail.len()]);
        }
    }
    *noise = own;
}

/// Turns `z [B, units]` into the units' means σ(scale z + bias).
pub fn means(z: &mut Tensor, scale: f64, bias: &Tensor) {
    if z.device() == Device::Cpu {
        assert_apart(z, &[bias]);
        // SAFETY: the two share no memory, and only the pass runs while the slices live.
        let (z, bias) = unsafe { (slice_mut(z), slice(bias)) };
        means_pass(z, scale as f32, bias);
    } else {
        means_by_operations(z, scale, bias);
    }
}

/// Turns `z [B, units]` into the units' means σ(scale z + bias), and fills `states`, of the same shape, with 0s and 1s
/// drawn from them.
pub fn draw(z: &mut Tensor, scale: f64, bias: &Tensor, states: &mut Tensor, noise: &mut Uniforms) {
    if z.device() == Device::Cpu {
        assert_apart(z, &[bias]);
        assert_apart(states, &[bias, z]);
        // SAFETY: no two share memory, and only the pass runs while the slices live.
        let (z, bias, states) = unsafe { (slice_mut(z), slice(bias), slice_mut(states)) };
        draw_pass(z, scale as f32, bias, states, noise);
    } else {
        means_by_operations(z, scale, bias);
        states.copy_(&z.rand_like().lt_tensor(z));
    }
}

fn means_by_operations(z: &mut Tensor, scale: f64, bias: &Tensor) {
    *z *= scale;
    *z += bias;
    let _ = z.sigmoid_();
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn binarise_pass(means: &[f32], states: &mut [f32], noise: &mut Uniforms) {
    let mut own = noise.clone();
    let ((mean_lanes, mean_tail), (state_lanes, state_tail)) = (means.as_chunks(), states.as_chunks_mut());
    for (means, states) in mean_lanes.iter().zip(state_lanes) {
        *states = states_of(means, &mut own);
    }
    state_tail.copy_from_slice(&states_of(&padded(mean_tail, 0.0), &mut own)[..mean_tail.len()]);
    *noise = own;
}

/// Fills `states` with 0s and 1s whose means are `means`, of the same shape.
pub fn binarise(means: &Tensor, states: &mut Tensor, noise: &mut Uniforms) {
    if means.device() == Device::Cpu {
        let means = means.contiguous();
        assert_apart(states, &[&means]);
        // SAFETY: the two share no memory, and only the pass runs while the slices live.
        let (means, states) = unsafe { (slice(&means), slice_mut(states)) };
        binarise_pass(means, states, noise);
    } else {
        states.copy_(&means.rand_like().lt_tensor(means));
    }
}

/// Multiplies `product` by 1 + e^-|scale x|, and adds max(x, 0) to `positive`, where x = z + bias.
#[inline(always)]
fn add_softplus(z: &Lanes, bias: &Lanes, scale: f32, positive: &mut Lanes, product: &mut Lanes) {
    for i in 0..LANES {
        let x = z[i] + bias[i];
        positive[i] += x.max(0.0);
        product[i] *= 1.0 + exp(-x.abs() * scale);
    }
}

/// Returns the logarithm of the product of sixteen factors. Each is at most 2⁶⁰, so the product fits into a double.
#[inline(always)]
fn log_of_product(factors: &Lanes) -> f64 {
    factors.iter().map(|&factor| f64::from(factor)).product::<f64>().ln()
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn softplus_pass(z: &[f32], bias: &[f32], scale: f32, out: &mut [f64]) {
    // ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|): one logarithm of a product, taken before it can overflow.
    const MAX_FACTORS: usize = 60;
    let (bias_lanes, bias_tail) = bias.as_chunks::<LANES>();
    for (z, out) in z.chunks_exact(bias.len()).zip(out) {
        let (z_lanes, z_tail) = z.as_chunks::<LANES>();
        let (mut positive, mut logs) = ([0.0; LANES], 0.0);
        for (z_lanes, bias_lanes) in z_lanes.chunks(MAX_FACTORS).zip(bias_lanes.chunks(MAX_FACTORS)) {
            let mut product = [1.0; LANES];
            for (z, bias) in z_lanes.iter().zip(bias_lanes) {
                add_softplus(z, bias, scale, &mut positive, &mut product);
            }
            logs += log_of_product(&product);
        }
        let (mut tail_positive, mut product) = ([0.0; LANES], [1.0; LANES]);
        add_softplus(&padded(z_tail, 0.0), &padded(bias_tail, 0.0), scale, &mut tail_positive, &mut product);
        // The padding stands for no units: it must not multiply the product, and adds max(0, 0) to the sum.
        product[z_tail.len()..].fill(1.0);
        logs += log_of_product(&product);
        let positive = positive.iter().zip(&tail_positive).map(|(a, b)| f64::from(*a) + f64::from(*b)).sum::<f64>();
        *out = positive * f64::from(scale) + logs;
    }
}

/// Returns Σ_j ln(1 + exp(scale (z_j + bias_j))) of each row of `z [B, units]`: the hidden units' part of the
/// log-probability of the visible ones. `scale` is not negative.
pub fn softplus_sums(z: &Tensor, bias: &Tensor, scale: f64) -> Vec<f64> {
    let mut out = vec![0.0; z.size()[0] as usize];
    if z.device() == Device::Cpu {
        // SAFETY: only the pass runs while the slices live, and it writes to neither.
        let (z, bias) = unsafe { (slice(z), slice(bias)) };
        softplus_pass(z, bias, scale as f32, &mut out);
    } else {
        let sums = ((z + bias) * scale).softplus().sum_dim_intlist(1, false, Kind::Double);
        out = Vec::try_from(sums.to_device(Device::Cpu)).expect("doubles");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tensor::to_vec;
    use carom_envs::Seeds;
    use rand_distr::{Distribution, StandardNormal};

    fn case(rows: i64, width: i64) -> (Tensor, Tensor) {
        let mut rng = Seeds::new(4).stream("case");
        let mut normal = |n: i64| -> Tensor {
            let values: Vec<f32> = (0..n).map(|_| StandardNormal.sample(&mut rng)).collect();
            Tensor::from_slice(&values)
        };
        (normal(rows * width).view([rows, width]) * 4.0, normal(width))
    }

    #[test]
    fn passes_agree_with_torch() {
        for width in [1, 6, 16, 500, 2000] {
            let (z, bias) = case(3, width);
            let (mut ours, mut theirs) = (z.copy(), z.copy());
            means(&mut ours, 0.7, &bias);
            means_by_operations(&mut theirs, 0.7, &bias);
            for (ours, theirs) in to_vec(&ours).into_iter().zip(to_vec(&theirs)) {
                assert!((ours - theirs).abs() < 1e-6, "width {width}: {ours} for {theirs}");
            }
            let theirs =
                (((&z + &bias) * 0.7).to_kind(Kind::Double)).softplus().sum_dim_intlist(1, false, Kind::Double);
            let theirs = Vec::<f64>::try_from(theirs).unwrap();
            for (ours, theirs) in softplus_sums(&z, &bias, 0.7).into_iter().zip(theirs) {
                assert!((ours - theirs).abs() < 1e-6 * (1.0 + theirs), "width {width}: {ours} for {theirs}");
            }
        }
    }

    #[test]
    fn softplus_of_large_inputs_neither_overflows_nor_vanishes() {
        let z = Tensor::from_slice(&[1e4_f32, -1e4, 0.0]).view([1, 3]);
        let sum = softplus_sums(&z, &Tensor::zeros([3], (Kind::Float, Device::Cpu)), 1.0)[0];
        assert!((sum - (1e4 + 2_f64.ln())).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn states_have_their_means() {
        let mut noise = Uniforms::new(3);
        let n = 40_000;
        for mean in [0.0_f32, 0.02, 0.5, 0.9, 1.0] {
            let logit = (f64::from(mean) / (1.0 - f64::from(mean))).ln().clamp(-80.0, 80.0);
            let mut z = Tensor::zeros([n / 40, 40], (Kind::Float, Device::Cpu));
            let bias = Tensor::full([40], logit, (Kind::Float, Device::Cpu));
            let mut states = z.zeros_like();
            draw(&mut z, 1.0, &bias, &mut states, &mut noise);
            let drawn = states.mean(Kind::Double).double_value(&[]);
            // Five standard errors.
            let margin = 5.0 * (f64::from(mean) * (1.0 - f64::from(mean)) / n as f64).sqrt() + 1e-6;
            assert!((drawn - f64::from(mean)).abs() <= margin, "{drawn} for {mean}");
            binarise(&z.fill(f64::from(mean)), &mut states, &mut noise);
            let drawn = states.mean(Kind::Double).double_value(&[]);
            assert!((drawn - f64::from(mean)).abs() <= margin, "{drawn} for {mean}");
        }
    }
}
