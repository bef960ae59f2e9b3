//! Settings of `breakout`: the preprocessing of the field's papers, and the names of the two usual protocols.

use super::knob::Turn;
use crate::game::EvaluationRules;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};

/// Frames of the longest game: half an hour of play.
const MAX_FRAMES: u64 = 108_000;
/// Frames of the longest game in an evaluation during training: five minutes of play (Mnih et al. 2015, methods;
/// Machado et al. 2018, table 6).
const MAX_FRAMES_EVALUATED: u64 = 18_000;
/// Frames of the longest step: so few that the steps a reset plays cannot lose a ball.
const MAX_FRAME_SKIP: u64 = 16;
/// Observations of the deepest stack.
const MAX_FRAME_STACK: u64 = 16;

crate::settings! {
    /// Settings of `breakout`. The settings that a protocol determines default to its values.
    pub struct BreakoutSettings {
        /// Protocol that sets the defaults of `sticky`, `noop_max` and `life_loss_terminal`.
        protocol: Protocol = Protocol::Dqn2015;
        /// Frames of a step, all with the same action; their rewards are summed.
        frame_skip: u64 = 4, in 1..=MAX_FRAME_SKIP;
        /// Observations that an agent sees at once: the latest and those before it.
        frame_stack: u64 = 4, in 1..=MAX_FRAME_STACK;
        /// A game begins with 1 to this many frames of no-op, drawn uniformly; 0 for none.
        noop_max: u64 = Protocol::Dqn2015.values().noop_max, in 0..=MAX_FRAMES - 1;
        /// Probability, at every frame, that the machine repeats the action of the frame before.
        sticky: f64 = Protocol::Dqn2015.values().sticky, in 0.0..=1.0;
        /// A reset plays a step of FIRE and a step of RIGHT, as the wrapper of OpenAI's baselines does.
        fire_reset: bool = false;
        /// The loss of a life ends the episode, and the next one continues the same game. For training only.
        life_loss_terminal: bool = Protocol::Dqn2015.values().life_loss_terminal;
        /// Rewards are replaced by their sign; returns of episodes are of the true rewards. For training only.
        reward_clip: bool = true;
        /// Actions to choose from.
        action_set: ActionSet = ActionSet::Minimal;
        /// Time limit of a game in steps, 0 for none; unless given, the steps of 108,000 frames.
        max_steps: u64 = MAX_FRAMES / 4;
    }
}

/// A paper's protocol of training and evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Mnih et al. 2015: no-op starts, no sticky actions, in training a life is an episode.
    #[serde(rename = "dqn-2015")]
    Dqn2015,
    /// Machado et al. 2018: sticky actions with 0.25, whole games, no no-ops.
    #[serde(rename = "machado-2018")]
    Machado2018,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Dqn2015 => "dqn-2015",
            Protocol::Machado2018 => "machado-2018",
        }
    }

    fn values(self) -> ProtocolValues {
        match self {
            Protocol::Dqn2015 => ProtocolValues { noop_max: 30, sticky: 0.0, life_loss_terminal: true },
            Protocol::Machado2018 => ProtocolValues { noop_max: 0, sticky: 0.25, life_loss_terminal: false },
        }
    }
}

/// Settings that a protocol determines.
struct ProtocolValues {
    noop_max: u64,
    sticky: f64,
    life_loss_terminal: bool,
}

impl Settings for BreakoutSettings {
    const DERIVED: &'static [&'static str] = &["noop_max", "sticky", "life_loss_terminal", "max_steps"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        let ProtocolValues { noop_max, sticky, life_loss_terminal } = self.protocol.values();
        if !is_given("noop_max") {
            self.noop_max = noop_max;
        }
        if !is_given("sticky") {
            self.sticky = sticky;
        }
        if !is_given("life_loss_terminal") {
            self.life_loss_terminal = life_loss_terminal;
        }
        if !is_given("max_steps") {
            self.max_steps = self.usual_max_steps();
        }
    }
}

