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
