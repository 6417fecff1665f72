//! Random draws that are the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of draws from one seed.
#[derive(Debug, Clone)]
pub(in crate::risk) struct Draws(ChaCha8Rng);

impl Draws {
    pub(in crate::risk) fn new(seed: u64) -> Draws {
        Draws(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Evenly in [0, 1), with 32 bits: a conversion that loses nothing.
    pub(in crate::risk) fn uniform(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// True with a probability.
    pub(in crate::risk) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Evenly between two numbers.
    pub(in crate::risk) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A whole number between two, both included.
    pub(in crate::risk) fn whole(&mut self, low: f64, high: f64) -> f64 {
        self.between(low, high + 1.0).floor().min(high)
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub(in crate::risk) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Log-normal around a median; `spread` is the deviation of the logarithm.
    pub(in crate::risk) fn around(&mut self, median: f64, spread: f64) -> f64 {
        median * libm::exp(spread * self.normal())
    }

    /// Exponential with mean 1.
    pub(in crate::risk) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// One of several by weight.
    pub(in crate::risk) fn pick<T: Copy>(&mut self, first: T, choices: &[(f64, T)]) -> T {
        let total: f64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.uniform() * total;
        for &(weight, choice) in choices {
            if left < weight {
                return choice;
            }
            left -= weight;
        }
        choices.last().map_or(first, |&(_, choice)| choice)
    }

    /// A key that stands for a device or an address.
    pub(in crate::risk) fn key(&mut self) -> u64 {
        self.0.next_u64()
    }
}
