"""Pushing to an image registry and reading from one that fails in every way that registries fail in."""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import base_images
import pytest
from faulty_registry import Fault, State, running
from faulty_registry import certificate as made_certificate

from awm_generator.images import assembly, errors, layers, model, outputs, pruning, references, registries, sources

LARGE = 20 << 20


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def host(state: State) -> Iterator[str]:
    with running(state) as address:
        yield address


@pytest.fixture(autouse=True)
def _no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def registry(host: str, pauses: list[float]) -> Iterator[registries.Registry]:
    client = registries.Registry(host, pause=pauses.append)
    yield client
    client.close()


def push(registry: registries.Registry, image: model.Image, *, single: bool = False) -> outputs.Stored:
    [stored] = outputs._ToRegistry(registry, "team/awm", single=single, parallel=1).put([("library", 1, image)])
    return stored


def log_in(tmp_path: Path, settings: dict[str, object]) -> None:
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker" / "config.json").write_text(json.dumps(settings))


def test_what_was_pushed_is_read_back(registry: registries.Registry, image: model.Image, host: str) -> None:
    stored = push(registry, image)
    assert stored == outputs.Stored(f"registry:{host}/team/awm/library@{image.digest}", image.digest, "written")
    for reference in ("1", image.digest):
        found = registry.read("team/awm/library", reference)
        assert found.digest == image.digest
        assert [blob.content() for blob in found.blobs] == [blob.content() for blob in image.blobs]


def test_pushing_the_same_again_sends_nothing(registry: registries.Registry, image: model.Image, state: State) -> None:
    push(registry, image)
    before = len(state.requests), state.received
    assert push(registry, image).state == "unchanged"
    assert (len(state.requests), state.received) == (before[0] + 1, before[1])


def test_the_base_is_sent_once_for_many_scenarios(
    registry: registries.Registry, layer: layers.ScenarioLayer, state: State
) -> None:
    base = base_images.make(filler=bytes(range(256)) * 4000)
    place = outputs._ToRegistry(registry, "awm", single=False, parallel=1)
    images = [(f"world_{number}", 1, assembly.assemble(base, layer)) for number in range(20)]
    for item in images:
        place.put([item])
    digest = base.manifests[0].layers[0].digest
    assert sum(1 for _, held in state.blobs if held == digest) == 20
    assert state.asked("POST", f"mount={digest.replace(':', '%3A')}") == 19
    assert state.asked("PUT", digest.replace(":", "%3A")) == 1


def test_a_base_in_the_same_registry_is_mounted_and_not_sent(
    registry: registries.Registry, layer: layers.ScenarioLayer, state: State, host: str
) -> None:
    base = base_images.make()
    for blob in base.blobs:
        registry.upload("bases/runtime", blob)
    registry.put_manifest("bases/runtime", "0.1.0", base.root)
    with sources.opened(references.parse(f"registry:{host}/bases/runtime:0.1.0"), sources.Access()) as found:
        state.requests.clear()
        push(registry, assembly.assemble(found, layer))
    digest = base.manifests[0].layers[0].digest
    assert state.asked("GET", f"blobs/{digest}") == 0
    assert state.asked("PUT", digest.replace(":", "%3A")) == 0
    assert ("team/awm/library", digest) in state.blobs


def test_one_repository_holds_all_scenarios_as_tags(
    registry: registries.Registry, image: model.Image, state: State
) -> None:
    state.fixed_repositories = frozenset({"team/awm"})
    push(registry, image, single=True)
    assert registry.tags("team/awm") == ["library-1"]
    with pytest.raises(errors.ImageError, match="--single-repository"):
        push(registry, image)


def test_an_index_is_pushed_after_what_it_names(
    registry: registries.Registry, layer: layers.ScenarioLayer, state: State
) -> None:
    both = assembly.assemble(base_images.make("linux/amd64", "linux/arm64"), layer)
    push(registry, both)
    assert registry.read("team/awm/library", "1").platforms == ("linux/amd64", "linux/arm64")
    assert sum(1 for _, held in state.blobs if held == both.manifests[0].layers[-1].digest) == 1
    assert [each for each in state.requests if each.startswith("PUT /v2/team/awm/library/manifests/")][-1].endswith(
        "/1"
    )