impl BreakoutSettings {
    /// Random actions keep a greedy policy from standing still until the time limit: with 0.05 in Mnih et al. 2015, and
    /// with 0.01, which is the last epsilon of training, in Machado et al. 2018, who report returns of training.
    pub(super) fn evaluation_rules(&self) -> EvaluationRules {
        let epsilon = match self.protocol {
            Protocol::Dqn2015 => 0.05,
            Protocol::Machado2018 => 0.01,
        };
        EvaluationRules { epsilon, max_steps: Some(MAX_FRAMES_EVALUATED.div_ceil(self.frame_skip.max(1))) }
    }

    fn usual_max_steps(&self) -> u64 {
        MAX_FRAMES.div_ceil(self.frame_skip.max(1))
    }

    /// Name of the protocol that these settings amount to, and what differs from it. Settings for training only are
    /// named if the protocol has none of them: scores are of whole games and true rewards in any case.
    pub(super) fn protocol_name(&self) -> String {
        let matches = |protocol: &Protocol| {
            let ProtocolValues { noop_max, sticky, .. } = protocol.values();
            self.noop_max == noop_max && self.sticky == sticky
        };
        let protocol = [Protocol::Dqn2015, Protocol::Machado2018].into_iter().find(matches).unwrap_or(self.protocol);
        let ProtocolValues { noop_max, sticky, life_loss_terminal } = protocol.values();
        let mut parts = vec![protocol.name().to_owned()];
        if self.sticky != sticky {
            parts.push(format!("sticky {}", self.sticky));
        }
        if self.noop_max != noop_max {
            parts.push(format!("no-ops {}", self.noop_max));
        }
        if self.life_loss_terminal && !life_loss_terminal {
            parts.push("life loss".to_owned());
        }
        if self.fire_reset {
            parts.push("FIRE on reset".to_owned());
        }
        if self.frame_skip != 4 {
            parts.push(format!("frame skip {}", self.frame_skip));
        }
        if self.action_set == ActionSet::Full {
            parts.push("18 actions".to_owned());
        }
        parts.join(", ")
    }
}

/// The actions to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionSet {
    /// ALE's 18 actions in their order. Up and down have no effect.
    Full,
    /// noop, fire, right, left: ALE's minimal set for this game.
    Minimal,
}

impl ActionSet {
    /// Names by index.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            ActionSet::Minimal => &["noop", "fire", "right", "left"],
            ActionSet::Full => &[
                "noop",
                "fire",
                "up",
                "right",
                "left",
                "down",
                "up-right",
                "up-left",
                "down-right",
                "down-left",
                "up-fire",
                "right-fire",
                "left-fire",
                "down-fire",
                "up-right-fire",
                "up-left-fire",
                "down-right-fire",
                "down-left-fire",
            ],
        }
    }

    /// ALE's numbers of the actions, by index.
    #[inline]
    pub(super) fn codes(self) -> &'static [u8] {
        match self {
            ActionSet::Minimal => &[0, 1, 3, 4],
            ActionSet::Full => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
        }
    }
}

/// Turn of the knob by ALE's action `code`, and whether it presses the button.
#[inline]
pub(super) fn effect(code: u8) -> (Turn, bool) {
    const fn set(codes: &[u8]) -> u32 {
        let (mut bits, mut at) = (0, 0);
        while at < codes.len() {
            bits |= 1 << codes[at];
            at += 1;
        }
        bits
    }
    const RIGHT: u32 = set(&[3, 6, 8, 11, 14, 16]);
    const LEFT: u32 = set(&[4, 7, 9, 12, 15, 17]);
    const FIRE: u32 = set(&[1, 10, 11, 12, 13, 14, 15, 16, 17]);
    let is_in = |codes: u32| codes >> code & 1 == 1;
    let turn = if is_in(RIGHT) {
        Turn::Right
    } else if is_in(LEFT) {
        Turn::Left
    } else {
        Turn::Stay
    };
    (turn, is_in(FIRE))
}
