use super::*;
use serde::Deserialize;
use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rules {
    Old,
    New,
}

settings! {
    /// Settings of a game whose rules set a default.
    struct Toy {
        /// Which rules are played,
        /// by name.
        rules: Rules = Rules::Old;
        /// Chance of a slip.
        slip: f64 = 0.0, in 0.0..=1.0;
        /// Size of a slip.
        slip_size: u64 = 1, in AtLeast(1);
        /// Widths.
        widths: Vec<usize> = vec![8], in Each(1..=64);
        /// Time limit in steps.
        limit: Option<u64> = None, in IfGiven(Above(0));
    }
}

impl Settings for Toy {
    const DERIVED: &'static [&'static str] = &["slip"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        if !is_given("slip") {
            self.slip = if self.rules == Rules::New { 0.25 } else { 0.0 };
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let most = self.limit.unwrap_or(u64::MAX);
        if self.slip_size <= most { Ok(()) } else { Err(Fault::value("slip_size", self.slip_size, "at most limit")) }
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        if self.slip > 0.0 { vec![] } else { vec![("slip_size", "slip is 0".to_owned())] }
    }
}

settings! {
    /// Settings of a game with a section.
    struct Sectioned {
        /// Number of lives.
        lives: u64 = 3;
    }
    with {
        /// The rest.
        toy: Toy;
    }
}

impl Settings for Sectioned {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        self.toy.unheard()
    }
}

fn values(value: Value) -> Values {
    let Value::Object(values) = value else { panic!("{value} is no table") };
    values
}

fn error(value: Value) -> String {
    resolve::<Toy>(&values(value)).expect_err("a fault").to_string()
}

#[test]
fn a_setting_is_described_by_its_declaration() {
    let [rules, slip, _, widths, limit] = Toy::list().try_into().expect("five settings");
    assert_eq!((rules.doc.as_str(), rules.expected.as_str()), ("Which rules are played, by name.", "`old` or `new`"));
    assert_eq!((slip.key, slip.expected.as_str(), slip.default), ("slip", "a number in 0..=1", json!(0.0)));
    assert_eq!(widths.expected, "a list, each a whole number in 1..=64");
    assert_eq!((limit.expected.as_str(), limit.default), ("a whole number above 0", Value::Null));
}

#[test]
fn faults_say_what_was_expected() {
    assert_eq!(error(json!({"slip": 1.5})), "slip is 1.5: expected a number in 0..=1");
    assert_eq!(error(json!({"rules": "odd"})), "rules is \"odd\": expected `old` or `new`");
    assert_eq!(error(json!({"slip_size": -1})), "slip_size is -1: expected a whole number, 1 or above");
    assert_eq!(error(json!({"limit": -1})), "limit is -1: expected a whole number above 0");
    assert_eq!(error(json!({"widths": [8, 65]})), "widths is [8,65]: expected a list, each a whole number in 1..=64");
    assert_eq!(error(json!({"limit": 1, "slip": 0.5, "slip_size": 2})), "slip_size is 2: expected at most limit");
    assert_eq!(error(json!({"slip_size": 2})), "slip_size is 2, which has no effect: slip is 0");
    assert!(error(json!({"limit": u64::MAX})).contains("a whole number up to 9223372036854775807"));
    for size in [-1e39, 1e-38] {
        assert!(error(json!({"slip": size})).contains("0 or a number of a size from 1e-37 to 1e38"), "{size}");
    }
    let unknown = resolve::<Toy>(&values(json!({"slpi": 1}))).expect_err("no such key").of("env", "environment `toy`");
    assert!(unknown.to_string().starts_with("environment `toy` has no setting `slpi`; did you mean `slip`? (it has"));
    let bad = resolve::<Toy>(&values(json!({"slip": 2}))).expect_err("out of range").of("env", "environment `toy`");
    assert_eq!(bad.to_string(), "env.slip is 2.0: expected a number in 0..=1");
    assert!(validate(&Toy { slip: f64::NAN, ..Toy::default() }).is_err());
}

#[test]
fn the_keys_of_a_section_are_keys_of_its_group() {
    assert_eq!(Sectioned::KEYS, ["lives", "rules", "slip", "slip_size", "widths", "limit"]);
    let listed: Vec<&str> = Sectioned::list().iter().map(|setting| setting.key).collect();
    assert_eq!(listed, Sectioned::KEYS);
    let given = values(json!({"lives": 1, "slip": 0.5, "limit": 7, "rules": "new"}));
    let resolved = resolve::<Sectioned>(&given).expect("valid");
    assert_eq!((resolved.lives, resolved.toy.slip, resolved.toy.limit), (1, 0.5, Some(7)));
    assert_eq!(resolve::<Sectioned>(&heard(&resolved)).expect("valid"), resolved);
    let error = |value| resolve::<Sectioned>(&values(value)).expect_err("a fault").to_string();
    assert_eq!(error(json!({"slip": 1.5})), "slip is 1.5: expected a number in 0..=1");
    assert_eq!(error(json!({"rules": "odd"})), "rules is \"odd\": expected `old` or `new`");
    assert_eq!(error(json!({"slip_size": -1})), "slip_size is -1: expected a whole number, 1 or above");
    assert_eq!(error(json!({"slip_size": 2})), "slip_size is 2, which has no effect: slip is 0");
    assert!(error(json!({"slpi": 1})).contains("there is no setting `slpi`"));
}

#[test]
fn what_a_determining_value_implied_goes_with_it() {
    let schema = Schema::of::<Toy>();
    let resolved = (schema.resolve)(&values(json!({"rules": "new"}))).expect("valid");
    assert_eq!(resolved["slip"], 0.25);
    assert_eq!((schema.resolve)(&resolved).expect("valid"), resolved);
    let old = (schema.overlay)(&resolved, &values(json!({"rules": "old"})));
    assert_eq!((schema.resolve)(&old).expect("valid"), values(json!({"rules": "old", "slip": 0.0, "widths": [8]})));
    // A value that the rules do not imply was chosen, and stays; one that has no effect any more does not.
    let chosen = (schema.overlay)(&values(json!({"slip": 0.5, "slip_size": 3})), &values(json!({"rules": "new"})));
    assert_eq!(chosen, values(json!({"rules": "new", "slip": 0.5, "slip_size": 3})));
    assert_eq!((schema.overlay)(&chosen, &values(json!({"slip": 0}))), values(json!({"rules": "new", "slip": 0})));
}

#[test]
fn a_value_without_effect_in_its_own_layer_is_reported_whatever_is_laid_over_it() {
    let schema = Schema::of::<Toy>();
    let merged = (schema.overlay)(&values(json!({"slip_size": 2})), &values(json!({"limit": 9})));
    assert!((schema.resolve)(&merged).expect_err("slip is 0").to_string().contains("no effect"));
}

#[test]
fn only_what_is_near_is_suggested() {
    assert_eq!(nearest("q-lerning", ["sarsa", "q-learning"]), Some("q-learning"));
    assert_eq!(nearest("mnist", ["taxi", "breakout"]), None);
    assert_eq!(nearest("cnn", ["gan", "vae"]), None);
    assert_eq!(nearest("cnn", ["gan", "cnn-ae"]), Some("cnn-ae"));
    assert_eq!(nearest("lamda", ["lambda", "gamma"]), Some("lambda"));
}
