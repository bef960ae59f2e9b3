//! Report on the tastes that hidden units found in six films.

use super::energy::Energy;
use crate::generative::data::movies::{GROUPS, TITLES};
use tch::{Kind, Tensor};

/// A viewer who is not in the data: Gladiator and Titanic.
const SEVENTH: [f32; 6] = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0];

/// Bounds the hidden units of the table, whose weights must fit on a line.
pub(super) const MAX_UNITS: i64 = 8;

/// Returns the weights of each hidden unit by title, the group of films that it found, and recommendations for a
/// seventh viewer, or `None` if there are too many units for a table.
pub(super) fn report(energy: &Energy) -> Option<String> {
    if energy.n_hidden() > MAX_UNITS {
        return None;
    }
    let weights: Vec<Vec<f32>> = Vec::try_from(&energy.weight).expect("a matrix");
    let n_units = energy.n_hidden() as usize;
    let mut text = format!("{:14}", "weights");
    for unit in 1..=n_units {
        text += &format!("{:>9}", format!("unit {unit}"));
    }
    for (title, weights) in TITLES.iter().zip(&weights) {
        text += &format!("\n{title:14}");
        for weight in weights {
            // Adding 0.0 turns -0.0 into 0.0.
            text += &format!("{:9.2}", (weight * 100.0).round() / 100.0 + 0.0);
        }
    }
    for unit in 0..n_units {
        let of_unit: Vec<f32> = weights.iter().map(|by_unit| by_unit[unit]).collect();
        let [on, off] = groups_by(&of_unit);
        text += &format!("\nunit {} found: {on} (off for {off})", unit + 1);
    }

    let seventh = Tensor::from_slice(&SEVENTH).view([1, -1]).to_device(energy.weight.device());
    let hidden = energy.hidden_means(&seventh);
    let wish: Vec<f32> = Vec::try_from(energy.visible_means(&hidden).flatten(0, -1)).expect("a row");
    let wants: Vec<&str> = (0..TITLES.len()).filter(|&film| SEVENTH[film] == 1.0).map(|film| TITLES[film]).collect();
    let mut others: Vec<usize> = (0..TITLES.len()).filter(|&film| SEVENTH[film] == 0.0).collect();
    others.sort_by(|&a, &b| wish[b].total_cmp(&wish[a]));
    let others: Vec<String> = others.iter().map(|&film| format!("{} {:.2}", TITLES[film], wish[film])).collect();
    let units: Vec<f32> = Vec::try_from(hidden.to_kind(Kind::Float).flatten(0, -1)).expect("a row");
    let units: Vec<String> = units.iter().map(|mean| format!("{mean:.2}")).collect();
    text += &format!(
        "\na seventh viewer who wants {} switches the units on with {}",
        wants.join(" and "),
        units.join(", ")
    );
    text += &format!("\nrecommended, with its probability: {}\n", others.join(", "));
    Some(text)
}

/// Returns the group of films that a unit's weights favour, then the other group. A film of both groups has no effect.
fn groups_by(weights: &[f32]) -> [&'static str; 2] {
    let [first, second] = GROUPS.map(|(_, films)| films.iter().map(|&film| weights[film]).sum::<f32>());
    let [a, b] = GROUPS.map(|(name, _)| name);
    if first > second { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::rbm::energy::Visible;
    use tch::Device;

    #[test]
    fn units_are_named_after_the_films_they_favour() {
        let weight =
            Tensor::from_slice(&[5.0_f32, -5.0, 4.0, -4.0, 3.0, 3.0, -5.0, 5.0, -4.0, 4.0, -3.0, -3.0]).view([6, 2]);
        let zeros = |n| Tensor::zeros([n], (Kind::Float, Device::Cpu));
        let energy = Energy { visible: Visible::Bernoulli, weight, visible_bias: zeros(6), hidden_bias: zeros(2) };
        let text = report(&energy).unwrap();
        assert!(text.contains("Harry Potter       5.00    -5.00"), "{text}");
        assert!(
            text.contains("unit 1 found: fantasy (off for Oscar winners)\nunit 2 found: Oscar winners (off"),
            "{text}"
        );
        assert!(text.contains("wants Gladiator and Titanic switches the units on with 0.00, 1.00"), "{text}");
        assert!(text.contains("recommended, with its probability: LOTR 3 0.95"), "{text}");
    }
}
