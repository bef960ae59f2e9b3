//! Layers of settings. Each layer has one source: a preset, a file or the command line. Later layers win.

use super::part::Part;
use super::values::{insert_once, json, parse_value};
use anyhow::{Context, Result, bail};
use carom_envs::settings::{Fault, Schema, Values, nearest, suggest};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The settings of one kind of run: its own, and those of its parts.
#[derive(Debug)]
pub(crate) struct Form {
    /// Value of `kind` in a configuration file.
    pub kind: &'static str,
    /// Command that starts a run of this kind.
    pub command: &'static str,
    /// The run's own settings.
    pub own: Schema,
    /// The parts that have settings of their own.
    pub parts: &'static [Part],
    /// Finds the settings that have no effect beside the run's other choices.
    pub idle: fn(&Layer) -> Vec<Idle>,
}

/// A setting that has no effect beside the other choices of a run, such as the number of environments of a planner.
pub(crate) struct Idle {
    /// The part that it belongs to; `None` for the run itself.
    part: Option<Part>,
    key: &'static str,
    /// The value in force, if there is one. Giving it is no mistake.
    value: Option<Value>,
    reason: String,
}

impl Idle {
    /// Describes setting `key` of the run itself, and why it has no effect.
    pub(crate) fn own(key: &'static str, reason: impl Into<String>) -> Self {
        Self { part: None, key, value: None, reason: reason.into() }
    }

    /// Describes setting `key` of `part`, and why it has no effect.
    pub(crate) fn of(part: Part, key: &'static str, reason: impl Into<String>) -> Self {
        Self { part: Some(part), ..Self::own(key, reason) }
    }

    /// Sets the value in force.
    pub(crate) fn fixed_at(self, value: impl Into<Value>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    fn check(&self, given: Option<&Value>) -> Result<(), Fault> {
        let Some(found) = given.filter(|&found| Some(found) != self.value.as_ref()) else { return Ok(()) };
        let key = self.part.map_or(self.key.to_owned(), |part| format!("{}.{}", part.prefix(), self.key));
        Err(Fault::Unheard { key, found: found.clone(), reason: self.reason.clone() })
    }
}

/// Settings of one source. Missing ones come from the layers below.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layer {
    /// Name of the file or preset; `None` for the command line.
    source: Option<String>,
    /// The run's own settings.
    pub own: Values,
    /// Settings of the parts.
    parts: BTreeMap<Part, Values>,
}

impl Layer {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, is of another kind of run, or holds an unknown key.
    pub(crate) fn from_file(path: &Path, form: &Form) -> Result<Self> {
        Self::from_toml(&fs_err::read_to_string(path)?, &path.display().to_string(), form)
    }

    /// Reads the text of a configuration file; `source` names it in messages.
    ///
    /// # Errors
    /// When it is not TOML, is of another kind of run, or holds an unknown key.
    pub(crate) fn from_toml(text: &str, source: &str, form: &Form) -> Result<Self> {
        let mut table: toml::Table = toml::from_str(text).with_context(|| format!("{source} is not TOML"))?;
        let mut layer = Self { source: Some(source.to_owned()), ..Self::default() };
        // Keys of another kind of run are no mistakes in its file.
        if let Some(kind) = table.remove("kind").filter(|kind| kind.as_str() != Some(form.kind)) {
            bail!("in {source}: kind is {kind}: expected \"{}\", as for `carom {}`", form.kind, form.command);
        }
        for (key, value) in table {
            layer.insert_from_file(&key, value, form).with_context(|| format!("in {source}"))?;
        }
        Ok(layer)
    }

    fn insert_from_file(&mut self, key: &str, value: toml::Value, form: &Form) -> Result<()> {
        let value = json(key, value)?;
        if let Some(part) = form.parts.iter().copied().find(|part| part.table() == key) {
            let Value::Object(settings) = value else { bail!("{key} is {value}: expected a table") };
            self.part_mut(part).extend(settings);
        } else {
            form.check_key(key)?;
            self.own.insert(key.to_owned(), value);
        }
        Ok(())
    }

