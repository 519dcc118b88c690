#!/usr/bin/env python3
"""The three matrix products of a linear layer of 256 to 256 in PyTorch, by the fastest call that we know of.

  gemm_torch.py [--product forward|dx|dw|all] [--rows M | --rows all] [--threads T] [--precision P]
                [--seconds S] [--check]

  forward  Y[M, 256] = X W^T        dx  dX[M, 256] = dY W        dw  dW[256, 256] = dY^T X

Prints one line of JSON a product and size: name (gemm/forward, gemm/dx, gemm/dw), shape, M, N, K, system, version,
threads, precision, variant, median_ms, p10_ms and p90_ms of a call (samples are of many calls), gflops of the median.

Variants (the fastest one is reported, `tried_ms` has them all):
  mm         torch.mm into a buffer
  prepacked  oneDNN with the weight reordered once, where this build has it; not for dw, which has no weight
Precisions: fp32 multiplies in fp32; medium is torch.set_float32_matmul_precision("medium"), which lets oneDNN choose;
auto is the faster of these two; bf16 has operands and results of bf16.
"""

import argparse
import json
import os
import sys
import time

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA",
              "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
    os.environ.pop(_name, None)

import torch

ROWS, WIDTH = (64, 128, 256, 512, 1024, 2048), 256
PRODUCTS = ("forward", "dx", "dw")


def quantile(values, q):
    values = sorted(values)
    position = q * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)


def sample(call, seconds):
    """Milliseconds a call, one value a sample of at least a millisecond."""
    calls = 1
    while True:  # also warms up
        start = time.perf_counter()
        for _ in range(calls):
            call()
        if time.perf_counter() - start > 1e-3:
            break
        calls *= 2
    values, begin = [], time.perf_counter()
    while not values or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        values.append(1e3 * (time.perf_counter() - start) / calls)
    return values


def variants(product, rows, precision):
    """Calls by name, each returning its result, and the operands. Sets torch's precision."""
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "medium")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(rows, WIDTH, generator=generator).sub_(0.5).to(dtype)
    dy = torch.rand(rows, WIDTH, generator=generator).sub_(0.5).to(dtype)
    w = torch.rand(WIDTH, WIDTH, generator=generator).sub_(0.5).to(dtype)
    a, b = {"forward": (x, w.t()), "dx": (dy, w), "dw": (dy.t(), x)}[product]
    out = torch.empty(a.shape[0], b.shape[1], dtype=dtype)
    calls = {"mm": lambda: torch.mm(a, b, out=out)}
    if product != "dw":
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(b.t().contiguous(), rows)
            linear = torch.ops.mkldnn._linear_pointwise
            linear(a, packed, None, "none", [], "")
            calls["prepacked"] = lambda: linear(a, packed, None, "none", [], "")
        except Exception:  # noqa: BLE001 - a build without oneDNN, or another version's private interface
            pass
    return calls, a, b


def check(product, rows, precision):
    calls, a, b = variants(product, rows, precision)
    wanted = a.double() @ b.double()
    worst = max(float((call().double() - wanted).norm() / wanted.norm()) for call in calls.values())
    tolerance = 1e-6 if precision == "fp32" else 1e-2  # "medium" may round to bf16 where that is faster
    if not worst <= tolerance:
        print(f"gemm/{product} M={rows} {precision}: relative error {worst:.2e}", file=sys.stderr)
    return worst <= tolerance


def main():
    parser = argparse.ArgumentParser(description="Matrix products in PyTorch")
    parser.add_argument("--product", choices=[*PRODUCTS, "all"], default="all")
    parser.add_argument("--rows", default="all")
    parser.add_argument("--threads", type=int, default=0, help="0: every core")
    parser.add_argument("--precision", choices=["auto", "fp32", "medium", "bf16"], default="auto")
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--check", action="store_true", help="compare with float64 and end")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    products = PRODUCTS if args.product == "all" else (args.product,)
    sizes = ROWS if args.rows == "all" else (int(args.rows),)
    precisions = ("fp32", "medium") if args.precision == "auto" else (args.precision,)
    if args.check:
        right = [check(p, m, precision) for precision in precisions for p in products for m in (*sizes, 7)]
        sys.exit(0 if all(right) else 1)
    for product in products:
        for rows in sizes:
            tried = {}
            for precision in precisions:
                calls = variants(product, rows, precision)[0]
                seconds = args.seconds / len(calls) / len(precisions)
                with torch.inference_mode():
                    tried |= {(precision, name): sample(call, seconds) for name, call in calls.items()}
            fastest = min(tried, key=lambda key: quantile(tried[key], 0.5))
            median = quantile(tried[fastest], 0.5)
            print(json.dumps({
                "name": f"gemm/{product}",
                "shape": f"M={rows} N={WIDTH} K={WIDTH}",
                "M": rows,
                "N": WIDTH,
                "K": WIDTH,
                "system": "pytorch",
                "version": torch.__version__,
                "threads": torch.get_num_threads(),
                "precision": fastest[0],
                "variant": fastest[1],
                "median_ms": round(median, 6),
                "p10_ms": round(quantile(tried[fastest], 0.1), 6),
                "p90_ms": round(quantile(tried[fastest], 0.9), 6),
                "gflops": round(2e-6 * rows * WIDTH * WIDTH / median, 2),
                "tried_ms": {" ".join(key): round(quantile(values, 0.5), 6) for key, values in tried.items()},
            }), flush=True)


if __name__ == "__main__":
    main()
