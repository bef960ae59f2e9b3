//! Ranks on threads: from the same data any number of them makes one update, and their parameters stay equal.

use super::SharedRanks;
use super::threads::{assert_one_update, on_ranks};
use crate::agent::{Agent, Learner, Task};
use crate::clocks::{clocks_in, clocks_task};
use crate::dqn::{DescentSettings, Dqn, DqnConfig, HeadKind, HeadSettings, NetworkSettings, ReplaySettings};
use crate::pqn::{Pqn, PqnConfig};
use crate::q_network::QNetwork;
use crate::snapshot::{Loaded, Snapshot};
use carom_envs::{Seeds, VecEnv};
use safetensors::{SafeTensors, View};

fn online(network: &QNetwork) -> Vec<f32> {
    let snapshot = network.save();
    let (_, array) = snapshot.tensors().find(|(name, _)| *name == "online").expect("it is saved");
    array.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn train(agent: &mut impl Learner, envs: &mut VecEnv, n_steps: usize) {
    let mut actions = vec![0; envs.n_envs()];
    for _ in 0..n_steps {
        agent.act(envs.stacks(&mut vec![]), &mut actions);
        envs.step(&actions);
        agent.observe(envs, &actions).expect("finite losses");
    }
}

const N_ENVS: usize = 12;

/// Moves of the parameters of a PQN that acts greedily, so that any number of ranks plays the same games.
fn pqn(
    ranks: Option<SharedRanks>,
    shard: (usize, usize),
    lr: f64,
    n_minibatches: usize,
    n_rollouts: usize,
) -> Vec<f32> {
    let (rank, n) = shard;
    let mut envs = clocks_in(rank * N_ENVS / n..(rank + 1) * N_ENVS / n);
    let config = PqnConfig {
        lr,
        epsilon_start: 0.0,
        epsilon_end: 0.0,
        epsilon_fraction: 0.0,
        rollout_len: 4,
        n_epochs: 1,
        n_minibatches,
        max_grad_norm: 0.5,
        hidden: vec![16],
        ..PqnConfig::default()
    };
    let task = clocks_task(&envs).with_ranks(ranks);
    let mut agent = Pqn::new(config, &task, &Seeds::new(0)).expect("a valid configuration");
    let before = online(agent.network());
    train(&mut agent, &mut envs, 4 * n_rollouts);
    online(agent.network()).iter().zip(before).map(|(after, before)| after - before).collect()
}

#[test]
fn pqn_on_several_ranks_makes_the_update_of_one_process() {
    // A minibatch is the whole rollout, so that the order in which it is drawn does not matter.
    assert_one_update(|ranks, rank, n| pqn(ranks, (rank, n), 1.0, 1, 1));
    // Rounding grows from update to update.
    assert_one_update(|ranks, rank, n| pqn(ranks, (rank, n), 0.05, 1, 5));
}

#[test]
fn the_parameters_of_pqn_stay_equal_on_all_ranks() {
    for n in [2, 4] {
        let params = on_ranks(n, |ranks, rank| pqn(ranks, (rank, n), 1.0, 4, 5));
        assert!(params.iter().all(|of_rank| *of_rank == params[0]), "{n} ranks");
    }
}

fn dqn_config(outputs: HeadKind) -> DqnConfig {
    DqnConfig {
        learning_starts: 0,
        train_every: N_ENVS as u64,
        target_every: 60,
        batch_size: 8,
        outputs: HeadSettings { head: outputs, ..HeadSettings::default() },
        replay: ReplaySettings { buffer_size: 480, n_step: 2, ..ReplaySettings::default() },
        network: NetworkSettings { hidden: vec![16], ..NetworkSettings::default() },
        descent: DescentSettings { max_grad_norm: 0.5, ..DescentSettings::default() },
        ..DqnConfig::default()
    }
}

#[test]
fn the_parameters_of_dqn_stay_equal_on_all_ranks_and_differ_from_the_first() {
    for outputs in [HeadKind::Scalar, HeadKind::Iqn] {
        let params = |n_steps| {
            on_ranks(4, |ranks, rank| {
                let mut envs = clocks_in(rank * 3..rank * 3 + 3);
                let task = clocks_task(&envs).with_ranks(ranks);
                let mut agent = Dqn::new(dqn_config(outputs), &task, &Seeds::new(0)).expect("a valid configuration");
                train(&mut agent, &mut envs, n_steps);
                online(agent.network())
            })
        };
        let (before, after) = (params(1), params(23));
        assert!(after.iter().all(|of_rank| *of_rank == after[0]), "{outputs:?}");
        assert_ne!(before[0], after[0]);
    }
}

#[test]
fn a_shard_is_restored_beside_the_state_of_the_first_rank() {
    on_ranks(2, |ranks, rank| {
        let mut envs = clocks_in(rank * 3..rank * 3 + 3);
        let task = clocks_task(&envs).with_ranks(ranks);
        let make = |task: &Task| Dqn::new(dqn_config(HeadKind::Scalar), task, &Seeds::new(0)).expect("valid");
        let mut agent = make(&task);
        let mut again = make(&task);
        train(&mut agent, &mut envs, 10);
        let saved = agent.save_shard(true);
        let (arrays, state) = (safetensors::serialize(saved.tensors(), None).expect("arrays"), saved.state().clone());
        let arrays = SafeTensors::deserialize(&arrays).expect("arrays");
        again.load_shard(&Loaded::new(&arrays, &state)).expect("of the same agent");
        assert_eq!(again.save_shard(true).state(), &state);
        let sent = Snapshot::of(&arrays, state.clone());
        assert_eq!((sent.tensors().count(), sent.state()), (saved.tensors().count(), &state));
        for (name, array) in saved.tensors() {
            let (_, copy) = sent.tensors().find(|(copied, _)| *copied == name).expect("an array of this name");
            assert_eq!((copy.dtype(), copy.shape(), copy.data()), (array.dtype(), array.shape(), array.data()));
        }
    });
}

#[test]
fn what_cannot_be_spread_over_the_ranks_is_refused() {
    on_ranks(2, |ranks, _| {
        let envs = clocks_in(0..3);
        let task = clocks_task(&envs).with_ranks(ranks);
        let error = |config| Dqn::new(config, &task, &Seeds::new(0)).err().expect("an error").to_string();
        let odd = DqnConfig { batch_size: 7, ..dqn_config(HeadKind::Scalar) };
        assert_eq!(error(odd), "agent.batch_size is 7: expected a multiple of 2, the ranks");
        let replay = ReplaySettings { buffer_size: 480, prioritized: true, ..ReplaySettings::default() };
        let prioritized = DqnConfig { replay, ..dqn_config(HeadKind::Scalar) };
        assert!(error(prioritized).starts_with("agent.prioritized is true: expected false over 2 ranks"));
        let pqn = Pqn::new(PqnConfig { n_minibatches: 5, ..PqnConfig::default() }, &task, &Seeds::new(0));
        let error = pqn.err().expect("an error").to_string();
        assert!(error.ends_with("a divisor of 96 (rollout_len x n_envs of a rank)"), "{error}");
    });
}
