//! Places of the operations' parameters in one flat vector, and their initial values.

use super::duel::Duel;
use super::lanes::LANES;
use super::operation::Operation;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use std::ops::Range;
use tch::Tensor;

/// A network without its parameters: its operations, and the place of each one's parameters in a flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    operations: Vec<Operation>,
    /// For each operation, where its two parameters lie, if it has any.
    places: Vec<Option<[Range<usize>; 2]>>,
    /// Shapes of all parameters, in order.
    shapes: Vec<Vec<i64>>,
    len: usize,
}

/// How initial parameters are drawn. Norms always start with scale 1 and shift 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Weights and biases uniform in ±1 / √fan_in, as PyTorch's layers draw them.
    FanIn,
    /// Weights from N(0, 2 / fan_in) before a rectifier (He et al. 2015), else from N(0, 1 / fan_in); biases 0.
    He,
    /// Weights uniform in ±√(6 / (fan_in + fan_out)) (Glorot & Bengio 2010); biases 0.
    Glorot,
}

impl Layout {
    /// Places the parameters directly one after another.
    pub fn packed(operations: Vec<Operation>) -> Self {
        Self::new(operations, 1)
    }

    /// Starts each parameter on a cache line of its own, where matrix products are fastest and take equal time. Gaps
    /// stay 0.
    pub fn aligned(operations: Vec<Operation>) -> Self {
        Self::new(operations, LANES)
    }

    fn new(operations: Vec<Operation>, align: usize) -> Self {
        let (mut places, mut shapes, mut len) = (vec![], vec![], 0);
        for operation in &operations {
            places.push(operation.param_shapes().map(|own| {
                own.map(|shape| {
                    let start = len;
                    let end = start + shape.iter().product::<i64>() as usize;
                    len = end.next_multiple_of(align);
                    shapes.push(shape);
                    start..end
                })
            }));
        }
        Self { operations, places, shapes, len }
    }

    /// The network without the sum of its streams, where it ends in one, and the sum. It has no parameters, so that all
    /// others stay in their places.
    pub(crate) fn without_duel(mut self) -> (Self, Option<Duel>) {
        let Some(&Operation::Duel { actions, atoms }) = self.operations.last() else { return (self, None) };
        self.operations.pop();
        self.places.pop();
        (self, Some(Duel { actions: actions as usize, atoms: atoms as usize }))
    }

    /// The same network, with its parameters, as one that does not end in a sum of streams: the sum is linear, so the
    /// layer in front of it takes it in.
    pub(crate) fn with_duel_folded(self, params: Vec<f32>) -> (Self, Vec<f32>) {
        let (before, Some(duel)) = self.clone().without_duel() else { return (self, params) };
        let (mut operations, mut joined) = (before.operations.clone(), vec![]);
        let Some(Operation::Dense { outputs, .. }) = operations.last_mut() else { return (self, params) };
        *outputs = (duel.actions * duel.atoms) as i64;
        let folded = Self::aligned(operations);
        let mut values = vec![0.0; folded.len()];
        for ((_, from), (_, to)) in before.placed().zip(folded.placed()) {
            for (from, to) in from.into_iter().flatten().zip(to.into_iter().flatten()) {
                if from.len() == to.len() {
                    values[to.clone()].copy_from_slice(&params[from.clone()]);
                } else {
                    duel.join(&params[from.clone()], &mut joined);
                    values[to.clone()].copy_from_slice(&joined);
                }
            }
        }
        (folded, values)
    }

    /// The operations, from the input to the output.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Each operation with the places of its parameters: weight and bias or scale and shift, if it has any.
    pub fn placed(&self) -> impl DoubleEndedIterator<Item = (&Operation, Option<&[Range<usize>; 2]>)> {
        self.operations.iter().zip(self.places.iter().map(Option::as_ref))
    }

    /// Shapes of all parameters: two for each operation that has any, in order.
    pub fn shapes(&self) -> &[Vec<i64>] {
        &self.shapes
    }

