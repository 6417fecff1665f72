//! Small things that candle has no trainable form of.

use candle_core::{D, Device, Result, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Softmax over the last dimension in its slow form: the fused one has no backward.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    let raised = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    raised.broadcast_div(&raised.sum_keepdim(D::Minus1)?)
}

/// Logarithm of [`softmax`].
pub(super) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let lowered = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    lowered.broadcast_sub(&lowered.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// `1 / (1 + exp(-x))`.
pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// Zeroes a share of numbers at random and raises the others to keep the mean (Srivastava et al. 2014).
pub(super) fn drop_out(x: &Tensor, share: f32, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    if share <= 0.0 {
        return Ok(x.clone());
    }
    let kept = 1.0 / (1.0 - share);
    let mask: Vec<f32> = (0..x.elem_count()).map(|_| if rng.random::<f32>() < share { 0.0 } else { kept }).collect();
    x * Tensor::from_vec(mask, x.shape(), &Device::Cpu)?
}
