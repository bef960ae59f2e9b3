//! Features of an observation, the input of an agent's network.

use carom_envs::ObsSpace;

/// Turns observations into features.
pub trait Encoder {
    /// Number of features of one observation.
    fn n_features(&self) -> usize;

    /// Writes the features of `obs`, `[B * obs_bytes]`, to `features`, `[B * n_features]`.
    fn encode(&self, obs: &[u8], features: &mut [f32]);
}

/// The raw observation: vectors unchanged, a discrete state one-hot, planes as 0 and 1, pixels divided by 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw(pub ObsSpace);

impl Encoder for Raw {
    fn n_features(&self) -> usize {
        match self.0 {
            ObsSpace::Discrete { n } => n,
            ObsSpace::Vector { len } => len,
            ObsSpace::Planes { shape } => shape.iter().product(),
            ObsSpace::Pixels { shape } => shape.iter().product(),
        }
    }

    fn encode(&self, obs: &[u8], features: &mut [f32]) {
        match self.0 {
            ObsSpace::Vector { .. } => {
                for (feature, bytes) in features.iter_mut().zip(obs.as_chunks().0) {
                    *feature = f32::from_le_bytes(*bytes);
                }
            }
            ObsSpace::Discrete { n } => {
                features.fill(0.0);
                for (row, bytes) in features.chunks_exact_mut(n).zip(obs.as_chunks().0) {
                    row[u32::from_le_bytes(*bytes) as usize] = 1.0;
                }
            }
            ObsSpace::Planes { .. } => {
                for (feature, byte) in features.iter_mut().zip(obs) {
                    *feature = f32::from(*byte);
                }
            }
            ObsSpace::Pixels { .. } => {
                for (feature, byte) in features.iter_mut().zip(obs) {
                    *feature = f32::from(*byte) / 255.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(space: ObsSpace, obs: &[u8]) -> Vec<f32> {
        let raw = Raw(space);
        let batch = obs.len() / raw.0.n_bytes();
        let mut features = vec![9.0; batch * raw.n_features()];
        raw.encode(obs, &mut features);
        features
    }

    #[test]
    fn each_space_has_its_features() {
        let states: Vec<u8> = [2_u32, 0].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(encode(ObsSpace::Discrete { n: 3 }, &states), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let vector: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(encode(ObsSpace::Vector { len: 2 }, &vector), [1.5, -2.0]);
        assert_eq!(encode(ObsSpace::Planes { shape: [1, 1, 2] }, &[1, 0]), [1.0, 0.0]);
        assert_eq!(encode(ObsSpace::Pixels { shape: [1, 2] }, &[255, 51]), [1.0, 0.2]);
    }
}
