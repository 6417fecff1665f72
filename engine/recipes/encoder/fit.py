"""One model's training loop: static shapes, a captured CUDA graph where the device has them, the clock as schedule."""
import math, time
import numpy as np, torch
from rows import WIDTHS


class Trainer:
    """loss_of(groups, rows, classes) -> scalar. Every step draws the same shapes, so forward, backward and update are one graph."""

    def __init__(self, model, rows, sampler, loss_of, lr, head_lr, lookup=None, graph=True):
        self.model, self.rows, self.sampler, self.loss_of, self.lookup = model, rows, sampler, loss_of, lookup
        self.device, self.cuda = rows.device, str(rows.device).startswith("cuda")
        named = list(model.named_parameters())
        head = lambda n: n.startswith("heads.")
        rate = lambda r: torch.tensor(r, device=self.device) if self.cuda else r
        groups = [([p for n, p in named if not head(n) and p.ndim > 1], lr, 0.01), ([p for n, p in named if not head(n) and p.ndim <= 1], lr, 0.0),
                  ([p for n, p in named if head(n)], head_lr, 0.01)]
        self.base = [r for _, r, _ in groups]
        self.optimizer = torch.optim.AdamW([{"params": p, "lr": rate(r), "weight_decay": d} for p, r, d in groups],
                                           betas=(0.9, 0.98), fused=self.cuda, capturable=self.cuda)
        self.parameters = [p for _, p in named]
        self.average, self.averaged = [p.detach().clone() for p in self.parameters], False
        self.balance = torch.zeros((), device=self.device)
        total = sum(sampler.sizes)
        self.picked, self.classes = (torch.zeros(total, dtype=torch.long, device=self.device) for _ in range(2))
        self.graph, self.loss, self.wanted = None, None, graph and self.cuda

    def one(self):
        rows = list(self.picked.split(self.sampler.sizes))
        with torch.autocast("cuda", torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            loss = self.loss_of(self.rows.groups(rows, self.lookup), self.picked, self.classes)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        for e in self.model.experts():
            e.balance(self.balance)
        return loss.detach()

    def load(self):
        picked, classes = self.sampler.draw()
        self.picked.copy_(torch.from_numpy(picked)); self.classes.copy_(torch.from_numpy(classes))

    def rate(self, progress):
        r = min(1.0, progress / 0.06 + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress)) + 1e-4
        for g, base in zip(self.optimizer.param_groups, self.base):
            if self.cuda:
                g["lr"].fill_(base * r)
            else:
                g["lr"] = base * r
        self.balance.fill_(1.5e-3 * (1 - progress) + 2e-5)

    def capture(self, say):
        """Three plain steps, then the graph; plain steps for good where capturing fails."""
        side = torch.cuda.Stream(); side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.load(); self.one()
        torch.cuda.current_stream().wait_stream(side); torch.cuda.synchronize()
        try:
            graph = torch.cuda.CUDAGraph()
            self.optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                self.loss = self.one()
            graph.replay(); torch.cuda.synchronize()
            if not math.isfinite(self.loss.item()):
                raise RuntimeError("the graph's loss is not finite")
            self.graph = graph
        except Exception as error:
            say(f"no graph: {type(error).__name__} {str(error)[:300]}", flush=True)
            self.graph = None; torch.cuda.synchronize()

    def run(self, max_steps, deadline, say=print, watch=(), often=None):
        """Trains until `max_steps` or the clock; `watch`: (progress, function) called once each; `often` is called every 50
        steps. -> steps done"""
        start, step, watch = time.time(), 0, list(watch)
        self.model.train(); self.rate(0.0)
        if self.wanted:
            self.capture(say)
        while True:
            progress = max(step / max_steps, (time.time() - start) / max(deadline - start, 1e-9))
            if step >= max_steps or progress >= 1 and step:
                break
            if watch and progress >= watch[0][0]:
                at, call = watch.pop(0)
                with self.as_average():
                    call(at, step)
                self.model.train()
            if often and step % 50 == 0:
                often()
            self.rate(min(progress, 1.0)); self.load()
            if self.graph is not None:
                self.graph.replay()
            else:
                self.loss = self.one()
            step += 1
            if step % 10 == 0 or not self.cuda:
                with torch.no_grad():
                    # The mean of the last steps' weights generalises better than the last step's.
                    if progress < 0.15:
                        torch._foreach_copy_(self.average, self.parameters)
                    else:
                        self.averaged = True
                        torch._foreach_lerp_(self.average, self.parameters, 0.02 if self.cuda else 0.2)
            if self.cuda and step % 20 == 0:
                torch.cuda.synchronize()
            if step % 500 == 0:
                say(f"  step {step} loss {self.loss.item():.3f} {time.time() - start:.0f}s", flush=True)
        say(f"  {step} steps in {time.time() - start:.1f}s, graph {self.graph is not None}, last loss {float(self.loss):.3f}", flush=True)
        if self.averaged:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, self.average)
        return step

    def as_average(self):
        trainer = self

        class Swap:
            def __enter__(self):
                self.kept = [p.detach().clone() for p in trainer.parameters]
                with torch.no_grad():
                    torch._foreach_copy_(trainer.parameters, trainer.average)
                trainer.model.eval()

            def __exit__(self, *_):
                with torch.no_grad():
                    torch._foreach_copy_(trainer.parameters, self.kept)
        return Swap()
