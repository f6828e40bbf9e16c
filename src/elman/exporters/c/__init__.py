"""C99: a model as one header and one source file without dependencies, for microcontrollers and real-time threads."""
