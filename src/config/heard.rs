//! Each setting is heard: another value changes what is played, learned or fitted, or is refused with the reason.
//!
//! This holds under the defaults and under each switch: each word of a choice, each truth value, and each zero whose
//! documentation gives it a meaning of its own.

use crate::generative::data::dataset::{Dataset, Split};
use crate::generative::images::Data;
use crate::generative::model::{Effort, ImageBatch, seeded};
use crate::generative::registry as models;
use crate::generative::settings::{ModelTask, Optimizer};
use crate::generative::spec::ModelEntry;
use carom_agents::registry as agents;
use carom_agents::settings::{AgentEntry, AgentKind};
use carom_agents::{Player, Snapshot, Task};
use carom_envs::settings::{Fault, Schema, Setting, Values};
use carom_envs::{EnvEntry, Seeds, registry as envs};
use serde_json::{Value, json};

/// Everything that can be seen of what was built.
type Trail = Vec<u8>;

/// A way to build something and look at it; `None` where the settings do not fit the task.
type Look<'a> = &'a dyn Fn(&Values) -> Option<Trail>;

/// Settings of one kind, and what is built from them.
struct Subject<'a> {
    name: String,
    schema: Schema,
    /// Values that keep the test short, or let settings be heard in it. Each is a base of its own.
    bases: Vec<Value>,
    /// Ways to build and look. A later one, which takes longer, is asked where those before it see no difference.
    looks: &'a [Look<'a>],
}

impl Subject<'_> {
    /// Returns the keys that are neither heard nor refused, under the base and under each switch.
    fn unheard(&self) -> Vec<String> {
        let settings = (self.schema.list)();
        let mut contexts = vec![];
        for base in self.bases.iter().map(|base| base.as_object().expect("a table")) {
            contexts.push(base.clone());
            for setting in &settings {
                let switches = switches(setting).into_iter();
                contexts.extend(switches.map(|value| with(base, setting.key, value)));
            }
        }
        let mut unheard = vec![];
        for context in contexts.iter().filter(|context| (self.schema.resolve)(context).is_ok()) {
            let references: Option<Vec<Trail>> = self.looks.iter().map(|look| look(context)).collect();
            let Some(references) = references else { continue };
            unheard.extend(settings.iter().filter_map(|setting| self.check(context, setting, &references)));
        }
        unheard
    }

    /// Returns a complaint if the key is neither heard nor refused beside the values of `context`.
    fn check(&self, context: &Values, setting: &Setting, references: &[Trail]) -> Option<String> {
        let resolved = (self.schema.resolve)(context).expect("a valid context");
        let mut tried = vec![];
        for value in others(setting, resolved.get(setting.key).unwrap_or(&setting.default)) {
            let values = with(context, setting.key, value.clone());
            match (self.schema.resolve)(&values) {
                Err(Fault::Unheard { .. }) => return None,
                Err(_) => {}
                Ok(_) => {
                    let seen = self.looks.iter().zip(references);
                    let mut differs = seen.map(|(look, reference)| look(&values).map(|trail| trail != *reference));
                    match differs.find(|differs| *differs != Some(false)) {
                        Some(Some(_)) => return None,
                        Some(None) => {}
                        None => tried.push(value),
                    }
                }
            }
        }
        Some(format!("{}: {} beside {}; tried {tried:?}", self.name, setting.key, json!(context)))
    }
}

fn with(values: &Values, key: &str, value: Value) -> Values {
    let mut values = values.clone();
    values.insert(key.to_owned(), value);
    values
}

/// Returns the words that the setting can be, if it is a choice.
fn words(setting: &Setting) -> Vec<Value> {
    setting.expected.split('`').skip(1).step_by(2).map(Value::from).collect()
}

/// Returns values of the setting that may switch other settings off or on.
fn switches(setting: &Setting) -> Vec<Value> {
    match &setting.default {
        Value::Bool(value) => vec![json!(!value)],
        Value::Array(_) => vec![json!([])],
        // A short game shows less of everything else.
        Value::Number(_) if setting.key == "max_steps" => vec![],
        Value::Number(_) if setting.doc.contains("0 for") || setting.doc.contains("with 0 ") => {
            vec![json!(0), json!(100)]
        }
        Value::Number(_) if setting.doc.contains("1 for") => vec![json!(1), json!(2)],
        _ => words(setting),
    }
}

