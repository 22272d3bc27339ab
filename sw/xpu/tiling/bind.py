"""From a plan to commands, with addresses and semaphore values."""

import numpy as np

from xpu_rtl.command.formats import DmaMode, Opcode

from .. import dma
from ..commands import Command
from ..dma_commands import nd_commands, sm
from ..dma_loops import Loop, merge
from .choose import choose_plan
from .plan import TABLE_BYTES, Job
from .shape import Source

__all__ = ["bind_plan", "plan_product"]

#: Semaphores of a product. All others stay untouched.
SEM_ROWS, SEM_STRIPS, SEM_OUT, SEM_RELEASED, SEM_STORED, SEM_LOADED, SEM_DONE = range(1, 8)


def plan_product(config, problem, semaphores, latency=20):
    """Return the commands of a product, in ring order.

    Parameters
    ----------
    config : XpuConfig
        Hardware.
    problem : Problem
        What to compute.
    semaphores : object with ``value(number) -> int``
        Values before the first of these commands runs.
    latency : int
        Memory latency the plan is tuned for; any plan works at any latency.
    """
    plan, _ = choose_plan(config, problem.shape, latency)
    return bind_plan(config, problem, plan, semaphores)


def bind_plan(config, problem, plan, semaphores):
    """Return the commands of one plan of a product; arguments as for ``plan_product``."""
    return _Binder(config, problem, plan, semaphores).commands()


def _bits(value):
    return int(np.float32(value).view(np.uint32))


