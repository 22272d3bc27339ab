"""From components to SystemVerilog."""
