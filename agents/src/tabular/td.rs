//! Settings that all methods of temporal differences in tables share.

use crate::settings::flat_schedule;

/// Declares a struct of the shared settings, and of a method's own, if any.
macro_rules! td_settings {
    ($(#[$attribute:meta])* $vis:vis struct $name:ident { $($own:tt)* }) => {
        carom_envs::settings! {
            $(#[$attribute])*
            $vis struct $name {
                /// Discount γ of the next state's value.
                gamma: f64 = 0.99, in 0.0..=1.0;
                /// Step size α at step 0.
                lr: f64 = 0.1, in carom_envs::settings::AboveUpTo(0.0, 1.0);
                /// Step size from `lr_steps` on.
                lr_end: f64 = 0.1, in 0.0..=1.0;
                /// Environment steps over which the step size goes from `lr` to `lr_end` in a straight line; with 0 it
                /// stays at `lr`.
                lr_steps: u64 = 0;
                /// Probability ε of a uniformly random action at step 0.
                epsilon_start: f64 = 0.1, in 0.0..=1.0;
                /// ε from `epsilon_steps` on.
                epsilon_end: f64 = 0.1, in 0.0..=1.0;
                /// Environment steps over which ε goes from `epsilon_start` to `epsilon_end` in a straight line; with 0
                /// it stays at `epsilon_start`.
                epsilon_steps: u64 = 0;
                /// Value of every entry before learning. A value above all returns makes the greedy policy explore.
                q_init: f64 = 0.0, in carom_envs::settings::Finite;
                $($own)*
            }
        }

        impl carom_envs::settings::Settings for $name {
            fn unheard(&self) -> Vec<(&'static str, String)> {
                let lr = ["lr", "lr_end", "lr_steps"];
                let epsilon = ["epsilon_start", "epsilon_end", "epsilon_steps"];
                let is_flat = [self.lr == self.lr_end, self.epsilon_start == self.epsilon_end];
                let of_lr = $crate::tabular::td::unheard("the step size", lr, is_flat[0], self.lr_steps);
                let of_epsilon = $crate::tabular::td::unheard("epsilon", epsilon, is_flat[1], self.epsilon_steps);
                [of_lr, of_epsilon].concat()
            }
        }

        impl $name {
            /// The progress of a training at its beginning.
            pub(super) fn progress(&self, seeds: &carom_envs::Seeds) -> $crate::tabular::progress::Progress {
                let lr = $crate::schedule::Linear::new(self.lr, self.lr_end, self.lr_steps);
                let epsilon = $crate::schedule::Linear::new(self.epsilon_start, self.epsilon_end, self.epsilon_steps);
                $crate::tabular::progress::Progress::new(lr, epsilon, seeds.stream("explore"))
            }
        }
    };
}
pub(super) use td_settings;

td_settings! {
    /// Settings of every method of temporal differences.
    pub struct TdConfig {}
}

/// Returns the settings of a schedule that have no effect: its end if it has no length, or length and end if it ends
/// where it starts. `what` is the quantity, and the keys are of its start, end and length.
pub(super) fn unheard(
    what: &str,
    [start, end, length]: [&'static str; 3],
    is_flat: bool,
    n_steps: u64,
) -> Vec<(&'static str, String)> {
    if n_steps == 0 {
        return vec![(end, format!("{length} is 0, so {what} stays at {start}"))];
    }
    let keys = if is_flat { vec![length, end] } else { vec![] };
    keys.into_iter().map(|key| (key, flat_schedule(start, end))).collect()
}
