"""What fetching and looking up models costs, and what mishaps do to it, beside the peers."""

import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mishaps
import model_floor
from measure import Cost, interleaved, ratios
from model_clients import (
    HUB,
    HUB_AND_UNZIP,
    MODEL,
    OURS,
    POOCH,
    POOCH_TUNED,
    POOCH_UNVERIFIED,
    Client,
    Offer,
    offer,
    quiet_and_alone,
)
from model_server import ModelServer
from results import Result, Row, WrongResultError
from weights import FOLDER, make_archive

from pycemrg.models import ModelManager

RUNS = 5
MIB = 2**20
LARGE = [32 * MIB] * 8
# For what is done hundreds of times: the weights, and the little that comes with them.
SMALL = [4096] * 7 + [8 * MIB]
CROWD = 64
# Look-ups that are timed together.
CALLS = {OURS: 500, POOCH: 1, POOCH_UNVERIFIED: 50, HUB: 100}
# Instants at which each is killed.
KILLS = {OURS: 200, POOCH: 100, HUB: 50}

PACKAGES = ("pycemrg-models", "pooch", "huggingface_hub", "requests", "urllib3")


def run(runs: int) -> Result:
    """Fetch, look up and disturb, all from a server on this machine.

    Raises:
        WrongResultError: If a subject gives a wrong file where that is not the figure.
    """
    with tempfile.TemporaryDirectory(prefix="bench-models-") as name:
        folder = Path(name)
        (folder / "served").mkdir()
        _tell("making archives")
        stored = make_archive(folder / "served" / "stored.zip", LARGE)
        compression = zipfile.ZIP_DEFLATED
        deflated = make_archive(folder / "served" / "deflated.zip", LARGE, compression=compression)
        small = make_archive(folder / "served" / "small.zip", SMALL, compression=compression)
        with (
            ModelServer(folder / "served") as server,
            quiet_and_alone(folder / "home", server.origin),
        ):
            offers = (offer(each, server.origin) for each in (stored, deflated, small))
            of_stored, of_deflated, of_small = offers
            rows = [
                *_warm_rows(of_stored, folder / "warm", runs),
                *_stored_rows(of_stored, folder / "cold", runs),
                *_deflated_rows(of_deflated, folder / "cold", runs),
                *_crowd_rows(of_small, folder / "crowd", server),
                *_kill_rows(of_small, folder / "kills"),
                *_cut_rows(of_stored, folder / "cut", server),
            ]
    versions = {package: version(package) for package in PACKAGES}
    return Result("models", _method(), runs, versions, rows)


def _method() -> str:
    return (
        f"zips of {len(LARGE)} files of float32 weights, {sum(LARGE) // MIB} MiB "
        f"({sum(SMALL) // MIB} MiB, nearly all in one file, for kills and crowds), from a server "
        "process on 127.0.0.1; CPU is user and system time of the process that fetches, imports "
        "excluded; the floor receives from a bare socket in chunks of 1 MiB, takes the sha256 of "
        "the archive, writes it, unpacks it and checks each CRC-32; it forces nothing to the disk "
        "and deletes nothing"
    )


def _tell(step: str) -> None:
    print(f"models: {step} ...", file=sys.__stderr__, flush=True)


def _fetch_floor(offer: Offer, cache: Path, *, list_files: bool = False) -> Path:
    folder = model_floor.fetch(offer.url, offer.archive.sha256, cache, list_files=list_files)
    return folder / FOLDER


FLOOR = Client("the floor", _fetch_floor)
LISTING_FLOOR = Client(
    "the floor with a sha256 of each file", partial(_fetch_floor, list_files=True)
)


def _warm_rows(offer: Offer, cache: Path, runs: int) -> list[Row]:
    _tell("looking up")
    subjects = {}
    for number, (client, calls) in enumerate(CALLS.items()):
        there = cache / str(number)
        client.check(client.fetch(offer, there), offer)
        subjects[client.name] = _per_call(partial(client.fetch, offer, there), calls)
        if client is OURS:  # a program makes one manager and asks it often
            manager = ModelManager(offer.manifest, cache_dir=there)
            subjects[client.name] = _per_call(partial(manager.get_model_path, MODEL), calls)
    seconds = interleaved(subjects, runs)
    shutil.rmtree(cache)

    def row(client: Client, **target: float) -> Row:
        values = [1000 * value for value in seconds[client.name]]
        return Row.of(f"warm look-up: {client.name}", values, "ms", **target)

    return [row(OURS, at_most=0.06), row(POOCH), row(POOCH_UNVERIFIED), row(HUB)]


def _per_call(call: Callable[[], Any], calls: int) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    return once


