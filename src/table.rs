//! The table of an agent, read as maps of the environment's grid.

use crate::plot::policy::{Cell, Map};
use anyhow::{Context, Result, ensure};
use carom_envs::ndarray::{ArrayView1, ArrayView2};
use carom_envs::{Env, EnvSpec, ObsSpace};
use serde_json::json;
use std::collections::BTreeMap;

/// The states of an environment with a grid.
pub(crate) struct States {
    /// Names of the variables of a state. The first two are the row and the column.
    pub names: Vec<&'static str>,
    /// Names of the actions.
    pub actions: Vec<&'static str>,
    /// Variables of each state.
    pub factors: Vec<Vec<usize>>,
    /// Whether nothing follows a state, whatever the agent does.
    ends: Vec<bool>,
}

impl States {
    /// Reads the states of `spec`.
    ///
    /// # Errors
    /// When the environment has no table of states, or they are not the cells of a grid.
    pub(crate) fn of(spec: &EnvSpec) -> Result<Self> {
        let mut env = spec.make();
        let id = spec.id();
        let ObsSpace::Discrete { n } = env.obs_space() else {
            anyhow::bail!("the states of {id} are not numbered, and no table has a row for each")
        };
        let names = env.factor_names().to_vec();
        ensure!(names.starts_with(&["row", "column"]), "the states of {id} are not the cells of a grid");
        let factors = (0..n).map(|state| factors(&mut *env, state, names.len())).collect::<Result<_>>()?;
        let model = env.model().with_context(|| format!("{id} has no transition table"))?;
        let stays = |state, action| model.outcomes(state, action).iter().all(|outcome| outcome.next_state == state);
        let ends = (0..n).map(|state| (0..model.n_actions).all(|action| stays(state, action))).collect();
        Ok(Self { names, actions: env.action_names().to_vec(), factors, ends })
    }

    /// Returns a map for each combination of the variables other than row and column, which its caption gives. `q` is
    /// `[n_states, n_actions]`.
    pub(crate) fn maps(&self, q: ArrayView2<f64>) -> Vec<Map> {
        let size = |i: usize| self.factors.iter().map(|factors| factors[i] + 1).max().unwrap_or(0);
        let (rows, columns) = (size(0), size(1));
        let mut maps: BTreeMap<&[usize], Map> = BTreeMap::new();
        for (state, factors) in self.factors.iter().enumerate() {
            let map = maps.entry(&factors[2..]).or_insert_with(|| {
                let others = self.names[2..].iter().zip(&factors[2..]).map(|(name, value)| format!("{name} {value}"));
                Map { caption: others.collect::<Vec<_>>().join(", "), columns, cells: vec![None; rows * columns] }
            });
            map.cells[factors[0] * columns + factors[1]] = (!self.ends[state]).then(|| self.best(q.row(state)));
        }
        maps.into_values().collect()
    }

    /// Returns the greedy action, the lowest index of several, and its value.
    fn best(&self, q: ArrayView1<f64>) -> Cell {
        let value = q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let action = q.iter().position(|&other| other == value).filter(|_| q.iter().any(|&other| other != value));
        Cell { action: action.map(|action| sign(self.actions[action])), value }
    }
}

/// Returns the variables of `state`.
fn factors(env: &mut dyn Env, state: usize, n: usize) -> Result<Vec<usize>> {
    env.restore(&json!(state))?;
    let mut out = vec![0.0; n];
    env.factors(&mut out);
    Ok(out.into_iter().map(|value| value as usize).collect())
}

/// Returns the sign of an action: an arrow, or its first letter.
fn sign(action: &str) -> char {
    match action {
        "left" => '←',
        "right" => '→',
        "up" => '↑',
        "down" => '↓',
        _ => action.chars().next().map_or('?', |first| first.to_ascii_uppercase()),
    }
}

/// Returns maps as text, side by side in `width` columns. A single one has the values too.
pub(crate) fn text(maps: &[Map], width: usize) -> String {
    let has_values = maps.len() == 1;
    let blocks: Vec<Vec<String>> = maps.iter().map(|map| lines(map, has_values)).collect();
    let widest = blocks.iter().flatten().map(|line| line.chars().count()).max().unwrap_or(0) + 3;
    let mut out = String::new();
    for row in blocks.chunks((width / widest).max(1)) {
        for i in 0..row[0].len() {
            let cells: Vec<String> = row.iter().map(|block| format!("{:widest$}", block[i])).collect();
            out += cells.concat().trim_end();
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

fn lines(map: &Map, has_values: bool) -> Vec<String> {
    let cell = |cell: &Option<Cell>| match cell {
        None if has_values => format!("{:10}", "  ·"),
        None => "■ ".to_owned(),
        Some(Cell { action, value }) if has_values => format!("{} {value:<8.3}", action.unwrap_or('·')),
        Some(Cell { action, .. }) => format!("{} ", action.unwrap_or('·')),
    };
    let rows = map.cells.chunks(map.columns).map(|row| row.iter().map(cell).collect::<String>());
    Some(map.caption.clone()).filter(|caption| !caption.is_empty()).into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::ndarray::Array2;
    use carom_envs::{Values, registry};

    fn states(id: &str) -> States {
        States::of(&registry::resolve(id, &Values::new()).expect("an environment")).expect("a grid")
    }

    #[test]
    fn a_map_shows_the_greedy_action_of_each_cell_and_where_episodes_end() {
        let lake = states("frozen-lake");
        let mut q = Array2::zeros((16, 4));
        q[[0, 2]] = 0.5;
        q[[4, 1]] = -0.25;
        let maps = lake.maps(q.view());
        assert_eq!((maps.len(), maps[0].columns, maps[0].caption.as_str()), (1, 4, ""));
        assert_eq!(maps[0].cells[0], Some(Cell { action: Some('→'), value: 0.5 }));
        assert_eq!(maps[0].cells[1], Some(Cell { action: None, value: 0.0 }));
        // Left, not down, which is worse.
        assert_eq!(maps[0].cells[4], Some(Cell { action: Some('←'), value: 0.0 }));
        assert_eq!((maps[0].cells[5], maps[0].cells[15]), (None, None), "a hole and the goal");
        assert!(text(&maps, 80).starts_with("→ 0.500"), "{}", text(&maps, 80));
    }

    #[test]
    fn a_taxi_has_a_map_for_each_place_of_the_passenger_and_destination() {
        let mut q = Array2::zeros((500, 6));
        // The taxi is at row 1, column 2; passenger 4 rides, to destination 3.
        q[[((5 + 2) * 5 + 4) * 4 + 3, 5]] = 1.0;
        let maps = states("taxi").maps(q.view());
        assert_eq!((maps.len(), maps[0].cells.len()), (20, 25));
        assert_eq!(maps[19].caption, "passenger 4, destination 3");
        assert_eq!(maps[19].cells[7], Some(Cell { action: Some('D'), value: 1.0 }));
    }

    #[test]
    fn an_environment_without_a_grid_is_refused() {
        let spec = registry::resolve("cartpole", &Values::new()).expect("an environment");
        assert!(States::of(&spec).is_err_and(|error| error.to_string().contains("cartpole are not numbered")));
    }
}
