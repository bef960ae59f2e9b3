use super::modules::{Module, Parameters};
use super::*;
use ::safetensors::SafeTensors;
use carom_agents::{DqnConfig, HeadKind, HeadSettings, NetworkSettings, Pqn, PqnConfig, Task};
use carom_envs::{Seeds, registry};
use std::io::Cursor;
use tch::{CModule, Kind, Tensor};

/// A new network on `env`, and some observations with their Q-values. The pixel network is tested without norms: of
/// black cells all channels are 0 at first, and a norm multiplies the rounding of Winograd's products by a thousand.
fn network(env: &str, layer_norm: bool) -> (Network, Vec<u8>, Vec<f32>) {
    let spec = registry::resolve(env, &Values::new()).expect("an environment");
    let seeds = Seeds::new(3);
    let mut envs = spec.make_vec(seeds.streams("env", 4)).expect("four streams");
    let config = PqnConfig { n_minibatches: 4, hidden: vec![32], layer_norm, ..PqnConfig::default() };
    let mut agent = Pqn::new(config, &Task::of(&envs, env, 1000), &seeds).expect("an agent");
    let (mut obs, mut q, mut scratch) = (vec![], vec![], vec![]);
    for step in 0..5 {
        let seen = envs.stacks(&mut scratch);
        obs.extend_from_slice(seen);
        q.extend(agent.network().acting_q(seen));
        envs.step(&[step % envs.n_actions(); 4]);
    }
    let (layout, params) = agent.network().acting().expect("no trunk");
    let input = Input::of(envs.obs_space(), envs.frame_stack());
    let facts = vec![("env".to_owned(), env.to_owned())];
    (Network { layout, params, input, head: Head::Scalar, facts }, obs, q)
}

#[test]
fn a_traced_module_takes_the_mean_of_a_distribution() {
    for (head, dueling) in [(HeadKind::C51, true), (HeadKind::Qr, false)] {
        let spec = registry::resolve("cartpole", &Values::new()).expect("an environment");
        let seeds = Seeds::new(3);
        let envs = spec.make_vec(seeds.streams("env", 4)).expect("four streams");
        let outputs =
            HeadSettings { head, atoms: 11, v_min: -3.0, v_max: 5.0, quantiles: 7, ..HeadSettings::default() };
        let network = NetworkSettings { dueling, hidden: vec![16], ..NetworkSettings::default() };
        let config = DqnConfig { outputs, network, ..DqnConfig::default() };
        let mut agent = Dqn::new(config, &Task::of(&envs, "cartpole", 1000), &seeds).expect("an agent");
        let mut scratch = vec![];
        let obs = envs.stacks(&mut scratch).to_vec();
        let q = agent.acting_values(&obs).to_vec();
        let (layout, params) = agent.network().acting().expect("no trunk");
        let head = match head {
            HeadKind::C51 => Head::C51 { support: (0..11).map(|i| -3.0 + 0.8 * i as f32).collect() },
            _ => Head::Qr { quantiles: 7 },
        };
        let input = Input::of(envs.obs_space(), envs.frame_stack());
        let network = Network { layout, params, input, head, facts: vec![] };
        let file = network.to_bytes(Format::Torchscript).expect("a module");
        let module = CModule::load_data(&mut Cursor::new(file)).expect("a module of TorchScript");
        let shape: Vec<i64> = [4].iter().chain(&network.input.shape).copied().collect();
        let theirs = module.forward_ts(&[Tensor::from_data_size(&obs, &shape, Kind::Float)]).expect("Q-values");
        assert_eq!(theirs.size(), [4, 2]);
        let theirs = Vec::<f32>::try_from(theirs.contiguous().view(-1)).expect("floats");
        assert!(q.iter().zip(&theirs).all(|(ours, theirs)| (ours - theirs).abs() < 1e-5), "{q:?} and {theirs:?}");
        let arrays = network.to_bytes(Format::Safetensors).expect("arrays");
        let arrays = SafeTensors::deserialize(&arrays).expect("arrays");
        assert_eq!(arrays.tensor("support").is_ok(), matches!(network.head, Head::C51 { .. }));
    }
}

