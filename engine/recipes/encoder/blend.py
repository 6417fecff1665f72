"""The mean of two trained encoders' weights, calibrated anew: "model soups" (Wortsman et al. 2022).

    python blend.py --pack PACK --first DIR --second DIR --share 0.8 --out DIR

Both must have begun at the same weights, as all runs of train.py do, so that their experts correspond.
"""
import argparse, glob, json, os, shutil
import torch
from safetensors.torch import load_file
from data import HEADS
from export import export, shipped_copy
from measure import calibrate, expert_load, violation
from model import Encoder, Experts
from pack import load_model
from rows import Rows
from train import EVALUATED, settle


def read(folder):
    """A shipped folder's weights in float32."""
    stored = {}
    for file in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        stored |= load_file(file)
    wide = lambda n, t: t.float() * stored[n + ".scale"].unsqueeze(-1) if n + ".scale" in stored else t.float()
    return {n: wide(n, t) for n, t in stored.items() if not n.endswith(".scale")}


def chosen_alone(self, x, gates):
    """The experts as a processor computes them quickest: those that were chosen."""
    out = torch.zeros_like(x) + self.b2
    for e in range(gates.shape[1]):
        at = gates[:, e].nonzero(as_tuple=True)[0]
        if len(at):
            inner = torch.nn.functional.gelu(x[at] @ self.w1[e].t() + self.b1[e]) * gates[at, e, None]
            out.index_add_(0, at, inner @ self.w2[e].t())
    return out


@torch.no_grad()
def main():
    a = argparse.ArgumentParser()
    for name in ("pack", "first", "second", "out"):
        a.add_argument("--" + name, required=True)
    a.add_argument("--share", type=float, default=0.8, help="of the second"); a.add_argument("--version", default="encoder-3")
    a.add_argument("--settle", type=int, default=0, help="rounds of evening out the experts' load")
    a.add_argument("--texts", type=int, default=3_000, help="to settle on")
    a = a.parse_args()
    Experts.dense = chosen_alone
    rows = Rows(a.pack, "cpu"); labels = rows.meta["labels"]
    config, minilm = load_model(os.path.join(a.pack, "minilm.npz"))
    fresh = lambda: Encoder(config, minilm, {h: len(labels[h]) for h in HEADS})
    first, second, model = read(a.first), read(a.second), fresh()
    model.load_state_dict({n: (1 - a.share) * first[n] + a.share * second[n] for n in second})
    model = shipped_copy(model, fresh())
    if a.settle:
        settle(model, rows, "cpu", a.settle, a.texts, print)
    calibration = calibrate(model, labels, rows.sets, "cpu")
    os.makedirs(a.out, exist_ok=True)
    shutil.copy(os.path.join(a.pack, "tokenizer.json"), a.out)
    export(model, config, labels, calibration, rows.meta["fixture"], a.out, a.version)
    loads = {k: expert_load(model, rows.sets[k][1], "cpu") for k in EVALUATED}
    print(json.dumps({"calibration": calibration, "max_violation": violation(sum(loads.values())),
                      "by_set": {k: violation(l) for k, l in loads.items()}}))


if __name__ == "__main__":
    main()
