"""The vector unit of a core: RISC-V's Zve32f and Zvfh."""
