"""Command formats. The only place where a field position is written.

Opcodes, types and fault causes are in ``enums``, what a field and a format are in ``spec``.

Plain Python: the hardware makes its layouts from it, the driver its encoder and decoder, the
functional model its interpreter, and the documentation its tables.

A command is one or more 64-byte slots, little endian. Its first 24 bytes are the header, the same
for every command; the body follows. Reserved bits must be zero.
"""

from .enums import (
    Activation,
    DmaAxis,
    DmaMode,
    ElementType,
    Engine,
    FaultCause,
    Opcode,
)
from .spec import SLOT_BYTES, Field, Format

__all__ = ["ALL_FORMATS", "CONV", "DMA_COPY", "DMA_LOOPS", "DMA_ND", "FENCE", "GEMM", "HEADER",
           "LAUNCH", "NOP", "SLOT_BYTES", "Activation", "DmaAxis", "DmaMode", "ElementType",
           "Engine", "FaultCause", "Field", "Format", "Opcode"]

DMA_LOOPS = 5       #: loops around the rows of a DMA_ND command


HEADER = Format("header", "Common to all commands.", (
    Field("opcode", 8, "Operation."),
    Field("slots", 4, "Slots of this command, exactly the count of its format."),
    Field("interrupt", 1, "FENCE only: raise the ring's completion interrupt."),
    Field("stream", 2, "DMA only: which of its side's streams executes the command."),
    Field("reserved0", 17, "Zero."),
    Field("wait0_semaphore", 8, "Before the command starts: semaphore that must reach "
                                "`wait0_value`; 0 for none."),
    Field("wait1_semaphore", 8, "Likewise with `wait1_value`."),
    Field("signal0_semaphore", 8, "Semaphore to add `signal0_add` to when the command is complete "
                                  "(every write acknowledged); 0 for none."),
    Field("signal1_semaphore", 8, "Likewise with `signal1_add`."),
    Field("wait0_value", 32, "Smallest value that ends the wait, modulo 2**semaphore_width."),
    Field("wait1_value", 32, "Likewise."),
    Field("signal0_add", 16, "Amount to add."),
    Field("signal1_add", 16, "Amount to add."),
    Field("tag", 32, "For the host; the hardware ignores it."),
))

NOP = Format("nop", "Does nothing; completes when decoded.", (), opcodes=(Opcode.NOP,),
             first_bit=HEADER.end)

FENCE = Format(
    "fence",
    "Waits until every earlier command of its ring is complete, then sets the ring's `completed` "
    "register to `sequence`. Later commands of the ring start only after it. Header waits and "
    "signals are not used.", (
        Field("sequence", 32, "New value of the ring's `completed` register."),
    ), opcodes=(Opcode.FENCE,), first_bit=HEADER.end)

_DMA_ROWS = (
        Field("source_low", 32, "System address of the first source byte, low half."),
        Field("source_high", 32, "High half."),
        Field("destination_low", 32, "System address of the first destination byte, low half."),
        Field("destination_high", 32, "High half."),
        Field("row_bytes", 32, "Bytes per row, 1 to 2**24 - 1."),
        Field("rows", 16, "Rows, 1 to 65,535. With DMA_ND also the count of loop 1."),
        Field("progress_semaphore", 8, "Load: add 1 to it for every row landed in SM. Store: row r "
                                       "is read only when it has reached progress_value + r. "
                                       "0 for none. A TRANSPOSE counts whole matrices."),
        Field("reserved1", 8, "Zero."),
        Field("source_pitch", 32, "Bytes from row to row.", signed=True),
        Field("destination_pitch", 32, "Bytes from row to row.", signed=True),
        Field("progress_value", 32, "Store: threshold of row 0."),
)

DMA_COPY = Format(
    "dma_copy",
    "Copies `rows` rows of `row_bytes` bytes; row r starts at source + r * source_pitch and goes "
    "to destination + r * destination_pitch. A load writes SM, a store writes GM; either reads SM "
    "or GM, as the source address says. Any byte alignment. Source and destination must not "
    "overlap.",
    _DMA_ROWS, opcodes=(Opcode.DMA_LOAD, Opcode.DMA_STORE), first_bit=HEADER.end)

