#!/usr/bin/env python3
"""The PyTorch side of the benchmark: one self-play PPO iteration, as fast as we can write it in PyTorch on a CPU.

The recipe is that of self-play-ppo (see bench/README.md): one opponent an iteration, drawn from a pool of past
policies; only the agent's own moves are trained; GAE over own moves without sign flip; advantages normalised over
the batch; shuffled minibatches; Adam; global gradient norm clipped.

  ppo_torch.py [--game tictactoe|connect4] [--threads T] [--iterations N] [--warmup N] [--seed S]
               [--precision fp32|medium|bf16] [--variant auto|autograd|autocast|compile|manual] [--check] [--json]

--json prints one line: name (iteration/GAME), system, version, threads, precision, variant, parameters, iterations,
samples and steps an iteration, median_ms, p10_ms and p90_ms of an iteration, collect_ms, update_ms,
update_ms_per_step, and with --variant auto gradient_ms_per_step of every variant.

What makes it fast, in both halves of an iteration:
  collect  rules on bitboards in int64 tensors for all games at once, finished games dropped every round, one
           forward pass for all games of a side (the games in which the agent moves second are one ply ahead), an
           argmax over exponential noise instead of torch.multinomial, no gradient bookkeeping.
  update   all parameters, gradients and Adam moments are views into one flat tensor each, so that the norm and the
           fused Adam are one call each; the batch is permuted once an epoch and minibatches are slices; the
           clipping factor rides on fused Adam's grad_scale instead of a pass over the gradients; the fused kernel
           is called without the 70 us of bookkeeping of torch.optim.Adam.step.

Precisions: fp32 multiplies in fp32; medium is torch.set_float32_matmul_precision("medium"), which lets oneDNN choose;
bf16 has matrix products (and, but for autocast, activations) in bf16 and fp32 master weights, moments and loss.

Ways to write the gradient (--variant), same mathematics. --check compares all of them with autograd in fp32, relative
to the gradient's norm, and ends with status 1 where one is off:
  autograd  the usual loss.backward(); in bf16 on a copy of the weights
  autocast  the usual loss.backward() under torch.autocast; bf16 only
  compile   torch.compile of forward, loss and backward in one graph
  manual    the backward pass by hand, matrix products straight into the flat gradient, torch.compile for the
            pointwise loss alone
auto times them on the first batch and keeps the fastest.
"""

import argparse
import json
import math
import os
import sys
import time

# Environment overrides that slow BLAS down (a core type or cache size below the machine's) would flatter the other
# side. The tests of other projects set them; they must be gone before torch is loaded.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA",
              "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
    os.environ.pop(_name, None)

import torch
import torch.nn.functional as F


