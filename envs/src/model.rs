//! Transition tables of small environments, for planning and for evaluating policies exactly.

/// One possible outcome of an action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Probability of this outcome.
    pub probability: f64,
    /// Next state.
    pub next_state: usize,
    /// Reward of the transition.
    pub reward: f64,
    /// The episode ends with this transition.
    pub terminated: bool,
}

/// For each state and action a list of outcomes whose probabilities sum to 1; and the distribution of first states.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitionModel {
    /// `outcomes[state * n_actions + action]`.
    pub outcomes: Vec<Vec<Outcome>>,
    /// Number of actions.
    pub n_actions: usize,
    /// Probability of each state to be the first one of an episode.
    pub start: Vec<f64>,
}

impl TransitionModel {
    /// Number of states.
    pub fn n_states(&self) -> usize {
        self.start.len()
    }

    /// The outcomes of `action` in `state`.
    pub fn outcomes(&self, state: usize, action: usize) -> &[Outcome] {
        &self.outcomes[state * self.n_actions + action]
    }
}
