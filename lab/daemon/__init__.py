"""The lab's daemon: PID 1 of the sandbox. It holds the one State, owns the network, and answers on a Unix socket."""