def test_a_registry_that_asks_to_wait_is_waited_for(
    registry: registries.Registry, image: model.Image, state: State, pauses: list[float]
) -> None:
    state.faults = [
        Fault("POST", "uploads", status=429, retry_after=7),
        Fault("PUT", "manifests", status=429, retry_after=999),
    ]
    assert push(registry, image).state == "written"
    assert 7 in pauses
    assert max(pauses) == 30  # nobody waits as long as that


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_errors_of_a_registry_are_tried_again(
    registry: registries.Registry, image: model.Image, state: State, status: int
) -> None:
    state.faults = [Fault("PUT", "manifests", status=status, times=3), Fault("HEAD", "blobs", status=status, times=2)]
    assert push(registry, image).state == "written"


def test_a_registry_that_goes_on_failing_is_named(
    registry: registries.Registry, image: model.Image, state: State, host: str, pauses: list[float]
) -> None:
    state.faults = [Fault("PUT", "manifests", status=500, times=100)]
    with pytest.raises(errors.Unavailable, match=f"{host}/team/awm/library/manifests/1: status 500"):
        push(registry, image)
    assert pauses == [0.25, 0.5, 1, 2, 4]


@pytest.mark.parametrize("after_bytes", [0, 500])
def test_a_connection_that_is_cut_in_a_blob_is_opened_again(
    registry: registries.Registry, image: model.Image, state: State, after_bytes: int
) -> None:
    state.faults = [Fault("PUT", "uploads", after_bytes=after_bytes, times=2)]
    push(registry, image)
    assert registry.read("team/awm/library", "1").digest == image.digest