class _Binder:
    """Turns the steps of a plan into commands with addresses and semaphore values."""

    def __init__(self, config, problem, plan, semaphores):
        self.config, self.problem, self.plan = config, problem, plan
        self.shape, self.buffers = problem.shape, plan.buffers
        self.base = {number: semaphores.value(number) for number in range(SEM_ROWS, SEM_DONE + 1)}
        self.rows_loaded = 0        # rows of all panels loaded so far
        self.loaded = 0             # other loads so far that jobs wait for
        self.panel_ready = {}       # panel: rows loaded before it, or loads including it
        self.strip_ready = {}       # strip: count of strips loaded with it
        self.out_rows = 0           # output pixels handed over so far
        self.jobs = self.outs = 0

    def commands(self):
        """All commands, without the closing fence."""
        result = []
        if self.shape.has_table:
            result += self._copy(self.problem.table_address, sm(self.buffers.table), TABLE_BYTES,
                                 **self._signal_loaded())
        makers = {"panel": self._panel, "strip": self._strip, "residual": self._residual}
        for step in self.plan.steps:
            result += (self._job if isinstance(step, Job) else makers[step.kind])(step)
        if self.shape.has_max:
            result[-2]["signal0_semaphore"], result[-2]["signal0_add"] = SEM_DONE, 1
            result += self._copy(sm(self.buffers.maximum), self.problem.max_address, 4,
                                 **self._wait(0, SEM_DONE, 1))
        return result

    # Semaphores -----------------------------------------------------------------------------------
    def _value(self, semaphore, count):
        return (self.base[semaphore] + count) % (1 << self.config.semaphore_width)

    def _wait(self, number, semaphore, count):
        return {f"wait{number}_semaphore": semaphore,
                f"wait{number}_value": self._value(semaphore, count)}

    def _wait_released(self, after_job):
        """Header wait for the operands of a job to have been read."""
        return {} if after_job is None else self._wait(0, SEM_RELEASED, after_job + 1)

    def _signal_loaded(self):
        self.loaded += 1
        return {"signal0_semaphore": SEM_LOADED, "signal0_add": 1}

    # Loads ----------------------------------------------------------------------------------------
    @staticmethod
    def _copy(source, destination, row_bytes, loops=(), **fields):
        """Copy rows one by one, so that progress counts them. ``loops`` innermost first."""
        _, loops = merge(0, loops, into_row=False)
        return nd_commands(DmaMode.COPY, source, destination, row_bytes, loops, fields=fields)

    def _panel(self, load):
        source, shape = self.shape.source, self.shape
        fields = self._wait_released(load.after_job)
        if shape.progressive:
            self.panel_ready.setdefault(load.index, self.rows_loaded)
            fields["progress_semaphore"] = SEM_ROWS
            self.rows_loaded += load.rows * (
                load.job.rect.columns if source is Source.PATCHES else 1)
        else:
            fields |= self._signal_loaded()
            self.panel_ready[load.index] = self.loaded
        make = {Source.ROWS: self._rows, Source.TRANSPOSED: self._transposed,
                Source.PATCHES: self._patches, Source.IMAGE: self._image}[source]
        return make(load, self.problem.a_address + load.job.group * self.problem.a_group, fields)

    def _rows(self, load, address, fields):
        chunk, pitch = load.job.chunk, self.buffers.panel_pitch
        row = load.job.rect.row0 + load.row0
        return self._copy(
            address + row * self.problem.a_pitch + chunk.channel0 * self.shape.element,
            sm(self.buffers.panel(load.index) + load.row0 * pitch),
            chunk.channels * self.shape.element, [Loop(load.rows, self.problem.a_pitch, pitch)],
            **fields)

    def _transposed(self, load, address, fields):
        chunk, pitch = load.job.chunk, self.buffers.panel_pitch
        row = load.job.rect.row0 + load.row0
        return dma.transpose(
            address + chunk.channel0 * self.problem.a_pitch + row * self.shape.element,
            sm(self.buffers.panel(load.index) + load.row0 * pitch), chunk.channels, load.rows,
            self.shape.element, source_pitch=self.problem.a_pitch, destination_pitch=pitch,
            **fields)

    def _patches(self, load, address, fields):
        shape, rect, pitch = self.shape, load.job.rect, self.buffers.panel_pitch
        ends = [(size - 1) * stride + (taps - 1) * dilation + 1 for size, stride, taps, dilation
                in zip((shape.height, shape.width), shape.stride, shape.kernel, shape.dilation,
                       strict=True)]
        after = [max(end - size - before, 0) for end, size, before in
                 zip(ends, (shape.in_height, shape.in_width), shape.padding, strict=True)]
        zero = self.problem.a_zero_point & 0xFF
        return dma.im2col(
            address + rect.image * shape.in_height * shape.in_width * self.problem.a_pitch,
            sm(self.buffers.panel(load.index) + load.row0 * rect.columns * pitch),
            (1, shape.in_height, shape.in_width, self.problem.a_pitch), shape.kernel,
            stride=shape.stride, dilation=shape.dilation, pitch=pitch,
            padding=tuple(zip(shape.padding, after, strict=True)), pattern=zero * 0x0101_0101,
            window=((rect.row0 + load.row0, load.rows), (rect.column0, rect.columns)), **fields)

    def _image(self, load, address, fields):
        shape, job = self.shape, load.job
        row0, _, column0, columns = shape.input_span(job.rect, job.chunk)
        pixel, pitch = self.problem.a_pitch, self.buffers.panel_pitch
        row = (job.rect.image * shape.in_height + row0 + load.row0) * shape.in_width + column0
        return dma.copy_nd(
            address + row * pixel + job.chunk.channel0 * shape.element,
            sm(self.buffers.panel(load.index) + load.row0 * columns * pitch),
            (load.rows, columns, job.chunk.channels * shape.element),
            (shape.in_width * pixel, pixel), (columns * pitch, pitch), **fields)

    def _strip(self, load):
        job, problem, buffers = load.job, self.problem, self.buffers
        shape, chunk = self.shape, job.chunk
        base = buffers.strip(load.index)
        commands = []
        for address, offset, size in (
                (problem.bias_address, buffers.bias_offset, 4),
                (problem.scale_address, buffers.scale_offset, 4),
                (problem.b_zero_point_address, buffers.zero_point_offset, 1)):
            if address is not None:
                first = job.group * problem.vector_group + job.n0
                commands += self._copy(address + first * size, sm(base + offset),
                                       job.columns * size)
        address = problem.b_address + job.group * problem.b_group
        signal = {"signal0_semaphore": SEM_STRIPS, "signal0_add": 1}
        if shape.transposed_b:
            commands += dma.transpose(
                address + job.n0 * problem.b_pitch + chunk.channel0 * shape.element, sm(base),
                job.columns, chunk.channels, shape.element, source_pitch=problem.b_pitch,
                destination_pitch=buffers.strip_pitch, **signal)
        else:
            tap = shape.channels * problem.b_pitch
            commands += dma.copy_nd(
                address + chunk.tap_row0 * shape.kernel[1] * tap + chunk.channel0 * problem.b_pitch
                + job.n0 * shape.element, sm(base),
                (chunk.tap_rows * shape.kernel[1], chunk.channels, job.columns * shape.element),
                (tap, problem.b_pitch),
                (chunk.channels * buffers.strip_pitch, buffers.strip_pitch), **signal)
        for name, value in self._wait_released(load.after_job).items():
            commands[0][name] = value
        self.strip_ready[load.index] = len(self.strip_ready) + 1
        return commands

    def _residual(self, load):
        buffers, size = self.buffers, self.shape.residual_bytes
        fields = self._signal_loaded() | self._wait_stored()
        gm, loops = self._output(load.job, size, buffers.residual_pitch)
        return self._copy(self.problem.residual_address + gm, sm(buffers.residual(load.index)),
                          load.job.columns * size, loops, **fields)

    def _output(self, job, size, pitch):
        """Where a job's output is in GM, and the loops from there to the scratchpad."""
        shape, rect, problem = self.shape, job.rect, self.problem
        first = (rect.image * shape.height + rect.row0) * shape.width + rect.column0
        pixel = problem.out_pitch * size
        return (first * pixel + (job.group * problem.out_group + job.n0) * size,
                [Loop(rect.columns, pixel, pitch),
                 Loop(rect.rows, shape.width * pixel, rect.columns * pitch)])

    def _wait_stored(self):
        """Header wait for the output buffer of the next output to be free."""
        count = self.outs - self.buffers.outs + 1
        return self._wait(0, SEM_STORED, count) if count > 0 else {}

    # Jobs -----------------------------------------------------------------------------------------
    def _job(self, job):
        fields = self._product(job) | (self._conv(job) if self.shape.direct else {})
        if job.last:
            fields |= self._epilogue(job) | self._wait_stored()
        loaded = int(self.shape.has_table)      # the table comes first, a residual just before
        if self.shape.residual_bytes and job.last:
            loaded = self.loaded
        elif not self.shape.progressive:
            loaded = self.panel_ready[job.panel]
        if self.shape.progressive:
            fields["a_semaphore"] = SEM_ROWS
            fields["a_value"] = self._value(SEM_ROWS, self.panel_ready[job.panel])
        if loaded:
            fields |= self._wait(1, SEM_LOADED, loaded)
        self.jobs += 1
        command = Command(Opcode.CONV if self.shape.direct else Opcode.GEMM, **fields)
        if not job.last:
            return [command]
        size = self.shape.out_bytes
        gm, loops = self._output(job, size, self.buffers.out_pitch)
        store = self._copy(
            sm(fields["out_address"]), self.problem.out_address + gm, job.columns * size,
            [Loop(loop.count, loop.destination, loop.source) for loop in loops],
            progress_semaphore=SEM_OUT, progress_value=self._value(SEM_OUT, self.out_rows + 1),
            signal0_semaphore=SEM_STORED, signal0_add=1)
        self.outs += 1
        self.out_rows += job.rect.pixels
        return [command, *store]

    def _product(self, job):
        """Fields of the operands and the tiles."""
        problem, buffers = self.problem, self.buffers
        strip = buffers.strip(job.strip)
        return {
            "rows": job.rows, "columns": job.columns, "depth": self.shape.terms(job.chunk),
            "tile_rows": job.tile_rows, "tile_blocks": -(-job.columns // self.config.lanes),
            "a_type": problem.a_type, "b_type": problem.b_type, "out_type": problem.out_type,
            "accumulate": not job.first, "hold": not job.last,
            "a_address": buffers.panel(job.panel), "a_pitch": buffers.panel_pitch,
            "b_address": strip, "b_pitch": buffers.strip_pitch,
            "b_block_pitch": self.config.lanes * self.shape.element,
            "b_zero_point_vector": problem.b_zero_point_address is not None,
            "b_zero_point_address": 0 if problem.b_zero_point_address is None
            else strip + buffers.zero_point_offset,
            "a_zero_point": problem.a_zero_point, "b_zero_point": problem.b_zero_point,
            "scale": _bits(1.0),
            "b_semaphore": SEM_STRIPS,
            "b_value": self._value(SEM_STRIPS, self.strip_ready[job.strip]),
            "release_semaphore": SEM_RELEASED,
        }

    def _conv(self, job):
        """Fields that walk through the image."""
        shape, pixel = self.shape, self.buffers.panel_pitch
        row0, rows, column0, columns = shape.input_span(job.rect, job.chunk)
        line = columns * pixel
        u_start = (job.rect.row0 * shape.stride[0] - shape.padding[0]
                   + job.chunk.tap_row0 * shape.dilation[0] - row0)
        v_start = job.rect.column0 * shape.stride[1] - shape.padding[1] - column0
        return {
            "kernel_height": job.chunk.tap_rows, "kernel_width": shape.kernel[1],
            "width": job.line, "u_start": u_start, "v_start": v_start, "u_limit": rows,
            "v_limit": columns, "u_step": shape.stride[0], "v_step": shape.stride[1],
            "u_tap": shape.dilation[0], "v_tap": shape.dilation[1],
            "a_offset": u_start * line + v_start * pixel, "a_pitch": shape.stride[0] * line,
            "a_column_pitch": shape.stride[1] * pixel,
            "a_tap_row_pitch": shape.dilation[0] * line,
            "a_tap_column_pitch": shape.dilation[1] * pixel,
            "b_tap_pitch": job.chunk.channels * self.buffers.strip_pitch,
        }

    def _epilogue(self, job):
        """Fields of what follows the sums."""
        problem, buffers, shape = self.problem, self.buffers, self.shape
        strip = buffers.strip(job.strip)
        fields = {
            "out_address": buffers.out(self.outs), "out_pitch": buffers.out_pitch,
            "out_semaphore": SEM_OUT, "out_zero_point": problem.out_zero_point,
            "has_bias": problem.bias_address is not None, "float_bias": problem.float_bias,
            "scale_vector": problem.scale_address is not None, "scale": _bits(problem.scale),
            "activation": problem.activation, "low": _bits(problem.low),
            "high": _bits(problem.high), "has_table": shape.has_table, "has_max": shape.has_max,
            "has_residual": bool(shape.residual_bytes),
        }
        if problem.bias_address is not None:
            fields["bias_address"] = strip + buffers.bias_offset
        if problem.scale_address is not None:
            fields["scale_address"] = strip + buffers.scale_offset
        if shape.residual_bytes:
            fields |= {
                "residual_address": buffers.residual(self.outs),
                "residual_pitch": buffers.residual_pitch, "residual_type": problem.residual_type,
                "residual_zero_point": problem.residual_zero_point,
                "residual_scale": _bits(problem.residual_scale)}
        if shape.has_table:
            fields["table_address"] = buffers.table
        if shape.has_max:
            fields |= {"max_address": buffers.maximum,
                       "max_accumulate": self.outs > 0 or problem.max_continues}
        return fields