    /// Reads the `key=value` pairs of `--set`: `PART.KEY`, or a key of the run itself.
    ///
    /// # Errors
    /// When there is no `=`, or the key of the run or the part does not exist.
    pub(crate) fn from_assignments(assignments: &[String], form: &Form) -> Result<Self> {
        let mut layer = Self::default();
        for assignment in assignments {
            layer.assign(assignment, form).with_context(|| format!("--set {assignment}"))?;
        }
        Ok(layer)
    }

    /// Sets a setting that `--set` gives. One command may repeat a value, but not change it.
    ///
    /// # Errors
    /// When there is no `=`, the key of the run or the part does not exist, or it has another value.
    pub(crate) fn assign(&mut self, assignment: &str, form: &Form) -> Result<()> {
        let last = form.parts[form.parts.len() - 1].prefix();
        let Some((key, value)) = assignment.split_once('=') else { bail!("expected key=value, e.g. {last}.lr=0.1") };
        let (key, value) = (key.trim(), parse_value(value.trim()));
        let Some((prefix, key)) = key.split_once('.') else {
            form.check_key(key)?;
            return insert_once(&mut self.own, key, key, value);
        };
        let Some(part) = form.parts.iter().copied().find(|part| part.prefix() == prefix) else {
            let prefixes = form.parts.iter().copied().map(Part::prefix);
            let all: Vec<String> = prefixes.clone().map(|prefix| format!("`{prefix}.`")).collect();
            let near = nearest(prefix, prefixes).map(|near| format!("; did you mean `{near}.`?"));
            bail!("`{prefix}.` is not {}{}", all.join(" or "), near.unwrap_or_default())
        };
        insert_once(self.part_mut(part), key, &format!("{}.{key}", part.prefix()), value)
    }

    /// Sets `key` to `value`, if there is one.
    pub(crate) fn with(mut self, key: &str, value: Option<impl Serialize>) -> Self {
        if let Some(value) = value {
            self.own.insert(key.to_owned(), serde_json::to_value(value).expect("a plain value"));
        }
        self
    }

    /// Sets `key` of `part` to `value`, if there is one.
    pub(crate) fn with_part(mut self, part: Part, key: &str, value: Option<impl Serialize>) -> Self {
        if let Some(value) = value {
            let value = serde_json::to_value(value).expect("a plain value");
            self.part_mut(part).insert(key.to_owned(), value);
        }
        self
    }

    /// Returns the keys of this layer's settings, as `--set` spells them.
    pub(crate) fn keys(&self) -> Vec<String> {
        let of_parts = self.parts.iter().map(|(part, settings)| (part.prefix(), settings));
        let of_parts =
            of_parts.flat_map(|(prefix, settings)| settings.keys().map(move |key| format!("{prefix}.{key}")));
        self.own.keys().cloned().chain(of_parts).collect()
    }

    /// Returns the settings of `part`.
    pub(crate) fn part(&self, part: Part) -> Values {
        self.parts.get(&part).cloned().unwrap_or_default()
    }

    fn part_mut(&mut self, part: Part) -> &mut Values {
        self.parts.entry(part).or_default()
    }

    /// Adds the settings of `set`, which one command gives beside these.
    ///
    /// # Errors
    /// When both give a setting, with different values.
    pub(crate) fn and(mut self, set: Self) -> Result<Self> {
        for (key, value) in set.own {
            insert_once(&mut self.own, &key, &key, value)?;
        }
        for (part, settings) in set.parts {
            for (key, value) in settings {
                insert_once(self.part_mut(part), &key, &format!("{}.{key}", part.prefix()), value)?;
            }
        }
        Ok(self)
    }

    /// Refuses a value for `key` of the run itself, which the flag `flag` of the command determines.
    ///
    /// # Errors
    /// When this layer gives one.
    pub(crate) fn refuse(&self, key: &str, flag: &str) -> Result<()> {
        match self.own.get(key) {
            Some(value) => bail!("--set {key}={value} has no effect: {flag} determines it"),
            None => Ok(()),
        }
    }

