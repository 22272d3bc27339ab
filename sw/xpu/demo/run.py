"""One run of the network on a device, compared with the NumPy model and measured."""

from dataclasses import dataclass

import numpy as np

__all__ = ["LayerResult", "Run", "run_network"]


@dataclass(frozen=True)
class LayerResult:
    """What one layer did. ``None`` where a platform without time has no figure.

    Attributes
    ----------
    shape : tuple of int
        M, N, K: images, outputs, inputs.
    macs : int
        Multiply-accumulates.
    cycles, utilization, busy, events
        As in ``xpu.Profile``.
    differing_bits : int
        Bits in which the output differs from the NumPy model's, over all images.
    """

    shape: tuple
    macs: int
    cycles: int | None
    utilization: float | None
    busy: dict
    events: list
    differing_bits: int


@dataclass(frozen=True)
class Run:
    """A network's run on a batch of images.

    Attributes
    ----------
    platform, config : str
        Where it ran.
    layers : tuple of LayerResult
        In order.
    predictions : integers [count]
        Digits the device recognised.
    seconds : float
        Time on the wall in which the layers were simulated.
    """

    platform: str
    config: str
    layers: tuple
    predictions: np.ndarray
    seconds: float

    @property
    def macs(self):
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles(self):
        """Of all layers, or ``None``."""
        cycles = [layer.cycles for layer in self.layers]
        return None if None in cycles else sum(cycles)

    @property
    def utilization(self):
        """Of all layers, or ``None``."""
        if not self.cycles:
            return None
        return sum(layer.utilization * layer.cycles for layer in self.layers) / self.cycles

    @property
    def sim_khz(self):
        """Simulated clock, or ``None``."""
        return self.cycles / self.seconds / 1000 if self.cycles else None

    @property
    def differing_bits(self):
        return sum(layer.differing_bits for layer in self.layers)


def run_network(device, layers, images):
    """Run quantised ``layers`` on a device, each on the previous one's output in device memory.

    Parameters
    ----------
    device : xpu.Device
        Where to run.
    layers : list of QuantizedLayer
        The network.
    images : uint8 [count, K]
        Input.
    """
    expected, x = images, device.tensor(images)
    results, seconds = [], 0.0
    for layer in layers:
        with device.profile() as profile:
            y = layer.run(x)
        seconds += profile.seconds
        expected = layer.reference(expected)
        results.append(LayerResult(
            shape=(x.shape[0], *reversed(layer.weights.shape)), macs=profile.macs,
            cycles=profile.cycles, utilization=profile.utilization, busy=dict(profile.busy),
            events=list(profile.events),
            differing_bits=_differing_bits(y.numpy(), expected)))
        x = y
    return Run(device.platform.name, device.config.name, tuple(results),
               x.numpy().argmax(axis=1), seconds)


def _differing_bits(found, expected):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(f"the device returned {found.dtype} {found.shape}, the model has "
                         f"{expected.dtype} {expected.shape}")
    return int(np.unpackbits(found.view(np.uint8) ^ expected.view(np.uint8)).sum(dtype=int))