DMA_ND = Format(
    "dma_nd",
    "A DMA_COPY of up to 6 dimensions: five loops, loop 1 the innermost (its count is `rows`, its "
    "strides are the pitches), around rows of `row_bytes` bytes. The row of the loop indices "
    "i1..i5 starts at source + sum(i_d * source stride d) and goes to destination + sum(i_d * "
    "destination stride d), modulo 2**48; cluster and card of both are those of the command. Rows "
    "are numbered in the order of execution, i1 running fastest; faults and progress count them. "
    "`mode` (DmaMode) says what becomes of a row:\n\n"
    "CLIP: x = x_start + sum of i_d * step_d over the loops with axis_d = X, u and v likewise. The "
    "row is filled whole if not 0 <= u < u_limit and 0 <= v < v_limit; else its bytes j with not "
    "0 <= x + j < x_limit are filled and the others copied. Coordinates are 32-bit two's "
    "complement. Byte j of a filled row has the value of byte j % 4 of `fill`. Nothing outside the "
    "bounds is read.\n\n"
    "TRANSPOSE: the matrix of `rows` rows and row_bytes / element columns goes to a matrix of as "
    "many rows as it has columns: element (r, c), read at source + r * source_pitch + c * element, "
    "goes to destination + c * destination_pitch + r * element. Loops 2 to 5 go from matrix to "
    "matrix.\n\n"
    "GATHER, SCATTER: the list has `rows` entries of 32 bits, unsigned, little endian, each below "
    "`index_limit`; entry i1 replaces i1 in the source (GATHER) or destination (SCATTER) address. "
    "It is read anew for each iteration of the outer loops.", (
        *_DMA_ROWS,
        Field("mode", 4, "DmaMode."),
        Field("element_log2", 2, "TRANSPOSE: log2 of the bytes of an element, 0 to 2; row_bytes "
                                 "is a multiple of the element. Else 0."),
        Field("reserved2", 2, "Zero."),
        *(Field(f"axis{n}", 2, f"CLIP: DmaAxis of loop {n}.") for n in range(1, DMA_LOOPS + 1)),
        Field("reserved3", 14, "Zero."),
        Field("fill", 32, "FILL, CLIP: four bytes, repeated from the start of each row."),
        *(Field(f"count{n}", 16, f"Iterations of loop {n}, 1 to 65,535.")
          for n in range(2, DMA_LOOPS + 1)),
        *(Field(f"source_stride{n}", 32, f"Bytes from one iteration of loop {n} to the next.",
                signed=True) for n in range(2, DMA_LOOPS + 1)),
        *(Field(f"destination_stride{n}", 32, "Likewise.", signed=True)
          for n in range(2, DMA_LOOPS + 1)),
        *(Field(f"step{n}", 16, f"CLIP: what an iteration of loop {n} adds to the coordinate "
                                f"axis{n}.", signed=True) for n in range(1, DMA_LOOPS + 1)),
        Field("reserved4", 16, "Zero."),
        Field("u_start", 16, "CLIP: u when all loop indices are 0.", signed=True),
        Field("u_limit", 16, "CLIP: size of the source along u."),
        Field("v_start", 16, "CLIP: v when all loop indices are 0.", signed=True),
        Field("v_limit", 16, "CLIP: size of the source along v."),
        Field("x_start", 32, "CLIP: x when all loop indices are 0.", signed=True),
        Field("x_limit", 32, "CLIP: size of the source along x, below 2**31."),
        Field("index_low", 32, "GATHER, SCATTER: system address of the list, a multiple of 4, in "
                               "GM or SM; low half."),
        Field("index_high", 32, "High half."),
        Field("index_limit", 32, "GATHER, SCATTER: entries must be below it, or BAD_INDEX."),
    ), opcodes=(Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND), slots=3, first_bit=HEADER.end)