    /// Length of the flat vector.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Initial parameters, drawn in the order of the parameters.
    pub fn first_params(&self, init: Init, rng: &mut impl Rng) -> Vec<f32> {
        let mut params = vec![0.0; self.len];
        for (i, (operation, places)) in self.placed().enumerate() {
            let Some([first, second]) = places.cloned() else { continue };
            let Some([fan_in, fan_out]) = operation.fans() else {
                params[first].fill(1.0);
                continue;
            };
            match init {
                Init::FanIn => {
                    let bound = (fan_in as f32).sqrt().recip();
                    let uniform = Uniform::new(-bound, bound);
                    params[first].fill_with(|| uniform.sample(rng));
                    params[second].fill_with(|| uniform.sample(rng));
                }
                Init::He => {
                    let gain: f32 = if self.is_rectified(i) { 2.0 } else { 1.0 };
                    let std = (gain / fan_in as f32).sqrt();
                    params[first].fill_with(|| std * rng.sample::<f32, _>(StandardNormal));
                }
                Init::Glorot => {
                    let bound = (6.0 / (fan_in + fan_out) as f32).sqrt();
                    params[first].fill_with(|| rng.gen_range(-bound..bound));
                }
            }
        }
        params
    }

    /// Whether a rectifier follows the weight of operation `i` before the next weight. An embedding has its own.
    fn is_rectified(&self, i: usize) -> bool {
        let mut behind = self.operations[i + 1..].iter().take_while(|operation| operation.fans().is_none());
        matches!(self.operations[i], Operation::Embed { .. }) || behind.any(|op| *op == Operation::relu())
    }

    /// All parameters in their shapes, as parts of the flat vector `params`.
    ///
    /// One split has one concatenation as its gradient. The gradient of a view is as long as all of `params`, and
    /// mostly 0: a view for each parameter took a third of an update of the pixel network.
    pub fn split(&self, params: &Tensor) -> Vec<Tensor> {
        let (mut sizes, mut is_param, mut end) = (vec![], vec![], 0);
        let mut part = |size: usize, is: bool| {
            if size > 0 || is {
                sizes.push(size as i64);
                is_param.push(is);
            }
        };
        for place in self.places.iter().flatten().flatten() {
            part(place.start - end, false);
            part(place.len(), true);
            end = place.end;
        }
        part(self.len - end, false);
        let parts = params.split_with_sizes(sizes, 0).into_iter().zip(is_param);
        let parts = parts.filter_map(|(part, is_param)| is_param.then_some(part));
        parts.zip(&self.shapes).map(|(part, shape)| part.view(&shape[..])).collect()
    }

    /// Output for `x`, a batch, as a function of the flat vector `params`, in torch's operations: on any device,
    /// differentiated by autograd.
    pub fn forward(&self, params: &Tensor, x: &Tensor) -> Tensor {
        self.forward_at(params, x, None)
    }

    /// Output for `x` and the quantile fractions `taus`, `[B, K]`.
    pub(crate) fn forward_at(&self, params: &Tensor, x: &Tensor, taus: Option<&Tensor>) -> Tensor {
        let parts = self.split(params);
        let mut pairs = parts.chunks_exact(2);
        self.placed().fold(x.shallow_clone(), |x, (operation, places)| {
            let own = places.and_then(|_| pairs.next()).unwrap_or_default();
            operation.apply_at(&x, own, taus)
        })
    }

    /// Shape of the output of each operation, given that of the input, all without the batch.
    pub fn output_shapes(&self, input: &[i64]) -> Vec<Vec<i64>> {
        let shapes = self.operations.iter().scan(input.to_vec(), |shape, operation| {
            *shape = operation.output_shape(shape);
            Some(shape.clone())
        });
        shapes.collect()
    }

