//! Exact results on a transition table: values of actions, and the expected return of a policy without playing it.

use crate::agent::Agent;
use carom_envs::TransitionModel;
use ndarray::Array2;

/// Largest difference of two values that count as equal, relative to the larger of 1 and their size. It is far above
/// rounding, and far below any difference between policies.
const MAX_TIE: f64 = 1e-9;

/// `Σ p(s', r | state, action) (r + γ v[s'])`, without the second term where the episode terminates.
///
/// The right-hand side of Bellman's equation: Sutton & Barto (2018), eq. 4.6.
pub fn action_value(model: &TransitionModel, v: &[f64], gamma: f64, state: usize, action: usize) -> f64 {
    let outcomes = model.outcomes(state, action).iter();
    outcomes.map(|o| o.probability * (o.reward + if o.terminated { 0.0 } else { gamma * v[o.next_state] })).sum()
}

/// The Q-table of one step of look-ahead to `v`, `[n_states, n_actions]`.
pub fn action_values(model: &TransitionModel, v: &[f64], gamma: f64) -> Array2<f64> {
    let shape = (model.n_states(), model.n_actions);
    Array2::from_shape_fn(shape, |(state, action)| action_value(model, v, gamma, state, action))
}

/// The best action of `state` by looking one step ahead to `v`, and its value.
///
/// Several actions can be within a billionth of the best. Then it is `present` if that is one of them, else the one of
/// the lowest index.
pub fn best_action(model: &TransitionModel, v: &[f64], gamma: f64, state: usize, present: usize) -> (usize, f64) {
    let value = |action| action_value(model, v, gamma, state, action);
    let best = (0..model.n_actions).map(value).fold(f64::NEG_INFINITY, f64::max);
    let is_tied = |action: &usize| value(*action) >= best - MAX_TIE * best.abs().max(1.0);
    let action = std::iter::once(present).chain(0..model.n_actions).find(is_tied);
    (action.unwrap_or(present), best)
}

/// Expected value of an episode's first state.
pub fn start_value(model: &TransitionModel, v: &[f64]) -> f64 {
    model.start.iter().zip(v).map(|(probability, value)| probability * value).sum()
}

/// The greedy action of `agent` in each of `n_states` discrete states.
pub fn greedy_policy(agent: &mut dyn Agent, n_states: usize) -> Vec<usize> {
    let obs: Vec<u8> = (0..n_states as u32).flat_map(u32::to_le_bytes).collect();
    let mut actions = vec![0; n_states];
    agent.greedy(&obs, &mut actions);
    actions
}

/// Largest number of steps that [`expected_return`] looks ahead.
const MAX_HORIZON: u64 = 1_000_000;

/// Expected undiscounted return of the policy that plays `actions[state]` with probability `1 − epsilon` and a
/// uniformly random action otherwise, over the first states' distribution, in episodes cut off after `max_steps`.
///
/// Dynamic programming backwards from the last step: `v_{k+1}(s) = Σ_a π(a|s) Σ p (r + v_k(s'))`, over the states that
/// the policy can reach. Without a limit it goes on until no value changes by more than 1e-12. The result is `None` if
/// a million steps do not suffice: a policy that never ends its episodes has no finite return unless its rewards cease.
///
/// # Panics
/// When `actions` does not hold one action for each state.
pub fn expected_return(
    model: &TransitionModel,
    actions: &[usize],
    epsilon: f64,
    max_steps: Option<u64>,
) -> Option<f64> {
    assert_eq!(actions.len(), model.n_states(), "one action a state");
    let reachable = reachable(model, actions, epsilon);
    let mut v = vec![0.0; model.n_states()];
    let mut next = v.clone();
    // With a limit only equal values end it early: the steps that are left would not change them either.
    let tolerance = if max_steps.is_some() { 0.0 } else { 1e-12 };
    let mut is_settled = max_steps.is_some_and(|max_steps| max_steps <= MAX_HORIZON);
    for _ in 0..max_steps.unwrap_or(MAX_HORIZON).min(MAX_HORIZON) {
        for &state in &reachable {
            next[state] = policy_value(model, &v, state, actions[state], epsilon);
        }
        std::mem::swap(&mut v, &mut next);
        if v.iter().zip(&next).all(|(new, old)| (new - old).abs() <= tolerance) {
            is_settled = true;
            break;
        }
    }
    is_settled.then(|| start_value(model, &v))
}

