"""The parts of `benchmarks/floods.py`: servers, clients that behave, clients that do not, and the floods."""
