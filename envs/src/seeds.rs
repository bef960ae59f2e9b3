//! Named random streams from one master seed.

use rand_pcg::Pcg32;

/// Derives independent random streams from one master seed by name (`env/3`, `explore`, `replay`, `init`). So the
/// numbers that one part of a run draws do not depend on how many another part draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    master: u64,
}

impl Seeds {
    /// The streams of `master`.
    pub fn new(master: u64) -> Self {
        Self { master }
    }

    /// The stream called `name`. The same master seed and name give the same stream.
    pub fn stream(&self, name: &str) -> Pcg32 {
        // FNV-1a of the name, then splitmix64, so that similar seeds give unrelated streams.
        let name_hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let state = splitmix64(self.master ^ splitmix64(name_hash));
        Pcg32::new(state, splitmix64(state ^ name_hash))
    }

    /// Seeds of process number `rank` of those that train together; of the first, these.
    #[must_use]
    pub fn of_rank(&self, rank: usize) -> Self {
        match rank {
            0 => *self,
            _ => Self { master: splitmix64(self.master ^ splitmix64(rank as u64)) },
        }
    }

    /// The streams called `name/0`, `name/1`, ..., `n` of them.
    pub fn streams(&self, name: &str, n: usize) -> Vec<Pcg32> {
        (0..n).map(|i| self.stream(&format!("{name}/{i}"))).collect()
    }
}

fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn streams_depend_on_the_master_seed_and_on_the_name_alone() {
        let first = |master, name: &str| Seeds::new(master).stream(name).next_u64();
        assert_eq!(first(7, "env/0"), first(7, "env/0"));
        assert_ne!(first(7, "env/0"), first(7, "env/1"));
        assert_ne!(first(7, "env/0"), first(8, "env/0"));
    }

    #[test]
    fn each_rank_has_streams_of_its_own_and_the_first_those_of_a_single_process() {
        let first = |rank| Seeds::new(7).of_rank(rank).stream("explore").next_u64();
        assert_eq!(first(0), Seeds::new(7).stream("explore").next_u64());
        let mut all: Vec<u64> = (0..100).map(first).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 100);
    }
}
