"""Numbers of a core's control and status registers. Plain Python."""

import enum

__all__ = ["Csr"]


@enum.unique
class Csr(enum.IntEnum):
    """Numbers of the registers, as in the RISC-V manual; ours are 0x7C0 and from 0xFC0 on."""

    FFLAGS = 0x001
    FRM = 0x002
    FCSR = 0x003
    VSTART = 0x008
    VXSAT = 0x009
    VXRM = 0x00A
    VCSR = 0x00F
    MSTATUS = 0x300
    MISA = 0x301
    MIE = 0x304
    MTVEC = 0x305
    MSTATUSH = 0x310
    MCOUNTINHIBIT = 0x320
    MSCRATCH = 0x340
    MEPC = 0x341
    MCAUSE = 0x342
    MTVAL = 0x343
    MIP = 0x344
    EXIT = 0x7C0            #: writing it ends the kernel on this core
    BARRIER = 0x7C1         #: an access waits until all cores of the launch that run are here
    MCYCLE = 0xB00
    MINSTRET = 0xB02
    MCYCLEH = 0xB80
    MINSTRETH = 0xB82
    CYCLE = 0xC00
    TIME = 0xC01
    INSTRET = 0xC02
    CYCLEH = 0xC80
    TIMEH = 0xC81
    VL = 0xC20
    VTYPE = 0xC21
    VLENB = 0xC22
    INSTRETH = 0xC82
    MVENDORID = 0xF11
    MARCHID = 0xF12
    MIMPID = 0xF13
    MHARTID = 0xF14
    MCONFIGPTR = 0xF15
    CORE_COUNT = 0xFC0      #: cores of the launch in each cluster
    ARGUMENT = 0xFC1        #: address of the launch's argument block, as the core sees it
