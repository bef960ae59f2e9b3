//! Gibbs chains of a restricted Boltzmann machine: as a picture, or as text for data that are no pictures.

use super::caption::labelled;
use super::grid::{Channels, GAP, grid};
use crate::generative::model::GibbsStep;
use carom_agents::net::tensor::to_vec;
use carom_envs::Picture;
use tch::Tensor;

/// Gray level around hidden units.
const AROUND: f64 = 0.25;

/// Draws chains side by side, time running down: the images `x` that they start from, then for each step the
/// probabilities of the hidden units, their states, the probabilities of the pixels, and their states. Hidden units are
/// the pixels of a square, row by row.
pub(crate) fn chain(x: &Tensor, channels: Channels, steps: &[GibbsStep]) -> Picture {
    let mut rows = vec![("image".to_owned(), x.shallow_clone())];
    for (i, step) in (1..).zip(steps) {
        let GibbsStep { hidden_means, hidden, visible_means, visible } = step;
        rows.push((format!("{i} p(h|v)"), square(hidden_means)));
        rows.push((format!("{i} h"), square(hidden)));
        rows.push((format!("{i} p(v|h)"), visible_means.shallow_clone()));
        rows.push((format!("{i} v"), visible.shallow_clone()));
    }
    let sides = |images: &Tensor| [images.size()[2], images.size()[3]];
    let [height, width] = rows
        .iter()
        .map(|(_, images)| sides(images))
        .fold([0; 2], |[a, b], [rows, columns]| [a.max(rows), b.max(columns)]);
    let n = x.size()[0] as usize;
    let pictures = rows.into_iter().map(|(label, images)| {
        let [down, across] = sides(&images);
        let (top, left) = ((height - down) / 2, (width - across) / 2);
        let room = [left, width - across - left, top, height - down - top];
        (label, grid(&images.pad(room, "constant", AROUND), channels, n, GAP))
    });
    labelled(&pictures.collect::<Vec<_>>(), 0)
}

/// Returns hidden units `[B, units]` as gray squares `[B, 1, side, side]`.
fn square(units: &Tensor) -> Tensor {
    let n = units.size()[1];
    let side = (n as f64).sqrt().ceil() as i64;
    let rows = (n + side - 1) / side;
    units.pad([0, rows * side - n], "constant", AROUND).view([-1, 1, rows, side])
}

/// Returns the chains as text, with the names of the visible units that are on.
pub(crate) fn chain_text(x: &Tensor, steps: &[GibbsStep], names: &[&str]) -> String {
    let on = |states: &[f32]| {
        let on: Vec<&str> =
            names.iter().zip(states).filter(|(_, state)| **state > 0.5).map(|(name, _)| *name).collect();
        if on.is_empty() { "none".to_owned() } else { on.join(", ") }
    };
    let row = |tensor: &Tensor, i: i64| to_vec(&tensor.get(i).flatten(0, -1));
    let probabilities =
        |tensor: &Tensor, i: i64| row(tensor, i).iter().map(|mean| format!("{mean:.2}")).collect::<Vec<_>>().join(" ");
    let states = |tensor: &Tensor, i: i64| {
        row(tensor, i).iter().map(|state| format!("{state:.0}")).collect::<Vec<_>>().join(" ")
    };
    let mut text = String::new();
    for i in 0..x.size()[0] {
        text += &format!("chain {} from {}\n", i + 1, on(&row(x, i)));
        for (k, step) in (1..).zip(steps) {
            text += &format!(
                "  {k} p(h|v) {}  h {}  p(v|h) {}  v {}\n",
                probabilities(&step.hidden_means, i),
                states(&step.hidden, i),
                probabilities(&step.visible_means, i),
                on(&row(&step.visible, i))
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn step(n_hidden: i64, shape: [i64; 4]) -> GibbsStep {
        let [hidden, visible] =
            [vec![shape[0], n_hidden], shape.to_vec()].map(|size| Tensor::ones(size, (Kind::Float, Device::Cpu)));
        GibbsStep { hidden_means: &hidden * 0.5, hidden, visible_means: &visible * 0.25, visible }
    }

    #[test]
    fn each_step_adds_four_rows_and_each_chain_a_column() {
        for n_hidden in [2, 5, 500] {
            let x = Tensor::zeros([3, 1, 4, 6], (Kind::Float, Device::Cpu));
            let size = |n_steps: usize| {
                let steps: Vec<_> = (0..n_steps).map(|_| step(n_hidden, [3, 1, 4, 6])).collect();
                let picture = chain(&x, Channels::Colours, &steps);
                (picture.width, picture.height)
            };
            let ((one_width, one), (two_width, two)) = (size(1), size(2));
            assert_eq!((one_width, two * 5), (two_width, one * 9), "{n_hidden} units");
        }
    }

    #[test]
    fn text_names_the_units_that_are_on() {
        let x = Tensor::from_slice(&[1.0_f32, 0.0, 0.0]).view([1, 1, 1, 3]);
        let text = chain_text(&x, &[step(2, [1, 1, 1, 3])], &["a", "b", "c"]);
        let line = "  1 p(h|v) 0.50 0.50  h 1 1  p(v|h) 0.25 0.25 0.25  v a, b, c\n";
        assert_eq!(text, format!("chain 1 from a\n{line}"));
    }
}