class Recipe:
    """Hyperparameters of one game; the names are those of bellows' options where there is one."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


RECIPES = {
    "tictactoe": Recipe(games=512, kind="mlp", width=256, depth=4, minibatch=64, epochs=4, clip=0.1, entropy=0.05,
                        lr=3e-3, max_grad_norm=0.5, gamma=0.99, lam=0.95, value_coef=0.5, draw_reward=0.5,
                        temperature=1.0, pool=20, every=25, eviction="keepFirst"),
    "connect4": Recipe(games=2048, kind="resmlp", width=256, depth=6, minibatch=256, epochs=4, clip=0.2,
                       entropy=0.001, lr=3e-4, max_grad_norm=0.5, gamma=0.99, lam=0.95, value_coef=0.5,
                       draw_reward=0.0, temperature=1.5, pool=50, every=25, eviction="reservoir"),
}


# ---- rules: a side is an int64 bitboard a game ----


class TicTacToe:
    cells, actions, rounds = 9, 9, 5

    def __init__(self):
        boards = torch.arange(512)
        bits = (boards[:, None] >> torch.arange(9)) & 1
        self.features = bits.float()  # [512, 9]
        self.blocked = self.features * -1e8  # added to logits: -1e8 on taken cells
        lines = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
        masks = torch.tensor([sum(1 << c for c in line) for line in lines])
        self.wins = ((boards[:, None] & masks) == masks).any(1)
        self.bit = 1 << torch.arange(9)

    def planes(self, side):  # [N] -> [N, 9]
        return self.features[side]

    def mask(self, logits, taken):
        return logits.add_(self.blocked[taken])

    def play(self, side, taken, action):  # the side's stones after the move
        return side | self.bit[action]

    def won(self, side):
        return self.wins[side]

    def full(self, taken):
        return taken == 511


class Connect4:
    """Bit 7 * column + row; row 6 stays empty, so that shifts never join columns."""

    cells, actions, rounds = 42, 7, 21

    def __init__(self):
        cell = torch.arange(42)
        self.shift = 7 * (cell % 7) + cell // 7
        self.top = 7 * torch.arange(7) + 5
        self.bottom = 1 << (7 * torch.arange(7))
        self.board = sum(0x3F << (7 * c) for c in range(7))

    def planes(self, side):
        return ((side[:, None] >> self.shift) & 1).float()

    def mask(self, logits, taken):
        return logits.sub_(((taken[:, None] >> self.top) & 1).float(), alpha=1e8)

    def play(self, side, taken, action):
        bottom = self.bottom[action]
        return side | ((taken + bottom) & (bottom * 0x3F))  # the carry lands on the column's lowest empty cell

    def won(self, side):
        hit = torch.zeros_like(side)
        for step in (1, 6, 7, 8):
            pairs = side & (side >> step)
            hit |= pairs & (pairs >> (2 * step))
        return hit != 0

    def full(self, taken):
        return taken == self.board


GAMES = {"tictactoe": TicTacToe, "connect4": Connect4}


# ---- network: parameters are views into one flat tensor ----


class Net:
    """mlp: depth x (linear, ReLU). resmlp: linear, depth - 1 blocks x + GELU(linear(LayerNorm(x))), LayerNorm.

    Policy and value head are one linear layer of actions + 1 outputs (the value last).
    """

    def __init__(self, recipe, game, generator):
        self.kind, self.depth, self.actions = recipe.kind, recipe.depth, game.actions
        inputs, width = 3 * game.cells, recipe.width
        shapes = []
        for layer in range(recipe.depth):
            fan_in = width if layer else inputs
            if self.kind == "resmlp" and layer:
                shapes += [(f"norm{layer}.weight", (width,), "one"), (f"norm{layer}.bias", (width,), "zero")]
            shapes += [(f"trunk{layer}.weight", (width, fan_in), fan_in), (f"trunk{layer}.bias", (width,), fan_in)]
        if self.kind == "resmlp":
            shapes += [("norm.weight", (width,), "one"), ("norm.bias", (width,), "zero")]
        shapes += [("head.weight", (game.actions + 1, width), width), ("head.bias", (game.actions + 1,), width)]
        self.shapes = [(name, shape) for name, shape, _ in shapes]
        parts = []
        for _, shape, init in shapes:
            size = math.prod(shape)
            if init == "one":
                parts.append(torch.ones(size))
            elif init == "zero":
                parts.append(torch.zeros(size))
            else:  # the default of torch.nn.Linear: uniform on +-1 / sqrt(fan in), biases too
                parts.append((torch.rand(size, generator=generator) * 2 - 1) / math.sqrt(init))
        self.flat = torch.cat(parts)
        self.count = self.flat.numel()

    def views(self, flat):
        out, offset = {}, 0
        for name, shape in self.shapes:
            size = math.prod(shape)
            out[name] = flat[offset:offset + size].view(shape)
            offset += size
        return out

    def forward(self, p, x):
        """[N, inputs] -> [N, actions + 1]; p: views of a flat tensor of x's type."""
        if self.kind == "mlp":
            for layer in range(self.depth):
                x = F.relu(F.linear(x, p[f"trunk{layer}.weight"], p[f"trunk{layer}.bias"]))
        else:
            x = F.linear(x, p["trunk0.weight"], p["trunk0.bias"])
            width = (x.shape[1],)
            for layer in range(1, self.depth):
                y = F.layer_norm(x, width, p[f"norm{layer}.weight"], p[f"norm{layer}.bias"])
                x = x + F.gelu(F.linear(y, p[f"trunk{layer}.weight"], p[f"trunk{layer}.bias"]), approximate="tanh")
            x = F.layer_norm(x, width, p["norm.weight"], p["norm.bias"])
        return F.linear(x, p["head.weight"], p["head.bias"])


# ---- PPO loss on the head's outputs ----


