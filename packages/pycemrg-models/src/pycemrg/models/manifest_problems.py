"""What is wrong or doubtful in a model manifest that can be loaded."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pycemrg.core.manifests import Entry as Field
from pycemrg.core.manifests import Mapping, Place, Scalar, Sequence
from pycemrg.core.near_names import did_you_mean
from pycemrg.core.problems import Problem
from pycemrg.models.local import local_file
from pycemrg.models.manifest import Entry, Manifest, read_version

MODEL_FIELDS = ("default", "versions")
VERSION_FIELDS = ("url", "archive", "unzipped_target_path", "sha256", "mirrors")

# What stands in for a field while another is looked at.
_HARMLESS = {
    "url": "https://example.com/file",
    "archive": "none",
    "unzipped_target_path": ".",
    "sha256": "0" * 64,
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORDS = {
    *("apikey", "auth", "authkey", "authorization", "credential", "credentials", "jwt", "key"),
    *("pass", "passwd", "password", "pwd", "secret", "sig", "signature", "token"),
}
_SECRET_VALUE = re.compile(r"(hf_|gh[oprsu]_|github_pat_|glpat-|eyJ)\w{8}")


class _Version(NamedTuple):
    """A version as it is written, and as it was read: what is faulty in it `entry` does not say."""

    node: Mapping
    entry: Entry
    faulty: set[str]


def problems_of(manifest: Manifest) -> list[Problem]:
    """Return all findings in a manifest, in the order of the file.

    Errors are what makes a model or version unusable: ``faulty-model``, ``no-versions``,
    ``faulty-default``, ``unknown-default``, ``faulty-version`` and, for a field of a version,
    ``faulty-url``, ``faulty-archive``, ``faulty-unzipped-target-path``, ``faulty-sha256`` and
    ``faulty-mirrors``.

    Warnings are ``no-default``, ``version-named-default``, ``unknown-field`` (a misspelt one),
    ``no-sha256``, ``http-without-sha256``, ``secret-in-url``, ``missing-file``,
    ``conflicting-sha256`` and ``conflicting-archive``. No message holds a secret.
    """
    found: list[Problem] = []
    versions: list[_Version] = []
    for model in manifest.root:
        found += _in_model(manifest, model)
        for version in _versions(model):
            found += _in_version(model, version, manifest.folder, versions)
    found += _same_url(versions)
    found += _same_bytes(versions)
    return sorted(dict.fromkeys(found), key=lambda problem: problem.place or ())


def _versions(model: Field) -> Mapping:
    node = model.value.get("versions") if isinstance(model.value, Mapping) else None
    return node if isinstance(node, Mapping) else Mapping(model.key.place)


def _in_model(manifest: Manifest, model: Field) -> Iterator[Problem]:
    name, body = model.key.text, model.value
    versions = _versions(model).entries
    if not isinstance(body, Mapping) or not versions:
        code = "no-versions" if isinstance(body, Mapping) else "faulty-model"
        yield from _refusals(code, manifest, name, "any")
    if not isinstance(body, Mapping):
        return
    yield from _misspelt(body, MODEL_FIELDS)
    named = body.get("default")
    text = named.text if isinstance(named, Scalar) else None
    if named is None:
        message = f"model {name!r} has no 'default', so its version has to be named each time"
        yield Problem("no-default", "warning", model.key.place, message)
    elif versions and text not in versions:
        code = "faulty-default" if text is None else "unknown-default"
        yield from _refusals(code, manifest, name, "default")
    if "default" in versions and text != "default":
        message = "a version named 'default' cannot be asked for: that stands for the default one"
        yield Problem("version-named-default", "warning", versions["default"].key.place, message)


def _refusals(code: str, manifest: Manifest, model: str, version: str) -> Iterator[Problem]:
    """Yield what the manifest answers to one who asks for that version."""
    try:
        manifest.entry(model, version)
    except (KeyError, ValueError) as error:
        yield _refusal(code, error, manifest.root.place.file)


def _refusal(code: str, error: Exception, file: str) -> Problem:
    """Take a message of the form ``file:line:column: message`` apart."""
    line, column, message = error.args[0].removeprefix(f"{file}:").split(":", 2)
    return Problem(code, "error", Place(file, int(line), int(column)), message.strip())


def _in_version(
    model: Field, version: Field, folder: Path, versions: list[_Version]
) -> Iterator[Problem]:
    """Yield what can be said about a version by itself, and add it to `versions`."""
    node = version.value
    if not isinstance(node, Mapping):
        message = f"version {version.key.text!r} must be a mapping with 'url'"
        yield Problem("faulty-version", "error", node.place, message)
        return
    good, faults = _tried(model, version.key, node, folder)
    for field, error in faults.items():
        code = f"faulty-{field.replace('_', '-')}"
        yield _refusal(code, error, node.place.file)
    entry = read_version(model.key.text, version.key, good, folder)
    read = _Version(node, entry, set(faults))
    versions.append(read)
    yield from _misspelt(node, VERSION_FIELDS)
    yield from _secrets(node)
    yield from _unverified(read)
    yield from _missing_file(read)


def _tried(
    model: Field, key: Scalar, node: Mapping, folder: Path
) -> tuple[Mapping, dict[str, ValueError]]:
    """Read one field after the other, beside good or harmless ones, so that each fault shows.

    Returns:
        The fields with harmless ones in place of the faulty, and what is wrong with those.
    """
    good, faults = Mapping(node.place), {}
    for field, text in _HARMLESS.items():
        name = Scalar(node.place, field)
        good.entries[field] = Field(name, Scalar(node.place, text, style="'"))
    for field in VERSION_FIELDS:
        trial = Mapping(node.place)
        trial.entries = {name: each for name, each in good.entries.items() if name != field}
        if field in node.entries:
            trial.entries[field] = node.entries[field]
        try:
            read_version(model.key.text, key, trial, folder)
        except ValueError as error:
            faults[field] = error
        else:
            good = trial
    return good, faults


def _misspelt(node: Mapping, fields: Iterable[str]) -> Iterator[Problem]:
    """Yield the unknown fields that look like one that is missing; others may mean something."""
    missing = [field for field in fields if field not in node.entries]
    for key, _ in node:
        question = did_you_mean(key.text.lower(), missing) if key.text not in fields else ""
        if question:
            message = f"the field {key.text!r} is not known{question}"
            yield Problem("unknown-field", "warning", key.place, message)


def _secrets(node: Mapping) -> Iterator[Problem]:
    advice = "a manifest is passed on, and secrets belong in ~/.netrc"
    for address in _addresses(node):
        secret = secret_in(address.text.strip())
        if secret:
            message = f"the address holds what looks like a secret ({secret}); {advice}"
            yield Problem("secret-in-url", "warning", address.place, message)


def _addresses(node: Mapping) -> Iterator[Scalar]:
    mirrors = node.get("mirrors")
    for item in [node.get("url"), *(mirrors.items if isinstance(mirrors, Sequence) else [])]:
        if isinstance(item, Scalar):
            yield item


def secret_in(url: str) -> str:
    """Return what kind of secret a web address holds, without a letter of it; empty if none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https"):
        return ""
    if "@" in parts.netloc:
        return "a user or password before the host"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        words = [word.lower() for word in _WORD.findall(name)]
        word = next((word for word in words if word in _SECRET_WORDS), None)
        if word is not None and value:
            return f"{word!r} in the query"
        if _SECRET_VALUE.match(value or name):
            return "a token in the query"
    return ""


