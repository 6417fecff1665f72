//! The arithmetic that the encoder runs in.

/// The arithmetic of a model's large products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights and activations in int8, sums in `i32`: the fast form.
    #[default]
    Int8,
    /// All in `f32`: the form that the fast one is compared with.
    Float32,
}