@pytest.mark.parametrize("after_bytes", [0, 3_000_000])
def test_a_large_blob_goes_on_where_it_was_cut(registry: registries.Registry, state: State, after_bytes: int) -> None:
    content = (bytes(range(251)) * (LARGE // 251 + 1))[:LARGE]
    blob = model.Blob.of(content, model.LAYER)
    state.faults = [Fault("PATCH", "uploads", after_bytes=after_bytes, times=2)]
    registry.upload("large", blob)
    assert state.blobs["large", blob.digest] == content
    assert state.received == LARGE - 2 * after_bytes  # what arrived before a cut was not sent again


def test_a_blob_that_arrives_cut_is_asked_for_again(
    registry: registries.Registry, image: model.Image, state: State
) -> None:
    push(registry, image)
    state.faults = [Fault("GET", "blobs", times=2)]
    assert registry.read("team/awm/library", "1").labels == image.labels


def test_a_blob_with_another_content_is_not_believed(
    registry: registries.Registry, image: model.Image, state: State
) -> None:
    push(registry, image)
    digest = image.manifests[0].layers[-1].digest
    state.blobs["team/awm/library", digest] += b"!"
    with pytest.raises(errors.ImageError, match="corrupt"):
        registry.read("team/awm/library", "1").manifests[0].layers[-1].content()


def test_a_tag_that_is_not_there_is_named(registry: registries.Registry, host: str) -> None:
    with pytest.raises(errors.ImageError, match=f"{host}/team/awm/library has no image 9"):
        registry.read("team/awm/library", "9")


def test_nobody_who_listens_is_said_to_be_nobody(pauses: list[float]) -> None:
    registry = registries.Registry("127.0.0.1:1", pause=pauses.append)
    with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
        registry.read("x", "1")
    registry.close()


@pytest.mark.parametrize("bearer", [False, True])
def test_the_users_credentials_are_shown(
    registry: registries.Registry, image: model.Image, state: State, host: str, tmp_path: Path, bearer: bool
) -> None:
    state.user, state.password, state.bearer = "ada", "s3cret", bearer
    log_in(tmp_path, {"auths": {f"https://{host}/v1/": {"auth": base64.b64encode(b"ada:s3cret").decode()}}})
    assert push(registry, image).state == "written"


@pytest.mark.parametrize("bearer", [False, True])
def test_credentials_that_are_not_accepted_are_refused_without_saying_them(
    registry: registries.Registry, image: model.Image, state: State, host: str, tmp_path: Path, bearer: bool
) -> None:
    state.user, state.password, state.bearer = "ada", "s3cret", bearer
    log_in(tmp_path, {"auths": {host: {"username": "ada", "password": "wr0ng"}}})
    with pytest.raises(errors.Denied, match=f"does not accept the credentials of ada.*docker login {host}") as raised:
        push(registry, image)
    assert "wr0ng" not in str(raised.value)
    assert len(state.requests) <= 3


@pytest.mark.parametrize(("status", "says"), [(500, "answers 500"), (200, "gives none")])
def test_a_token_service_that_fails_is_named(
    registry: registries.Registry, image: model.Image, state: State, host: str, tmp_path: Path, status: int, says: str
) -> None:
    state.user, state.password, state.bearer = "ada", "s3cret", True
    log_in(tmp_path, {"auths": {host: {"username": "ada", "password": "s3cret"}}})
    state.faults.append(Fault("GET", "/token", status=status, times=9))
    with pytest.raises((errors.Unavailable, errors.Denied), match=f"{host}, where {host} sends for a token, {says}"):
        push(registry, image)


def test_a_registry_that_wants_credentials_where_there_are_none(
    registry: registries.Registry, image: model.Image, state: State, host: str
) -> None:
    state.user = "ada"
    with pytest.raises(errors.Denied, match=f"asks for credentials; log in: docker login {host}"):
        push(registry, image)


def test_credentials_come_from_a_helper(
    registry: registries.Registry,
    image: model.Image,
    state: State,
    host: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state.user, state.password = "ada", "s3cret"
    helper = tmp_path / "bin" / "docker-credential-tests"
    helper.parent.mkdir()
    helper.write_text(
        f'#!/bin/sh\nread host\n[ "$host" = {host} ] && echo \'{{"Username": "ada", "Secret": "s3cret"}}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(helper.parent), prepend=":")
    log_in(tmp_path, {"credHelpers": {host: "tests"}})
    assert push(registry, image).state == "written"


def test_settings_and_helpers_that_are_broken_are_named(
    registry: registries.Registry, image: model.Image, state: State, tmp_path: Path, host: str
) -> None:
    state.user = "ada"
    log_in(tmp_path, {"credHelpers": {host: "that-is-not-installed"}})
    with pytest.raises(errors.Denied, match="docker-credential-that-is-not-installed, which does not run"):
        push(registry, image)
    (tmp_path / "docker" / "config.json").write_text("{")
    with pytest.raises(errors.Denied, match=r"config\.json cannot be read"):
        push(registry, image)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_certificate(tmp_path_factory.mktemp("tls"))


def test_a_self_signed_certificate_is_trusted_only_where_its_ca_is_named(
    state: State, image: model.Image, certificate: Path
) -> None:
    with running(state, certificate=certificate) as host:
        with (
            contextlib.closing(registries.Registry(host)) as wary,
            pytest.raises(errors.Denied, match=r"certificate is not trusted.*--ca"),
        ):
            push(wary, image)
        assert not state.requests
        with contextlib.closing(registries.Registry(host, ca=certificate.with_name("cert.pem"))) as trusting:
            assert push(trusting, image).state == "written"
    with pytest.raises(errors.Denied, match="no certificates"):
        registries.Registry("example", ca=Path(__file__))


def test_pruning_a_registry_deletes_by_digest(
    registry: registries.Registry, image: model.Image, state: State, host: str
) -> None:
    push(registry, image)
    push(registry, base_images.make())
    with pruning.opened(references.parse(f"registry:{host}/team/awm"), sources.Access()) as place:
        assert place.entries() == []  # the tag means an image without a scenario by now
    push(registry, image)
    with pruning.opened(references.parse(f"registry:{host}/team/awm"), sources.Access()) as place:
        [entry] = place.entries()
        assert (entry.slug, entry.generation, entry.digest) == ("library", 1, image.digest)
        place.remove([entry])
    assert ("team/awm/library", image.digest) not in state.manifests
    push(registry, image)
    registry.delete("team/awm/library", image.digest)
    assert ("team/awm/library", image.digest) not in state.manifests
    state.faults = [Fault("DELETE", "manifests", status=405)]
    with pytest.raises(errors.Denied, match="its own settings"):
        registry.delete("team/awm/library", image.digest)
