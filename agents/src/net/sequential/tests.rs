use super::*;
use crate::net::Activation;
use crate::net::tests::torch;
use rand::SeedableRng;

fn network(operations: &[Operation]) -> Sequential {
    Sequential::new(operations.to_vec(), OptimConfig::of(Rule::Adam), Device::Cpu, &mut Pcg32::seed_from_u64(1))
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size(), "shapes of {what}");
    let largest = theirs.abs().max().double_value(&[]).max(1.0);
    let difference = (ours - theirs).abs().max().double_value(&[]);
    assert!(difference <= 1e-5 * largest, "{what}: {difference} apart, of up to {largest}");
}

/// Networks that have passes by hand, with the shape of an input.
fn cases() -> Vec<(Vec<Operation>, Vec<i64>)> {
    let relu = Operation::relu;
    let encoder = vec![
        Operation::conv3(2, 16),
        relu(),
        Operation::MaxPool,
        Operation::conv3(16, 5),
        relu(),
        Operation::MaxPool,
        Operation::Reshape(vec![5 * 4 * 3]),
    ];
    let decoder = vec![
        Operation::Reshape(vec![3, 4, 5]),
        Operation::conv3(3, 9),
        relu(),
        Operation::Upsample([7, 10]),
        Operation::conv3(9, 8),
        Operation::Upsample([14, 19]),
        Operation::conv3(8, 1),
    ];
    let plain = vec![Operation::conv3(1, 6), relu(), Operation::Upsample([6, 4])];
    let dense = |inputs, outputs| Operation::Dense { inputs, outputs };
    let flat = vec![Operation::Reshape(vec![12]), dense(12, 7), relu(), dense(7, 6), Operation::Reshape(vec![2, 3])];
    vec![
        (encoder, vec![35, 2, 13, 12]),
        (decoder, vec![20, 60]),
        (plain, vec![3, 1, 3, 2]),
        (vec![Operation::conv3(3, 4), relu(), Operation::conv3(4, 4)], vec![17, 3, 8, 16]),
        (flat, vec![5, 1, 4, 3]),
        (vec![dense(3, 4), relu()], vec![9, 3]),
    ]
}

#[test]
fn passes_by_hand_agree_with_autograd() {
    let torch = torch();
    for (operations, shape) in cases() {
        let mut network = network(&operations);
        assert!(!matches!(network.engine, Engine::Autograd), "{operations:?} have passes by hand");
        tch::manual_seed(2);
        // Biases off 0, so that none can be forgotten.
        tch::no_grad(|| network.params += network.params.randn_like() * 0.1);
        let x = Tensor::randn(&shape[..], (Kind::Float, Device::Cpu));
        let leaf = x.copy().set_requires_grad(true);
        let expected = network.forward(&leaf);
        let d_output = expected.randn_like();
        (&expected * &d_output).sum(Kind::Float).backward();
        let d_params = network.params.grad().copy();
        for n_threads in [1, 3] {
            torch.set_threads(n_threads);
            assert_close("output", &tch::no_grad(|| network.forward(&x)), &expected);
            assert_close("kept output", &network.pass(&leaf), &expected);
            let d_input = network.back(&d_output).expect("the input requires a gradient");
            assert_close("gradient of the parameters", &network.grads.take().expect("a gradient"), &d_params);
            assert_close("gradient of the input", &d_input, &leaf.grad());
        }
        torch.set_threads(1);
    }
}

#[test]
fn other_operations_are_autograds() {
    let _torch = torch();
    let tanh = Operation::Act(Activation::Tanh);
    let dense = Operation::Dense { inputs: 4, outputs: 4 };
    // Neither maxima of what may be negative nor products of each row of an image are among the passes by hand.
    for operations in [
        vec![Operation::Reshape(vec![3, 4]), dense.clone()],
        vec![dense, tanh.clone()],
        vec![Operation::conv3(1, 1), Operation::MaxPool],
        vec![Operation::conv3(1, 1), tanh],
    ] {
        assert!(matches!(network(&operations).engine, Engine::Autograd), "{operations:?}");
    }
}

#[test]
fn going_back_over_autograds_pass_gives_its_gradients() {
    let _torch = torch();
    let operations = [Operation::Dense { inputs: 3, outputs: 4 }, Operation::Act(Activation::Tanh)];
    let (mut there, mut back) = (network(&operations), network(&operations));
    let x = Tensor::from_slice(&[0.1_f32, -0.4, 0.9]).view([1, 3]).set_requires_grad(true);
    there.forward(&x).square().sum(Kind::Float).backward();
    let output = back.pass(&x);
    let d_input = back.back(&(&output * 2.0)).expect("the input requires a gradient");
    assert_close("gradient of the parameters", &back.params.grad(), &there.params.grad());
    assert_close("gradient of the input", &d_input, &x.grad());
    for network in [&mut there, &mut back] {
        network.step(0.01);
    }
    assert_close("parameters", &back.params, &there.params);
}

#[test]
fn gradients_by_hand_and_by_autograd_are_added_up() {
    let _torch = torch();
    let mut network = network(&[Operation::Dense { inputs: 3, outputs: 2 }]);
    let x = Tensor::from_slice(&[0.1_f32, -0.4, 0.9]).view([1, 3]);
    let output = network.pass(&x);
    network.back(&output.ones_like());
    let by_hand = network.grads();
    network.forward(&x).sum(Kind::Float).backward();
    assert_close("sum of both gradients", &network.grads(), &(by_hand * 2.0));
}

#[test]
fn threads_do_not_change_a_bit() {
    let torch = torch();
    let (operations, shape) = cases().swap_remove(0);
    let mut network = network(&operations);
    let x = Tensor::ones(&shape[..], (Kind::Float, Device::Cpu)).cumsum(3, Kind::Float).sin();
    let mut bits = vec![];
    for n_threads in [1, 2, 5] {
        torch.set_threads(n_threads);
        let output = network.pass(&x);
        assert!(network.back(&output).is_none(), "x requires no gradient");
        bits.push((to_vec(&output), to_vec(&network.grads.take().expect("a gradient"))));
    }
    torch.set_threads(1);
    assert!(bits.windows(2).all(|pair| pair[0] == pair[1]));
}