    /// Removes the settings of this layer that have no effect over `below`, and returns each with the reason.
    pub(crate) fn prune(&mut self, below: &[Self], form: &Form) -> Vec<Fault> {
        let below = below.iter().fold(Self::default(), |merged, layer| layer.over(&merged, form));
        let merged = self.over(&below, form);
        let mut removed = vec![];
        for idle in (form.idle)(&merged) {
            if let Err(fault) = idle.check(self.given(&idle)) {
                self.group_mut(&idle).remove(idle.key);
                removed.push(fault);
            }
        }
        // Without these, other settings of the run may have lost their effect.
        let mistaken = (form.own.unheard)(&merged.own);
        for key in (form.own.unheard)(&self.over(&below, form).own) {
            if !mistaken.contains(&key)
                && let Some(found) = self.own.remove(key)
            {
                let reason = "it goes with a setting that has none".to_owned();
                removed.push(Fault::Unheard { key: key.to_owned(), found, reason });
            }
        }
        for part in form.parts.iter().copied() {
            self.prune_part(part, &below, form, &mut removed);
        }
        removed
    }

    /// Moves the settings that this layer gives `part`, and that have no effect over `below`, to `removed`.
    fn prune_part(&mut self, part: Part, below: &Self, form: &Form, removed: &mut Vec<Fault>) {
        loop {
            let merged = self.over(below, form);
            let Some(Ok(schema)) = merged.name(part).map(|name| part.schema(name)) else { return };
            let Err(Fault::Unheard { key, found, reason }) = (schema.resolve)(&merged.part(part)) else { return };
            if self.part_mut(part).remove(&key).is_none() {
                return;
            }
            removed.push(Fault::Unheard { key: format!("{}.{key}", part.prefix()), found, reason });
        }
    }

    /// Returns the name of `part`, if it has one.
    pub(super) fn name(&self, part: Part) -> Option<&str> {
        part.name(&self.own)
    }

    /// Returns the value that this layer gives the setting.
    fn given(&self, idle: &Idle) -> Option<&Value> {
        let group = idle.part.map_or(Some(&self.own), |part| self.parts.get(&part));
        group?.get(idle.key).filter(|value| !value.is_null())
    }

    fn group_mut(&mut self, idle: &Idle) -> &mut Values {
        match idle.part {
            Some(part) => self.part_mut(part),
            None => &mut self.own,
        }
    }

    /// Merges this layer over `below`. If this layer names another part, the settings of the part below are dropped,
    /// since they were written for it.
    fn over(&self, below: &Self, form: &Form) -> Self {
        let own = (form.own.overlay)(&below.own, &self.own);
        let mut parts = BTreeMap::new();
        for &part in form.parts {
            let (before, now) = (part.name(&below.own), part.name(&own));
            let is_kept = before.is_none() || before == now;
            let (under, over) = (if is_kept { below.part(part) } else { Values::new() }, self.part(part));
            let merged = match now.and_then(|name| part.schema(name).ok()) {
                Some(schema) => (schema.overlay)(&under, &over),
                None => under.into_iter().chain(over).collect(),
            };
            parts.insert(part, merged);
        }
        let mut merged = Self { source: None, own, parts };
        merged.drop_idle(below, self, form);
        merged
    }

    /// Drops what has no effect. This is for the file of a run, which an older version may have written: the run was
    /// played without these values too.
    pub(super) fn heard(mut self, form: &Form) -> Self {
        for key in (form.own.unheard)(&self.own) {
            self.own.remove(key);
        }
        for part in form.parts.iter().copied() {
            let schema = part.name(&self.own).and_then(|name| part.schema(name).ok());
            let unheard = schema.map(|schema| (schema.unheard)(&self.part(part))).unwrap_or_default();
            for key in unheard {
                self.part_mut(part).remove(key);
            }
        }
        for idle in (form.idle)(&self) {
            self.group_mut(&idle).remove(idle.key);
        }
        self
    }