def ppo_loss(head, illegal, action, old_logp, advantage, target, recipe):
    """Mean over the rows. illegal: [N, A], 1e8 on illegal actions."""
    head = head.float()
    logp_all = F.log_softmax(head[:, :-1] - illegal, 1)
    logp = logp_all.gather(1, action[:, None])[:, 0]
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - recipe.clip, 1 + recipe.clip)
    policy = torch.min(ratio * advantage, clipped * advantage).mean()
    value = (head[:, -1] - target).square().mean()
    entropy = -(logp_all.exp() * logp_all).sum(1).mean()
    return recipe.value_coef * value - policy - recipe.entropy * entropy


def ppo_loss_grad(head, illegal, action, old_logp, advantage, target, scale, recipe):
    """d ppo_loss / d head by hand; scale: 1 / rows. [N, A + 1]"""
    head = head.float()
    logp_all = F.log_softmax(head[:, :-1] - illegal, 1)
    prob = logp_all.exp()
    logp = logp_all.gather(1, action[:, None])
    ratio = (logp - old_logp[:, None]).exp()
    advantage = advantage[:, None]
    # min(r A, clip(r) A): no gradient where the clipped branch is smaller
    outside = ((advantage > 0) & (ratio > 1 + recipe.clip)) | ((advantage < 0) & (ratio < 1 - recipe.clip))
    weight = torch.where(outside, 0.0, ratio * advantage)  # d policy / d logp
    entropy = -(prob * logp_all).sum(1, keepdim=True)
    chosen = (torch.arange(prob.shape[1], device=prob.device) == action[:, None]).float()
    d_logits = weight * (prob - chosen) + recipe.entropy * prob * (logp_all + entropy)
    d_value = 2 * recipe.value_coef * (head[:, -1] - target)
    return torch.cat([d_logits, d_value[:, None]], 1) * scale


# ---- gradient variants: a call takes one minibatch and returns the flat gradient ----


class AutogradStep:
    def __init__(self, trainer):
        self.t = trainer

    def __call__(self, rows):
        t = self.t
        # A leaf for each tensor: autograd then need not scatter views into a flat gradient.
        leaves = t.net.views(t.net.flat)
        leaves = {name: view.detach().requires_grad_() for name, view in leaves.items()}
        with torch.enable_grad():
            p = {name: leaf.bfloat16() for name, leaf in leaves.items()} if t.bf16 else leaves
            loss = ppo_loss(t.net.forward(p, rows[0]), *rows[1:], t.recipe)
            grads = torch.autograd.grad(loss, list(leaves.values()))
        return torch.cat([grad.reshape(-1) for grad in grads])


class AutocastStep(AutogradStep):
    """Ordinary PyTorch in mixed precision: fp32 weights, autocast chooses what runs in bf16."""

    def __call__(self, rows):
        t = self.t
        leaves = t.net.views(t.net.flat)
        leaves = {name: view.detach().requires_grad_() for name, view in leaves.items()}
        with torch.enable_grad():
            with torch.autocast("cpu", torch.bfloat16):
                head = t.net.forward(leaves, rows[0])
            grads = torch.autograd.grad(ppo_loss(head, *rows[1:], t.recipe), list(leaves.values()))
        return torch.cat([grad.reshape(-1) for grad in grads])


class CompiledStep:
    """Forward, loss and backward traced into one graph. The last, shorter minibatch has a graph of its own."""

    def __init__(self, trainer):
        net, recipe, bf16 = trainer.net, trainer.recipe, trainer.bf16

        def loss(flat, x, illegal, action, old_logp, advantage, target):
            p = net.views(flat.bfloat16() if bf16 else flat)
            return ppo_loss(net.forward(p, x), illegal, action, old_logp, advantage, target, recipe)

        self.loss = torch.compile(loss, dynamic=None)
        self.leaf = trainer.net.flat.detach().requires_grad_()  # shares the memory

    def __call__(self, rows):
        with torch.enable_grad():
            loss = self.loss(self.leaf, *rows)
            self.leaf.grad = None
            loss.backward()
        return self.leaf.grad