    /// Floating-point operations of the forward pass of one element of the batch, given its shape.
    pub fn flops(&self, input: &[i64]) -> i64 {
        let outputs = self.output_shapes(input);
        let inputs = [input].into_iter().chain(outputs.iter().map(Vec::as_slice));
        self.operations.iter().zip(inputs).map(|(operation, input)| operation.flops(input)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::torch;
    use rand::SeedableRng;
    use rand_pcg::Pcg32;

    fn operations() -> Vec<Operation> {
        let dense = |inputs, outputs| Operation::Dense { inputs, outputs };
        vec![dense(3, 5), Operation::LayerNorm { width: 5 }, Operation::relu(), dense(5, 2)]
    }

    #[test]
    fn parameters_lie_one_behind_the_other_or_on_cache_lines() {
        let starts = |layout: &Layout| -> Vec<usize> {
            layout.placed().flat_map(|(_, places)| places.into_iter().flatten()).map(|place| place.start).collect()
        };
        let (packed, aligned) = (Layout::packed(operations()), Layout::aligned(operations()));
        assert_eq!((starts(&packed), packed.len()), (vec![0, 15, 20, 25, 30, 40], 42));
        assert_eq!((starts(&aligned), aligned.len()), (vec![0, 16, 32, 48, 64, 80], 96));
    }

    #[test]
    fn a_sum_of_streams_is_taken_in_by_the_layer_before() {
        let _torch = torch();
        let dense = |inputs, outputs| Operation::Dense { inputs, outputs };
        let duel = Operation::Duel { actions: 3, atoms: 1 };
        let layout = Layout::aligned(vec![dense(3, 5), Operation::relu(), dense(5, 4), duel]);
        let params = layout.first_params(Init::FanIn, &mut Pcg32::seed_from_u64(1));
        let x = Tensor::from_slice(&[0.5_f32, -1.0, 2.0]).view([1, 3]);
        let q = layout.forward(&Tensor::from_slice(&params), &x);
        let (folded, params) = layout.with_duel_folded(params);
        assert_eq!(folded.operations().last(), Some(&dense(5, 3)));
        let difference = folded.forward(&Tensor::from_slice(&params), &x) - q;
        assert!(difference.abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn both_layouts_are_one_network_with_the_same_draws() {
        let _torch = torch();
        let [packed, aligned] = [Layout::packed(operations()), Layout::aligned(operations())].map(|layout| {
            let params = layout.first_params(Init::He, &mut Pcg32::seed_from_u64(1));
            let x = Tensor::from_slice(&[0.5_f32, -1.0, 2.0]).view([1, 3]);
            layout.forward(&Tensor::from_slice(&params), &x)
        });
        assert_eq!(packed, aligned);
    }

    #[test]
    fn an_embedding_is_drawn_as_before_a_rectifier() {
        let embed = Operation::Embed { cosines: 200, width: 100, taus: 4 };
        let layout = Layout::packed(vec![embed, Operation::Dense { inputs: 100, outputs: 200 }]);
        let params = layout.first_params(Init::He, &mut Pcg32::seed_from_u64(3));
        let variance = |weights: &[f32]| weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
        let (embedding, head) = (variance(&params[..20_000]), variance(&params[20_100..40_100]));
        assert!((embedding * 100.0 - 1.0).abs() < 0.05 && (head * 100.0 - 1.0).abs() < 0.05, "{embedding}, {head}");
    }

    #[test]
    fn first_parameters_have_the_spread_of_their_scheme() {
        let layout = Layout::packed(vec![
            Operation::Dense { inputs: 200, outputs: 100 },
            Operation::LayerNorm { width: 100 },
            Operation::relu(),
            Operation::Dense { inputs: 100, outputs: 200 },
        ]);
        let spread = |init: Init| {
            let params = layout.first_params(init, &mut Pcg32::seed_from_u64(2));
            assert!(params[20_100..20_200].iter().all(|scale| *scale == 1.0), "scales of {init:?}");
            let variance = |weights: &[f32]| weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
            let biased = params[20_000..20_100].iter().any(|bias| *bias != 0.0);
            (variance(&params[..20_000]), variance(&params[20_300..40_300]), biased)
        };
        // A uniform number in ±b has the variance b² / 3.
        let cases = [
            (Init::FanIn, 1.0 / 600.0, 1.0 / 300.0),
            (Init::He, 1.0 / 100.0, 1.0 / 100.0),
            (Init::Glorot, 2.0 / 300.0, 2.0 / 300.0),
        ];
        for (init, first, second) in cases {
            let (ours_first, ours_second, biased) = spread(init);
            assert!((ours_first / first - 1.0).abs() < 0.05 && (ours_second / second - 1.0).abs() < 0.05, "{init:?}");
            assert_eq!(biased, init == Init::FanIn, "biases of {init:?}");
        }
    }
}