def _unverified(version: _Version) -> Iterator[Problem]:
    entry = version.entry
    if version.faulty & {"url", "sha256"} or entry.local or entry.sha256 is not None:
        return
    if urlsplit(entry.url).scheme == "http":
        code, reason = "http-without-sha256", "anybody on the way can change it"
    else:
        code, reason = "no-sha256", "nothing is verified"
    message = f"{entry.source} has no 'sha256': {reason}; `sha256sum FILE` prints it"
    yield Problem(code, "warning", entry.place, message)


def _missing_file(version: _Version) -> Iterator[Problem]:
    url, entry = version.node.get("url"), version.entry
    if url is None or not _is_relative(entry):
        return
    try:
        local_file(entry)
    except FileNotFoundError:
        message = f"no file at {entry.local[0]}; a relative path starts at the manifest's folder"
        yield Problem("missing-file", "warning", url.place, message)
    except RuntimeError:
        pass  # somebody else may be let in


def _is_relative(entry: Entry) -> bool:
    path = entry.url.partition(":")[2].removeprefix("//")
    return bool(entry.local) and not path.startswith(("/", "localhost/"))


def _same_url(versions: list[_Version]) -> Iterator[Problem]:
    first: dict[str, Entry] = {}
    for version in versions:
        entry = version.entry
        if version.faulty & {"url", "sha256"} or entry.sha256 is None:
            continue
        other = first.setdefault(entry.url, entry)
        if other.sha256 != entry.sha256:
            message = (
                f"the url of {_named(other)} with another sha256; one of the two must be wrong"
            )
            yield Problem("conflicting-sha256", "warning", entry.place, message)


def _same_bytes(versions: list[_Version]) -> Iterator[Problem]:
    first: dict[str, Entry] = {}
    for version in versions:
        entry = version.entry
        if version.faulty & {"url", "sha256", "archive"} or entry.sha256 is None:
            continue
        other = first.setdefault(entry.sha256, entry)
        if other.archive != entry.archive:
            message = (
                f"the sha256 of {_named(other)}, which is read {_manner(other)} where this is read "
                f"{_manner(entry)}; add `archive:`, or correct it"
            )
            yield Problem("conflicting-archive", "warning", entry.place, message)


def _named(entry: Entry) -> str:
    return f"{entry.name} (line {entry.place.line})"


def _manner(entry: Entry) -> str:
    return f"as a {entry.archive} archive" if entry.archive else "as a plain file"
