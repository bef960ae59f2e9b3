//! The baselines, with the sources of their scores.

use super::{Baseline, Known, Measure, Quoted};

const LAST_100: Measure = Measure::Training { episodes: 100 };

// Scores of whole games of `breakout`.
const RANDOM: Quoted = Quoted { score: 1.3, source: "random play" };
const HUMAN: Quoted = Quoted { score: 30.5, source: "a human (Wang et al. 2016)" };
const DQN_2015: Quoted = Quoted { score: 401.2, source: "Mnih et al. 2015, DQN after 50 M steps, with epsilon 0.05" };

// Training returns of MinAtar's Breakout after 5 M steps.
const YOUNG_DQN: Quoted = Quoted {
    score: 10.0,
    source: "Young & Tian 2019, DQN, about: the end of their figure of 30 seeds, read off by eye",
};
const YOUNG_AC: Quoted =
    Quoted { score: 17.5, source: "Young & Tian 2019, AC(lambda), about: as others read their figure" };

/// All baselines, the quickest first.
pub(crate) const BASELINES: &[Baseline] = &[
    Baseline {
        preset: "frozen-lake-value-iteration",
        time: "a second",
        scores: &[Known {
            measure: Measure::Exact,
            ours: &[0.7402],
            quoted: &[Quoted { score: 0.7402, source: "the optimum within 100 steps, for gamma 0.99" }],
        }],
    },
    Baseline {
        preset: "taxi-q-learning",
        time: "seconds",
        scores: &[Known {
            measure: Measure::Exact,
            ours: &[7.93, 7.93, 7.93],
            quoted: &[Quoted { score: 7.93, source: "the optimum" }],
        }],
    },
    Baseline {
        preset: "cartpole-dqn",
        time: "a minute",
        scores: &[Known {
            measure: Measure::Games { episodes: 1000, epsilon: 0.0 },
            ours: &[500.0, 500.0, 500.0],
            quoted: &[
                Quoted { score: 475.0, source: "counts as solved (Gymnasium)" },
                Quoted { score: 500.0, source: "the maximum" },
            ],
        }],
    },
    Baseline {
        preset: "minatar-breakout-dqn",
        time: "two minutes",
        scores: &[Known {
            measure: LAST_100,
            ours: &[18.06, 13.46, 14.80],
            quoted: &[Quoted { score: 0.5, source: "random play" }],
        }],
    },
    Baseline {
        preset: "minatar-breakout-pqn-gymnax",
        time: "four minutes",
        scores: &[
            Known {
                measure: Measure::Games { episodes: 1000, epsilon: 0.0 },
                ours: &[102.8, 93.5, 103.0],
                quoted: &[Quoted { score: 101.0, source: "`scripted`" }],
            },
            Known {
                measure: Measure::Games { episodes: 1000, epsilon: 0.01 },
                ours: &[83.3, 79.3, 81.8],
                quoted: &[Quoted { score: 81.4, source: "`scripted`" }],
            },
        ],
    },
    Baseline {
        preset: "minatar-breakout-pqn-sticky",
        time: "five minutes",
        scores: &[Known { measure: LAST_100, ours: &[71.02, 50.42, 56.43], quoted: &[YOUNG_DQN, YOUNG_AC] }],
    },
    Baseline {
        preset: "breakout-dqn",
        time: "half an hour of half a core",
        scores: &[Known {
            measure: Measure::Games { episodes: 100, epsilon: 0.01 },
            ours: &[26.1],
            quoted: &[RANDOM, HUMAN],
        }],
    },
    Baseline {
        preset: "breakout-pqn",
        time: "20 minutes",
        scores: &[Known {
            measure: Measure::Games { episodes: 100, epsilon: 0.01 },
            ours: &[91.0, 89.8, 81.8],
            quoted: &[RANDOM, HUMAN],
        }],
    },
    Baseline {
        preset: "minatar-breakout-dqn-paper",
        time: "40 minutes",
        scores: &[Known {
            measure: Measure::Training { episodes: 1000 },
            ours: &[9.21, 9.49, 9.41],
            quoted: &[Quoted { score: 8.65, source: "the paper's own script, one seed" }, YOUNG_DQN, YOUNG_AC],
        }],
    },
    Baseline {
        preset: "breakout-pqn-hour",
        time: "an hour",
        scores: &[Known {
            measure: Measure::Games { episodes: 100, epsilon: 0.01 },
            ours: &[372.4, 370.6, 378.5],
            quoted: &[HUMAN, DQN_2015],
        }],
    },
    Baseline {
        preset: "breakout-pqn-machado",
        time: "70 minutes",
        scores: &[Known {
            measure: Measure::Games { episodes: 100, epsilon: 0.01 },
            ours: &[150.4],
            quoted: &[RANDOM],
        }],
    },
    Baseline {
        preset: "breakout-pqn-night",
        time: "a night",
        scores: &[Known {
            measure: Measure::Games { episodes: 100, epsilon: 0.01 },
            ours: &[432.3, 427.4, 435.4],
            quoted: &[HUMAN, DQN_2015],
        }],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::presets;
    use crate::config::training::TRAINING;

    #[test]
    fn each_baseline_is_a_preset_and_has_scores_to_stand_beside() {
        for baseline in BASELINES {
            assert!(presets::find(baseline.preset, &TRAINING).is_ok(), "{}", baseline.preset);
            for known in baseline.scores {
                assert!(!known.ours.is_empty() && !known.quoted.is_empty(), "{}", baseline.preset);
            }
        }
    }
}
