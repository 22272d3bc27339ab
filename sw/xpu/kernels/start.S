# Where a kernel begins: stack at the top of LM, floating point and vectors on, arguments, then the kernel; its
# end is a write to the register EXIT.
  .section .text.start, "ax"
  .globl _start
_start:
  li t0, 0x2200
  csrs mstatus, t0
  lui sp, %hi(__lm_end)
  addi sp, sp, %lo(__lm_end)
  csrr a0, XPU_CSR_ARGUMENT
  call __xpu_entry
  fence
  csrw XPU_CSR_EXIT, zero
1:
  j 1b
