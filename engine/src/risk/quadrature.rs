//! Gauss–Legendre quadrature on the unit interval.
#![expect(clippy::indexing_slicing, reason = "every index is below the array's constant length")]

/// Nodes and weights of an `N`-point rule on (0, 1), exact for polynomials up to degree `2N - 1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<const N: usize> {
    /// The nodes `t`, rising.
    pub(super) node: [f64; N],
    /// `1 - t`, kept apart so that nothing cancels near 1.
    pub(super) rest: [f64; N],
    /// The weights; they sum to one.
    pub(super) weight: [f64; N],
}

impl<const N: usize> Rule<N> {
    /// Finds the roots of the Legendre polynomial by Newton's method from the usual cosine guess.
    pub(super) fn new() -> Rule<N> {
        let mut rule = Rule { node: [0.0; N], rest: [0.0; N], weight: [0.0; N] };
        let count = counted(N);
        for position in 0..N {
            let mut x = libm::cos(std::f64::consts::PI * (counted(position) + 0.75) / (count + 0.5));
            let mut slope = 1.0;
            // Newton doubles the digits each time: five steps from here are plenty.
            for _ in 0..8 {
                let (value, derivative) = legendre(N, x);
                slope = derivative;
                x -= value / derivative;
            }
            let at = N - 1 - position;
            rule.node[at] = 0.5 * (1.0 + x);
            rule.rest[at] = 0.5 * (1.0 - x);
            rule.weight[at] = 1.0 / ((1.0 - x * x) * slope * slope);
        }
        rule
    }
}

/// A rule whose size is known only when the program runs.
#[derive(Debug, Clone)]
pub(super) struct Points(Vec<(f64, f64, f64)>);

impl Points {
    /// The smallest rule that is exact for the integrals of a path with this many features, 128 at most.
    pub(super) fn exact_for(features: usize) -> Points {
        match features {
            0..=2 => Points::of::<1>(),
            3..=4 => Points::of::<2>(),
            5..=6 => Points::of::<3>(),
            7..=8 => Points::of::<4>(),
            9..=10 => Points::of::<5>(),
            11..=16 => Points::of::<8>(),
            17..=32 => Points::of::<16>(),
            33..=64 => Points::of::<32>(),
            _ => Points::of::<64>(),
        }
    }

    fn of<const N: usize>() -> Points {
        let rule = Rule::<N>::new();
        Points(rule.node.iter().zip(&rule.rest).zip(&rule.weight).map(|((&t, &rest), &w)| (t, rest, w)).collect())
    }

    /// `t`, `1 - t` and the weight of every node.
    pub(super) fn iter(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        self.0.iter().copied()
    }
}

/// The Legendre polynomial of a degree at `x`, and its derivative.
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut last, mut value) = (1.0, x);
    for k in 1..degree {
        let k = counted(k);
        (last, value) = (value, ((2.0 * k + 1.0) * x * value - k * last) / (k + 1.0));
    }
    (value, counted(degree) * (x * value - last) / (x * x - 1.0))
}

fn counted(number: usize) -> f64 {
    // At most 64 here.
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integral<const N: usize>(power: i32) -> f64 {
        let rule = Rule::<N>::new();
        rule.node.iter().zip(&rule.weight).map(|(node, weight)| weight * node.powi(power)).sum()
    }

    #[test]
    fn polynomials_are_integrated_exactly_up_to_twice_the_nodes() {
        for power in 0..4 {
            assert!((integral::<2>(power) - 1.0 / f64::from(power + 1)).abs() < 1e-15, "2 nodes, {power}");
        }
        for power in 0..8 {
            assert!((integral::<4>(power) - 1.0 / f64::from(power + 1)).abs() < 1e-15, "4 nodes, {power}");
        }
        for power in 0..128 {
            assert!((integral::<64>(power) - 1.0 / f64::from(power + 1)).abs() < 1e-14, "64 nodes, {power}");
        }
        assert!((integral::<4>(8) - 1.0 / 9.0).abs() > 1e-9, "and no further");
    }
}