class ManualStep:
    """Backward by hand: matrix products write into the flat gradient, buffers are reused."""

    def __init__(self, trainer, compile_loss=True):
        self.t = trainer
        net, rows = trainer.net, trainer.recipe.minibatch
        self.dtype = torch.bfloat16 if trainer.bf16 else torch.float32
        self.low = torch.empty(net.count, dtype=self.dtype) if trainer.bf16 else net.flat
        self.grad = torch.empty(net.count)
        self.low_grad = torch.empty(net.count, dtype=self.dtype) if trainer.bf16 else self.grad
        self.p, self.g = net.views(self.low), net.views(self.low_grad)
        width = trainer.recipe.width
        self.h = [torch.empty(rows, width, dtype=self.dtype) for _ in range(net.depth)]
        self.d = [torch.empty(rows, width, dtype=self.dtype) for _ in range(2)]
        self.head = torch.empty(rows, net.actions + 1, dtype=self.dtype)
        recipe = trainer.recipe

        def loss_grad(head, illegal, action, old_logp, advantage, target, scale):
            out = ppo_loss_grad(head, illegal, action, old_logp, advantage, target, scale, recipe)
            return out.to(head.dtype)

        self.loss_grad = torch.compile(loss_grad, dynamic=None) if compile_loss else loss_grad
        self.scale = {}

    def __call__(self, batch):
        t, net, p, g = self.t, self.t.net, self.p, self.g
        if t.bf16:
            self.low.copy_(net.flat)
        x = batch[0]
        n = x.shape[0]
        if n not in self.scale:
            self.scale[n] = torch.tensor(1.0 / n)
        if net.kind == "mlp":
            self.mlp(x, n, batch, p, g)
        else:
            self.resmlp(x, n, batch, p, g)
        if t.bf16:
            self.grad.copy_(self.low_grad)
        return self.grad

    def dhead(self, head, n, batch):
        return self.loss_grad(head, *batch[1:], self.scale[n])

    def linear_grad(self, name, dy, x, g):
        torch.mm(dy.t(), x, out=g[name + ".weight"])
        torch.sum(dy, 0, out=g[name + ".bias"])

    def mlp(self, x, n, batch, p, g):
        h, head = [b[:n] for b in self.h], self.head[:n]
        a = x
        for layer in range(self.t.net.depth):
            torch.addmm(p[f"trunk{layer}.bias"], a, p[f"trunk{layer}.weight"].t(), out=h[layer])
            a = h[layer].relu_()
        torch.addmm(p["head.bias"], a, p["head.weight"].t(), out=head)
        dy = self.dhead(head, n, batch)
        name = "head"
        for layer in reversed(range(self.t.net.depth)):
            self.linear_grad(name, dy, h[layer], g)
            d = self.d[layer % 2][:n]
            torch.mm(dy, p[name + ".weight"], out=d)
            torch.ops.aten.threshold_backward.grad_input(d, h[layer], 0, grad_input=d)
            dy, name = d, f"trunk{layer}"
        self.linear_grad(name, dy, x, g)

    def resmlp(self, x, n, batch, p, g):
        aten, width, depth = torch.ops.aten, (self.t.recipe.width,), self.t.net.depth
        y = torch.addmm(p["trunk0.bias"], x, p["trunk0.weight"].t(), out=self.h[0][:n])
        saved = []
        for layer in range(1, depth):
            normed, mean, rstd = aten.native_layer_norm(y, width, p[f"norm{layer}.weight"], p[f"norm{layer}.bias"],
                                                        1e-5)
            z = torch.addmm(p[f"trunk{layer}.bias"], normed, p[f"trunk{layer}.weight"].t(), out=self.h[layer][:n])
            saved.append((y, normed, mean, rstd, z))
            y = y + F.gelu(z, approximate="tanh")
        normed, mean, rstd = aten.native_layer_norm(y, width, p["norm.weight"], p["norm.bias"], 1e-5)
        head = torch.addmm(p["head.bias"], normed, p["head.weight"].t(), out=self.head[:n])
        dhead = self.dhead(head, n, batch)
        self.linear_grad("head", dhead, normed, g)
        every = [True, True, True]
        dy, dw, db = aten.native_layer_norm_backward(torch.mm(dhead, p["head.weight"], out=self.d[0][:n]), y, width,
                                                     mean, rstd, p["norm.weight"], p["norm.bias"], every)
        g["norm.weight"].copy_(dw)
        g["norm.bias"].copy_(db)
        for layer in reversed(range(1, depth)):
            y, normed, mean, rstd, z = saved[layer - 1]
            dz = aten.gelu_backward.grad_input(dy, z, approximate="tanh", grad_input=z)
            self.linear_grad(f"trunk{layer}", dz, normed, g)
            dn = torch.mm(dz, p[f"trunk{layer}.weight"], out=self.d[0][:n])
            dx, dw, db = aten.native_layer_norm_backward(dn, y, width, mean, rstd, p[f"norm{layer}.weight"],
                                                         p[f"norm{layer}.bias"], every)
            g[f"norm{layer}.weight"].copy_(dw)
            g[f"norm{layer}.bias"].copy_(db)
            dy = dy.add_(dx)
        self.linear_grad("trunk0", dy, x, g)


