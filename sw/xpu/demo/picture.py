"""The demonstration's picture: digits and predictions, the engines' timeline, the layers."""

import itertools

import numpy as np

from .data import SIDE

__all__ = ["draw"]

_INK, _GREY, _RULE = "#1c2430", "#6b7684", "#d5dae1"
_RIGHT, _WRONG = "#1b7f5c", "#c8322b"
_LANES = {"load": "#3d7ebf", "tensor": "#e08a1e", "store": "#4c9f70"}
_WIDTH = 16                      # of the picture, in inches
_COLUMNS, _ROWS = 30, 5          # digits shown in held-out order
_NARROW = 0.06                   # a layer of a smaller share of the cycles has a short label
_LONG = 0.005                    # a command of a larger share of the cycles begins with a line
_WRONG_COLUMNS = 7               # digits shown of those read wrongly


def draw(path, run, images, labels, accuracy):
    """Write a PNG; needs no display. Nothing in it depends on the host's speed.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    run : Run
        What the device did.
    images, labels : arrays
        Its input, and what it should have read.
    accuracy : float
        Of the float network on the same images.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    timed = run.cycles is not None
    height = 9.8 if timed else 6.9
    figure = Figure(figsize=(_WIDTH, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)

    def panel(left, top, right, bottom):
        """Return axes; all four in inches from the top left corner."""
        return figure.add_axes((left / _WIDTH, 1 - bottom / height, (right - left) / _WIDTH,
                                (bottom - top) / height))

    _draw_title(panel(0.5, 0.3, 15.5, 1.15), run, labels, accuracy)
    count = min(_COLUMNS * _ROWS, len(images))
    _draw_digits(panel(0.5, 1.7, 15.5, 4.75), f"The first {count} of {len(images)} held-out "
                 "digits, and what the device read", images[:count], labels[:count],
                 run.predictions[:count], _COLUMNS, _ROWS)
    if timed:
        _draw_timeline(panel(1.1, 5.35, 14.9, 7.35), run)
    _draw_wrong(panel(0.5, height - 1.55, 5.9, height - 0.2), images, labels, run.predictions)
    _draw_layers(panel(6.6, height - 1.6, 15.5, height - 0.2), run)
    figure.savefig(path, format="png")


def _bare(axes, title=None):
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, loc="left", fontsize=12, color=_INK, fontweight="bold", pad=6)


def _draw_title(axes, run, labels, accuracy):
    _bare(axes)
    right = float(np.mean(run.predictions == labels))
    where = "the RTL in simulation" if run.cycles is not None else "the functional model, no time"
    parts = [f"{len(labels)} held-out images", f"INT8 {right:.1%} right (float {accuracy:.1%})",
             f"{run.differing_bits} bits differ from the NumPy model"]
    if run.cycles is not None:
        parts += [f"{run.cycles:,} cycles", f"{run.utilization:.1%} of the peak MAC rate"]
    axes.text(0, 0.72, "Handwritten digits on the XPU", fontsize=22, fontweight="bold",
              color=_INK, va="center", transform=axes.transAxes)
    axes.text(1, 0.72, f"configuration {run.config}, platform {run.platform}: {where}", fontsize=11,
              color=_GREY, va="center", ha="right", transform=axes.transAxes)
    axes.text(0, 0.12, "   ·   ".join(parts), fontsize=12.5, color=_INK, va="center",
              transform=axes.transAxes)


def _draw_digits(axes, title, images, labels, predictions, columns, rows, size=9.5):
    """Draw images in rows, with the prediction below each; wrong ones in red frames."""
    _bare(axes, title)
    width, height = SIDE + 3, SIDE + 5
    canvas = np.full((rows * height, columns * width), np.nan)
    for number, (image, label, prediction) in enumerate(
            zip(images, labels, predictions, strict=True)):
        row, column = divmod(number, columns)
        x, y = column * width, row * height
        canvas[y:y + SIDE, x:x + SIDE] = image.reshape(SIDE, SIDE)
        wrong = label != prediction
        color = _WRONG if wrong else _RIGHT
        axes.text(x + SIDE / 2, y + SIDE + 0.7, f"{prediction}, not {label}" if wrong
                  else str(prediction), ha="center", va="top", fontsize=size, color=color,
                  fontweight="bold" if wrong else "normal")
        axes.plot([x, x + SIDE, x + SIDE, x, x], [y, y, y + SIDE, y + SIDE, y],
                  color=color if wrong else _RULE, linewidth=2 if wrong else 0.7)
    axes.imshow(canvas, cmap="gray_r", vmin=0, vmax=16, interpolation="nearest",
                extent=(0, columns * width, rows * height, 0))
    axes.set_xlim(-0.3, columns * width - 3)
    axes.set_ylim(rows * height, -0.3)
    axes.set_anchor("NW")


def _draw_wrong(axes, images, labels, predictions):
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[:_WRONG_COLUMNS]
    if len(shown) == len(wrong):
        title = f"All {len(wrong)} it read wrongly" if len(wrong) else "It read none wrongly"
    else:
        title = f"{len(shown)} of the {len(wrong)} it read wrongly"
    _draw_digits(axes, title, images[shown], labels[shown], predictions[shown],
                 _WRONG_COLUMNS, 1, size=11)


def _draw_timeline(axes, run):
    lanes = list(_LANES)
    starts = [0, *itertools.accumulate(layer.cycles for layer in run.layers)]
    for lane, engine in enumerate(lanes):
        bars = [(start + event.begin, event.end + 1 - event.begin)
                for start, layer in zip(starts, run.layers, strict=False)
                for event in layer.events if event.engine == engine]
        # Unsnapped, a pixel shows which share of its cycles short commands take.
        axes.broken_barh(_merge(bars), (lane - 0.32, 0.64), facecolor=_LANES[engine], linewidth=0,
                         snap=False)
        long = [begin for begin, length in bars if length > _LONG * starts[-1]]
        axes.vlines(long, lane - 0.32, lane + 0.32, color="white", linewidth=1)
    for start in starts:
        axes.axvline(start, color=_GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (start, layer) in enumerate(zip(starts, run.layers, strict=False), 1):
        narrow = layer.cycles < _NARROW * starts[-1]
        axes.text(start + layer.cycles / 2, -0.62, str(number) if narrow else f"layer {number}",
                  ha="center", va="bottom", fontsize=10, color=_GREY)
    for lane, engine in enumerate(lanes):
        busy = sum(layer.busy[engine] for layer in run.layers) / starts[-1]
        axes.text(1.004, lane, f"{busy:.0%}\nbusy", fontsize=10, color=_LANES[engine],
                  va="center", transform=axes.get_yaxis_transform())
    axes.text(-0.6 / 13.8, 1.06, "What the engines did: every command from begin to completion",
              fontsize=12, color=_INK, fontweight="bold", transform=axes.transAxes)
    axes.set_yticks(range(len(lanes)), lanes, fontsize=11)
    axes.set_xlim(0, starts[-1])
    axes.set_ylim(len(lanes) - 0.45, -1.0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("cycles", fontsize=10, color=_GREY)
    axes.tick_params(length=0, colors=_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_RULE)


def _merge(bars):
    """Join (begin, length) that touch or overlap, as a command may begin before the last ends."""
    merged = []
    for begin, length in sorted(bars):
        if merged and begin <= sum(merged[-1]):
            first = merged[-1][0]
            merged[-1] = (first, max(sum(merged[-1]), begin + length) - first)
        else:
            merged.append((begin, length))
    return merged


def _draw_layers(axes, run):
    _bare(axes, "Layers")
    columns = (("layer", 0.05), ("images x outputs x inputs", 0.31), ("MACs", 0.47),
               ("cycles", 0.61), ("MAC utilisation", 0.81), ("bits differing", 1.0))
    rows = [(str(number), " x ".join(map(str, layer.shape)), layer)
            for number, layer in enumerate(run.layers, 1)]
    rows.append(("all", "", run))
    step = 1 / (len(rows) + 1)
    for index in range(len(rows) + 1):
        y = 1 - (index + 0.5) * step
        if index:
            name, shape, figures = rows[index - 1]
            timed = figures.cycles is not None
            texts = (name, shape, f"{figures.macs:,}",
                     f"{figures.cycles:,}" if timed else "-",
                     f"{figures.utilization:.1%}" if timed else "-",
                     str(figures.differing_bits))
        else:
            texts = [heading for heading, _ in columns]
        for text, (_, x) in zip(texts, columns, strict=True):
            axes.text(x, y, text, ha="right", va="center", fontsize=11,
                      color=_INK if index else _GREY,
                      fontweight="bold" if index == len(rows) else "normal")
        if index < len(rows):
            axes.plot([0, 1], [y - step / 2] * 2, color=_RULE, linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
