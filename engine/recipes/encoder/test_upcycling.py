"""At its start the upcycled encoder is the dense one: python -m pytest test_upcycling.py (MINILM=folder of MiniLM)."""
import os
import numpy as np, pytest, torch
from model import DenseFeedForward, Encoder, Experts, group_of, read_model


def small_weights(hidden=16, inner=32):
    g = torch.Generator().manual_seed(1)
    r = lambda *s: torch.randn(*s, generator=g)
    return {"p.intermediate.dense.weight": r(inner, hidden), "p.intermediate.dense.bias": r(inner),
            "p.output.dense.weight": r(hidden, inner), "p.output.dense.bias": r(hidden)}


def test_block_equals_dense_and_every_token_takes_one_copy_of_every_slice():
    torch.manual_seed(0)
    w, x = small_weights(), torch.randn(50, 16)
    experts = Experts(w, "p.")
    assert torch.allclose(experts(x), DenseFeedForward(w, "p.")(x), atol=1e-5)
    assert experts.load.view(4, 4).sum(1).tolist() == [50.0] * 4
    assert (experts.load > 0).sum() > 4, "different tokens take different copies"


def test_balancing_evens_out_a_skewed_router():
    torch.manual_seed(0)
    experts = Experts(small_weights(), "p.")
    x = torch.randn(4000, 16) + 1.0
    violation = lambda: float((experts.load / experts.load.mean() - 1).abs().max())
    experts(x); before = violation()
    for step in range(800):
        experts(x); experts.balance(1e-3 * (1 - step / 800))
    experts(x)
    assert violation() < min(0.05, before)


@pytest.mark.skipif("MINILM" not in os.environ, reason="set MINILM to the folder of all-MiniLM-L6-v2")
def test_whole_encoder_equals_minilm_at_the_start():
    config, w = read_model(os.environ["MINILM"])
    ids = [np.array([101, 2026, 4003, 2003, 2439, 102]), np.array([101, 7592, 102])]
    with torch.no_grad():
        moe = Encoder(config, w, {"a": 2}).eval()([group_of(ids, "cpu")])
        dense = Encoder(config, w, {"a": 2}, experts=False).eval()([group_of(ids, "cpu")])
    for a, b in zip(moe, dense):
        assert (a - b).abs().max() < 1e-5