    /// Drops what `below` gave and `above` made idle. What was idle in `below` is a mistake, and stays to be reported.
    fn drop_idle(&mut self, below: &Self, above: &Self, form: &Form) {
        let mistaken = (form.idle)(below);
        for idle in (form.idle)(self) {
            let is_mistaken = mistaken.iter().any(|other| (other.part, other.key) == (idle.part, idle.key));
            if above.given(&idle).is_none() && !is_mistaken {
                self.group_mut(&idle).remove(idle.key);
            }
        }
        // Without these, other settings of the run may have lost their effect.
        let mistaken = (form.own.unheard)(&below.own);
        for key in (form.own.unheard)(&self.own) {
            if !above.own.contains_key(key) && !mistaken.contains(&key) {
                self.own.remove(key);
            }
        }
    }

    /// Sets idle settings to the value in force.
    fn settle(mut self, form: &Form) -> Self {
        for mut idle in (form.idle)(&self) {
            if let Some(value) = idle.value.take() {
                self.group_mut(&idle).insert(idle.key.to_owned(), value);
            }
        }
        self
    }

    /// Checks the settings of the run and of the parts that have a name.
    fn check(&self, form: &Form) -> Result<()> {
        (form.own.resolve)(&self.own)?;
        (form.idle)(self).iter().try_for_each(|idle| idle.check(self.given(idle)))?;
        let named = form.parts.iter().filter_map(|part| Some((part, part.name(&self.own)?)));
        named.into_iter().try_for_each(|(part, name)| part.check(name, &self.part(*part)))
    }
}

/// Merges `layers`, the weakest first.
///
/// # Errors
/// When the merged settings are not valid. The error names the first layer at fault. A later layer can make an earlier
/// one valid, since a range may depend on other settings.
pub(crate) fn merge(layers: &[Layer], form: &Form) -> Result<Layer> {
    let (mut merged, mut first_error) = (Layer::default(), None);
    for layer in layers {
        merged = layer.over(&merged, form);
        first_error = merged.check(form).err().map(|error| {
            first_error.unwrap_or_else(|| match &layer.source {
                Some(source) => error.context(format!("in {source}")),
                None => error,
            })
        });
    }
    first_error.map_or(Ok(merged.settle(form)), Err)
}

impl Form {
    /// Returns the help of `--set`, which names all settings of the run and the prefixes of the others.
    pub(crate) fn set_help(&self) -> String {
        let of_parts = self.parts.iter().map(|part| format!("{}.KEY", part.prefix()));
        let own = (self.own.list)().into_iter().map(|setting| setting.key.to_owned());
        format!("A setting: {}; may be repeated", of_parts.chain(own).collect::<Vec<_>>().join(", "))
    }

    /// Checks that the run's own settings have `key`.
    fn check_key(&self, key: &str) -> Result<()> {
        let known: Vec<&str> = (self.own.list)().iter().map(|setting| setting.key).collect();
        if known.contains(&key) {
            return Ok(());
        }
        if let Some(part) = self.parts.iter().find(|part| part.has_key(key)) {
            let (prefix, table) = (part.prefix(), part.table());
            bail!(
                "there is no key `{key}`; the setting is `{prefix}.{key}` in --set, and goes under [{table}] in a file"
            );
        }
        bail!("there is no key `{key}`; {}", suggest(key, known))
    }

    /// Returns the text of a configuration file of this kind.
    pub(crate) fn to_toml(&self, own: &Values, parts: &[(Part, &Values)]) -> String {
        let mut table = Values::from_iter([("kind".to_owned(), self.kind.into())]);
        table.extend(own.clone());
        for (part, settings) in parts {
            table.insert(part.table(), Value::Object((*settings).clone()));
        }
        toml::to_string(&table).expect("settings are plain values")
    }
}