_PRODUCT = (
        Field("rows", 16, "GEMM: M. CONV: rows of output pixels. 1 to 65,535."),
        Field("columns", 16, "N, 1 to 65,535."),
        Field("depth", 24, "GEMM: K. CONV: input channels, the terms of one tap. 1 to 2**24 - 1."),
        Field("tile_blocks", 8, "Column blocks of a tile, 1 to the configuration's tile_blocks."),
        Field("tile_rows", 16, "Rows of a tile; tile_rows * tile_blocks (CONV: * width) <= "
                               "acc_rows."),
        Field("a_type", 3, "ElementType of A: INT8, UINT8, INT16, FP16 or BF16, if configured."),
        Field("b_type", 3, "Of B: INT8 or UINT8 if A is either, else A's."),
        Field("out_type", 3, "Of C. INT32 (8-bit operands) and INT64 (INT16 operands) are the "
                             "sums themselves plus bias; every other type takes the floating-point "
                             "path."),
        Field("residual_type", 3, "Of the residual: INT8, UINT8, INT16, FP16, BF16 or FP32. Zero "
                                  "without."),
        Field("activation", 2, "Activation."),
        Field("column_order", 1, "0: for each column tile, all row tiles. 1: for each row tile, "
                                 "all column tiles."),
        Field("accumulate", 1, "Add to what the accumulators hold (left by a command with `hold` "
                               "and operands of the same kind); one tile only."),
        Field("a_address", 24, "First word of A. CONV: pixel (u, v) = (0, 0)."),
        Field("a_semaphore", 8, "GEMM: a row tile ending before row r starts when this has reached "
                                "a_value + r. CONV: the command starts when this has reached "
                                "a_value. 0 for none."),
        Field("a_pitch", 24, "Bytes from row to row of A. CONV: from an output row to the next."),
        Field("b_semaphore", 8, "Column tile t starts when this has reached b_value + t. "
                                "0 for none."),
        Field("b_address", 24, "First word of B."),
        Field("out_semaphore", 8, "Add 1 to it for each row (CONV: pixel) of each tile, when it is "
                                  "written to SM. 0 for none."),
        Field("b_pitch", 24, "Bytes from row k to row k + 1 of B, within a column block."),
        Field("release_semaphore", 8, "Add 1 to it when the last word of A and B has been read. "
                                      "0 for none."),
        Field("b_block_pitch", 24, "Bytes from a column block of B to the next."),
        Field("hold", 1, "Leave the sums in the accumulators, no output; one tile only."),
        Field("has_bias", 1, "Read bias from SM."),
        Field("float_bias", 1, "The bias is FP32, added after scaling; else INT32, added to the "
                               "sums. Only with has_bias; needs an output of the floating-point "
                               "path, and floating-point operands need it."),
        Field("b_zero_point_vector", 1, "Read one B zero point per column from SM (bytes, of B's "
                                        "type), else use `b_zero_point`. 8-bit operands only."),
        Field("scale_vector", 1, "Read one scale per column from SM, else use `scale`."),
        Field("has_residual", 1, "Add a residual. Floating-point path only."),
        Field("has_table", 1, "Replace each 8-bit result by an entry of a table."),
        Field("has_max", 1, "Write the running maximum. Floating-point path only."),
        Field("out_address", 24, "First word of C."),
        Field("max_accumulate", 1, "With has_max: go on with the maximum of the command before, "
                                   "else begin with 0."),
        Field("reserved2", 7, "Zero."),
        Field("out_pitch", 24, "Bytes from row to row of C; a column block takes lanes * element "
                               "size bytes, and blocks of a row follow each other."),
        Field("reserved3", 8, "Zero."),
        Field("bias_address", 24, "Bias, 4 bytes per column, padded to whole blocks."),
        Field("reserved4", 8, "Zero."),
        Field("scale_address", 24, "Scale, FP32 per column, padded to whole blocks."),
        Field("reserved5", 8, "Zero."),
        Field("b_zero_point_address", 24, "B zero points, one byte per column, padded likewise."),
        Field("reserved6", 8, "Zero."),
        Field("a_zero_point", 9, "Of A's type, as a signed number; 0 unless A is 8-bit.",
              signed=True),
        Field("b_zero_point", 9, "Likewise of B's type.", signed=True),
        Field("reserved7", 14, "Zero."),
        Field("out_zero_point", 16, "Of C's type (UINT8 as a signed number); 0 for a "
                                    "floating-point type, INT32 and INT64.", signed=True),
        Field("residual_zero_point", 16, "Likewise of the residual's type.", signed=True),
        Field("scale", 32, "FP32 bit pattern, finite and positive."),
        Field("a_value", 32, "Base of the waits for A."),
        Field("b_value", 32, "Base of the waits for B."),
        Field("residual_address", 24, "First word of the residual, which has the shape of C."),
        Field("reserved8", 8, "Zero."),
        Field("residual_pitch", 24, "Bytes from row to row of the residual; blocks as in C."),
        Field("reserved9", 8, "Zero."),
        Field("residual_scale", 32, "FP32 bit pattern, finite and positive."),
        Field("low", 32, "FP32 bit pattern: CLIP's lower bound; LEAKY's slope. Not a NaN."),
        Field("high", 32, "FP32 bit pattern: CLIP's upper bound. Not a NaN."),
        Field("table_address", 24, "256 bytes in SM: entry i replaces the result whose byte is i."),
        Field("reserved10", 8, "Zero."),
        Field("max_address", 24, "Word in SM whose first 4 bytes become the FP32 maximum of |v| "
                                 "(before conversion to C's type), the others 0."),
        Field("reserved11", 8, "Zero."),
)

