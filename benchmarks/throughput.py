"""How many images a second does a training step take, and which share is that of a matrix product's rate?

    python -m benchmarks.throughput                        # on a GPU width 64, batches of 512; on a CPU 16 and 128

On a GPU two ways: the step as it is, and replayed as a CUDA graph; of the first a profile of 20 steps says for which
share of the time the GPU was busy at all. A step's operations: three times those of a forward pass. Images are random.

On an H100, torch 2.11, log-softmax at 16, 24 and 32 pixels: 10,800, 10,200 and 10,100 images a second as it is, with
the GPU busy for 15, 24 and 44 % of the time; replayed, with the blocks compiled, 61,300 and 40,800 (at 32 pixels and
without compiling not measured). Compiling without replaying gained nothing and took 50 s a size.
"""

import argparse
import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from thesis_utils import data, runs
from thesis_utils.evaluation import float32
from thesis_utils.models import resnet34
from thesis_utils.training import Step, best_device, one_cycle, optimizers_of

SIDE = {"cuda": 8192, "cpu": 2048}  # of the square matrices
STEPS = 20


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(function, device, rounds=3):
    """Median seconds of a call, after five to warm up."""
    for _ in range(5):
        function()
    found = []
    for _ in range(rounds):
        wait(device)
        started = time.perf_counter()
        for _ in range(STEPS):
            function()
        wait(device)
        found.append((time.perf_counter() - started) / STEPS)
    return sorted(found)[rounds // 2]


def product_rate(device):
    """Operations a second of a bfloat16 matrix product of random numbers."""
    side = SIDE[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds(lambda: left @ right, device)


def busy(function, device):
    """The share of the time in which the GPU has a kernel to run, over 20 steps, and how many kernels a step has."""
    from torch.profiler import ProfilerActivity, profile

    wait(device)
    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(STEPS):
            function()
        wait(device)
        took = time.perf_counter() - started
    kernels = [event for event in profiled.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return sum(event.device_time for event in kernels) / 1e6 / took, len(kernels) / STEPS


def random_images(count):
    rng = np.random.default_rng(0)
    return data.as_images(
        "random", rng.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10, range(10)
    )


def forward_operations(width, size=data.SIZE):
    """Operations of one image's forward pass through a ResNet-34."""
    with FlopCounterMode(display=False) as counter:
        resnet34(10, width).eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops()


def new_step(config, device):
    torch.manual_seed(0)
    images = random_images(4096)
    model = resnet34(10, config.width, config.activation, config.padding)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizers = optimizers_of(config, model, config.learning_rate)
    for optimizer in optimizers:
        one_cycle(config, optimizer, 1000)
    return Step(config, model, data.Normalisation.of(images), optimizers, images)


@float32(benchmark=True)
def measure(config, size, ways, rate, device):
    operations = 3 * forward_operations(config.width, size)
    step = new_step(config, device)
    step.begin()
    chosen = torch.arange(config.batch_size, device=device)
    drawn = data.draw(config.batch_size, torch.Generator().manual_seed(0)).to(device)
    for way in ways:
        call = step.run if way == "replayed" else step.once
        started = time.perf_counter()
        call(size, chosen, drawn)
        wait(device)
        first = time.perf_counter() - started
        per_second = config.batch_size / seconds(lambda: call(size, chosen, drawn), device)
        share = per_second * operations / rate
        print(f"{config.activation} {size} pixels, {way}: {per_second:9,.0f} images a second, {share:5.1%} of a "
              f"product's rate, first step {first:.1f} s", flush=True)  # fmt: skip
        if way == "as it is" and device.type == "cuda":
            print("    GPU busy for {:.0%} of the time, {:.0f} kernels a step".format(
                *busy(lambda: call(size, chosen, drawn), device)), flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    device = best_device()
    gpu = device.type == "cuda"
    parser.add_argument("--width", type=int, default=64 if gpu else 16)
    parser.add_argument("--batch", type=int, default=512 if gpu else 128)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 24, 32])
    parser.add_argument("--activations", nargs="+", default=["log_softmax", "relu"])
    parser.add_argument("--entropy-factor", type=float, default=0.0)
    parser.add_argument("--ways", nargs="+", default=None, help="as it is, replayed")
    options = parser.parse_args()
    ways = options.ways or (["as it is", "replayed"] if gpu else ["as it is"])
    rate = product_rate(device)
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, torch {torch.__version__}: "
          f"a bfloat16 matrix product runs at {rate / 1e12:.1f} TFLOP/s", flush=True)  # fmt: skip
    for activation in options.activations:
        config = runs.configure(
            "compact", activation=activation, width=options.width, batch_size=options.batch, optimizer="muon",
            padding="mean", learning_rate=0.03,
            entropy_factor=options.entropy_factor if activation == "log_softmax" else 0.0,
        )  # fmt: skip
        for size in options.sizes:
            measure(config, size, ways, rate, device)