/// Returns values other than `present`, valid or not.
fn others(setting: &Setting, present: &Value) -> Vec<Value> {
    let all = match present {
        Value::Bool(value) => vec![json!(!value)],
        Value::Array(_) => vec![json!([]), json!([16]), json!([16, 32])],
        Value::Number(n) if n.is_f64() => {
            let x = n.as_f64().unwrap_or_default();
            [0.0, 0.5 * x, 0.5, x + 1.0, 10.0 * x, 0.001 * (x + 1.0)].map(Value::from).to_vec()
        }
        Value::Number(n) => {
            let n = n.as_u64().unwrap_or_default();
            [n / 2, 1, 0, 2, n + 2, 3, 7, 2 * n].map(Value::from).to_vec()
        }
        Value::String(_) if words(setting).is_empty() => vec!["none".into()],
        _ => words(setting),
    };
    all.into_iter().filter(|value| value != present).collect()
}

/// Plays `spec`: the first half as its player written for the game does, if it has one, the rest without a plan.
fn play(entry: &EnvEntry, settings: &Values) -> Option<Trail> {
    const STEPS: usize = 1200;
    let mut envs = entry.resolve(settings).ok()?.make_vec(Seeds::new(1).streams("env", 1)).ok()?;
    let (mut trail, mut stacks, mut actions) = (vec![envs.n_actions() as u8], vec![], [0]);
    let has_script = envs.env(0).scripted_action().is_some();
    for step in 0..STEPS {
        match has_script && step < STEPS / 2 {
            true => envs.scripted_actions(&mut actions),
            false => actions[0] = (step * step / 7 + step) % envs.n_actions(),
        }
        trail.extend(crc32fast::hash(envs.stacks(&mut stacks)).to_le_bytes());
        let transition = envs.step(&actions)[0];
        trail.extend(transition.reward.to_le_bytes());
        trail.extend([transition.terminated, transition.truncated].map(u8::from));
    }
    Some(trail)
}

#[test]
fn each_setting_of_each_environment_is_heard_or_refused() {
    let mut unheard = vec![];
    for entry in envs::all() {
        let build = |settings: &Values| play(&entry, settings);
        let subject =
            Subject { name: entry.id.to_owned(), schema: entry.schema, bases: vec![json!({})], looks: &[&build] };
        unheard.extend(subject.unheard());
    }
    assert!(unheard.is_empty(), "nobody hears\n{}", unheard.join("\n"));
}

/// Returns all bytes of a saved state.
fn bytes(snapshot: &Snapshot) -> Trail {
    let mut bytes = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
    bytes.extend(serde_json::to_vec(snapshot.state()).expect("a state is JSON"));
    bytes
}

/// Steps of a training.
const STEPS: u64 = 240;

/// Trains an agent for the first `n_steps` of its steps.
fn learn(entry: &AgentEntry, env: &str, settings: &Values, n_steps: u64) -> Option<Trail> {
    let seeds = Seeds::new(1);
    let spec = envs::resolve(env, &Values::new()).expect("an environment");
    let mut envs = spec.make_vec(seeds.streams("env", 2)).expect("streams");
    let task = Task::of(&envs, env, STEPS);
    let mut player = entry.resolve(settings).ok()?.make(&task, &seeds).ok()?;
    let (mut actions, mut stacks, mut trail) = ([0; 2], vec![], vec![]);
    for _ in 0..n_steps / 2 {
        match &mut player {
            Player::Learner(learner) => {
                learner.act(envs.stacks(&mut stacks), &mut actions);
                envs.step(&actions);
                learner.observe(&envs, &actions).expect("finite losses");
                trail.extend(actions.map(|action| action as u8));
            }
            Player::Planner(planner) => {
                trail.push(u8::from(planner.sweep()));
                trail.extend(planner.stats().iter().flat_map(|(_, value)| value.to_le_bytes()));
            }
            Player::Scripted => return None,
        }
    }
    let agent = player.agent()?;
    trail.extend(agent.stats().iter().flat_map(|(_, value)| value.to_le_bytes()));
    trail.extend(bytes(&agent.save()));
    Some(trail)
}