GEMM = Format(
    "gemm",
    "C[m, n] = epilogue(sum over k of (A[m, k] - a_zero_point) * (B[k, n] - b_zero_point)), all in "
    "SM. A has one row per m, B one row per k. Columns are handled in blocks of `lanes`; tiles of "
    "tile_rows x tile_blocks blocks run one after the other, rows first if column_order is 0 (the "
    "row loop is inside), columns first if it is 1. Addresses are byte offsets in SM and multiples "
    "of the word size, and so are pitches. A row of a column block of B is `lanes` elements.\n\n"
    "The epilogue, every step in FP32 and rounded to nearest even (docs/numerics.md): v = "
    "float(sum + INT32 bias) * scale; + FP32 bias; + (residual - residual_zero_point) * "
    "residual_scale; activation; running maximum of |v|; conversion to out_type; table. INT32 and "
    "INT64 outputs are sum + bias, wrapped, and RELU is their only activation.",
    _PRODUCT, opcodes=(Opcode.GEMM,), slots=2, first_bit=HEADER.end)

CONV = Format(
    "conv",
    "A GEMM whose rows are output pixels and whose terms are the channels of the kernel's taps. "
    "Output row r, column c at tap (i, j) looks at the input pixel u = u_start + r * u_step + i * "
    "u_tap, v = v_start + c * v_step + j * v_tap. It counts only if 0 <= u < u_limit and 0 <= v < "
    "v_limit; its `depth` channels then stand at a_address + a_offset + r * a_pitch + c * "
    "a_column_pitch + i * a_tap_row_pitch + j * a_tap_column_pitch. Terms run in the order (i, j, "
    "channel), a new word for every tap; tap (i, j)'s rows of B start at b_address + (i * "
    "kernel_width + j) * b_tap_pitch. Row m = r * width + c of C is that of the output pixel. A "
    "tile has `tile_rows` rows of output pixels. Pixels that do not count cost no time, except in "
    "a tile's first pass.", (
        *_PRODUCT,
        Field("reserved12", 32, "Zero."),
        Field("kernel_height", 8, "Taps, 1 to 255."),
        Field("kernel_width", 8, "Likewise."),
        Field("width", 16, "Output pixels in a row, at most acc_rows."),
        Field("u_start", 16, "Input row of output row 0 at tap row 0.", signed=True),
        Field("v_start", 16, "Input column of output column 0 at tap column 0.", signed=True),
        Field("u_limit", 16, "Input rows that exist, 1 to 32,767."),
        Field("v_limit", 16, "Input columns that exist, likewise."),
        Field("u_step", 8, "Input rows from an output row to the next (stride), not 0."),
        Field("v_step", 8, "Input columns from an output pixel to the next, not 0."),
        Field("u_tap", 8, "Input rows from a tap row to the next (dilation), not 0."),
        Field("v_tap", 8, "Input columns from a tap to the next, not 0."),
        Field("a_offset", 32, "Bytes from pixel (0, 0) to that of output pixel (0, 0) at tap "
                              "(0, 0).", signed=True),
        Field("a_column_pitch", 24, "Bytes from an output pixel to the next in its row."),
        Field("reserved13", 8, "Zero."),
        Field("a_tap_row_pitch", 24, "Bytes from a tap row to the next."),
        Field("reserved14", 8, "Zero."),
        Field("a_tap_column_pitch", 24, "Bytes from a tap to the next in its row."),
        Field("reserved15", 8, "Zero."),
        Field("b_tap_pitch", 24, "Bytes from a tap's first row of B to the next tap's."),
        Field("reserved16", 8, "Zero."),
    ), opcodes=(Opcode.CONV,), slots=3, first_bit=HEADER.end)

LAUNCH = Format(
    "launch",
    "Runs a kernel on the first `cores` cores of the SIMD cluster; complete when all have written "
    "their EXIT register. A core that traps stops the others, and the command fails with "
    "KERNEL_TRAP.", (
        Field("entry", 32, "Address of the first instruction, in the cores' address space."),
        Field("argument_low", 32, "System address of the argument block, low half."),
        Field("argument_high", 32, "High half."),
        Field("window_low", 32, "Added to a core's address to give the system address in GM, low "
                                "half; a multiple of 4,096."),
        Field("window_high", 32, "High half."),
        Field("clusters", 8, "Clusters to run on: 1."),
        Field("cores", 8, "Cores of each, 1 to the configuration's."),
        Field("flat", 1, "All of the cores' addresses are GM; else LM is at 0, SM at 2**24, and GM "
                         "from 2**28 on."),
        Field("invalidate", 1, "Forget cached instructions first: code in GM has changed."),
        Field("reserved17", 14, "Zero."),
    ), opcodes=(Opcode.LAUNCH,), first_bit=HEADER.end)

ALL_FORMATS = (NOP, FENCE, DMA_COPY, DMA_ND, GEMM, CONV, LAUNCH)
