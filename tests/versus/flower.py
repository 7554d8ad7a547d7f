"""Federated rounds of Flower: weights to the server and their mean back, with no local work.

flower.py FLOATS CLIENTS ROUNDS prints the median and 99th percentile of a round in microseconds, in the columns of
`edgempi bench`. It starts the server that Flower calls deprecated and that is the fastest it has, and its clients, each
in a process of its own.
"""

import logging
import multiprocessing
import socket
import sys
import time

import flwr
import numpy


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Timed(flwr.server.strategy.FedAvg):
    """The plain mean, which notes when each round has its result."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.ends = []

    def aggregate_fit(self, server_round, results, failures):
        aggregated = super().aggregate_fit(server_round, results, failures)
        if failures or len(results) != self.min_fit_clients:
            raise RuntimeError(f"round {server_round}: {len(results)} results, {len(failures)} failures")
        self.ends.append(time.perf_counter())
        return aggregated


class Idle(flwr.client.NumPyClient):
    """Gives back the weights that it gets."""

    def fit(self, parameters, config):
        return parameters, 1, {}


def be_client(port):
    logging.disable(logging.CRITICAL)
    flwr.client.start_client(server_address=f"127.0.0.1:{port}", client=Idle().to_client())


def serve(port, floats, clients, rounds, ends):
    logging.disable(logging.CRITICAL)
    weights = flwr.common.ndarrays_to_parameters([numpy.ones(floats, dtype=numpy.float32)])
    strategy = Timed(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        initial_parameters=weights,
    )
    flwr.server.start_server(
        server_address=f"127.0.0.1:{port}",
        config=flwr.server.ServerConfig(num_rounds=rounds),
        strategy=strategy,
    )
    ends.put(strategy.ends)


def main():
    floats, clients, rounds = map(int, sys.argv[1:4])
    port = free_port()
    context = multiprocessing.get_context("spawn")
    ends = context.Queue()
    server = context.Process(target=serve, args=(port, floats, clients, rounds + 1, ends))
    workers = [context.Process(target=be_client, args=(port,)) for _ in range(clients)]
    server.start()
    for worker in workers:
        worker.start()
    try:
        times = ends.get(timeout=300)
    finally:
        for worker in workers:
            worker.join(timeout=5)
            worker.kill()
        server.join(timeout=5)
        server.kill()
    took = sorted(later - earlier for earlier, later in zip(times, times[1:]))
    median, p99 = took[len(took) // 2] * 1e6, took[len(took) * 99 // 100] * 1e6
    print(f"{'flower-round':<16} {clients:>3} {floats * 4:>10} {median:>12.2f} {p99:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