#[test]
fn a_traced_module_has_the_agents_q_values() {
    for (env, layer_norm) in [("breakout", false), ("minatar/breakout", true), ("cartpole", true), ("taxi", true)] {
        let (network, obs, q) = network(env, layer_norm);
        let file = network.to_bytes(Format::Torchscript).expect("a module");
        let module = CModule::load_data(&mut Cursor::new(file)).expect("a module of TorchScript");
        let kind = match network.input.element {
            Element::U8 => Kind::Uint8,
            Element::I32 => Kind::Int,
            Element::F32 => Kind::Float,
        };
        let shape: Vec<i64> = [20].iter().chain(&network.input.shape).copied().collect();
        let theirs = module.forward_ts(&[Tensor::from_data_size(&obs, &shape, kind)]).expect("Q-values");
        let theirs = Vec::<f32>::try_from(theirs.view(-1)).expect("floats");
        assert_eq!(theirs.len(), q.len());
        for (ours, theirs) in q.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-5, "{env}: {ours} and {theirs}");
        }
    }
}

#[test]
fn arrays_have_pytorchs_names_and_shapes() {
    let (network, obs, q) = network("breakout", true);
    let file = network.to_bytes(Format::Safetensors).expect("arrays");
    let (_, metadata) = SafeTensors::read_metadata(&file).expect("a header");
    assert_eq!(metadata.metadata().as_ref().expect("facts")["observation"], "u8 [N, 4, 84, 84]");
    let arrays = SafeTensors::deserialize(&file).expect("arrays");
    let mut shapes: Vec<_> = arrays.iter().map(|(name, array)| format!("{name} {:?}", array.shape())).collect();
    shapes.sort();
    let expected = [
        "conv1.bias [32]",
        "conv1.weight [32, 4, 8, 8]",
        "conv2.bias [64]",
        "conv2.weight [64, 32, 4, 4]",
        "conv3.bias [64]",
        "conv3.weight [64, 64, 3, 3]",
        "fc1.bias [32]",
        "fc1.weight [32, 3136]",
        "head.bias [4]",
        "head.weight [4, 32]",
        "norm1.bias [32]",
        "norm1.weight [32]",
        "norm2.bias [64]",
        "norm2.weight [64]",
        "norm3.bias [64]",
        "norm3.weight [64]",
        "norm4.bias [32]",
        "norm4.weight [32]",
    ];
    assert_eq!(shapes, expected);
    let file = examples(network.input(), &obs, &q).expect("arrays");
    let arrays = SafeTensors::deserialize(&file).expect("arrays");
    assert_eq!(arrays.tensor("obs").expect("observations").shape(), [20, 4, 84, 84]);
    assert_eq!(arrays.tensor("q").expect("Q-values").shape(), [20, 4]);
}

/// PyTorch's own layers, fed with the arrays of PyTorch's names, give the agent's Q-values.
#[test]
fn arrays_are_in_pytorchs_order() {
    for (env, layer_norm) in [("breakout", false), ("minatar/breakout", true)] {
        let (network, obs, q) = network(env, layer_norm);
        let shape: Vec<i64> = [20].iter().chain(&network.input.shape).copied().collect();
        let x = Tensor::from_data_size(&obs, &shape, Kind::Uint8).to_kind(Kind::Float);
        let x = if shape.len() == 4 { x / 255.0 } else { x.permute([0, 1, 4, 2, 3]).flatten(1, 2) };
        let theirs = modules::modules(&network).iter().fold(x, by_pytorch);
        let theirs = Vec::<f32>::try_from(theirs.contiguous().view(-1)).expect("floats");
        for (ours, theirs) in q.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-5, "{env}: {ours} and {theirs}");
        }
    }
}

/// The output of a layer as PyTorch computes it.
#[allow(clippy::needless_pass_by_value, reason = "the form that fold asks for")]
fn by_pytorch(x: Tensor, module: &Module) -> Tensor {
    match module {
        Module::Conv { parameters: Parameters { weight, bias, .. }, stride } => {
            x.conv2d(weight, Some(bias), *stride, 0, 1, 1)
        }
        Module::LayerNorm { parameters: Parameters { weight, bias, .. }, of_image } => {
            let cells = if *of_image { x.permute([0, 2, 3, 1]) } else { x };
            let normed = cells.layer_norm(weight.size(), Some(weight), Some(bias), 1e-6, false);
            if *of_image { normed.permute([0, 3, 1, 2]) } else { normed }
        }
        Module::Linear(Parameters { weight, bias, .. }) => x.linear(weight, Some(bias)),
        Module::Relu => x.relu(),
        Module::Flatten => x.flatten(1, -1),
    }
}