VARIANTS = {"autograd": AutogradStep, "autocast": AutocastStep, "compile": CompiledStep, "manual": ManualStep}


def variants_of(trainer):
    return [name for name in VARIANTS if trainer.bf16 or name != "autocast"]


# ---- trainer ----


class Trainer:
    def __init__(self, game, recipe, precision, seed):
        self.recipe, self.game = recipe, GAMES[game]()
        self.bf16 = precision == "bf16"
        torch.manual_seed(seed)
        self.net = Net(recipe, self.game, None)
        self.first, self.second = torch.zeros_like(self.net.flat), torch.zeros_like(self.net.flat)
        self.steps = torch.zeros(())
        self.step = None
        self.iteration = 0
        self.pool = [self.net.flat.clone()]
        self.snapshots = 1

    def policy(self, flat):
        return self.net.views(flat.bfloat16() if self.bf16 else flat)

    def observe(self, own, other):  # [N] each -> [N, 3 * cells], index 3 * cell + plane
        x = torch.ones(own.shape[0], self.game.cells, 3, dtype=torch.bfloat16 if self.bf16 else torch.float32)
        x[:, :, 0] = self.game.planes(own)
        x[:, :, 1] = self.game.planes(other)
        return x.view(own.shape[0], -1)

    def head(self, p, own, other):
        x = self.observe(own, other)
        return x, self.net.forward(p, x).float()

    @torch.inference_mode()
    def collect(self):
        """Plays recipe.games games; returns the samples as a list of tensors of equal length."""
        game, recipe = self.game, self.recipe
        games = recipe.games
        agent = self.policy(self.net.flat)
        opponent = self.policy(self.pool[int(torch.randint(len(self.pool), ()))])
        second = int((torch.rand(games) < 0.5).sum())  # the first `second` games: the agent moves second
        mine = torch.zeros(games, dtype=torch.int64)
        theirs = torch.zeros(games, dtype=torch.int64)
        final = torch.zeros(games)
        index = torch.arange(games)

        def reply(mine, theirs):  # the opponent's move in games that are going on
            _, head = self.head(opponent, theirs, mine)
            logits = game.mask(head[:, :-1], mine | theirs)
            if recipe.temperature != 1:
                logits = logits / recipe.temperature
            action = torch.sub(logits, torch.empty_like(logits).exponential_().log_()).argmax(1)
            return game.play(theirs, mine | theirs, action)

        if second:
            theirs[:second] = reply(mine[:second], theirs[:second])
        samples = []
        values = torch.zeros(game.rounds + 1, games)
        lengths = torch.zeros(games, dtype=torch.int64)
        rounds = 0
        while index.numel():
            x, head = self.head(agent, mine, theirs)
            taken = mine | theirs
            logp_all = F.log_softmax(game.mask(head[:, :-1], taken), 1)
            action = torch.sub(logp_all, torch.empty_like(logp_all).exponential_().log_()).argmax(1)
            values[rounds, index] = head[:, -1]
            lengths[index] += 1
            samples.append((x, taken, action, logp_all.gather(1, action[:, None])[:, 0], index))
            mine = game.play(mine, taken, action)
            won = game.won(mine)
            drawn = game.full(mine | theirs) & ~won
            final[index] = won.float() + drawn.float() * recipe.draw_reward
            alive = (~(won | drawn)).nonzero()[:, 0]
            mine, theirs, index = mine[alive], theirs[alive], index[alive]
            rounds += 1
            if not index.numel():
                break
            theirs = reply(mine, theirs)
            lost = game.won(theirs)
            drawn = game.full(mine | theirs) & ~lost
            final[index] = drawn.float() * recipe.draw_reward - lost.float()
            alive = (~(lost | drawn)).nonzero()[:, 0]
            mine, theirs, index = mine[alive], theirs[alive], index[alive]

        # GAE over the agent's own moves, all games at once, from the last round to the first.
        advantages = torch.empty(rounds, games)
        next_advantage = torch.zeros(games)
        for r in reversed(range(rounds)):
            last = lengths == r + 1
            going = (lengths > r + 1).float()
            delta = torch.where(last, final, recipe.gamma * values[r + 1] * going) - values[r]
            next_advantage = delta + recipe.gamma * recipe.lam * going * next_advantage
            advantages[r] = next_advantage
        x = torch.cat([s[0] for s in samples])
        illegal = -self.game.mask(torch.zeros(x.shape[0], game.actions), torch.cat([s[1] for s in samples]))
        action = torch.cat([s[2] for s in samples])
        old_logp = torch.cat([s[3] for s in samples])
        index = torch.cat([s[4] for s in samples])
        rows = torch.repeat_interleave(torch.arange(rounds), torch.tensor([s[4].numel() for s in samples]))
        advantage = advantages[rows, index]
        target = advantage + values[rows, index]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        return [x, illegal, action, old_logp, advantage, target]

    @torch.no_grad()
    def update(self, batch):
        recipe, n, steps = self.recipe, batch[0].shape[0], 0
        for _ in range(recipe.epochs):
            order = torch.randperm(n)
            shuffled = [tensor[order] for tensor in batch]
            for start in range(0, n, recipe.minibatch):
                grad = self.step([tensor[start:start + recipe.minibatch] for tensor in shuffled])
                # The kernel divides by grad_scale: the clipping factor needs no pass of its own.
                scale = (torch.linalg.vector_norm(grad) / recipe.max_grad_norm).clamp_(min=1)
                self.steps += 1
                torch._fused_adam_([self.net.flat], [grad], [self.first], [self.second], [], [self.steps],
                                   lr=recipe.lr, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False,
                                   maximize=False, grad_scale=scale, found_inf=None)
                steps += 1
        return steps

    def snapshot(self):
        recipe = self.recipe
        self.snapshots += 1
        if len(self.pool) < recipe.pool:
            self.pool.append(self.net.flat.clone())
        elif recipe.eviction == "keepFirst":  # the first and the newest
            del self.pool[1]
            self.pool.append(self.net.flat.clone())
        else:
            slot = int(torch.randint(self.snapshots, ()))
            if slot < recipe.pool:
                self.pool[slot] = self.net.flat.clone()

    def iterate(self):
        """One iteration: (samples, steps, collect seconds, update seconds)."""
        start = time.perf_counter()
        batch = self.collect()
        middle = time.perf_counter()
        steps = self.update(batch)
        self.iteration += 1
        if self.iteration % self.recipe.every == 0:
            self.snapshot()
        return batch[0].shape[0], steps, middle - start, time.perf_counter() - middle


