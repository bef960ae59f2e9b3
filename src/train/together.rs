//! Messages of the ranks of a run to the first, which writes it: their state for a checkpoint, and finished episodes.

use crate::ranks::Ranks;
use anyhow::{Context, Result, ensure};
use carom_agents::{Agent, Snapshot};
use carom_envs::Episode;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Prefix of the ranks' states in a checkpoint.
pub(super) const PREFIX: &str = "ranks";

/// The state of a rank but the first, whose state is that of the agent.
pub(super) struct Shard {
    /// A safetensors file.
    arrays: Vec<u8>,
    values: Values,
}

/// All of a rank's state but arrays.
#[derive(Serialize, Deserialize)]
struct Values {
    learned: Map<String, Value>,
    envs: Value,
}

/// An episode with the step at which it ended.
pub(super) type AtStep = (u64, Episode);

/// Returns the states of all ranks but the first on the first, and nothing on the others.
///
/// # Errors
/// When an agent does not save its arrays.
pub(super) fn gather_shards(ranks: &Ranks, agent: &dyn Agent, has_replay: bool, envs: Value) -> Result<Vec<Shard>> {
    let snapshot = if ranks.is_first() { Snapshot::default() } else { agent.save_shard(has_replay) };
    let values = Values { learned: snapshot.state().clone(), envs };
    let all_values = ranks.gather(&serde_json::to_vec(&values)?);
    let all_arrays = ranks.gather(&safetensors::serialize(snapshot.tensors(), None)?);
    let shard = |(values, arrays): (Vec<u8>, _)| Ok(Shard { arrays, values: serde_json::from_slice(&values)? });
    all_values.into_iter().zip(all_arrays).skip(1).map(shard).collect()
}

impl Shard {
    /// Returns the environments.
    pub(super) fn envs(&self) -> &Value {
        &self.values.envs
    }
}

/// Adds the states of the other ranks to `first`, the state of the agent of the first.
///
/// # Errors
/// When the arrays of a rank are damaged.
pub(super) fn joined<'a>(first: Snapshot<'a>, shards: &'a [Shard]) -> Result<Snapshot<'a>> {
    if shards.is_empty() {
        return Ok(first);
    }
    let mut others = Snapshot::default();
    for (rank, shard) in (1..).zip(shards) {
        let arrays = SafeTensors::deserialize(&shard.arrays).with_context(|| format!("the arrays of rank {rank}"))?;
        others = others.nest(&rank.to_string(), Snapshot::of(&arrays, shard.values.learned.clone()));
    }
    Ok(first.nest(PREFIX, others))
}

/// Checks that all ranks have the same policy, bit for bit.
///
/// # Errors
/// On the first, when they have not.
pub(super) fn check_policy(ranks: &Ranks, agent: &dyn Agent) -> Result<()> {
    let mut hash = Sha256::new();
    for (_, array) in agent.save_policy().tensors() {
        hash.update(safetensors::View::data(&array));
    }
    ranks.check_equal(&hash.finalize(), "the parameters")
}

/// Returns the `episodes` of all ranks on the first, in the order of their steps and environments, and nothing on the
/// others. Numbers of environments become those of the whole run.
///
/// # Errors
/// When a rank sends something else.
pub(super) fn gather_episodes(ranks: &Ranks, episodes: &[AtStep], n_envs: usize) -> Result<Vec<AtStep>> {
    const WORDS: usize = 4;
    let first_env = ranks.rank() * n_envs;
    let words = |(step, episode): &AtStep| {
        let env_idx = (first_env + episode.env_idx) as u64;
        [*step, env_idx, episode.episode_return.to_bits(), episode.length]
    };
    let bytes: Vec<u8> = episodes.iter().flat_map(words).flat_map(u64::to_le_bytes).collect();
    let mut all = vec![];
    for bytes in ranks.gather(&bytes) {
        ensure!(bytes.len().is_multiple_of(WORDS * size_of::<u64>()), "a rank sent a part of an episode");
        let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        all.extend(words.as_chunks().0.iter().map(|&[step, env_idx, episode_return, length]: &[u64; WORDS]| {
            let episode_return = f64::from_bits(episode_return);
            (step, Episode { env_idx: env_idx as usize, episode_return, length })
        }));
    }
    all.sort_by_key(|(step, episode)| (*step, episode.env_idx));
    Ok(all)
}