def _stored_rows(offer: Offer, cache: Path, runs: int) -> list[Row]:
    _tell("fetching a stored zip")
    peers = (POOCH, POOCH_TUNED, HUB_AND_UNZIP)
    costs = _fetches((FLOOR, LISTING_FLOOR, OURS, *peers), offer, cache, runs)
    cpu = {client: [cost.cpu for cost in costs[client]] for client in costs}

    def row(client: Client, floor: Client = FLOOR, **target: float) -> Row:
        what = f"cold fetch, stored, CPU: {client.name}, over {floor.name}"
        return Row.of(what, ratios(cpu[client], cpu[floor]), "x", **target)

    return [
        row(OURS, at_most=1.15),
        row(OURS, LISTING_FLOOR),
        *(row(peer) for peer in (*peers, LISTING_FLOOR)),
        Row.of(f"cold fetch, stored, CPU: {FLOOR.name}", cpu[FLOOR], "s"),
    ]


def _deflated_rows(offer: Offer, cache: Path, runs: int) -> list[Row]:
    _tell("fetching a deflated zip")
    peers = (POOCH, POOCH_TUNED, HUB_AND_UNZIP)
    costs = _fetches((OURS, *peers), offer, cache, runs)
    wall = {client: [cost.wall for cost in costs[client]] for client in costs}

    def row(peer: Client, **target: float) -> Row:
        what = f"cold fetch, deflated, wall: {OURS.name}, over {peer.name}"
        return Row.of(what, ratios(wall[OURS], wall[peer]), "x", **target)

    return [
        row(POOCH, at_most=0.6),
        row(POOCH_TUNED),
        row(HUB_AND_UNZIP),
        Row.of(f"cold fetch, deflated, wall: {OURS.name}", wall[OURS], "s"),
    ]


def _fetches(
    clients: Sequence[Client], offer: Offer, cache: Path, runs: int
) -> Mapping[Client, Sequence[Cost]]:
    """Let each fetch into an empty cache: once to check what it gives, then to be timed."""
    for client in clients:
        client.check(client.fetch(offer, cache), offer)
        shutil.rmtree(cache)
    subjects = {client.name: partial(_timed_fetch, client, offer, cache) for client in clients}
    costs = interleaved(subjects, runs, warm_ups=0)
    return {client: costs[client.name] for client in clients}


def _timed_fetch(client: Client, offer: Offer, cache: Path) -> Cost:
    os.sync()  # nobody pays for what others have written
    cpu, wall = time.process_time(), time.perf_counter()
    client.fetch(offer, cache)
    cost = Cost(time.process_time() - cpu, time.perf_counter() - wall)
    shutil.rmtree(cache)
    return cost


def _crowd_rows(offer: Offer, folder: Path, server: ModelServer) -> list[Row]:
    rows = []
    for number, client in enumerate((OURS, POOCH, HUB)):
        _tell(f"{CROWD} processes at once: {client.name}")
        server.reset()
        outcomes = mishaps.crowd(client, offer, folder / str(number), CROWD)
        if client is OURS and outcomes.right != CROWD:
            raise WrongResultError(f"{client.name}: of {CROWD} processes at once, {outcomes}")
        what = f"{CROWD} processes at once: {client.name}"
        limit = 1 if client is OURS else None
        rows.append(Row.of(f"{what}, GETs", [server.counts().gets], "", at_most=limit))
        rows.append(Row.of(f"{what}, right answers", [outcomes.right], ""))
    return rows


def _kill_rows(offer: Offer, folder: Path) -> list[Row]:
    rows = []
    for client, instants in KILLS.items():
        _tell(f"kill -9 at {instants} instants: {client.name}")
        outcomes = mishaps.kills(client, offer, folder, instants)
        what = f"kill -9 at {instants} instants, then a call: {client.name}"
        limit = instants if client is OURS else None
        rows.append(Row.of(f"{what}, right answers", [outcomes.right], "", at_least=limit))
        rows.append(Row.of(f"{what}, wrong files given as right", [outcomes.wrong], ""))
    return rows


def _cut_rows(offer: Offer, cache: Path, server: ModelServer) -> list[Row]:
    rows = []
    for what, disturb, limit in (
        ("cut at 50 %, fetched twice", mishaps.cut_off, 1.0),
        ("killed at 50 %, fetched twice", mishaps.killed_half_way, None),
    ):
        for client in (OURS, POOCH, HUB):
            _tell(f"{what}: {client.name}")
            twice = disturb(client, offer, cache, server) / MIB
            shutil.rmtree(cache)
            target = limit if client is OURS else None
            rows.append(Row.of(f"{what}: {client.name}", [twice], "MiB", at_most=target))
    return rows