def build_step(trainer, variant):
    """The variant, or None where it can't run here (torch.compile needs a C++ compiler)."""
    try:
        step = VARIANTS[variant](trainer)
        batch = [tensor.clone() for tensor in trainer.collect()]
        with torch.no_grad():
            step([tensor[:trainer.recipe.minibatch] for tensor in batch])
        return step
    except Exception as error:  # noqa: BLE001 - reported, and the next variant is tried
        if variant == "manual":
            return ManualStep(trainer, compile_loss=False)
        if variant == "compile":
            print(f"torch.compile is not usable here: {type(error).__name__}", file=sys.stderr)
            return None
        raise


def choose_step(trainer):
    """Times an epoch's worth of gradients with every variant, in turn; returns the fastest and the times in ms a step."""
    batch = [tensor.clone() for tensor in trainer.collect()]
    size = trainer.recipe.minibatch
    slices = [[t[s:s + size] for t in batch] for s in range(0, batch[0].shape[0], size)]
    steps = {variant: build_step(trainer, variant) for variant in variants_of(trainer)}
    steps = {variant: step for variant, step in steps.items() if step is not None}
    times = {variant: math.inf for variant in steps}
    with torch.no_grad():
        for turn in range(6):  # the first warms up, with both shapes: full and last minibatch
            for variant, step in steps.items():
                start = time.perf_counter()
                for rows in slices:
                    step(rows)
                if turn > 0:
                    took = 1e3 * (time.perf_counter() - start) / len(slices)
                    times[variant] = min(times[variant], took)
    best = min(times, key=times.get)
    return best, steps[best], times