/// The states that the ε-greedy policy can reach from a first state.
fn reachable(model: &TransitionModel, actions: &[usize], epsilon: f64) -> Vec<usize> {
    let mut seen: Vec<bool> = model.start.iter().map(|&probability| probability > 0.0).collect();
    let mut found: Vec<usize> = (0..seen.len()).filter(|&state| seen[state]).collect();
    let mut n_done = 0;
    while let Some(&state) = found.get(n_done) {
        n_done += 1;
        for action in (0..model.n_actions).filter(|&action| epsilon > 0.0 || action == actions[state]) {
            for outcome in model.outcomes(state, action).iter().filter(|o| o.probability > 0.0 && !o.terminated) {
                if !std::mem::replace(&mut seen[outcome.next_state], true) {
                    found.push(outcome.next_state);
                }
            }
        }
    }
    found
}

/// One step ahead to `v` under the ε-greedy policy, undiscounted.
fn policy_value(model: &TransitionModel, v: &[f64], state: usize, greedy: usize, epsilon: f64) -> f64 {
    let value = (1.0 - epsilon) * action_value(model, v, 1.0, state, greedy);
    if epsilon == 0.0 {
        return value;
    }
    let sum: f64 = (0..model.n_actions).map(|action| action_value(model, v, 1.0, state, action)).sum();
    value + epsilon * sum / model.n_actions as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::model::Outcome;

    /// One state; action 0 pays 1 and goes on, action 1 pays 10 and ends.
    fn one_state() -> TransitionModel {
        let outcome = |reward, terminated| vec![Outcome { probability: 1.0, next_state: 0, reward, terminated }];
        TransitionModel { outcomes: vec![outcome(1.0, false), outcome(10.0, true)], n_actions: 2, start: vec![1.0] }
    }

    #[test]
    fn returns_within_a_horizon_are_as_worked_by_hand() {
        let model = one_state();
        assert_eq!(expected_return(&model, &[0], 0.0, Some(7)), Some(7.0));
        assert_eq!(expected_return(&model, &[1], 0.0, Some(7)), Some(10.0));
        assert_eq!(expected_return(&model, &[1], 0.0, Some(u64::MAX)), Some(10.0), "settled long before");
        assert_eq!(expected_return(&model, &[0], 0.0, Some(u64::MAX)), None, "one a step for ever");
        assert_eq!(expected_return(&model, &[0], 0.0, None), None);
        // ε = 1: v1 = 5.5, v2 = 5.5 + 0.5 · 5.5.
        assert_eq!(expected_return(&model, &[0], 1.0, Some(2)), Some(8.25));
        // Without limit v = 5.5 + 0.5 v.
        assert!((expected_return(&model, &[0], 1.0, None).expect("an end") - 11.0).abs() < 1e-9);
    }

    #[test]
    fn states_that_the_policy_never_sees_do_not_keep_it_from_settling() {
        let mut model = one_state();
        let for_ever = vec![Outcome { probability: 1.0, next_state: 1, reward: -1.0, terminated: false }];
        model.outcomes.extend([for_ever.clone(), for_ever]);
        model.start.push(0.0);
        assert_eq!(reachable(&model, &[1, 0], 0.5), [0]);
        assert_eq!(expected_return(&model, &[1, 0], 0.0, None), Some(10.0));
    }

    #[test]
    fn the_best_action_looks_one_step_ahead_and_of_equals_the_present_one_stays() {
        let model = one_state();
        assert_eq!(best_action(&model, &[5.0], 1.0, 0, 0), (1, 10.0));
        assert_eq!(best_action(&model, &[9.0 + 1e-12], 1.0, 0, 0).0, 0);
        assert_eq!(best_action(&model, &[9.0 - 1e-12], 1.0, 0, 0).0, 0);
        assert_eq!(best_action(&model, &[9.0 + 1e-12], 1.0, 0, 1).0, 1);
        assert_eq!(best_action(&model, &[20.0], 0.5, 0, 1), (0, 11.0));
    }

    #[test]
    fn a_value_function_has_a_q_table() {
        assert_eq!(action_values(&one_state(), &[20.0], 0.5), ndarray::array![[11.0, 10.0]]);
    }
}
