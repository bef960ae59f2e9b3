//! A binary tree of sums, from which a leaf is drawn in proportion to its weight in logarithmic time (Schaul et al.
//! 2016, appendix B.2.1).

/// Weights and their sums. Each sum is that of its two children, so the tree is a function of the weights alone.
#[derive(Debug)]
pub(crate) struct SumTree {
    /// Root at 1, children of node i at 2i and 2i + 1, leaves from `n_leaves` on.
    nodes: Vec<f64>,
    n_leaves: usize,
}

impl SumTree {
    /// A tree of at least `len` leaves, all 0.
    pub(crate) fn new(len: usize) -> Self {
        let n_leaves = len.next_power_of_two();
        Self { nodes: vec![0.0; 2 * n_leaves], n_leaves }
    }

    /// Sum of all weights.
    pub(crate) fn total(&self) -> f64 {
        self.nodes[1]
    }

    pub(crate) fn get(&self, leaf: usize) -> f64 {
        self.nodes[self.n_leaves + leaf]
    }

    pub(crate) fn set(&mut self, leaf: usize, weight: f64) {
        let mut node = self.n_leaves + leaf;
        self.nodes[node] = weight;
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// Sets the weights of the first leaves.
    pub(crate) fn fill(&mut self, weights: &[f32]) {
        for (node, weight) in self.nodes[self.n_leaves..].iter_mut().zip(weights) {
            *node = f64::from(*weight);
        }
        for node in (1..self.n_leaves).rev() {
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// The leaf in whose share of 0..total `at` lies. Rounding leads to no leaf of weight 0 while there are others.
    pub(crate) fn find(&self, mut at: f64) -> usize {
        let mut node = 1;
        while node < self.n_leaves {
            let (left, right) = (self.nodes[2 * node], self.nodes[2 * node + 1]);
            let goes_left = at < left || right == 0.0;
            node = 2 * node + usize::from(!goes_left);
            at = if goes_left { at } else { at - left };
        }
        node - self.n_leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_by_hand() {
        let mut tree = SumTree::new(3);
        for (leaf, weight) in [(0, 1.0), (1, 2.0), (2, 3.0)] {
            tree.set(leaf, weight);
        }
        assert_eq!((tree.total(), tree.get(1)), (6.0, 2.0));
        assert_eq!([0.0, 0.9, 1.0, 2.9, 3.0, 5.9, 6.0, 99.0].map(|at| tree.find(at)), [0, 0, 1, 1, 2, 2, 2, 2]);
        tree.set(1, 0.0);
        assert_eq!((tree.total(), tree.find(1.0)), (4.0, 2));
    }

    #[test]
    fn it_is_a_function_of_its_weights() {
        let weights: Vec<f32> = (0..21).map(|i| (i as f32).sin().abs()).collect();
        let (mut by_one, mut at_once) = (SumTree::new(21), SumTree::new(21));
        for i in (0..21).chain((0..21).rev()) {
            by_one.set(i, 0.5);
            by_one.set(i, weights[i].into());
        }
        at_once.fill(&weights);
        assert_eq!(by_one.nodes, at_once.nodes);
    }
}