def check(trainer):
    """Differences of the variants' gradients from autograd in fp32 on one minibatch, relative to its norm."""
    batch = [tensor.clone() for tensor in trainer.collect()]
    rows = [tensor[:trainer.recipe.minibatch] for tensor in batch]
    rows[3] = rows[3] + 0.2 * torch.randn_like(rows[3])  # ratios away from 1, some of them clipped
    grads = {}
    with torch.no_grad():
        for variant in variants_of(trainer):
            step = build_step(trainer, variant)
            if step is not None:
                grads[variant] = step(rows).clone()
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        bf16, trainer.bf16 = trainer.bf16, False
        reference = AutogradStep(trainer)([rows[0].float(), *rows[1:]])
        torch.set_float32_matmul_precision(precision)
        trainer.bf16 = bf16
    return {name: float((grad - reference).norm() / reference.norm()) for name, grad in grads.items()}


# Largest of those differences. A product of bf16 factors is off by 2^-9 a factor, and the clipped loss turns some
# samples on or off; "medium" may round to bf16 where that is faster.
TOLERANCES = {"fp32": 1e-5, "medium": 0.05, "bf16": 0.05}


def quantile(values, q):
    values = sorted(values)
    position = q * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)


def main():
    parser = argparse.ArgumentParser(description="Self-play PPO iteration in PyTorch")
    parser.add_argument("--game", choices=sorted(RECIPES), default="tictactoe")
    parser.add_argument("--threads", type=int, default=0, help="0: every core")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["fp32", "medium", "bf16"], default="medium")
    parser.add_argument("--variant", choices=["auto", *VARIANTS], default="auto")
    parser.add_argument("--check", action="store_true", help="compare the gradients of the variants and end")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                          else args.threads or os.cpu_count())
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("highest" if args.precision == "fp32" else "medium")
    trainer = Trainer(args.game, RECIPES[args.game], args.precision, args.seed)
    if args.check:
        errors = check(trainer)
        print(json.dumps(errors))
        sys.exit(0 if all(error <= TOLERANCES[args.precision] for error in errors.values()) else 1)

    gradient_ms = {}
    if args.variant == "autocast" and args.precision != "bf16":
        parser.error("--variant autocast is for --precision bf16")
    if args.variant == "auto":
        variant, trainer.step, gradient_ms = choose_step(trainer)
    else:
        variant = args.variant
        trainer.step = build_step(trainer, variant)
        if trainer.step is None:
            sys.exit(1)

    for _ in range(args.warmup):
        trainer.iterate()
    rows = [trainer.iterate() for _ in range(args.iterations)]
    total = [1e3 * (c + u) for _, _, c, u in rows]
    row = {
        "name": f"iteration/{args.game}",
        "system": "pytorch",
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": args.precision,
        "variant": variant,
        "parameters": trainer.net.count,
        "iterations": args.iterations,
        "samples": round(quantile([r[0] for r in rows], 0.5)),
        "steps": round(quantile([r[1] for r in rows], 0.5)),
        "median_ms": round(quantile(total, 0.5), 3),
        "p10_ms": round(quantile(total, 0.1), 3),
        "p90_ms": round(quantile(total, 0.9), 3),
        "collect_ms": round(quantile([1e3 * r[2] for r in rows], 0.5), 3),
        "update_ms": round(quantile([1e3 * r[3] for r in rows], 0.5), 3),
        "update_ms_per_step": round(quantile([1e3 * r[3] / r[1] for r in rows], 0.5), 4),
    }
    if gradient_ms:
        row["gradient_ms_per_step"] = {name: round(ms, 4) for name, ms in gradient_ms.items()}
    if args.json:
        print(json.dumps(row))
    else:
        for key, value in row.items():
            print(f"{key:22} {value}")


if __name__ == "__main__":
    main()
