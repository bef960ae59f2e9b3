//! `carom table`: shows the table of an agent.

use super::print;
use crate::config::kind::training_config;
use crate::config::training::TrainConfig;
use crate::encoder::ObsTransform;
use crate::human::{count, parse_count, plural};
use crate::plot::policy::{self, Map};
use crate::plot::raster;
use crate::ranks::Ranks;
use crate::run;
use crate::table::{States, text};
use crate::train::advance;
use crate::train::session::Session;
use anyhow::{Context, Result, ensure};
use carom_agents::Player;
use carom_envs::ndarray::Array2;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Show the table of an agent: the greedy action of each cell and its value, as text, picture or JSON
///
/// A map has the arrow of the greedy action, or its first letter, and its value; `·` is a cell where all actions have
/// one value. Taxi has a map for each place of the passenger and destination.
#[derive(Args)]
#[command(after_help = "Examples:
  carom table runs/gridworld-value-iteration-s0
  carom table runs/gridworld-value-iteration-s0 --at 1,2,4,8 --output sweeps.svg
  carom table runs/taxi-q-learning-s0 --json")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Steps, or sweeps of a planner, at which the table is shown: the run is trained again in memory, by its settings
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = parse_count, allow_hyphen_values = true)]
    at: Vec<u64>,
    /// Draw the maps to this file, SVG or PNG by its extension
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the variables and action values of all states as JSON
    #[arg(long, conflicts_with = "at")]
    json: bool,
}

/// Columns of the text.
const WIDTH: usize = 100;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(out) = &arguments.output {
        let name = out.display();
        ensure!(raster::is_figure(out), "-o {name}: maps are SVG or PNG; give a name that ends in .svg or .png");
    }
    let config = training_config(&arguments.run, "show a table")?;
    ensure!(
        config.run.encoder == "raw",
        "the table of {} is indexed by codes of encoder {}, which are no cells of a grid",
        arguments.run.display(),
        config.run.encoder
    );
    let states = States::of(&config.env)?;
    let title = format!("{} on {}", config.agent.name(), config.env.id());
    let tables = arguments.tables(config)?;
    if arguments.json {
        return print(&format!("{:#}\n", json_of(&states, &tables[0].1)));
    }
    let Some(path) = &arguments.output else {
        let texts = tables.iter().map(|(when, q)| format!("{title} {when}\n\n{}", text(&states.maps(q.view()), WIDTH)));
        return print(&texts.collect::<String>());
    };
    let title = match &tables[..] {
        [(when, _)] => format!("{title} {when}: greedy actions and their values"),
        _ => format!("{title}: greedy actions and their values"),
    };
    let n_times = tables.len();
    let mut maps: Vec<Map> = vec![];
    for (when, q) in &tables {
        let captions = |map: Map| match n_times {
            1 => map,
            _ => Map { caption: format!("{when} {}", map.caption), ..map },
        };
        maps.extend(states.maps(q.view()).into_iter().map(captions));
    }
    policy::write_file(&title, &maps, path)?;
    print(&format!("{}\n", path.display()))
}

fn json_of(states: &States, q: &Array2<f64>) -> serde_json::Value {
    let rows = states.factors.iter().zip(q.rows()).map(|(factors, q)| {
        let mut row = serde_json::Map::new();
        row.extend(states.names.iter().zip(factors).map(|(&name, &value)| (name.to_owned(), json!(value))));
        let values: serde_json::Map<_, _> =
            states.actions.iter().zip(q).map(|(&name, &value)| (name.to_owned(), json!(value))).collect();
        row.insert("q".to_owned(), values.into());
        serde_json::Value::Object(row)
    });
    json!({ "states": rows.collect::<Vec<_>>() })
}

impl Arguments {
    /// Returns the tables to show, each with the time when it was so.
    fn tables(&self, config: TrainConfig) -> Result<Vec<(String, Array2<f64>)>> {
        if self.at.is_empty() {
            let (mut session, _) = Session::open(config, &self.run)?;
            return Ok(vec![table(&mut session)?]);
        }
        let mut times = self.at.clone();
        times.sort_unstable();
        let last = *times.last().expect("a time");
        let steps = config.run.steps;
        let changes = &run::facts(&self.run)?["changes"];
        let is_of_agent = |change: &Value| change["key"].as_str().is_some_and(|key| key.starts_with("agent."));
        let is_changed = changes.as_array().is_some_and(|changes| changes.iter().any(is_of_agent));
        ensure!(
            !is_changed,
            "--at trains {} again from its beginning, and settings of its agent changed along the run",
            self.run.display()
        );
        ensure!(last <= steps, "--at {last} is beyond the {steps} of {}", self.run.display());
        let transform = ObsTransform::open(&config, &self.run)?;
        let mut session = Session::new(config, transform, Ranks::alone())?;
        let (mut actions, mut stacks) = (vec![0; session.config.run.n_envs], vec![]);
        let mut tables = vec![];
        for time in times {
            while session.progress.step < time && !session.progress.is_finished(steps) {
                advance(&mut session, &mut actions, &mut stacks)?;
            }
            tables.push(table(&mut session)?);
            if session.progress.converged {
                break;
            }
        }
        Ok(tables)
    }
}

fn table(session: &mut Session) -> Result<(String, Array2<f64>)> {
    let (step, name) = (session.progress.step, session.config.agent.name());
    let when = match session.player {
        Player::Planner(_) => format!("after {}", plural(step, "sweep")),
        _ => format!("after {} steps", count(step)),
    };
    let table = session.player.agent().and_then(|agent| agent.table());
    Ok((when, table.with_context(|| format!("{name} keeps no table of action values"))?))
}