#[test]
fn each_setting_of_each_agent_is_heard_or_refused() {
    let deep = json!({
        "batch_size": 8, "buffer_size": 200, "learning_starts": 20, "target_every": 60, "epsilon_steps": 100,
        "hidden": [32], "lr": 0.01,
    });
    let rainbow = json!({
        "batch_size": 8, "buffer_size": 200, "learning_starts": 20, "target_every": 60, "hidden": [16], "lr": 0.01,
        "double": true, "n_step": 3, "prioritized": true, "dueling": true, "noisy": true, "head": "c51", "atoms": 11,
    });
    let falling = json!({"lr_end": 0.01, "lr_steps": 200, "epsilon_end": 0.5, "epsilon_steps": 200});
    let mut unheard = vec![];
    let parallel = json!({"rollout_len": 8, "n_minibatches": 2, "hidden": [16]});
    for entry in agents::AGENTS {
        let (env, bases) = match entry.name {
            "dqn" => ("minatar/breakout", vec![deep.clone(), rainbow.clone()]),
            "pqn" => ("minatar/breakout", vec![parallel.clone()]),
            _ if entry.kind != AgentKind::Table => ("cliff-walking", vec![json!({})]),
            _ => ("cliff-walking", vec![json!({}), falling.clone()]),
        };
        let begin = |settings: &Values| learn(entry, env, settings, STEPS / 4);
        let train = |settings: &Values| learn(entry, env, settings, STEPS);
        let subject = Subject { name: entry.name.to_owned(), schema: entry.schema, bases, looks: &[&begin, &train] };
        unheard.extend(subject.unheard());
    }
    assert!(unheard.is_empty(), "nobody hears\n{}", unheard.join("\n"));
}

/// Returns small stacks of two gray frames in three classes.
fn small_images() -> Data {
    const SHAPE: [usize; 3] = [2, 8, 8];
    let split = |from: usize, n: usize| {
        let pixel = |i: usize| (i * i / 3 + 31 * i + from) as u8 & if i.is_multiple_of(5) { 255 } else { 31 };
        Split::new(SHAPE, (0..n * 128).map(pixel).collect(), (0..n).map(|i| (i % 3) as u8).collect())
    };
    let (train, test) = (split(0, 24), split(7, 12));
    let dataset = Dataset { name: "stacks".to_owned(), shape: SHAPE, max: 255, n_classes: 3, train, test };
    Data { n_frames: 2, ..Data::new(&dataset, tch::Device::Cpu) }
}

/// Fits a model for a moment, and looks at what it has learned and draws or, with `measures`, at all that it can do.
fn fit(entry: &ModelEntry, data: &Data, settings: &Values, measures: bool) -> Option<Trail> {
    const UPDATES: u64 = 6;
    // Held for one fit, since other tests wait for it.
    let _guard = seeded(1);
    let task = ModelTask { data, total_steps: UPDATES, optimizer: Optimizer::Adam, device: tch::Device::Cpu };
    let spec = entry.resolve(settings).ok()?;
    let mut model = spec.make(&task, &mut Seeds::new(1).stream("init")).ok()?;
    let order = tch::Tensor::arange(24, (tch::Kind::Int64, tch::Device::Cpu));
    for step in 0..UPDATES {
        let (x, labels) = (data.train.gather(&order), data.train.gather_labels(&order));
        model.fit_batch(&ImageBatch { x, labels, step, lr: 0.01 }).ok()?;
    }
    let _no_grad = tch::no_grad_guard();
    let mut trail = bytes(&model.save());
    let samples = model.sample(12);
    trail.extend(samples.iter().flat_map(carom_agents::net::tensor::to_vec).flat_map(f32::to_le_bytes));
    if !measures {
        return Some(trail);
    }
    trail.extend(format!("{:?}", model.judge()).bytes());
    trail.extend(format!("{:?}", model.evaluate(data, Effort::Full, samples.as_ref())).bytes());
    Some(trail)
}

#[test]
fn each_setting_of_each_model_is_heard_or_refused() {
    let data = small_images();
    let mut unheard = vec![];
    for entry in models::MODELS {
        let base = match entry.name {
            "ae" => json!({"latent_dim": 4, "hidden": [8]}),
            "cnn-ae" => json!({"filters": 2, "halvings": 1}),
            "vae" => json!({"latent_dim": 2, "hidden": [8], "iwae_k": 4, "iwae_images": 4}),
            "rbm" => json!({
                "latent_dim": 6, "n_chains": 5, "sample_steps": 4, "ais_temperatures": 8, "ais_chains": 3,
                "momentum": 0.1, "weight_decay": 0.1,
            }),
            "gan" => json!({"latent_dim": 3, "width": 8}),
            "pca" | "random" | "classifier" => json!({"latent_dim": 3}),
            other => panic!("{other} has no small settings"),
        };
        let learned = |settings: &Values| fit(entry, &data, settings, false);
        let measured = |settings: &Values| fit(entry, &data, settings, true);
        let subject = Subject {
            name: entry.name.to_owned(),
            schema: entry.schema,
            bases: vec![base],
            looks: &[&learned, &measured],
        };
        unheard.extend(subject.unheard());
    }
    assert!(unheard.is_empty(), "nobody hears\n{}", unheard.join("\n"));
}
